"""Import a dump of Pagila: read it, bring its tables into order, insert what is new.

The file is read twice or more often: once to check every value before the database is
touched, then once for each round of tables. Rows are never kept beyond a batch.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import text

from server.catalogue.loaded import films_loaded
from server.catalogue.pagila_rows import DumpSurvey, read_batches
from server.catalogue.pagila_tables import TABLES
from server.catalogue.row_store import RowStore
from server.database.engine import Database, WriteSession
from server.database.sequences import advance_sequences

Progress = Callable[[int, int], None]
"""Is told how many rows are done and how many there are."""

# Readers go on; a second import waits and then finds every row there. SQLite has one writer
# at a time anyway.
_LOCK_TABLES = text(f"LOCK TABLE {', '.join(TABLES)} IN SHARE ROW EXCLUSIVE MODE")


@dataclass(slots=True)
class TableCount:
    """Rows of one table: read from the dump, and inserted since they were not there."""

    read: int = 0
    inserted: int = 0


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """Outcome of an import: counts by table in the order of the dump, and tables passed over."""

    tables: dict[str, TableCount]
    skipped: dict[str, int] = field(default_factory=dict)

    @property
    def inserted(self) -> int:
        """Number of rows that were not there before."""
        return sum(count.inserted for count in self.tables.values())


async def import_dump(
    database: Database, survey: DumpSurvey, progress: Progress | None = None
) -> ImportSummary:
    """Insert the rows that are not there yet, in one transaction.

    Raises DumpError, and leaves the database as it was, where a row is there with other
    values or where the database refuses one (a reference to nothing, a key used twice).
    """
    summary = ImportSummary({name: TableCount() for name in survey.rows}, survey.skipped)
    async with database.write() as write:
        if not database.is_sqlite:
            await write.execute(_LOCK_TABLES)
        films = await _insert_rounds(write, survey, summary, progress)
        if not database.is_sqlite:
            changed = [TABLES[name] for name, count in summary.tables.items() if count.inserted]
            await advance_sequences(write, changed)
        if summary.inserted:
            await films_loaded(write, is_sqlite=database.is_sqlite, film_ids=films)
    return summary


async def _insert_rounds(
    write: WriteSession, survey: DumpSurvey, summary: ImportSummary, progress: Progress | None
) -> list[int]:
    """Insert every round of tables; return the numbers of the films that are new."""
    store = RowStore(write)
    films: list[int] = []
    done = 0
    for tables in survey.rounds:
        batches = read_batches(survey.file, tables)
        while batch := await asyncio.to_thread(next, batches, None):
            name = batch.table.name
            fresh = await store.add(batch)
            if name == "film":
                films += [row.values["film_id"] for row in fresh]
            summary.tables[name].read += len(batch.rows)
            summary.tables[name].inserted += len(fresh)
            done += len(batch.rows)
            if progress is not None:
                progress(done, survey.total)
    return films
