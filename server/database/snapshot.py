"""Snapshots: any number of reads that all see one state, however long they take.

They have connections of their own, few of them: who reads for minutes must not hold up who reads
for milliseconds. PostgreSQL keeps old rows as long as a snapshot needs them, SQLite its log.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from threading import Event
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import Connection, Executable, Row, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import Pool, QueuePool

from server.core.telemetry import Telemetry, Timed
from server.database.names import name_of
from server.database.reads import Parameters, Rows
from server.database.sqlite import INSTRUCTIONS, prepare_sqlite

T = TypeVar("T")

POOL: Final = "snapshot"


class Snapshot(Protocol):
    """Reads of one state of the database: that of the first of them."""

    async def all(self, statement: Executable, parameters: Parameters | None = None) -> Rows:
        """Return every row."""
        ...

    async def first(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> Row[Any] | None:
        """Return the first row or None."""
        ...


class Snapshots(Protocol):
    """Opens snapshots, so many at a time."""

    @property
    def pool(self) -> Pool:
        """The connections."""
        ...

    def open(self) -> AbstractAsyncContextManager[Snapshot]:
        """Open one for the block; raises SQLAlchemy's TimeoutError where none is free in time."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class PostgresSnapshots:
    """Transactions that only read, REPEATABLE READ."""

    def __init__(self, engine: AsyncEngine, telemetry: Telemetry) -> None:
        self._engine = engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self._telemetry = telemetry

    @property
    def pool(self) -> Pool:
        """The connections."""
        return self._engine.pool

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Snapshot]:
        """Open a snapshot for the block."""
        connecting = self._engine.connect()
        with Timed(self._telemetry.connection_wait, POOL):
            connection = await connecting
        try:
            yield _PostgresSnapshot(connection, self._telemetry)
        finally:
            # In a task of its own, so that a second cancellation cannot leave it half done.
            await asyncio.shield(asyncio.ensure_future(connection.close()))

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


class _PostgresSnapshot:
    def __init__(self, connection: AsyncConnection, telemetry: Telemetry) -> None:
        self._connection = connection
        self._telemetry = telemetry

    async def all(self, statement: Executable, parameters: Parameters | None = None) -> Rows:
        """Return every row."""
        with Timed(self._telemetry.statement, name_of(statement)):
            return (await self._connection.execute(statement, parameters)).all()

    async def first(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> Row[Any] | None:
        """Return the first row or None."""
        rows = await self.all(statement, parameters)
        return rows[0] if rows else None


class SqliteSnapshots:
    """Deferred transactions that never write, each with a connection and a thread of its own."""

    def __init__(
        self,
        url: URL,
        size: int,
        *,
        patience: timedelta,
        busy_timeout: timedelta,
        telemetry: Telemetry,
    ) -> None:
        self._patience = patience.total_seconds()
        self._telemetry = telemetry
        self._places = asyncio.Semaphore(size)
        self._engine = create_engine(
            url.set(drivername="sqlite"),
            poolclass=QueuePool,
            pool_size=size,
            max_overflow=0,
            hide_parameters=True,
        )
        prepare_sqlite(self._engine, busy_timeout)
        event.listen(self._engine, "begin", _begin)

    @property
    def pool(self) -> Pool:
        """The connections."""
        return self._engine.pool

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Snapshot]:
        """Open a snapshot for the block."""
        with Timed(self._telemetry.connection_wait, POOL):
            await self._place()
        try:
            snapshot = _SqliteSnapshot(self._engine.connect, self._telemetry)
            try:
                yield snapshot
            finally:
                await snapshot.close()
        finally:
            self._places.release()

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.to_thread(self._engine.dispose)

    async def _place(self) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await self._places.acquire()
        except TimeoutError:
            raise PoolTimeout("every snapshot that there may be is open") from None


class _SqliteSnapshot:
    """What is asked is done by one thread in its order; one that is given up ends at once."""

    def __init__(self, connect: Callable[[], Connection], telemetry: Telemetry) -> None:
        self._connect = connect
        self._telemetry = telemetry
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-snapshot")
        self._given_up = Event()
        self._connection: Connection | None = None

    async def all(self, statement: Executable, parameters: Parameters | None = None) -> Rows:
        """Return every row."""
        with Timed(self._telemetry.statement, name_of(statement)):
            return await self._run(lambda: self._read(statement, parameters))

    async def first(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> Row[Any] | None:
        """Return the first row or None."""
        rows = await self.all(statement, parameters)
        return rows[0] if rows else None

    async def close(self) -> None:
        """Roll back and give the connection back, also where the caller is cancelled meanwhile."""
        closing = self._thread.submit(self._end)
        self._thread.shutdown(wait=False)
        await asyncio.shield(asyncio.wrap_future(closing))

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except asyncio.CancelledError:
            self._given_up.set()
            raise

    def _read(self, statement: Executable, parameters: Parameters | None) -> Rows:
        if self._connection is None:
            self._connection = self._connect()
            self._watch(self._given_up.is_set)
        return self._connection.execute(statement, parameters).all()

    def _end(self) -> None:
        if self._connection is None:
            return
        self._watch(None)
        self._connection.close()

    def _watch(self, given_up: Callable[[], bool] | None) -> None:
        assert self._connection is not None, "it was opened by the first read"
        driver: Any = self._connection.connection.driver_connection
        driver.set_progress_handler(given_up, INSTRUCTIONS)


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN DEFERRED")
