"""Importing a dump of Pagila into an empty and into a filled database."""

import asyncio
import gzip
import io
import re
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from server.catalogue.commands import adopt, import_pagila
from server.catalogue.models import Film
from server.catalogue.pagila_tables import OWN_COLUMNS, TABLES
from server.database import migrate
from tests.support.pagila import (
    REAL_COUNTS,
    REAL_DUMP,
    SMALL_COUNTS,
    SMALL_DUMP,
    SMALL_SCHEMA,
    checksums,
    connect,
    needs_real_pagila,
    restore,
)
from tests.support.pagila_import import (
    changed_dump,
    file_of,
    films_indexed_under,
    is_sqlite,
    opened,
    pagila_content,
    row_counts,
    run_import,
)


async def test_a_dump_fills_an_empty_database(empty_database_url: str) -> None:
    code, out, err = await run_import(empty_database_url)
    assert (code, err) == (0, "")
    assert await row_counts(empty_database_url) == SMALL_COUNTS
    lines = out.splitlines()
    assert lines[0].split() == ["table", "read", "new"]
    assert {line.split()[0]: line.split()[1:] for line in lines[1:16]} == {
        name: [str(count)] * 2 for name, count in SMALL_COUNTS.items()
    }
    assert len({len(line) for line in lines[:17]}) == 1
    assert lines[17:19] == [
        "skipped table film_review (2 rows)",
        "skipped table archive.film (1 rows)",
    ]
    assert re.fullmatch(r"imported 6 films, 43 rows in \d+\.\d s", lines[19])


async def test_every_value_arrives_as_postgresql_restores_it(
    empty_database_url: str, postgresql_url: str
) -> None:
    await restore(postgresql_url, SMALL_SCHEMA, SMALL_DUMP)
    assert await adopt(postgresql_url, out=io.StringIO(), err=io.StringIO()) == 0
    await run_import(empty_database_url)
    imported, restored = (
        await pagila_content(empty_database_url),
        await pagila_content(postgresql_url),
    )
    for name in TABLES:
        assert imported[name] == restored[name], name


async def test_our_own_columns_have_their_defaults(empty_database_url: str) -> None:
    await run_import(empty_database_url)
    async with opened(empty_database_url) as database:
        rows = await database.read.all(
            select(Film.create_time, Film.streaming_available, Film.revision).distinct()
        )
    assert [tuple(row) for row in rows] == [(None, False, 1)]


async def test_own_columns_are_those_that_the_first_migration_does_not_make(
    empty_database_url: str,
) -> None:
    await migrate.upgrade(empty_database_url, "0001")
    async with opened(empty_database_url) as database:
        for name, table in TABLES.items():
            own = OWN_COLUMNS.get(name, frozenset())
            there = [column for column in table.columns if column.name not in own]
            assert await database.read.all(select(*there)) == []
            for column in own:
                with pytest.raises(Exception, match=column):
                    await database.read.all(select(table.columns[column]))


async def test_imported_films_are_found_by_their_words(empty_database_url: str) -> None:
    await run_import(empty_database_url)
    assert await films_indexed_under(empty_database_url, "lighthouses") == [1]
    assert await films_indexed_under(empty_database_url, "cafe amore") == [3]
    assert await films_indexed_under(empty_database_url, "cafe") == [3]
    assert await films_indexed_under(empty_database_url, "uberfahrt") == [4]
    assert await films_indexed_under(empty_database_url, "moon leaves") == [9]
    assert await films_indexed_under(empty_database_url, "slash thirds") == [2]
    assert await films_indexed_under(empty_database_url, "moon lighthouse") == []


async def test_a_second_run_changes_nothing(empty_database_url: str) -> None:
    await run_import(empty_database_url)
    before = await pagila_content(empty_database_url)
    stored = None if is_sqlite(empty_database_url) else await checksums(empty_database_url)
    code, out, err = await run_import(empty_database_url)
    assert (code, err) == (0, "")
    assert out.splitlines()[1].split()[2] == "0"
    assert out.splitlines()[-1].startswith("nothing is new: every row was there already")
    assert await pagila_content(empty_database_url) == before
    assert await films_indexed_under(empty_database_url, "moon") == [9]
    if stored is not None:
        assert await checksums(empty_database_url) == stored


async def test_a_second_dump_adds_what_is_new(empty_database_url: str, tmp_path: Path) -> None:
    await run_import(empty_database_url)
    row = "9\tMOON FERRY"
    line = next(ln for ln in SMALL_DUMP.read_text().split("\n") if ln.startswith(row))
    new = line.replace(row, "10\tSUN FERRY")
    code, out, _ = await run_import(
        empty_database_url, changed_dump(tmp_path, line, f"{line}\n{new}")
    )
    assert code == 0
    assert out.splitlines()[-1].startswith("imported 1 films, 1 rows")
    assert await films_indexed_under(empty_database_url, "ferry") == [9, 10]


async def test_keys_count_on_after_the_imported_ones(empty_database_url: str) -> None:
    await run_import(empty_database_url)
    async with opened(empty_database_url) as database, database.write() as write:
        for name, values, expected in (
            ("actor", {"first_name": "A", "last_name": "B"}, 8),
            ("category", {"name": "New"}, 3),
            (
                "staff",
                {
                    "first_name": "A",
                    "last_name": "B",
                    "address_id": 1,
                    "store_id": 1,
                    "username": "x",
                },
                2,
            ),
        ):
            result = await write.execute(insert(TABLES[name]).values(values))
            assert result.inserted_primary_key == (expected,)


async def test_nothing_of_staff_passwords_is_kept(empty_database_url: str) -> None:
    secret = b"5ecre7ha5h0f"
    assert SMALL_DUMP.read_bytes().count(secret) == 2
    await run_import(empty_database_url)
    whole = (
        b"".join(file.read_bytes() for file in file_of(empty_database_url).parent.iterdir())
        if is_sqlite(empty_database_url)
        else await _every_row(empty_database_url)
    )
    assert b"ada.quill" in whole
    assert secret not in whole


async def _every_row(url: str) -> bytes:
    connection = await connect(url)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname='public'")
        rows = [await connection.fetch(f'SELECT t::text FROM "{table[0]}" t') for table in tables]
    finally:
        await connection.close()
    return str(rows).encode()


async def test_a_dump_made_on_windows_or_packed_is_the_same_dump(
    empty_database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "without-a-suffix"
    file.write_bytes(gzip.compress(SMALL_DUMP.read_bytes().replace(b"\n", b"\r\n")))
    assert (await run_import(empty_database_url, file))[0] == 0
    code, out, _ = await run_import(empty_database_url)
    assert (code, out.splitlines()[-1][:14]) == (0, "nothing is new")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def test_progress_is_one_line_that_is_wiped_at_the_end(empty_database_url: str) -> None:
    out, terminal = io.StringIO(), _Terminal()
    assert await import_pagila(empty_database_url, SMALL_DUMP, out=out, err=terminal) == 0
    frames = terminal.getvalue().split("\r")
    assert "\n" not in terminal.getvalue()
    assert frames[0] == ""
    assert "of 43 rows" in frames[1]
    assert frames[-3].endswith("#] 43 of 43 rows")
    assert frames[-2].strip() == ""
    assert frames[-1] == ""


@needs_real_pagila
async def test_the_real_dump_arrives_whole(empty_database_url: str) -> None:
    code, out, err = await run_import(empty_database_url, REAL_DUMP)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith("imported 1000 films, 49636 rows")
    assert await row_counts(empty_database_url) == REAL_COUNTS
    async with opened(empty_database_url) as database:
        payments = await database.read.all(select(func.sum(TABLES["payment"].c.amount)))
        assert str(payments[0][0]) == "67416.51"
        dinosaur = await database.read.first(select(Film).where(Film.film_id == 1))
        languages = await database.read.all(select(TABLES["language"].c.name).order_by("name"))
    assert dinosaur is not None
    assert dinosaur.special_features == ["Deleted Scenes", "Behind the Scenes"]
    assert [row.name for row in languages][:2] == ["English", "French"]
    assert await films_indexed_under(empty_database_url, "dinosaur academy") == [1]
    code, out, _ = await run_import(empty_database_url, REAL_DUMP)
    assert (code, out.splitlines()[-1][:14]) == (0, "nothing is new")
    assert await row_counts(empty_database_url) == REAL_COUNTS


async def test_two_imports_at_once_insert_each_row_once(empty_database_url: str) -> None:
    await migrate.upgrade(empty_database_url)
    both = await asyncio.gather(run_import(empty_database_url), run_import(empty_database_url))
    assert [code for code, _, _ in both] == [0, 0]
    assert sorted(out.splitlines()[-1].split(" ")[0] for _, out, _ in both) == [
        "imported",
        "nothing",
    ]
    assert await row_counts(empty_database_url) == SMALL_COUNTS
