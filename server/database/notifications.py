"""What PostgreSQL's NOTIFY tells, on a connection of its own that is opened again when it is lost.

It tells sooner what would be found anyway: while there is no such connection, or behind a pooler
that passes no notifications on, whoever listens has to look by itself now and then.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from structlog.typing import FilteringBoundLogger

from server.database import postgresql
from server.database.engine import Database

CONNECT_SECONDS: Final = 2.0
PROBE_SECONDS: Final = 30.0
"""How often the connection is tried: one that was lost on the way says nothing by itself."""
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0

_FAILURES: Final = (DBAPIError, OSError, TimeoutError)


class Notifications:
    """Listens on one channel. `chance` returns numbers from 0 up to 1, `sleep` waits seconds."""

    def __init__(
        self,
        database: Database,
        channel: str,
        heard: Callable[[], None],
        *,
        log: FilteringBoundLogger,
        chance: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        probe_seconds: float = PROBE_SECONDS,
    ) -> None:
        self._url = database.url
        self._channel = channel
        self._heard = heard
        self._log = log
        self._chance = chance
        self._sleep = sleep
        self._probe_seconds = probe_seconds
        self._listening = False

    async def run(self) -> None:
        """Listen until cancelled, and tell `heard` also when a connection is there again."""
        engine = _engine(self._url)
        pause = FIRST_PAUSE_SECONDS
        try:
            while True:
                try:
                    await self._listen(engine)
                except _FAILURES as error:
                    if self._listening or pause == FIRST_PAUSE_SECONDS:
                        self._log.warning("notifications lost", error=type(error).__name__)
                if self._listening:
                    self._listening, pause = False, FIRST_PAUSE_SECONDS
                # Processes that lost it together come back one after the other.
                await self._sleep(pause * (0.5 + self._chance() / 2))
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        finally:
            await engine.dispose()

    async def _listen(self, engine: AsyncEngine) -> None:
        """Listen until the connection is lost."""
        lost = asyncio.Event()
        async with engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            driver.add_termination_listener(lambda _connection: lost.set())
            await driver.add_listener(self._channel, lambda *_what: self._heard())
            self._listening = True
            self._heard()  # of what was changed while nobody listened
            while not lost.is_set():
                try:
                    async with asyncio.timeout(self._probe_seconds):
                        await lost.wait()
                except TimeoutError:
                    await driver.execute("SELECT 1", timeout=CONNECT_SECONDS)
            # It is gone already: there is nobody to say good-bye to.
            await connection.invalidate()
        raise ConnectionError("the connection was lost")


def _engine(url: Any) -> AsyncEngine:
    return create_async_engine(
        url,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,
        connect_args={
            "async_creator_fn": postgresql.connect,
            "timeout": CONNECT_SECONDS,
            "command_timeout": CONNECT_SECONDS,
            "server_settings": {"application_name": "interview-server listening"},
        },
    )
