"""Read the rows of a pg_dump text, plain or gzipped, one after the other.

Only blocks of `COPY table (columns) FROM stdin` are looked at, in COPY's text format
(PostgreSQL manual, "COPY", "Text Format"); every other line is passed over. One line is in
memory at a time.
"""

import gzip
import re
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

MAX_LINE_BYTES = 16 * 2**20
"""A longer line is refused: a file without line ends must not fill the memory."""

_IDENTIFIER = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_COPY = re.compile(
    rf"COPY\s+(?:(?P<schema>{_IDENTIFIER})\.)?(?P<table>{_IDENTIFIER})\s*"
    rf"\((?P<columns>\s*{_IDENTIFIER}(?:\s*,\s*{_IDENTIFIER})*\s*)\)"
    r"\s+FROM\s+stdin\s*;\s*",
    re.IGNORECASE,
)
_COPY_FROM_STDIN = re.compile(rb"COPY\s.*\sFROM\s+stdin\b", re.IGNORECASE)
_CLIENT_ENCODING = re.compile(rb"SET client_encoding = '([^']*)';")
_FIELD = re.compile(rb"(?:[^\t\\]+|\\.)*", re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|(.))", re.DOTALL)
_CONTROLS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_DUMP_MARK = b"-- PostgreSQL database dump"
_DUMP_END = b"-- PostgreSQL database dump complete"
"""pg_dump's last words; without them the file was cut off between two blocks."""
_NULL = b"\\N"
_END = b"\\."


class DumpError(Exception):
    """The dump cannot be read or does not fit, from `line` (counted from 1) on."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line
        self.message = message


class DumpRow(NamedTuple):
    """One row: the line it stands on, its table and the text of each value (None: NULL).

    The table's schema is left out where it is `public`. All rows of one block share the
    same `columns` object.
    """

    line: int
    table: str
    columns: tuple[str, ...]
    values: tuple[str | None, ...]


def read_rows(file: Path) -> Iterator[DumpRow]:
    """Yield the rows of every COPY block in the order of the file.

    Raises DumpError where the file is damaged, cut off, not UTF-8 or in another format of
    pg_dump, and OSError where it cannot be opened.
    """
    lines = _lines(file)
    last, awaits_end = 0, False
    for number, line in lines:
        last = number
        if number == 1:
            _refuse_other_formats(line)
        if line.startswith(_DUMP_MARK):
            awaits_end = not line.startswith(_DUMP_END)
        if line.startswith((b"COPY ", b"copy ")):
            header = _header(number, line)
            if header is not None:
                last = yield from _block(lines, number, *header, crlf=line.endswith(b"\r\n"))
        elif encoding := _CLIENT_ENCODING.match(line):
            _refuse_other_encodings(number, encoding[1].decode("ascii", "replace"))
    if awaits_end:
        raise DumpError(last, f"the file ends before the line {_DUMP_END.decode()!r}")


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with _open(file) as stream:
            while line := stream.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    raise DumpError(number, f"the line is longer than {MAX_LINE_BYTES} bytes")
                yield number, line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DumpError(number + 1, "the gzip data is damaged or cut off from here on") from error


def _open(file: Path) -> IO[bytes]:
    with file.open("rb") as stream:
        is_gzip = stream.read(2) == b"\x1f\x8b"
    return cast("IO[bytes]", gzip.open(file)) if is_gzip else file.open("rb")


def _refuse_other_formats(first_line: bytes) -> None:
    if first_line.startswith((b"PGDMP", b"toc.dat")):
        raise DumpError(
            1,
            "this is pg_dump's custom or tar format; only its plain text is read:"
            " pg_restore --file=plain.sql makes one of it",
        )


def _refuse_other_encodings(number: int, encoding: str) -> None:
    if encoding.upper() not in {"UTF8", "SQL_ASCII"}:
        raise DumpError(
            number, f"the dump is in {encoding}, not in UTF-8: pg_dump --encoding=UTF8 makes one"
        )


def _header(number: int, line: bytes) -> tuple[str, tuple[str, ...]] | None:
    """Return a block's table and columns; None where the line starts no block."""
    if not _COPY_FROM_STDIN.match(line):
        return None
    match = _COPY.fullmatch(_decode(number, line))
    if match is None:
        raise DumpError(
            number,
            "a COPY command of another form than COPY table (columns) FROM stdin;",
        )
    columns = tuple(_name(column) for column in re.findall(_IDENTIFIER, match["columns"]))
    if len(set(columns)) < len(columns):
        raise DumpError(number, "the COPY command names a column twice")
    schema, table = _name(match["schema"] or "public"), _name(match["table"])
    return (table if schema == "public" else f"{schema}.{table}"), columns


def _name(identifier: str) -> str:
    if identifier.startswith('"'):
        return identifier[1:-1].replace('""', '"')
    return identifier.lower()


def _block(
    lines: Iterator[tuple[int, bytes]],
    start: int,
    table: str,
    columns: tuple[str, ...],
    *,
    crlf: bool,
) -> Generator[DumpRow, None, int]:
    """Yield a block's rows; return the number of its last line."""
    line_end = b"\r\n" if crlf else b"\n"
    number = start
    for number, line in lines:
        body = line.removesuffix(line_end)
        if body == _END:
            return number
        values = _values(number, body)
        if len(values) != len(columns):
            raise DumpError(
                number, f"{len(values)} values where table {table} has {len(columns)} columns"
            )
        yield DumpRow(number, table, columns, values)
    raise DumpError(
        number, f"the file ends inside the rows of table {table}, which begin at line {start}"
    )


def _values(number: int, body: bytes) -> tuple[str | None, ...]:
    if b"\\" not in body:
        return tuple(_decode(number, body).split("\t"))
    return tuple(
        None if field == _NULL else _decode(number, _ESCAPE.sub(_unescape, field))
        for field in _split(number, body)
    )


def _split(number: int, body: bytes) -> Iterator[bytes]:
    """Split at tabs, except at one that a backslash makes part of the value."""
    position = 0
    while match := _FIELD.match(body, position):
        yield match[0]
        position = match.end()
        if position == len(body):
            return
        if body[position : position + 1] != b"\t":
            raise DumpError(number, "a backslash stands alone at the end of the line")
        position += 1


def _unescape(match: re.Match[bytes]) -> bytes:
    octal, hexadecimal, character = match.groups()
    if octal is not None:
        return bytes([int(octal, 8) & 0xFF])
    if hexadecimal is not None:
        return bytes([int(hexadecimal, 16)])
    return _CONTROLS.get(character, character)


def _decode(number: int, text: bytes) -> str:
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DumpError(number, "the text is not UTF-8") from error
    if "\0" in decoded:
        raise DumpError(number, "the text holds a NUL character")
    return decoded
