"""SQLite: how its connections are set up, and reads in threads of their own."""

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from threading import Event, local
from typing import Any

from sqlalchemy import Engine, Executable, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import Pool

from server.core.telemetry import Telemetry, Timed
from server.database.reads import AUTOCOMMIT, Parameters, Rows, read

INSTRUCTIONS = 200_000
"""Steps of SQLite's machine, some milliseconds, after which a read looks whether it is still
wanted. Fewer would stop the event loop for it too often."""


class RollingBack(sqlite3.Connection):
    """A connection that leaves no transaction behind when it is closed.

    Closing alone does not: where a statement that was given up is still referred to, by a
    traceback for instance, SQLite keeps the connection open, and with it the one writer's lock.
    """

    def close(self) -> None:
        """Roll back and close."""
        with suppress(sqlite3.Error):
            self.rollback()
        super().close()


class SqliteReads:
    """Reads in `size` threads, each with a connection; one that is given up ends at once."""

    def __init__(self, url: URL, size: int, busy_timeout: timedelta, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="sqlite-read")
        self._thread = local()
        self._engine = create_engine(
            url.set(drivername="sqlite"),
            pool_size=size,
            max_overflow=0,
            hide_parameters=True,
            **AUTOCOMMIT,
        )
        prepare_sqlite(self._engine, busy_timeout)
        event.listen(self._engine, "connect", self._watch)

    @property
    def pool(self) -> Pool:
        """The connections."""
        return self._engine.pool

    async def read(self, statement: Executable, parameters: Parameters | None) -> Rows:
        """Run the statement in a thread, which is free again soon after a cancellation."""
        # Here and not in the thread: to wait for a thread is to wait for its connection.
        wait = Timed(self._telemetry.connection_wait, "read")
        given_up = Event()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._threads, self._read, statement, parameters, wait, given_up
            )
        except asyncio.CancelledError:
            given_up.set()
            raise

    async def close(self) -> None:
        """End the threads and their connections."""
        await asyncio.to_thread(self._threads.shutdown)
        self._engine.dispose()

    def _read(
        self, statement: Executable, parameters: Parameters | None, wait: Timed, given_up: Event
    ) -> Rows:
        self._thread.given_up = given_up
        return read(self._engine, statement, parameters, wait)

    def _watch(self, connection: Any, _record: object) -> None:
        # SQLite ends the statement when the handler says so. Unlike `interrupt` this cannot
        # come too early, nor meet the next statement of the connection.
        connection.set_progress_handler(self._is_given_up, INSTRUCTIONS)

    def _is_given_up(self) -> bool:
        given_up: Event = self._thread.given_up
        return given_up.is_set()


def prepare_sqlite(engine: AsyncEngine | Engine, busy_timeout: timedelta) -> None:
    """Set up each new connection: WAL, durable commits, foreign keys, waiting for the lock."""
    timeout = int(busy_timeout.total_seconds() * 1000)
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
