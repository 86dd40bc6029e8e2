"""Whether the language model answers, judged by the calls that are made of it anyway."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from structlog.typing import FilteringBoundLogger

FAILURES = 3
"""So many calls that failed in a row, within SPAN_SECONDS, say that the model is away."""
SPAN_SECONDS = 300.0
PROBE_SECONDS = 5.0


class Report(Protocol):
    """Takes whether the model answers."""

    def __call__(self, *, up: bool) -> None:
        """Note the state."""


class ModelWatch:
    """Follows the model's state: no call costs anything more, and none is kept from it.

    An answer brings it back at once. Because a client that heeds health asks no more, a probe
    that costs nothing brings it back too, on probation: one failure takes it away again.
    `clock` counts seconds and never goes back.
    """

    def __init__(
        self,
        report: Report,
        *,
        clock: Callable[[], float],
        log: FilteringBoundLogger,
        probe_seconds: float = PROBE_SECONDS,
    ) -> None:
        self._report = report
        self._clock = clock
        self._log = log
        self._probe_seconds = probe_seconds
        self._failed_at: deque[float] = deque(maxlen=FAILURES)
        self._away = asyncio.Event()

    def note(self, *, answered: bool) -> None:
        """Take the end of a call: an answer, or a failure that was the model's."""
        if answered:
            self._failed_at.clear()
            self._set(up=True)
            return
        now = self._clock()
        self._failed_at.append(now)
        if len(self._failed_at) == FAILURES and now - self._failed_at[0] <= SPAN_SECONDS:
            self._set(up=False)

    async def run(self, probe: Callable[[], Awaitable[bool]]) -> None:
        """While the model is away, ask again and again whether its server is there."""
        while True:
            await self._away.wait()
            await asyncio.sleep(self._probe_seconds)
            if self._away.is_set() and await probe():
                self._set(up=True)

    def _set(self, *, up: bool) -> None:
        if up != self._away.is_set():
            return
        if up:
            self._away.clear()
        else:
            self._away.set()
        self._report(up=up)
        self._log.warning("model state", up=up)
