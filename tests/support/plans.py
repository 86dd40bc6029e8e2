"""How the databases find rows: the statements that ran, their plans, and what is wrong in them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copy
from typing import Any, Final

import orjson
import pytest
from sqlalchemy import Executable, Row
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ClauseElement

from server.catalogue.film_counts import recount
from server.database.engine import Database
from server.database.reads import ReadSession, Rows
from tests.support.databases import postgres_copy

BIG_TABLES: Final = ("film", "film_actor", "film_category", "film_fts", "search_variant")
"""Tables that grow with the catalogue."""
RATINGS: Final = ("G", "PG", "PG-13", "R", "NC-17")

_SERIES: Final = {
    True: "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) ",
    False: "WITH n(i) AS (SELECT generate_series(1, {count})) ",
}
_OTHERS: Final = (
    "INSERT INTO language (language_id, name) VALUES (1, 'English'), (2, 'Italian')",
    "INSERT INTO category (category_id, name) {categories} SELECT i, 'Category ' || i FROM n",
    (
        "INSERT INTO actor (actor_id, first_name, last_name) {actors}"
        " SELECT i, 'GIVEN' || i, 'FAMILY' || (i * 77 % 101) FROM n"
    ),
)
# Numbers in no order: those that are multiplied share no factor with those behind the %.
_FILMS: Final = """
    INSERT INTO film (film_id, title, description, release_year, language_id, rental_duration,
        rental_rate, length, replacement_cost, rating, special_features, streaming_available,
        create_time, last_update, delete_time)
    {films} SELECT i, 'TITLE ' || (i * 7919 % 1000003), 'about ' || i,
        CASE WHEN i % 17 = 0 THEN NULL ELSE 1950 + i * 31 % 70 END, 1 + i % 2, 3 + i % 5,
        {rate}, CASE WHEN i % 19 = 0 THEN NULL ELSE 40 + i * 13 % 160 END, {cost},
        CASE i * 7 % 6 {ratings} END, {features}, i % 2 = 0,
        CASE WHEN i % 3 = 0 THEN NULL ELSE {moment} END, {moment},
        CASE WHEN i % 50 = 0 THEN {moment} ELSE NULL END
    FROM n
"""
_CATEGORY: Final = """
    INSERT INTO film_category (film_id, category_id) {films}
    SELECT i, 1 + (i * 7 + {part}) % 16 FROM n
"""
_ACTOR: Final = """
    INSERT INTO film_actor (film_id, actor_id) {films}
    SELECT i, 1 + (i * 13 + {part}) % 200 FROM n
"""
_WORDS: Final = {
    True: {
        "rate": "99 + i * 11 % 10 * 100",
        "cost": "999 + i * 23 % 20 * 100",
        "features": "'[]'",
        "moment": "strftime('%Y-%m-%d %H:%M:%S.000000', 1700000000 + i * 7919 % 20000000,"
        " 'unixepoch')",
        "ratings": " ".join(f"WHEN {n} THEN '{name}'" for n, name in enumerate(RATINGS)),
    },
    False: {
        "rate": "0.99 + i * 11 % 10",
        "cost": "9.99 + i * 23 % 20",
        "features": "CAST('{}' AS text[])",
        "moment": "to_timestamp(1700000000 + CAST(i AS bigint) * 7919 % 20000000)",
        "ratings": " ".join(
            f"WHEN {n} THEN CAST('{name}' AS mpaa_rating)" for n, name in enumerate(RATINGS)
        ),
    },
}


async def fill_films(database: Database, count: int) -> None:
    """Put that many films into a database without any, with what they refer to.

    Each is in 2 of 16 categories and has 3 of 200 actors; one in 50 is deleted. The search index
    stays empty.
    """
    numbers = {"films": count, "categories": 16, "actors": 200}
    series = {
        name: _SERIES[database.is_sqlite].format(count=number) for name, number in numbers.items()
    }
    words = _WORDS[database.is_sqlite] | series
    statements = [statement.format(**words) for statement in (*_OTHERS, _FILMS)]
    statements += [_CATEGORY.format(**series, part=part) for part in (0, 5)]
    statements += [_ACTOR.format(**series, part=part) for part in (0, 71, 142)]
    async with database.write() as write:
        for statement in statements:
            await write.connection.exec_driver_sql(statement)
        await recount(write)
        if not database.is_sqlite:  # which knows nothing of its rows when the service runs
            await write.connection.exec_driver_sql("ANALYZE")


@asynccontextmanager
async def filled(
    request: pytest.FixtureRequest, folder: Path, count: int
) -> AsyncIterator[Database]:
    """Yield a database of the kind `request.param` with that many films."""
    async with AsyncExitStack() as stack:
        if request.param == "sqlite":
            copy(request.getfixturevalue("sqlite_templates")["migrated"], folder / "big.db")
            url = f"sqlite+aiosqlite:///{folder / 'big.db'}"
        else:
            server: str = request.getfixturevalue("postgres_server")
            template: str = request.getfixturevalue("postgres_templates")["migrated"]
            url = await stack.enter_async_context(postgres_copy(server, template))
        database = Database(url)
        stack.push_async_callback(database.close)
        await fill_films(database, count)
        yield database


class Recording(ReadSession):
    """Reads that are remembered with their parameters."""

    def __init__(self, reads: ReadSession) -> None:
        self._inner = reads
        self.ran: list[tuple[Executable, Mapping[str, Any] | None]] = []

    async def all(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Rows:
        """Run it and return every row."""
        self.ran.append((statement, parameters))
        return await self._inner.all(statement, parameters)

    async def first(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Row[Any] | None:
        """Run it and return the first row or None."""
        self.ran.append((statement, parameters))
        return await self._inner.first(statement, parameters)


def record(database: Database) -> Recording:
    """Remember what is read from now on: build what reads the database after this."""
    recording = Recording(database.read)
    database.read = recording
    return recording


class Explained(Executable, ClauseElement):
    """How the database runs a statement: on PostgreSQL it runs it for that."""

    inherit_cache = False

    def __init__(self, statement: Any) -> None:
        self.statement = statement


@compiles(Explained)
def _explain(element: Explained, compiler: Any, **kwargs: Any) -> str:
    statement = compiler.process(element.statement, **kwargs)
    return f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}"


@compiles(Explained, "sqlite")
def _explain_query_plan(element: Explained, compiler: Any, **kwargs: Any) -> str:
    statement = compiler.process(element.statement, **kwargs)
    compiler._result_columns.clear()  # types of what the statement itself returns
    return f"EXPLAIN QUERY PLAN {statement}"


@dataclass(frozen=True)
class Plan:
    """A plan's steps as text, and what no read of a big table may do."""

    steps: Sequence[str]
    faults: Sequence[str] = field(default=())

    def __str__(self) -> str:
        return "\n".join(self.steps)


async def plans(
    database: Database, recording: Recording, *, at_most: int, by_number: bool = False
) -> list[Plan]:
    """Return the plans of all that was recorded, and forget it.

    A fault is a scan of a big table that no index leads, a sort of what was found otherwise than
    by an equal key, and on PostgreSQL a step that reads more than `at_most` rows of one. With
    `by_number` films may be read in the order of their numbers, which SQLite calls a scan.
    """
    ran, found = [*recording.ran], []
    for statement, parameters in ran:
        rows = await database.read.all(Explained(statement), parameters)
        plan = _sqlite(rows, by_number=by_number) if database.is_sqlite else None
        found.append(plan or _postgresql(rows, at_most))
    recording.ran.clear()
    return found


def _sqlite(rows: Rows, *, by_number: bool) -> Plan:
    steps = [row.detail for row in rows]
    faults = [step for step in steps if _scans(step) and not (by_number and step == "SCAN film")]
    for parent in {row.parent for row in rows}:
        level = [row.detail for row in rows if row.parent == parent]
        sorts = [step for step in level if step == "USE TEMP B-TREE FOR ORDER BY"]
        reads = [step for step in level if _reads(step) and not step.endswith("=?)")]
        faults += [f"{step}, of {reads}" for step in sorts if reads]
    return Plan(steps, faults)


def _scans(step: str) -> bool:
    return step.startswith("SCAN ") and step.split()[1] in BIG_TABLES and " USING " not in step


def _reads(step: str) -> bool:
    return step.startswith(("SCAN ", "SEARCH ")) and step.split()[1] in BIG_TABLES


def _postgresql(rows: Rows, at_most: int) -> Plan:
    plan = rows[0][0]
    root = (orjson.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]
    steps: list[str] = []
    faults: list[str] = []
    waiting = [(root, 0)]
    while waiting:
        node, depth = waiting.pop()
        read = node["Actual Loops"] * sum(
            node.get(key, 0)
            for key in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter")
        )
        name = f"{node['Node Type']} {node.get('Relation Name', '')} {node.get('Index Name', '')}"
        step = f"{'  ' * depth}{name} {node.get('Index Cond', '')}: {read} rows"
        steps.append(step)
        relation = node.get("Relation Name")
        if relation in BIG_TABLES and (node["Node Type"] == "Seq Scan" or read > at_most):
            faults.append(step.strip())
        waiting += [(part, depth + 1) for part in node.get("Plans", ())]
    return Plan(steps, faults)
