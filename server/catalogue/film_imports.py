"""Imports of films: batches in their order, each once, however often its stream is cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Final
from uuid import UUID, uuid4

from server.catalogue.film_import import (
    ATOMIC_BYTES,
    ATOMIC_FILMS,
    FilmImport,
    FilmImportRepository,
    ImportConfig,
    ImportMode,
    ImportState,
    SentBatch,
    Stream,
    Tally,
    counted,
    import_name,
    refused,
)
from server.catalogue.film_import_rules import not_found
from server.core.audit import AuditRecord
from server.core.clock import Clock
from server.core.errors import DomainError, FieldViolation, ValidationFailed

_END_SECONDS: Final = 2.0
"""How long the end of a stream that was cut may take to be noted."""


class ImportStopped(Exception):
    """An import's stream ends with an error; `film_import` is how far it is."""

    def __init__(self, error: DomainError, film_import: FilmImport) -> None:
        super().__init__(error.message)
        self.error = error
        self.film_import = film_import


@dataclass(frozen=True, slots=True)
class Imported:
    """An import that is done, and the revision of its last change; 0 where there was none."""

    film_import: FilmImport
    revision: int = 0


class FilmImports:
    """Imports films and tells how far imports are."""

    def __init__(self, repository: FilmImportRepository, clock: Clock) -> None:
        self._repository = repository
        self._clock = clock

    async def get(self, import_id: UUID, owner_id: UUID) -> FilmImport:
        """Return an import of an owner.

        Raises:
            ResourceNotFound: there is none, or it is somebody else's.
        """
        found = await self._repository.find(import_id, owner_id)
        if found is None:
            raise not_found(import_id)
        return found

    async def run(
        self,
        config: ImportConfig,
        batches: AsyncIterator[SentBatch],
        owner_id: UUID,
        record: AuditRecord,
    ) -> Imported:
        """Import batches until the client ends its side.

        Raises:
            ImportStopped: with the error that the stream ends with.
            ResourceNotFound: the import is somebody else's.
            DomainError: IMMUTABLE_FIELD, it is another one than was begun.
        """
        record.target = import_name(config.import_id)
        stream = Stream(uuid4(), owner_id, config, record)
        try:
            begun = await self._repository.begin(stream)
            if begun.state is ImportState.SUCCEEDED:
                return Imported(begun)
            return await self._work(stream, begun, batches)
        except (DomainError, ImportStopped):
            raise
        except BaseException:
            # Whatever it is, also the end of the call: who asks later should know.
            await self._note_cut(stream)
            raise

    async def _work(
        self, stream: Stream, begun: FilmImport, batches: AsyncIterator[SentBatch]
    ) -> Imported:
        work = _work_of(self._repository, self._clock, stream, begun)
        try:
            async for batch in batches:
                if work.expects(batch):
                    await work.take(batch)
            await work.finish()
        except DomainError as error:
            raise ImportStopped(error, await self._ended(work)) from None
        return Imported(work.film_import, work.revision)

    async def _ended(self, work: "_Work") -> FilmImport:
        if work.film_import.state is ImportState.RUNNING:
            await work.interrupt()
        return work.film_import

    async def _note_cut(self, stream: Stream) -> None:
        """Note that the stream was cut, in a task that no further cancellation reaches.

        Where that cannot be done the import looks as if it went on, for a while.
        """
        if stream.config.validate_only:
            return
        noting = asyncio.create_task(self._repository.end(stream, ImportState.INTERRUPTED))
        end = monotonic() + _END_SECONDS
        while not noting.done() and (left := end - monotonic()) > 0:
            # Who waits here ends with what it was ended by.
            with suppress(asyncio.CancelledError):
                await asyncio.wait([noting], timeout=left)
        noting.cancel()
        with suppress(Exception, asyncio.CancelledError):
            await noting


@dataclass(slots=True)
class _Work:
    """A stream at work: what became of its import so far."""

    repository: FilmImportRepository
    clock: Clock
    stream: Stream
    film_import: FilmImport
    revision: int = 0

    @property
    def last(self) -> int:
        """The number of the last batch that was taken."""
        return self.film_import.committed_batch

    def expects(self, batch: SentBatch) -> bool:
        """Tell whether a batch is the next one; False where it was stored before.

        Raises:
            DomainError: PROTOCOL_VIOLATION, one is missing before it.
        """
        if batch.number <= self.last:
            return False
        if batch.number > self.last + 1:
            raise DomainError(
                f"batch {self.last + 1} must come next; send the batches from there",
                reason="PROTOCOL_VIOLATION",
                metadata={
                    "expected": f"batch_number {self.last + 1}",
                    "received": f"batch_number {batch.number}",
                },
            )
        return True

    async def take(self, batch: SentBatch) -> None:
        """Store the batch."""
        stored = await self.repository.store(self.stream, [batch], ImportState.RUNNING)
        self._note(*stored)

    async def finish(self) -> None:
        """Note that there are no more batches."""
        self.film_import = await self.repository.end(self.stream, ImportState.SUCCEEDED)

    async def interrupt(self) -> None:
        """Note that the stream was cut."""
        self.film_import = await self.repository.end(self.stream, ImportState.INTERRUPTED)

    def _note(self, film_import: FilmImport, tally: Tally) -> None:
        self.film_import = film_import
        self.revision = max(self.revision, tally.revision)
        if film_import.state is ImportState.FAILED:
            raise film_import.failures[0].error


@dataclass(slots=True)
class _AtomicWork(_Work):
    """Holds all batches until the client ends its side."""

    held: list[SentBatch] = field(default_factory=list)
    films: int = 0
    size: int = 0

    @property
    def last(self) -> int:
        """The number of the last batch that was taken."""
        return len(self.held)

    async def take(self, batch: SentBatch) -> None:
        """Hold the batch."""
        self.films += len(batch.films)
        self.size += batch.size
        if self.films > ATOMIC_FILMS or self.size > ATOMIC_BYTES:
            raise ValidationFailed([FieldViolation("batch.films", _TOO_MANY)])
        self.held.append(batch)

    async def finish(self) -> None:
        """Store every batch."""
        if not self.held:
            self.film_import = await self.repository.end(self.stream, ImportState.SUCCEEDED)
            return
        stored = await self.repository.store(self.stream, self.held, ImportState.SUCCEEDED)
        self._note(*stored)


@dataclass(slots=True)
class _CheckingWork(_Work):
    """Only finds out what would become of the batches."""

    made: set[int] = field(default_factory=set)
    checked: Tally = field(default_factory=Tally)
    films: int = 0
    size: int = 0

    async def take(self, batch: SentBatch) -> None:
        """Check the batch."""
        self.films += len(batch.films)
        self.size += batch.size
        atomic = self.stream.config.mode is ImportMode.ATOMIC
        if atomic and (self.films > ATOMIC_FILMS or self.size > ATOMIC_BYTES):
            raise ValidationFailed([FieldViolation("batch.films", _TOO_MANY)])
        tally = await self.repository.check(self.stream, batch, self.made)
        now = self.clock()
        if tally.failed and self.stream.config.mode is ImportMode.PER_BATCH:
            self._note(refused(self.film_import, tally, now), tally)
        self.checked.add(tally)
        self.film_import = replace(
            counted(self.film_import, tally), committed_batch=batch.number, update_time=now
        )

    async def finish(self) -> None:
        """Tell how it would have ended."""
        now = self.clock()
        if self.checked.failed and self.stream.config.mode is ImportMode.ATOMIC:
            nothing = FilmImport(
                self.film_import.import_id, ImportState.RUNNING, self.film_import.create_time, now
            )
            self._note(refused(nothing, self.checked, now), self.checked)
        self.film_import = replace(self.film_import, state=ImportState.SUCCEEDED, update_time=now)

    async def interrupt(self) -> None:
        """Nothing is kept that could be noted."""
        self.film_import = replace(self.film_import, state=ImportState.INTERRUPTED)


def _work_of(
    repository: FilmImportRepository, clock: Clock, stream: Stream, begun: FilmImport
) -> _Work:
    kind = _AtomicWork if stream.config.mode is ImportMode.ATOMIC else _Work
    if stream.config.validate_only:
        kind = _CheckingWork
    return kind(repository, clock, stream, begun)


_TOO_MANY: Final = (
    f"must be at most {ATOMIC_FILMS} films and {ATOMIC_BYTES} bytes in all where the mode is"
    " IMPORT_MODE_ATOMIC; choose another mode, or split the import"
)
