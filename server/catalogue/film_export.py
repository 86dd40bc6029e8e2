"""Every film that meets a filter, as of one moment, also over several streams."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from server.catalogue.domain import Film
from server.catalogue.film_filter import film_filter
from server.core.clock import Clock
from server.query.filters import Fields, Filter


class FilmSnapshot(Protocol):
    """The films of one state of the catalogue."""

    @property
    def revision(self) -> int:
        """The catalogue's revision."""
        ...

    @property
    def time(self) -> datetime:
        """When it was taken."""
        ...

    def films(self, after: int = 0) -> AsyncGenerator[Sequence[Film], None]:
        """Yield the films behind a number, by number, some at a time."""
        ...


class FilmSnapshots(Protocol):
    """Takes snapshots of the films."""

    def open(
        self, where: Filter | None = None, *, full: bool = True, show_deleted: bool = False
    ) -> AbstractAsyncContextManager[FilmSnapshot]:
        """Take a snapshot of the films that meet a filter, for the block."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which films to export: a filter, whether deleted ones too; and how much of each."""

    where: str
    full: bool
    show_deleted: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an export is: behind which film, how many so far.

    `revision` and `begun` are of the first stream's snapshot: what changed since is not in the
    batches of that stream.
    """

    after: int
    exported: int
    revision: int
    begun: datetime


@dataclass(frozen=True, slots=True)
class Export:
    """An export that is going on, from `progress`."""

    snapshot: FilmSnapshot
    progress: Progress

    def films(self) -> AsyncGenerator[Sequence[Film], None]:
        """Yield the films that are left."""
        return self.snapshot.films(self.progress.after)


class FilmExports:
    """Exports films."""

    def __init__(self, snapshots: FilmSnapshots, fields: Fields, clock: Clock) -> None:
        self._snapshots = snapshots
        self._fields = fields
        self._clock = clock

    @asynccontextmanager
    async def open(self, wanted: Wanted, progress: Progress | None) -> AsyncIterator[Export]:
        """Begin an export, or go on with one, for the block.

        Raises:
            DomainError: FILTER_*.
        """
        # The filter's now() stays the same, and no change since the snapshot can be older.
        begun = progress.begun if progress is not None else self._clock()
        condition = film_filter(wanted.where, self._fields, begun)
        async with self._snapshots.open(
            condition, full=wanted.full, show_deleted=wanted.show_deleted
        ) as snapshot:
            yield Export(snapshot, progress or Progress(0, 0, snapshot.revision, begun))
