"""Connections: a pool for reads that commit by themselves and a pool for transactions.

A read is one statement and one round trip: its connections are in AUTOCOMMIT, without
BEGIN, ROLLBACK or a liveness probe before use. A connection that turns out to be dead is
replaced and the read is repeated once; a write is never repeated here, since its outcome
may be unknown.

Taking a connection, running the statement and giving the connection back are one plain
function. On PostgreSQL it runs in one greenlet, on SQLite in a thread: a switch for each of
the three steps would cost more than the statement.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import CursorResult, Engine, Executable, Row, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import greenlet_spawn

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]
Rows = Sequence[Row[Any]]
Read = Callable[[Executable, Mapping[str, Any] | None], Awaitable[Rows]]
"""Runs one statement and returns its rows."""

# AUTOCOMMIT leaves nothing open that would have to be rolled back when a connection returns.
_AUTOCOMMIT: Mapping[str, Any] = {"isolation_level": "AUTOCOMMIT", "pool_reset_on_return": None}
_SQLITE_READ_THREADS = 2
"""More would only wait for each other; one would let a slow read hold up all others."""


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

    async def all(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Rows:
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

    def __init__(self, read: Read) -> None:
        self._read = read

    async def all(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Rows:
        """Return every row."""
        try:
            return await self._read(statement, parameters)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            return await self._read(statement, parameters)

    async def first(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Row[Any] | None:
        """Return the first row or None."""
        rows = await self.all(statement, parameters)
        return rows[0] if rows else None


class Database:
    """The database of one process. `read` for single reads, `write()` for a transaction."""

    def __init__(self, url: str | URL, options: DatabaseOptions | None = None) -> None:
        self.url = make_url(url)
        self._options = options or DatabaseOptions()
        # One writer at a time is SQLite's nature: waiting in our queue is cheaper than
        # polling its lock.
        # A write is never repeated, so its connection is tried first: one that died while it
        # was idle must not cost a caller its change.
        self._writes = self._engine(
            1 if self.is_sqlite else self._options.write_connections,
            pool_pre_ping=not self.is_sqlite,
        )
        if self.is_sqlite:
            prepare_sqlite(self._writes, self._options)
            begin_immediate(self._writes)
            reads = _SqliteReads(self.url, self._options)
            self.read, self._close_reads = ReadSession(reads.read), reads.close
        else:
            engine = self._engine(self._options.read_connections, **_AUTOCOMMIT)
            self.read = ReadSession(partial(greenlet_spawn, _read, engine.sync_engine))
            self._close_reads = engine.dispose

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
        await self._close_reads()
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


class _SqliteReads:
    """Reads in threads of their own, each with the connections that it needs at a time."""

    def __init__(self, url: URL, options: DatabaseOptions) -> None:
        size = min(options.read_connections, _SQLITE_READ_THREADS)
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="sqlite-read")
        plain = url.set(drivername="sqlite")
        self._engine = create_engine(
            plain, pool_size=size, max_overflow=0, hide_parameters=True, **_AUTOCOMMIT
        )
        prepare_sqlite(self._engine, options)

    def read(self, statement: Executable, parameters: Mapping[str, Any] | None) -> Awaitable[Rows]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._threads, _read, self._engine, statement, parameters)

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown)
        self._engine.dispose()


def _read(engine: Engine, statement: Executable, parameters: Mapping[str, Any] | None) -> Rows:
    with engine.connect() as connection:
        return connection.execute(statement, parameters).all()


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


def prepare_sqlite(engine: AsyncEngine | Engine, options: DatabaseOptions) -> None:
    """Set up each new connection: WAL, durable commits, foreign keys, waiting for the lock."""
    timeout = int(options.lock_timeout.total_seconds() * 1000)
    target = engine.sync_engine if isinstance(engine, AsyncEngine) else engine

    @event.listens_for(target, "connect")
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
