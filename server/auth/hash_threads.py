"""Threads for password hashes: few, with a bounded queue, so that hashing never takes the loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Final, TypeVar

from server.core.errors import DomainError, QuotaViolation

T = TypeVar("T")

_RETRY_SECONDS: Final = 1.0
_JITTER: Final = 0.5


class HashThreads:
    """Runs blocking work: as much at a time as there are threads, and a bounded number waits.

    `random` returns numbers from 0 to 1.
    """

    def __init__(self, running: int, waiting: int, *, random: Callable[[], float]) -> None:
        self._limit = running
        self._room = running + waiting
        self._jobs = 0
        self._random = random
        self._threads = ThreadPoolExecutor(running, thread_name_prefix="bcrypt")

    async def run(self, work: Callable[[], T]) -> T:
        """Return what the work returns, or raise what it raises.

        A caller that is cancelled stays until its work has ended, which cannot be stopped: so who
        limits how many callers there are limits the work with it.

        Raises:
            DomainError: RATE_LIMITED, too many wait already.
        """
        if self._jobs >= self._room:
            raise self._refused()
        self._jobs += 1
        try:
            return await self._run(work)
        finally:
            self._jobs -= 1

    async def close(self) -> None:
        """Let what runs and waits come to its end, then stop the threads."""
        await asyncio.to_thread(self._threads.shutdown)

    async def _run(self, work: Callable[[], T]) -> T:
        job = self._threads.submit(work)
        answer = asyncio.wrap_future(job)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            job.cancel()
            while not answer.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({answer})
            raise

    def _refused(self) -> DomainError:
        delay = _RETRY_SECONDS * (1 - _JITTER + 2 * _JITTER * self._random())
        return DomainError(
            "the server checks as many passwords as it can; try again after the delay",
            reason="RATE_LIMITED",
            metadata={"bucket": "login", "limit": str(self._limit)},
            quota=QuotaViolation("server", f"login: {self._limit} passwords at a time"),
            retry_delay=timedelta(seconds=delay),
        )
