"""Connections: a pool for reads that commit by themselves and a pool for transactions.

A connection that turns out to be dead is replaced and a read is repeated once. A write is
repeated only where the database itself says that it undid it: of any other error the outcome
may be unknown.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from random import random
from typing import Any, TypeVar

from sqlalchemy import CursorResult, Executable, Row, literal, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from server.core.sqlstate import is_conflict
from server.core.telemetry import Silent, Telemetry, Timed
from server.database import postgresql
from server.database.names import name_of, named
from server.database.reads import AUTOCOMMIT, GreenletReads, PoolState, Reads, ReadSession, Rows
from server.database.snapshot import PostgresSnapshots, Snapshot, Snapshots, SqliteSnapshots
from server.database.sqlite import RollingBack, SqliteReads, begin_immediate, prepare_sqlite

T = TypeVar("T")

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]

_SQLITE_READ_THREADS = 2
"""More would only wait for each other; one would let a slow read hold up all others."""
_PAUSE_SECONDS = 0.05
"""Before a transaction is repeated: at most this, and twice as long each time."""
_PING = named("database.ping", select(literal(1)))


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    """Sizes and time limits. On SQLite only the sizes, `lock_timeout` and `tries` apply.

    `tries` is how often at most a transaction is run that meets another one. A snapshot's client
    may take its time between two statements: `snapshot_idle_timeout` is for that.
    """

    read_connections: int = 8
    write_connections: int = 4
    snapshot_connections: int = 4
    pool_timeout: timedelta = timedelta(seconds=1)
    connect_timeout: timedelta = timedelta(seconds=2)
    command_timeout: timedelta = timedelta(seconds=4)
    statement_timeout: timedelta = timedelta(seconds=5)
    lock_timeout: timedelta = timedelta(seconds=4)
    idle_in_transaction_timeout: timedelta = timedelta(seconds=10)
    snapshot_statement_timeout: timedelta = timedelta(seconds=20)
    snapshot_idle_timeout: timedelta = timedelta(seconds=60)
    tries: int = 3

    @property
    def busy_timeout(self) -> timedelta:
        """How long a try waits for SQLite's one writer: `lock_timeout` is for all of them."""
        return self.lock_timeout / self.tries


class WriteSession:
    """A transaction that is open: committed when its block ends well, else rolled back."""

    def __init__(self, connection: AsyncConnection, telemetry: Telemetry) -> None:
        self._connection = connection
        self._telemetry = telemetry

    async def execute(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> CursorResult[Any]:
        """Run a statement; a list of parameter sets runs it for each."""
        with Timed(self._telemetry.statement, name_of(statement)):
            return await self._connection.execute(statement, parameters)

    async def all(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Rows:
        """Return every row."""
        return (await self.execute(statement, parameters)).all()

    async def first(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Row[Any] | None:
        """Return the first row or None."""
        return (await self.execute(statement, parameters)).first()

    @property
    def connection(self) -> AsyncConnection:
        """The connection itself, for what only a driver can do (bulk copy)."""
        return self._connection


class Database:
    """The database of one process. `read` for single reads, `transaction` for changes.

    `chance` returns numbers from 0 up to 1 and `sleep` waits for seconds: between the tries of
    a transaction.
    """

    def __init__(
        self,
        url: str | URL,
        options: DatabaseOptions | None = None,
        *,
        telemetry: Telemetry | None = None,
        chance: Callable[[], float] = random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.url = make_url(url)
        self._options = options or DatabaseOptions()
        self._telemetry = telemetry or Silent()
        self._chance = chance
        self._sleep = sleep
        self._writes = self._writing_engine()
        self._reads = self._reads_of(self._options.read_connections)
        self.read = ReadSession(self._reads, self._telemetry)
        self._probe = self._reads_of(1)
        self._snapshots = self._built_snapshots()

    @property
    def is_sqlite(self) -> bool:
        """Tell which of the two databases this is."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def pools(self) -> Sequence[PoolState]:
        """The pools and how many of their connections are at work."""
        return [
            PoolState.of("read", self._reads.pool),
            PoolState.of("write", self._writes.pool),
            PoolState.of("snapshot", self._snapshots.pool),
        ]

    async def transaction(self, work: Callable[[WriteSession], Awaitable[T]]) -> T:
        """Run the work in a transaction, commit it, and return the work's result.

        The work is run again from its start, `tries` times in all, where the database undid
        it because of another transaction; so it must change nothing but the database. A
        commit whose outcome is not known is not repeated.

        Raises:
            DBAPIError: the database's error; of the last try where all of them met another.
        """
        pause = _PAUSE_SECONDS
        for _ in range(self._options.tries - 1):
            try:
                async with self.write() as session:
                    return await work(session)
            except DBAPIError as error:
                if not is_conflict(error.orig):
                    raise
            # Two that met would meet again if both came back at once.
            await self._sleep(pause * self._chance())
            pause *= 2
        async with self.write() as session:
            return await work(session)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[WriteSession]:
        """Open a transaction for the block, which is run once: for commands, not for calls."""
        async with AsyncExitStack() as stack:
            with Timed(self._telemetry.connection_wait, "write"):
                connection = await stack.enter_async_context(self._writes.begin())
            yield WriteSession(connection, self._telemetry)

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """Open reads of one state for the block: that of the first of them.

        However the block ends, nothing of it stays. Few may be open at a time; for one more
        there is a wait, and SQLAlchemy's TimeoutError after it.
        """
        return self._snapshots.open()

    async def ping(self) -> None:
        """Ask the database for nothing, on a connection of its own: load must not look like death.

        Raises whatever shows that it does not answer.
        """
        await ReadSession(self._probe, self._telemetry).first(_PING)

    async def close(self) -> None:
        """Close every connection."""
        await self._probe.close()
        await self._snapshots.close()
        await self._reads.close()
        await self._writes.dispose()

    def _writing_engine(self) -> AsyncEngine:
        if not self.is_sqlite:
            # What was sent is never repeated, so a connection is tried first: one that died
            # while it was idle must not cost a caller its change.
            return self._postgres_engine(self._options.write_connections, pool_pre_ping=True)
        # One writer at a time is SQLite's nature: waiting in our queue is cheaper than
        # polling its lock.
        engine = create_async_engine(
            self.url,
            pool_size=1,
            max_overflow=0,
            pool_timeout=self._options.lock_timeout.total_seconds(),
            hide_parameters=True,
            connect_args={"factory": RollingBack},
        )
        prepare_sqlite(engine, self._options.busy_timeout)
        begin_immediate(engine)
        return engine

    def _reads_of(self, connections: int) -> Reads:
        if self.is_sqlite:
            threads = min(connections, _SQLITE_READ_THREADS)
            return SqliteReads(self.url, threads, self._options.busy_timeout, self._telemetry)
        return GreenletReads(self._postgres_engine(connections, **AUTOCOMMIT), self._telemetry)

    def _built_snapshots(self) -> Snapshots:
        options, size = self._options, self._options.snapshot_connections
        if self.is_sqlite:
            return SqliteSnapshots(
                self.url,
                size,
                patience=options.pool_timeout,
                busy_timeout=options.busy_timeout,
                telemetry=self._telemetry,
            )
        slower = replace(
            options,
            command_timeout=options.snapshot_statement_timeout,
            statement_timeout=options.snapshot_statement_timeout,
            idle_in_transaction_timeout=options.snapshot_idle_timeout,
        )
        # No statement of it is ever repeated: a second one would see another state.
        engine = self._postgres_engine(size, slower, pool_pre_ping=True)
        return PostgresSnapshots(engine, self._telemetry)

    def _postgres_engine(
        self, connections: int, options: DatabaseOptions | None = None, **more: Any
    ) -> AsyncEngine:
        return create_async_engine(
            self.url,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=self._options.pool_timeout.total_seconds(),
            hide_parameters=True,
            connect_args=_asyncpg_arguments(options or self._options),
            **more,
        )


def _asyncpg_arguments(options: DatabaseOptions) -> dict[str, Any]:
    def milliseconds(span: timedelta) -> str:
        return str(int(span.total_seconds() * 1000))

    return {
        "async_creator_fn": postgresql.connect,
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
