"""What is kept no longer than it is needed for: deleted now and then, a little at a time.

Every process does it, each at times of its own; rows that another one is deleting are passed by.
The audit trail is not touched: it is kept as long as its operator says.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from structlog.typing import FilteringBoundLogger

from server.core.clock import Clock

INTERVAL: Final = timedelta(hours=1)
BATCH: Final = 500
"""Rows of one transaction, small enough for calls that write at the same time."""
PAUSE_SECONDS: Final = 0.2

Delete = Callable[[datetime, int], Awaitable[int]]
"""Deletes at most so many rows that ended up to a moment; returns how many."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A kind of rows, for how long they are kept after their end, and how to delete them."""

    kind: str
    after_end: timedelta
    delete: Delete


class Retention:
    """Deletes what has been kept long enough, in the order of `kept`.

    `chance` returns numbers from 0 up to 1, `sleep` waits for seconds.
    """

    def __init__(
        self,
        kept: Sequence[Kept],
        *,
        clock: Clock,
        log: FilteringBoundLogger,
        chance: Callable[[], float],
        interval: timedelta = INTERVAL,
        batch: int = BATCH,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._kept = kept
        self._clock = clock
        self._log = log
        self._chance = chance
        self._interval = interval.total_seconds()
        self._batch = batch
        self._sleep = sleep

    async def run(self) -> None:
        """Delete until cancelled; processes that start together do it one after the other."""
        await self._sleep(self._interval * self._chance())
        while True:
            await self.round()
            await self._sleep(self._interval)

    async def round(self) -> None:
        """Delete all that is due. What fails is left to the next round."""
        deleted, failed = {}, {}
        for kept in self._kept:
            try:
                if number := await self._all_of(kept):
                    deleted[kept.kind] = number
            except Exception as error:  # noqa: BLE001  # whatever it is, the next round may succeed
                failed[kept.kind] = type(error).__name__
        if deleted:
            self._log.info("old rows deleted", **deleted)
        if failed:
            self._log.warning("old rows not deleted", **failed)

    async def _all_of(self, kept: Kept) -> int:
        number, end = 0, self._clock() - kept.after_end
        while True:
            of_batch = await kept.delete(end, self._batch)
            number += of_batch
            if of_batch < self._batch:
                return number
            await self._sleep(PAUSE_SECONDS)
