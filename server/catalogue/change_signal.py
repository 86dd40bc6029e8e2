"""Wakes who waits for changes of the catalogue. Belongs to one event loop."""

import asyncio
from contextlib import suppress


class ChangeSignal:
    """Tells that something changed, not what: that is in the log."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._count = 0

    @property
    def count(self) -> int:
        """How often something changed; taken before a look, it tells `wait` what was seen."""
        return self._count

    def notify(self) -> None:
        """Wake everybody who waits now."""
        self._count += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, seconds: float, seen: int) -> None:
        """Wait until something changes that was not seen yet, so many seconds at most."""
        if self._count != seen:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
