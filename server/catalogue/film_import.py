"""What an import of films is, what is sent for it and what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

from server.catalogue.film_rules import FilmFields
from server.core.audit import AuditRecord
from server.core.errors import DomainError

IMPORT_TYPE: Final = "interview-api/FilmImport"

KEPT_FAILURES: Final = 100
KEPT_VIOLATIONS: Final = 8
"""Of a failure that is kept; who needs more asks CreateFilm about the film."""

MAX_FILM_NUMBER: Final = 2_000_000_000
"""The greatest number that an import can give: new films need some above it."""

ATOMIC_FILMS: Final = 10_000
ATOMIC_BYTES: Final = 32 * 1024 * 1024
"""What an import in one transaction may hold in memory."""

IDLE: Final = timedelta(seconds=60)
"""A client that sends nothing for so long loses its stream."""
LONGEST_STREAM: Final = timedelta(hours=1)
"""The deadline that ImportFilms has at most."""
RETENTION: Final = timedelta(days=30)
"""How long an import is kept after its last batch."""


class ImportMode(StrEnum):
    """What a film that cannot be taken does to the others."""

    ATOMIC = "atomic"
    PER_BATCH = "per_batch"
    BEST_EFFORT = "best_effort"


class ConflictPolicy(StrEnum):
    """What happens to a film whose name is there already."""

    FAIL = "fail"
    SKIP = "skip"
    UPDATE = "update"


class ImportState(StrEnum):
    """How far an import is."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


def import_name(import_id: UUID) -> str:
    """Return the resource name of an import."""
    return f"filmImports/{import_id}"


@dataclass(frozen=True, slots=True)
class ImportConfig:
    """What an import is; the same for each of its streams."""

    import_id: UUID
    mode: ImportMode
    conflict_policy: ConflictPolicy
    validate_only: bool = False


@dataclass(frozen=True, slots=True)
class SentFilm:
    """A film as it was sent: its fields, or which of the rules of a new film it breaks.

    Without `film_id` it gets the next number.
    """

    film_id: int | None = None
    fields: FilmFields | None = None
    error: DomainError | None = None


@dataclass(frozen=True, slots=True)
class SentBatch:
    """Films that are stored together; `size` is that of the message in bytes."""

    number: int
    films: Sequence[SentFilm]
    size: int


@dataclass(frozen=True, slots=True)
class ImportFailure:
    """A film that could not be taken: the batch, its place there from 0, and why."""

    batch_number: int
    index: int
    error: DomainError


@dataclass(frozen=True, slots=True)
class FilmImport:
    """An import and what became of its films so far. `failures` are the first of them."""

    import_id: UUID
    state: ImportState
    create_time: datetime
    update_time: datetime
    committed_batch: int = 0
    created: int = 0
    updated: int = 0
    skipped: int = 0
    failed: int = 0
    failures: tuple[ImportFailure, ...] = ()

    @property
    def name(self) -> str:
        """Its resource name."""
        return import_name(self.import_id)


@dataclass(slots=True)
class Tally:
    """What became of some films; `revision` is that of the last change, 0 without one."""

    created: int = 0
    updated: int = 0
    skipped: int = 0
    failed: int = 0
    failures: list[ImportFailure] = field(default_factory=list)
    revision: int = 0

    def fail(self, failure: ImportFailure) -> None:
        """Count a film that cannot be taken."""
        self.failed += 1
        self.failures.append(failure)

    def add(self, other: "Tally") -> None:
        """Count what became of other films too; of the failures the first are kept."""
        self.created += other.created
        self.updated += other.updated
        self.skipped += other.skipped
        self.failed += other.failed
        self.failures = (self.failures + other.failures)[:KEPT_FAILURES]
        self.revision = max(self.revision, other.revision)


def counted(film_import: FilmImport, tally: Tally) -> FilmImport:
    """Return the import with what became of more of its films."""
    return replace(
        film_import,
        created=film_import.created + tally.created,
        updated=film_import.updated + tally.updated,
        skipped=film_import.skipped + tally.skipped,
        failed=film_import.failed + tally.failed,
        failures=(*film_import.failures, *tally.failures)[:KEPT_FAILURES],
    )


def refused(film_import: FilmImport, tally: Tally, now: datetime) -> FilmImport:
    """Return the import that failed by films of which nothing was stored."""
    return replace(
        film_import,
        state=ImportState.FAILED,
        failed=tally.failed,
        failures=tuple(tally.failures[:KEPT_FAILURES]),
        update_time=now,
    )


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream of an import: the one that may store the next batch as long as no other came."""

    stream_id: UUID
    owner_id: UUID
    config: ImportConfig
    record: AuditRecord


class FilmImportRepository(Protocol):
    """Where imports are kept and their films stored."""

    async def find(self, import_id: UUID, owner_id: UUID) -> FilmImport | None:
        """Return an import of an owner."""
        ...

    async def begin(self, stream: Stream) -> FilmImport:
        """Begin an import or go on with it; from now on no other stream stores its batches.

        Raises:
            ResourceNotFound: it is somebody else's.
            DomainError: IMMUTABLE_FIELD, it is another one than was begun.
        """
        ...

    async def store(
        self, stream: Stream, batches: Sequence[SentBatch], state: ImportState
    ) -> tuple[FilmImport, Tally]:
        """Store batches in one transaction, after which the import is in that state.

        Where a film cannot be taken and the mode does not allow for it, nothing is stored, and
        the import has failed.

        Raises:
            WrongState: another stream has come.
        """
        ...

    async def check(self, stream: Stream, batch: SentBatch, made: set[int]) -> Tally:
        """Find out what would become of a batch, and store nothing.

        `made` are the numbers that batches before it would have given, and gets this one's.
        """
        ...

    async def end(self, stream: Stream, state: ImportState) -> FilmImport:
        """Note how a stream ended, unless another one has come."""
        ...
