"""When API keys were last used, to the minute: noted by calls, stored beside them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from structlog.typing import FilteringBoundLogger

STORE_SECONDS: Final = 10.0
"""Between two batches."""
CLOSE_SECONDS: Final = 2.0
"""How long the end of the process waits for the last batch."""


class ApiKeyUses:
    """Stores uses in batches: of a key at most once a minute.

    While the database is away the newest use of each key is kept for the next batch.
    """

    def __init__(
        self,
        store: Callable[[Mapping[UUID, datetime]], Awaitable[None]],
        log: FilteringBoundLogger,
        seconds: float = STORE_SECONDS,
    ) -> None:
        self._store = store
        self._log = log
        self._seconds = seconds
        self._minute: datetime | None = None
        self._noted: set[UUID] = set()
        self._waiting: dict[UUID, datetime] = {}

    def note(self, key_id: UUID, now: datetime) -> None:
        """Note that a key was used; the first time in a minute counts."""
        minute = now.replace(second=0, microsecond=0)
        if minute != self._minute:
            self._minute = minute
            self._noted.clear()
        if key_id not in self._noted:
            self._noted.add(key_id)
            self._waiting[key_id] = minute

    async def run(self) -> None:
        """Store what was noted, again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._seconds)
            await self.store()

    async def store(self) -> None:
        """Store what was noted; what fails is tried with the next batch."""
        batch, self._waiting = self._waiting, {}
        if not batch:
            return
        try:
            await self._store(batch)
        except BaseException as error:
            self._waiting = batch | self._waiting
            if not isinstance(error, Exception):
                raise
            self._log.warning("uses of API keys not stored", error=type(error).__name__)

    async def close(self) -> None:
        """Store the last batch, if that is possible soon."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.store()
        except TimeoutError:
            self._log.warning("uses of API keys not stored", error="TimeoutError")
