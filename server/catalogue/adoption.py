"""Take over a PostgreSQL database that was restored from Pagila.

The schema gets what this service adds; no row of Pagila is written.
"""

from dataclasses import dataclass

from sqlalchemy import func, select, text

from server.catalogue.loaded import films_loaded
from server.catalogue.models import Film
from server.catalogue.pagila_tables import OWN_COLUMNS, TABLES
from server.database import migrate
from server.database.base import Base
from server.database.engine import Database
from server.database.schema import SchemaRefused

_COLUMNS = text(
    "SELECT c.relname, a.attname FROM pg_class c"
    " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
    " WHERE c.relnamespace = to_regnamespace(current_schema()) AND c.relkind IN ('r', 'p')"
)
_INDEXED_FILMS = text("SELECT count(*) FROM film_fts")
_SEARCH_INDEX = "film_fts"


class AdoptionRefused(Exception):
    """The database is not one that can be adopted; the message says why."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """Outcome: the revision before (None: a Pagila as restored) and after, films indexed."""

    previous: str | None
    revision: str
    indexed: int


async def adopt(database: Database) -> Adoption:
    """Bring a restored Pagila, or one adopted earlier, to this version's schema.

    Raises AdoptionRefused, with the database as it was, where it is not PostgreSQL, lacks
    a table or column, or holds something under a name that this service needs.
    """
    if database.is_sqlite:
        raise AdoptionRefused(
            "only a PostgreSQL database can be adopted: set DATABASE_URL to the one that"
            " Pagila was restored into"
        )
    previous = await migrate.current_revision(database.url)
    try:
        if previous is None:
            await _check(database)
            await migrate.adopt(database.url)
        else:
            await migrate.upgrade(database.url)
    except SchemaRefused as error:
        raise AdoptionRefused(str(error)) from error
    revision = await migrate.verify(database.url)
    return Adoption(previous, revision, await _index(database, is_new=previous != revision))


async def holds_pagila(database: Database) -> bool:
    """Tell whether this is a PostgreSQL database with Pagila's tables and no revision yet."""
    if database.is_sqlite or await migrate.current_revision(database.url) is not None:
        return False
    return not TABLES.keys().isdisjoint(await _columns_by_table(database))


async def _check(database: Database) -> None:
    present = await _columns_by_table(database)
    if TABLES.keys().isdisjoint(present):
        raise AdoptionRefused(
            "the database holds none of Pagila's tables: restore Pagila into it first, or start"
            " with an empty schema by `interview-server migrate`"
        )
    missing = _missing(present)
    if missing:
        raise AdoptionRefused(f"the database is not a whole Pagila: {', '.join(missing)} missing")
    clashing = _clashing(present)
    if clashing:
        raise AdoptionRefused(
            f"the database already holds {', '.join(clashing)}, which adopting would create"
        )


async def _columns_by_table(database: Database) -> dict[str, set[str]]:
    present: dict[str, set[str]] = {}
    for column in await database.read.all(_COLUMNS):
        present.setdefault(column.relname, set()).add(column.attname)
    return present


def _missing(present: dict[str, set[str]]) -> list[str]:
    missing: list[str] = []
    for name, table in TABLES.items():
        if name not in present:
            missing.append(f"table {name}")
            continue
        wanted = [column.name for column in table.columns]
        lacking = set(wanted) - OWN_COLUMNS.get(name, frozenset()) - present[name]
        missing += [f"column {name}.{column}" for column in wanted if column in lacking]
    return missing


def _clashing(present: dict[str, set[str]]) -> list[str]:
    tables = {*Base.metadata.tables, _SEARCH_INDEX} - TABLES.keys()
    return [f"table {name}" for name in sorted(tables & present.keys())] + [
        f"column {name}.{column}"
        for name, columns in OWN_COLUMNS.items()
        for column in sorted(columns & present[name])
    ]


async def _index(database: Database, *, is_new: bool) -> int:
    """Return how many films were indexed: all where the schema is new, by its migration.

    Else all, where films came or went past the service, or none.
    """
    async with database.write() as write:
        films = await write.first(select(func.count()).select_from(Film))
        indexed = await write.first(_INDEXED_FILMS)
        if films == indexed:
            return int(indexed[0]) if is_new and indexed is not None else 0
        return await films_loaded(write, is_sqlite=False)
