"""The reader of pg_dump's text and the conversion of its values."""

import gzip
import tracemalloc
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from server.catalogue import pagila_dump
from server.catalogue.pagila_dump import DumpError, read_rows
from server.catalogue.pagila_rows import survey_dump
from server.catalogue.pagila_tables import OWN_COLUMNS, PARENTS, TABLES, pagila_name
from server.catalogue.pagila_values import converter
from tests.support.pagila import SMALL_COUNTS, SMALL_DUMP

HEADER = b"COPY public.t (a, b) FROM stdin;\n"


def _file(folder: Path, content: bytes) -> Path:
    file = folder / "dump.sql"
    file.write_bytes(content)
    return file


def _values(folder: Path, line: bytes) -> tuple[str | None, ...]:
    [row] = read_rows(_file(folder, HEADER + line + b"\n\\.\n"))
    return row.values


@pytest.mark.parametrize(
    ("line", "values"),
    [
        (b"x\ty", ("x", "y")),
        (b"\t", ("", "")),
        (b"\\N\t\\\\N", (None, "\\N")),
        (b"N\t\\N\\N", ("N", "NN")),
        (b"a\\tb\tc\\nd\\re\\bf\\fg\\vh", ("a\tb", "c\nd\re\bf\fg\vh")),
        (b"\\\\\\\\\t\\\\t", ("\\\\", "\\t")),
        (b"one\\\ttab\tb", ("one\ttab", "b")),
        (b"\\303\\251\t\\xc3\\xA9", ("é", "é")),
        (b"\\1012\t\\x41g\\xg", ("A2", "Agxg")),
        (b"\\q\\.\t \\\\. ", ("q.", " \\. ")),
        ("naïve\t\U0001f600".encode(), ("naïve", "\U0001f600")),
        (b"carriage\r\treturn\r", ("carriage\r", "return\r")),
    ],
)
def test_values_are_read_as_postgresql_reads_them(
    tmp_path: Path, line: bytes, values: tuple[str | None, ...]
) -> None:
    assert _values(tmp_path, line) == values


@pytest.mark.parametrize(
    ("header", "table", "columns"),
    [
        ("COPY public.film (a, b) FROM stdin;", "film", ("a", "b")),
        ("COPY film (a,b) FROM stdin;", "film", ("a", "b")),
        ("copy Public.Film (A, b) from STDIN;", "film", ("a", "b")),
        ('COPY "public"."film" ("a", "B ""c"", d)") FROM stdin;', "film", ("a", 'B "c", d)')),
        ('COPY archive."Film" (a, b) FROM stdin;', "archive.Film", ("a", "b")),
    ],
)
def test_a_block_names_its_table_and_columns(
    tmp_path: Path, header: str, table: str, columns: tuple[str, ...]
) -> None:
    file = _file(tmp_path, f"SET x = 1;\n\n{header}\n1\t2\n\\.\n".encode())
    assert list(read_rows(file)) == [(4, table, columns, ("1", "2"))]


def test_everything_outside_the_blocks_is_passed_over(tmp_path: Path) -> None:
    content = (
        b"\\restrict abc\n-- COPY public.t (a) FROM stdin;\nCOPY t (a) TO '/tmp/x';\n"
        b"caf\xe9 in a comment\nSELECT 1;\tx\n" + HEADER + b"1\t2\n\\.\n3\t4\n"
        b"SELECT pg_catalog.setval('s', 1, true);\nCOPY public.u (c) FROM stdin;\n\\.\n"
    )
    rows = [(row.line, row.values) for row in read_rows(_file(tmp_path, content))]
    assert rows == [(7, ("1", "2"))]


@pytest.mark.parametrize("pack", [lambda content: content, gzip.compress])
def test_plain_and_gzipped_files_are_told_apart_by_their_bytes(tmp_path: Path, pack: Any) -> None:
    file = _file(tmp_path, pack(HEADER + b"1\t2\n\\.\n"))
    assert [row.values for row in read_rows(file)] == [("1", "2")]


def test_line_ends_of_windows_are_no_part_of_a_value(tmp_path: Path) -> None:
    file = _file(tmp_path, (HEADER + b"1\t2\n\\.\n").replace(b"\n", b"\r\n"))
    assert [row.values for row in read_rows(file)] == [("1", "2")]


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (HEADER + b"1\t2\n1\t2\t3\n\\.\n", 3, "3 values where table t has 2 columns"),
        (HEADER + b"1\n\\.\n", 2, "1 values where"),
        (HEADER + b"\n\\.\n", 2, "1 values where"),
        (HEADER + b"1\t2\n", 2, "ends inside the rows of table t, which begin at line 1"),
        (b"\n" + HEADER, 2, "ends inside the rows"),
        (HEADER + b"1\t2\n3\t\xff\n\\.\n", 3, "not UTF-8"),
        (HEADER + b"1\t\\377\n\\.\n", 2, "not UTF-8"),
        (HEADER + b"1\t\\000\n\\.\n", 2, "NUL"),
        (HEADER + b"1\tx\\\n\\.\n", 2, "backslash stands alone"),
        (b"COPY public.t FROM stdin;\n", 1, "another form"),
        (b"COPY public.t (a) FROM stdin WITH (FORMAT csv);\n", 1, "another form"),
        (b"COPY public.t (a, a) FROM stdin;\n", 1, "a column twice"),
        (b"--\nSET client_encoding = 'LATIN1';\n", 2, "LATIN1"),
        (b"--\n-- PostgreSQL database dump\n--\n" + HEADER + b"\\.\n", 5, "dump complete"),
        (b"PGDMP\x01\x0e\x00", 1, "custom or tar"),
        (gzip.compress(b"PGDMP\x01\x0e\x00", mtime=0), 1, "custom or tar"),
    ],
)
def test_what_cannot_be_read_names_its_line(
    tmp_path: Path, content: bytes, line: int, message: str
) -> None:
    with pytest.raises(DumpError, match=message) as caught:
        list(read_rows(_file(tmp_path, content)))
    assert caught.value.line == line
    assert str(caught.value).startswith(f"line {line}: ")


def _noisy_dump() -> bytes:
    lines = (f"{n}\t{n * 2654435761 % 2**32:x}" for n in range(20_000))
    return HEADER + "\n".join(lines).encode() + b"\n\\.\n"


@pytest.mark.parametrize("damage", ["cut", "flipped", "no checksum"])
def test_a_damaged_gzip_file_names_the_line_where_it_ends(tmp_path: Path, damage: str) -> None:
    packed = bytearray(gzip.compress(_noisy_dump()))
    if damage == "cut":
        del packed[len(packed) // 2 :]
    elif damage == "flipped":
        packed[len(packed) // 2] ^= 0xFF
    else:
        del packed[-8:]
    with pytest.raises(DumpError) as caught:
        list(read_rows(_file(tmp_path, bytes(packed))))
    assert caught.value.line > 1


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pagila_dump, "MAX_LINE_BYTES", 1000)
    with pytest.raises(DumpError, match="longer than 1000 bytes"):
        list(read_rows(_file(tmp_path, HEADER + b"x" * 1200)))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    file = _file(tmp_path, gzip.compress(HEADER + b"0123456789\tabcdefghij\n" * 60_000 + b"\\.\n"))
    tracemalloc.start()
    try:
        rows = sum(1 for _ in read_rows(file))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rows == 60_000
    assert peak < 500_000


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        ("film.film_id", "-2147483648", -(2**31)),
        ("film.revision", "9223372036854775807", 2**63 - 1),
        ("film.rental_rate", "99.99", Decimal("99.99")),
        ("film.rental_rate", "5", Decimal("5.00")),
        ("film.replacement_cost", "-0.500", Decimal("-0.50")),
        ("film.rating", "NC-17", "NC-17"),
        ("film.rating", None, None),
        ("film.title", "  blanks stay  ", "  blanks stay  "),
        ("language.name", "English             ", "English"),
        ("staff.active", "f", False),
        ("customer.create_date", "2020-02-29", date(2020, 2, 29)),
        (
            "film.last_update",
            "2022-09-10 17:46:03.905795+01",
            datetime(2022, 9, 10, 16, 46, 3, 905795, UTC),
        ),
        (
            "film.last_update",
            "2022-09-10 17:46:03.5+00",
            datetime(2022, 9, 10, 17, 46, 3, 500000, UTC),
        ),
        ("film.last_update", "2006-02-15 04:34:33", datetime(2006, 2, 15, 4, 34, 33, tzinfo=UTC)),
        ("film.special_features", "{}", []),
        ("film.special_features", '{Trailers,"Deleted Scenes"}', ["Trailers", "Deleted Scenes"]),
        (
            "film.special_features",
            '{"a \\"b\\" \\\\","c,d","",e f,"NULL"}',
            ['a "b" \\', "c,d", "", "e f", "NULL"],
        ),
    ],
)
def test_values_take_their_columns_type(column: str, text: str | None, value: Any) -> None:
    table, name = column.split(".")
    assert converter(TABLES[table].columns[name])(text) == value


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("film.film_id", "2147483648"),
        ("film.film_id", "1_000"),
        ("film.film_id", " 1"),
        ("film.film_id", "٣"),
        ("film.film_id", ""),
        ("film.film_id", None),
        ("film.length", "32768"),
        ("film.rental_rate", "100.00"),
        ("film.rental_rate", "0.999"),
        ("film.rental_rate", "NaN"),
        ("film.rental_rate", "1e1"),
        ("film.rating", "X"),
        ("film.title", None),
        ("film.last_update", "infinity"),
        ("film.last_update", "0001-01-01 00:00:00+14"),
        ("film.last_update", "2022-02-30 00:00:00+00"),
        ("customer.create_date", "30.12.2022"),
        ("staff.active", "true"),
        ("language.name", "A language name of 25 chr"),
        ("film.special_features", "Trailers"),
        ("film.special_features", "{Trailers"),
        ("film.special_features", "{Trailers,}"),
        ("film.special_features", "{,Trailers}"),
        ("film.special_features", "{NULL}"),
        ("film.special_features", '{"open}'),
        ("film.special_features", '{"a""b"}'),
        ("film.special_features", "{{a},{b}}"),
        ("film.special_features", "{"),
    ],
)
def test_a_value_that_its_column_cannot_hold_is_refused(column: str, text: str | None) -> None:
    table, name = column.split(".")
    with pytest.raises(ValueError, match=r"is |NULL is not allowed"):
        converter(TABLES[table].columns[name])(text)


def test_every_column_of_pagila_has_a_conversion() -> None:
    for table in TABLES.values():
        for column in table.columns:
            assert callable(converter(column))


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("payment_p2022_01", "payment"),
        ("payment_p2007_12", "payment"),
        ("payment", "payment"),
        ("payment_plan", "payment_plan"),
        ("film", "film"),
        ("archive.payment_p2022_01", "archive.payment_p2022_01"),
    ],
)
def test_partitions_of_payment_are_payment(name: str, table: str) -> None:
    assert pagila_name(name) == table


def test_a_survey_counts_rows_and_puts_tables_behind_those_they_refer_to() -> None:
    survey = survey_dump(SMALL_DUMP)
    assert survey.rows == SMALL_COUNTS
    assert survey.skipped == {"film_review": 2, "archive.film": 1}
    assert survey.total == sum(SMALL_COUNTS.values())
    order = [table for tables in survey.rounds for table in tables]
    assert sorted(order) == sorted(SMALL_COUNTS)
    rounds = {table: place for place, tables in enumerate(survey.rounds) for table in tables}
    assert rounds["film"] > rounds["language"]
    assert rounds["staff"] > rounds["store"]
    assert rounds["rental"] > rounds["inventory"]
    assert all(rounds[table] >= rounds[parent] for table in order for parent in PARENTS[table])


def test_a_survey_names_the_column_that_a_table_lacks(tmp_path: Path) -> None:
    file = _file(tmp_path, b"COPY public.film (film_id, title) FROM stdin;\n1\tx\n\\.\n")
    with pytest.raises(DumpError, match="film comes without language_id, rental_rate") as caught:
        survey_dump(file)
    assert caught.value.line == 2


def test_a_dump_without_rows_of_pagila_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match="no COPY block of a Pagila table"):
        survey_dump(_file(tmp_path, b"INSERT INTO public.film VALUES (1);\n"))


def test_our_own_columns_are_columns_of_ours() -> None:
    for table, columns in OWN_COLUMNS.items():
        assert columns <= set(TABLES[table].columns.keys())
