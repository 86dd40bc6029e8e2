"""Read a dump's rows as our tables want them: checked, typed, in batches and in order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Table

from server.catalogue.pagila_dump import DumpError, DumpRow, read_rows
from server.catalogue.pagila_tables import PARENTS, TABLES, pagila_name
from server.catalogue.pagila_values import Converter, converter

BATCH_ROWS = 2000


class TypedRow(NamedTuple):
    """A row ready for its table: the dump's line and the values by column."""

    line: int
    values: dict[str, Any]


class Batch(NamedTuple):
    """Up to BATCH_ROWS rows of one table with the same columns."""

    table: Table
    rows: list[TypedRow]


@dataclass(slots=True)
class _Extent:
    """Where in the file a table's rows are: their number, first and last line."""

    rows: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class DumpSurvey:
    """What a dump holds: rows of each of our tables, rows of others, and a reading order.

    A round is a set of tables that one reading of the file can insert, since each stands
    behind the tables it refers to.
    """

    file: Path
    rows: dict[str, int]
    skipped: dict[str, int]
    rounds: tuple[frozenset[str], ...]

    @property
    def total(self) -> int:
        """Number of rows to import."""
        return sum(self.rows.values())


def survey_dump(file: Path) -> DumpSurvey:
    """Read a dump through, check every value, and count.

    Raises DumpError with the line of the first thing wrong, OSError where the file cannot
    be read.
    """
    if file.exists() and not file.is_file():
        raise OSError(None, "not a regular file", str(file))
    extents: dict[str, _Extent] = {}
    skipped: dict[str, int] = {}
    for batch in read_batches(file, skipped=skipped):
        extent = extents.setdefault(batch.table.name, _Extent(0, batch.rows[0].line, 0))
        extent.rows += len(batch.rows)
        extent.last = batch.rows[-1].line
    if not extents:
        raise DumpError(
            1,
            "no COPY block of a Pagila table in the whole file; a dump made with --inserts or"
            " of the schema alone has none",
        )
    rows = {name: extent.rows for name, extent in extents.items()}
    return DumpSurvey(file, rows, skipped, tuple(_rounds(extents)))


def read_batches(
    file: Path, tables: frozenset[str] | None = None, skipped: dict[str, int] | None = None
) -> Iterator[Batch]:
    """Yield the rows of our tables, or of `tables` alone, in the order of the file.

    The rows of tables that are not ours are counted in `skipped`. Raises what
    `survey_dump` raises.
    """
    for (dump_table, columns), rows in groupby(read_rows(file), attrgetter("table", "columns")):
        name = pagila_name(dump_table)
        table = TABLES.get(name)
        if table is None:
            if skipped is not None:
                skipped[dump_table] = skipped.get(dump_table, 0) + sum(1 for _ in rows)
        elif tables is None or name in tables:
            yield from _typed_batches(table, columns, rows)


def _typed_batches(
    table: Table, columns: tuple[str, ...], rows: Iterator[DumpRow]
) -> Iterator[Batch]:
    converters = [
        (place, column, converter(table.columns[column]))
        for place, column in enumerate(columns)
        if column in table.columns
    ]
    given = {column for _, column, _ in converters}
    needed = [
        column.name
        for column in table.columns
        if not column.nullable and column.server_default is None and column.name not in given
    ]
    while chunk := list(islice(rows, BATCH_ROWS)):
        if needed:
            raise DumpError(chunk[0].line, f"table {table.name} comes without {', '.join(needed)}")
        yield Batch(table, [_typed(table.name, converters, row) for row in chunk])


def _typed(table: str, converters: Sequence[tuple[int, str, Converter]], row: DumpRow) -> TypedRow:
    values: dict[str, Any] = {}
    for place, column, convert in converters:
        try:
            values[column] = convert(row.values[place])
        except ValueError as error:
            raise DumpError(row.line, f"{table}.{column}: {error}") from error
    return TypedRow(row.line, values)


def _rounds(extents: dict[str, _Extent]) -> Iterator[frozenset[str]]:
    """Split tables into rounds so that a table's parents are inserted before it.

    A parent that the dump does not hold is no obstacle: its rows may be in the database.
    """
    waiting = dict(extents)
    while waiting:
        chosen: set[str] = set()
        for name in sorted(waiting, key=lambda name: waiting[name].first):
            parents = PARENTS[name] & waiting.keys()
            if all(
                parent in chosen and waiting[parent].last < waiting[name].first
                for parent in parents
            ):
                chosen.add(name)
        for name in chosen:
            del waiting[name]
        yield frozenset(chosen)
