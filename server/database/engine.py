"""Connections: a pool for reads that commit by themselves and a pool for transactions.

A read is one statement and one round trip: its connections are in AUTOCOMMIT, without
BEGIN, ROLLBACK or a liveness probe before use. A connection that turns out to be dead is
replaced and the read is repeated once; a write is never repeated here, since its outcome
may be unknown.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import CursorResult, Executable, Row, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    """Sizes and time limits. On SQLite only the sizes and `lock_timeout` apply."""

    read_connections: int = 8
    write_connections: int = 4
    pool_timeout: timedelta = timedelta(seconds=1)
    connect_timeout: timedelta = timedelta(seconds=2)
    command_timeout: timedelta = timedelta(seconds=4)
    statement_timeout: timedelta = timedelta(seconds=5)
    lock_timeout: timedelta = timedelta(seconds=5)
    idle_in_transaction_timeout: timedelta = timedelta(seconds=10)


class WriteSession:
    """A transaction that is open: committed when its block ends well, else rolled back."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def execute(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> CursorResult[Any]:
        """Run a statement; a list of parameter sets runs it for each."""
        return await self._connection.execute(statement, parameters)

    async def all(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Row[Any]]:
        """Return every row."""
        return (await self._connection.execute(statement, parameters)).all()

    async def first(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Row[Any] | None:
        """Return the first row or None."""
        return (await self._connection.execute(statement, parameters)).first()

    @property
    def connection(self) -> AsyncConnection:
        """The connection itself, for what only a driver can do (bulk copy)."""
        return self._connection


class ReadSession:
    """Single reads, each on its own."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def all(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Row[Any]]:
        """Return every row."""
        try:
            return await self._all_once(statement, parameters)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            return await self._all_once(statement, parameters)

    async def first(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Row[Any] | None:
        """Return the first row or None."""
        rows = await self.all(statement, parameters)
        return rows[0] if rows else None

    async def _all_once(
        self, statement: Executable, parameters: Mapping[str, Any] | None
    ) -> Sequence[Row[Any]]:
        async with self._engine.connect() as connection:
            return (await connection.execute(statement, parameters)).all()


class Database:
    """The database of one process. `read` for single reads, `write()` for a transaction."""

    def __init__(self, url: str | URL, options: DatabaseOptions | None = None) -> None:
        self.url = make_url(url)
        self._options = options or DatabaseOptions()
        self._reads = self._engine(self._options.read_connections, isolation_level="AUTOCOMMIT")
        # One writer at a time is SQLite's nature: waiting in our queue is cheaper than
        # polling its lock.
        writers = 1 if self.is_sqlite else self._options.write_connections
        self._writes = self._engine(writers)
        self.read = ReadSession(self._reads)
        if self.is_sqlite:
            prepare_sqlite(self._reads, self._options)
            prepare_sqlite(self._writes, self._options)
            begin_immediate(self._writes)

    @property
    def is_sqlite(self) -> bool:
        """Tell which of the two databases this is."""
        return self.url.get_backend_name() == "sqlite"

    @asynccontextmanager
    async def write(self) -> AsyncIterator[WriteSession]:
        """Open a transaction for the block."""
        async with self._writes.begin() as connection:
            yield WriteSession(connection)

    async def close(self) -> None:
        """Close every connection."""
        await self._reads.dispose()
        await self._writes.dispose()

    def _engine(self, size: int, **options: Any) -> AsyncEngine:
        seconds = self._options.pool_timeout.total_seconds()
        if self.is_sqlite:
            seconds = self._options.lock_timeout.total_seconds()
        return create_async_engine(
            self.url,
            pool_size=size,
            max_overflow=0,
            pool_timeout=seconds,
            hide_parameters=True,
            connect_args={} if self.is_sqlite else _asyncpg_arguments(self._options),
            **options,
        )


def _asyncpg_arguments(options: DatabaseOptions) -> dict[str, Any]:
    def milliseconds(span: timedelta) -> str:
        return str(int(span.total_seconds() * 1000))

    return {
        "timeout": options.connect_timeout.total_seconds(),
        "command_timeout": options.command_timeout.total_seconds(),
        "server_settings": {
            "application_name": "interview-server",
            "jit": "off",
            "statement_timeout": milliseconds(options.statement_timeout),
            "lock_timeout": milliseconds(options.lock_timeout),
            "idle_in_transaction_session_timeout": milliseconds(
                options.idle_in_transaction_timeout
            ),
        },
    }


def prepare_sqlite(engine: AsyncEngine, options: DatabaseOptions) -> None:
    """Set up each new connection: WAL, durable commits, foreign keys, waiting for the lock."""
    timeout = int(options.lock_timeout.total_seconds() * 1000)

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        # The driver must not begin transactions by itself: it does so too late, after the
        # first read of a read-then-write, and updates are lost.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {timeout}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()


def begin_immediate(engine: AsyncEngine) -> None:
    """Begin each transaction as a writer, so that a read-then-write loses no update."""

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
