"""One watch of the catalogue: what it tells, in order and without a hole, until it has to end.

It takes changes from the feed of its process; one that starts further back reads pages of the log
until it has caught up. It has no task and no queue of its own: it goes on when its client has
taken what it told, and leaves nothing behind when it is closed.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from server.catalogue.change_feed import LOOK_SECONDS, ChangeFeed
from server.catalogue.change_source import LogSource
from server.catalogue.changes import Change, Resource, ResourceKind
from server.catalogue.domain import Film
from server.catalogue.film_values import film_meets
from server.catalogue.watch_cursors import Place, WatchCursors
from server.core.clock import Clock, rfc3339
from server.core.errors import DomainError
from server.query.filter_types import Filter
from server.rpc.drain import server_draining
from server.rpc.stream_watch import OpenStream

BATCH: Final = 100
"""Changes between two looks at whether the watch has to end."""
STRETCH: Final = 1000
"""Changes that are passed over before a checkpoint comes, however soon that is."""
CLOCKS_APART: Final = timedelta(seconds=10)
"""How far the clocks of two processes may be apart."""
_RETRY: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a caller wants to be told. No `start`: from now on, or from a snapshot on."""

    kinds: Collection[ResourceKind]
    where: Filter | None
    start: Place | None
    snapshot: bool
    interval: timedelta
    previous: bool


@dataclass(frozen=True, slots=True)
class Told:
    """A change that the watch is about."""

    change: Change
    left_filter: bool


@dataclass(frozen=True, slots=True)
class Passed:
    """A checkpoint: everything up to the place was told or passed over."""

    place: Place


@dataclass(frozen=True, slots=True)
class Found:
    """Something that was there when the watch began."""

    resource: Resource


@dataclass(frozen=True, slots=True)
class FoundAll:
    """That was everything: so many."""

    place: Place
    count: int


@dataclass(frozen=True, slots=True)
class Closing:
    """The watch ends now, for the reason of an error; no place within a snapshot."""

    reason: str
    place: Place | None


Event = Told | Passed | Found | FoundAll | Closing


class Snapshot(Protocol):
    """All that a watch is about, of one state of the catalogue."""

    @property
    def place(self) -> Place:
        """The state's revision."""
        ...

    def batches(self) -> AsyncGenerator[Sequence[Resource], None]:
        """Yield everything, by kind and then by number."""
        ...


class Snapshots(Protocol):
    """Takes such snapshots."""

    def open(
        self, kinds: Collection[ResourceKind], where: Filter | None
    ) -> AbstractAsyncContextManager[Snapshot]:
        """Take one for the block, of the films that meet the filter and of the other kinds."""
        ...


@dataclass(frozen=True, slots=True)
class WatchParts:
    """What the watches of a process share."""

    feed: ChangeFeed
    source: LogSource
    snapshots: Snapshots
    cursors: WatchCursors
    draining: asyncio.Event
    clock: Clock
    monotonic: Callable[[], float]


class Watch:
    """One watch, run once."""

    def __init__(self, parts: WatchParts, wanted: Wanted, stream: OpenStream) -> None:
        self._parts = parts
        self._wanted = wanted
        self._stream = stream
        # One event for all that a watch waits for.
        self._wake = stream.changed
        self._place = wanted.start
        self._of_this_log = wanted.start is None
        self._live = False
        self._passed = 0
        self._caught_up = False
        self._due = parts.monotonic() + wanted.interval.total_seconds()
        stream.end_politely()

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield what there is to tell.

        Raises:
            DomainError: CURSOR_EXPIRED, a change is not kept any more; SLOW_CONSUMER, the
                client has fallen further behind than changes are kept in memory;
                SERVER_DRAINING.
            Unauthenticated: the right to the watch is over.
        """
        if self._parts.draining.is_set():
            raise server_draining()
        with self._parts.feed.attached(self._wake):
            async with aclosing(self._all()) as events:
                async for event in events:
                    if event is not None:
                        yield event
                    if (error := self._over()) is not None:
                        yield Closing(error.reason, self._place)
                        raise error

    def _over(self) -> DomainError | None:
        if self._parts.draining.is_set():
            return server_draining()
        if self._parts.clock() >= self._stream.ending.time:
            return self._stream.ending.error
        return None

    async def _all(self) -> AsyncGenerator[Event | None, None]:
        """Yield all there is to tell, and None where there was something to look at."""
        if self._wanted.snapshot:
            async with aclosing(self._snapshot()) as found:
                async for event in found:
                    yield event
        elif self._place is None:
            latest = await self._parts.source.latest()
            self._place = Place(latest, self._parts.clock())
        while True:
            self._wake.clear()
            changes = await self._next()
            for change in changes:
                self._place = Place(change.revision, change.change_time)
                if (told := self._told(change)) is not None:
                    self._note_sent()
                    yield told
            if self._is_due(caught_up=not changes):
                yield self._checkpoint()
            if changes:
                await asyncio.sleep(0)  # a long way back must not hold up who is near
            else:
                await self._wait()
            yield None

    async def _snapshot(self) -> AsyncGenerator[Event | None, None]:
        wanted, count = self._wanted, 0
        async with self._parts.snapshots.open(wanted.kinds, wanted.where) as snapshot:
            async with aclosing(snapshot.batches()) as batches:
                async for resources in batches:
                    for resource in resources:
                        count += 1
                        yield Found(resource)
            self._place = snapshot.place
        yield FoundAll(snapshot.place, count)

    async def _next(self) -> Sequence[Change]:
        """Return the next changes, none where there are none yet."""
        place, feed = self._reached, self._parts.feed
        if not self._of_this_log:
            await self._check_sent(place)
            self._of_this_log = True
        changes = feed.after(place.revision, BATCH)
        if changes is not None:
            self._live = True
            return changes
        if self._live and place.revision >= feed.gap:
            raise self._slow()
        stretch = await self._parts.source.after(place.revision, BATCH)
        if stretch.missing and not stretch.logged:
            raise await self._expired()
        return [logged.change for logged in stretch.logged]

    async def _check_sent(self, place: Place) -> None:
        """Hold what a client sent against the log: the feed knows its latest changes alone.

        A change that was made later than its cursor is of another history: a backup was restored,
        and the revision was given again.
        """
        stretch = await self._parts.source.after(place.revision - 1, 2)
        if not stretch.logged:  # it is not kept any more, but what is behind it may be
            stretch = await self._parts.source.after(place.revision, 1)
            known = bool(stretch.logged) or not stretch.missing
        else:
            made = stretch.logged[0].change.change_time
            behind = len(stretch.logged) > 1 or not stretch.missing
            known = behind and made <= place.time + CLOCKS_APART
        if not known:
            raise await self._expired()

    def _told(self, change: Change) -> Told | None:
        """Return the change as this watch tells it; None where it is not about it."""
        told = _told(change, self._wanted)
        self._passed = self._passed + 1 if told is None else 0
        return told

    def _is_due(self, *, caught_up: bool) -> bool:
        """Tell whether a checkpoint is: the first one says that the watch has caught up."""
        first = caught_up and not self._caught_up
        self._caught_up = self._caught_up or caught_up
        return first or self._passed >= STRETCH or self._parts.monotonic() >= self._due

    def _checkpoint(self) -> Passed:
        place, looked = self._reached, self._parts.feed.looked
        if looked is not None and place.revision >= self._parts.feed.latest:
            place = self._place = Place(place.revision, max(place.time, looked))
        self._note_sent()
        return Passed(place)

    def _note_sent(self) -> None:
        self._passed = 0
        self._due = self._parts.monotonic() + self._wanted.interval.total_seconds()

    @property
    def _reached(self) -> Place:
        assert self._place is not None, "there is a place once changes are told"
        return self._place

    async def _wait(self) -> None:
        """Wait for a change, for the end, or for the next checkpoint."""
        left = (self._stream.ending.time - self._parts.clock()).total_seconds()
        seconds = min(left, self._due - self._parts.monotonic())
        if self._parts.feed.looked is None:
            seconds = min(seconds, LOOK_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()

    def _slow(self) -> DomainError:
        place = self._reached
        behind = self._parts.feed.latest - place.revision
        return DomainError(
            f"this watch is {behind} changes behind, more than are kept for it; go on from"
            " resume_cursor, and read faster or watch less",
            reason="SLOW_CONSUMER",
            metadata={
                "resume_cursor": self._parts.cursors.seal(place),
                "buffered_events": str(behind),
            },
            retry_delay=_RETRY,
        )

    async def _expired(self) -> DomainError:
        oldest = Place(await self._parts.source.oldest(), self._parts.clock())
        return DomainError(
            "changes behind the cursor are not kept any more; begin anew with include_snapshot,"
            " or go on from oldest_cursor and miss some",
            reason="CURSOR_EXPIRED",
            metadata={
                "oldest_cursor": self._parts.cursors.seal(oldest),
                "sent_cursor_time": rfc3339(self._reached.time),
            },
        )


def _told(change: Change, wanted: Wanted) -> Told | None:
    if change.kind not in wanted.kinds:
        return None
    if change.kind is not ResourceKind.FILM or wanted.where is None:
        return Told(change, left_filter=False)
    meets = _meets(change.after, wanted.where)
    met = _meets(change.before, wanted.where)
    return Told(change, left_filter=met and not meets) if meets or met else None


def _meets(resource: Resource | None, where: Filter) -> bool:
    return isinstance(resource, Film) and film_meets(where, resource)
