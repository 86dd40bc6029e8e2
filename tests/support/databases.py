"""Making, filling and copying databases for tests."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
from sqlalchemy.engine import make_url

from server.catalogue.sample import read_sample_films
from server.catalogue.sample_loader import load_sample
from server.core.clock import utc_now
from server.database import migrate
from server.database.engine import Database


def run_apart(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end in a thread: a fixture may be asked for from inside a running loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


async def migrated(url: str, *, sample: bool) -> None:
    """Migrate a database and, where asked for, load the sample films."""
    await migrate.upgrade(url)
    if sample:
        database = Database(url)
        await load_sample(database, read_sample_films(), utc_now)
        await database.close()


async def execute(server: str, statement: str) -> None:
    """Run a statement on PostgreSQL, outside a transaction."""
    connection = await asyncpg.connect(plain(server))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@asynccontextmanager
async def postgres_copy(server: str, template: str) -> AsyncIterator[str]:
    """Yield the URL of a copy of a database of that server, dropped afterwards."""
    name = f"test_{uuid4().hex}"
    await execute(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield named(server, name)
    await execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def named(server: str, database: str) -> str:
    """Return the URL of another database of the same server."""
    return make_url(server).set(database=database).render_as_string(hide_password=False)


def plain(url: str) -> str:
    """Return a PostgreSQL URL as asyncpg itself takes it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
