"""Wakes who waits for changes of the catalogue. Belongs to one event loop."""

import asyncio
from contextlib import suppress


class ChangeSignal:
    """Tells that something changed, not what: that is in the log."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Wake everybody who waits now."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Wait until something changes, so many seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
