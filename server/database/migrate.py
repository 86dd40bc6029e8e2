"""Bring a database's schema to this version's, one process at a time.

Four replicas may start at once: the first migrates, the others wait and find it done.
Alembic itself has no lock.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from server.core.sqlstate import sqlstate
from server.database.schema import SchemaRefused, is_later, refuse_strangers
from server.database.sqlite import begin_immediate, prepare_sqlite

MIGRATIONS = Path(__file__).parents[2] / "migrations"
_LOCK_KEY = 0x696E74657276
"""Names our advisory lock in PostgreSQL: the bytes of "interv"."""
_LOCK_WAIT_SECONDS = 120
_TABLE_WAIT_SECONDS = 3
"""All that uses a table queues behind who waits to change it; less than a call's own limit."""
_LOCK_NOT_AVAILABLE = "55P03"


async def upgrade(url: str | URL, revision: str = "head") -> None:
    """Migrate forward to a revision; does nothing where the schema is there already.

    Nor where a later version has migrated further and this one may serve the outcome.

    Raises:
        SchemaRefused: the schema is not this program's, or somebody else uses it.
    """
    await _locked(make_url(url), lambda config: _forward(config, revision))


async def downgrade(url: str | URL, revision: str) -> None:
    """Migrate back to a revision (`base`: to an empty schema).

    Raises:
        SchemaRefused: the schema is not of this version, or somebody else uses it.
    """

    def back(config: Config) -> None:
        found = _found(config.attributes["connection"])
        if found is not None and _is_later(config, found):
            raise SchemaRefused(
                f"the database is at revision {found!r} of a later version, which alone can take"
                " it back"
            )
        command.downgrade(config, revision)

    await _locked(make_url(url), back)


async def adopt(url: str | URL) -> None:
    """Take over a database restored from Pagila: its tables stand for revision 0001.

    A database that has a revision, maybe since a moment ago, is only upgraded.

    Raises:
        SchemaRefused: the schema is not this program's, or somebody else uses it.
    """

    def stamp_then_upgrade(config: Config) -> None:
        if _found(config.attributes["connection"]) is None:
            command.stamp(config, "0001")
        _forward(config, "head")

    await _locked(make_url(url), stamp_then_upgrade)


async def verify(url: str | URL) -> str:
    """Return the schema's revision where this program may serve it; changes nothing.

    Raises:
        SchemaRefused: it may not, or the schema must be migrated first.
    """
    async with _connection(make_url(url)) as connection:
        return await connection.run_sync(lambda sync: _servable(_config(sync)))


async def current_revision(url: str | URL) -> str | None:
    """Return the schema's revision; None for a database that was never migrated."""
    async with _connection(make_url(url)) as connection:
        return await connection.run_sync(_found)


def head_revision() -> str:
    """Return the revision that this version of the program needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise RuntimeError(f"no migrations in {MIGRATIONS}")
    return head


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _forward(config: Config, revision: str) -> None:
    connection = config.attributes["connection"]
    found = _found(connection)
    if found is None:
        refuse_strangers(connection)
    elif _is_later(config, found):
        return
    command.upgrade(config, revision)


def _servable(config: Config) -> str:
    connection, head = config.attributes["connection"], head_revision()
    found = _found(connection)
    if found is None:
        refuse_strangers(connection)
    elif found == head or _is_later(config, found):
        return found
    raise SchemaRefused(
        f"the database's schema is at {found or 'nothing'}, this version needs {head}:"
        " run `interview-server migrate` first"
    )


def _found(connection: Connection) -> str | None:
    # More than one is no state of ours; joined, they are a name that nobody knows.
    return ", ".join(MigrationContext.configure(connection).get_current_heads()) or None


def _is_later(config: Config, found: str) -> bool:
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    return is_later(found, known, head_revision())


async def _locked(url: URL, action: Callable[[Config], None]) -> None:
    is_sqlite = url.get_backend_name() == "sqlite"
    lock = _file_lock if is_sqlite else _advisory_lock
    try:
        # One transaction around all of it: Alembic by itself commits after each command, and a
        # stamp must not stay where the upgrade after it fails.
        async with lock(url), _connection(url) as connection, connection.begin():
            if not is_sqlite:
                await connection.execute(text(f"SET LOCAL lock_timeout = '{_TABLE_WAIT_SECONDS}s'"))
            await connection.run_sync(lambda sync: action(_config(sync)))
    except CommandError as error:
        raise SchemaRefused(str(error)) from error
    except DBAPIError as error:
        if sqlstate(error.orig) != _LOCK_NOT_AVAILABLE:
            raise
        raise SchemaRefused(
            "somebody else uses the schema: another migration, a backup or a long transaction;"
            " nothing was changed, try again"
        ) from error


@asynccontextmanager
async def _connection(url: URL, **options: Any) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(url, poolclass=NullPool, hide_parameters=True, **options)
    if url.get_backend_name() == "sqlite":
        await asyncio.to_thread(_make_folder, url)
        # The driver would commit before each CREATE: half a migration could stay behind.
        prepare_sqlite(engine, timedelta(seconds=_TABLE_WAIT_SECONDS))
        begin_immediate(engine)
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


@asynccontextmanager
async def _advisory_lock(url: URL) -> AsyncIterator[None]:
    # On its own connection and outside a transaction: a migration that fails must not
    # leave the lock behind, and one that commits must not let go of it too early.
    async with _connection(url, isolation_level="AUTOCOMMIT") as connection:
        await connection.execute(text(f"SET lock_timeout = '{_LOCK_WAIT_SECONDS}s'"))
        await connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK_KEY})
        yield


@asynccontextmanager
async def _file_lock(url: URL) -> AsyncIterator[None]:
    await asyncio.to_thread(_make_folder, url)
    database = Path(url.database or "")
    side_file = database.with_name(database.name + ".migrate-lock")
    lock = await asyncio.to_thread(_begin_immediate, side_file)
    try:
        yield
    finally:
        await asyncio.to_thread(lock.close)


def _make_folder(url: URL) -> None:
    """Create the database's folder, closed to other users: it will hold password hashes."""
    Path(url.database or "").parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def _begin_immediate(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=_LOCK_WAIT_SECONDS, check_same_thread=False)
    connection.isolation_level = None
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        connection.close()
        raise SchemaRefused(f"another migration holds {file}: {error}") from error
    return connection
