"""The latest changes in memory: read once from the log, for all watches of a process.

One task reads the log while somebody watches. It is woken by changes of this process and by what
PostgreSQL tells of others, and looks by itself now and then, since either can be lost. What it
keeps has no hole: where the log has one, it begins anew behind it.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import Final

from structlog.typing import FilteringBoundLogger

from server.catalogue.change_signal import ChangeSignal
from server.catalogue.change_source import Logged, LogSource
from server.catalogue.changes import Change
from server.core.clock import Clock

LOOK_SECONDS: Final = 1.0
"""How often the log is looked at when nobody tells of a change."""
READ_ROWS: Final = 500
_DECODED: Final = 512
"""Changes that are kept as objects: watches are near one another most of the time."""


class ChangeFeed:
    """The changes `base` + 1 to `latest`, at most `buffer` of them. Belongs to one event loop."""

    def __init__(
        self,
        source: LogSource,
        signal: ChangeSignal,
        *,
        buffer: int,
        clock: Clock,
        log: FilteringBoundLogger,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.latest = 0
        self.gap = 0
        """The last revision that is missing in the log, as far as it was noticed here."""
        self.looked: datetime | None = None
        """When `latest` was the latest; None while nothing is known."""
        self._source, self._signal = source, signal
        self._buffer = buffer
        self._clock, self._log, self._sleep = clock, log, sleep
        self._rows: deque[Logged] = deque()
        self._decoded: OrderedDict[int, Change] = OrderedDict()
        self._wakes: set[asyncio.Event] = set()
        self._watched = asyncio.Event()
        self._failing = False

    @property
    def watches(self) -> int:
        """How many watches there are."""
        return len(self._wakes)

    @property
    def base(self) -> int:
        """The revision behind which everything is here."""
        return self.latest - len(self._rows)

    @contextmanager
    def attached(self, wake: asyncio.Event) -> Iterator[None]:
        """Set the event for each change while the block runs."""
        self._wakes.add(wake)
        self._watched.set()
        try:
            yield
        finally:
            self._wakes.discard(wake)
            if not self._wakes:
                self._watched.clear()

    def after(self, revision: int, limit: int) -> Sequence[Change] | None:
        """Return changes behind a revision, at most so many; None where they are not all here."""
        if self.looked is None or revision < self.base:
            return None
        if revision >= self.latest:
            return ()
        start = revision - self.base
        return [self._change(row) for row in islice(self._rows, start, start + limit)]

    def wake(self) -> None:
        """Let every watch look."""
        for event in self._wakes:
            event.set()

    async def wake_at(self, event: asyncio.Event) -> None:
        """Let every watch look when this happens."""
        await event.wait()
        self.wake()

    async def run(self) -> None:
        """Follow the log until cancelled, while somebody watches."""
        while True:
            if not self._wakes:
                # What is known becomes old; who comes next begins with the log itself.
                self._forget()
                await self._watched.wait()
            seen = self._signal.count
            more = await self._attempt()
            if more is None:
                await self._sleep(LOOK_SECONDS)
            elif not more:
                await self._signal.wait(LOOK_SECONDS, seen)

    async def _attempt(self) -> bool | None:
        """Read once; return whether there is more, None where that failed."""
        try:
            more = await self._look()
        except Exception as error:  # noqa: BLE001  # whatever it is, the next look may succeed
            if not self._failing:
                self._log.warning("changes unknown", error=type(error).__name__)
            self._failing = True
            return None
        if self._failing:
            self._log.info("changes known")
        self._failing = False
        return more

    async def _look(self) -> bool:
        now = self._clock()
        if self.looked is None:
            self.latest = await self._source.latest()
            self.looked = now
            self.wake()
            return True
        stretch = await self._source.after(self.latest, READ_ROWS)
        self._take(stretch.logged)
        if stretch.missing:
            await self._skip()
        elif self.latest == stretch.latest:
            self.looked = now
        if stretch.logged or stretch.missing:
            self.wake()
        return self.latest < stretch.latest

    def _take(self, rows: Sequence[Logged]) -> None:
        self._rows.extend(rows)
        self.latest += len(rows)
        while len(self._rows) > self._buffer:
            self._rows.popleft()

    async def _skip(self) -> None:
        """Begin anew behind what is missing."""
        oldest = await self._source.oldest()
        self._rows.clear()
        self.gap = self.latest = oldest

    def _forget(self) -> None:
        self.looked = None
        self._rows.clear()
        self._decoded.clear()

    def _change(self, row: Logged) -> Change:
        change = self._decoded.get(row.revision)
        if change is None:
            change = self._decoded[row.revision] = row.change
            if len(self._decoded) > _DECODED:
                self._decoded.popitem(last=False)
        return change
