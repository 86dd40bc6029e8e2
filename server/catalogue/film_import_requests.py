"""The frames of ImportFilms and the other requests of bulk, held against their rules."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Annotated, Any, Final, NoReturn, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

from server.catalogue.film_change_requests import film_fields
from server.catalogue.film_export import Wanted
from server.catalogue.film_import import (
    MAX_FILM_NUMBER,
    ConflictPolicy,
    ImportConfig,
    ImportMode,
    SentBatch,
    SentFilm,
)
from server.catalogue.mapping import number_of
from server.catalogue.requests import View
from server.core.errors import DomainError, FieldViolation, ValidationFailed
from server.core.resource_names import UUID_PATTERN
from server.generated.interview.catalogue.v1 import film_bulk_pb2 as pb
from server.generated.interview.catalogue.v1 import resources_pb2
from server.query.requests import FilterText
from server.rpc.validation import validated

MAX_FILMS: Final = 500
_FILMS_AT_ONCE: Final = 25
"""After so many films are checked, some milliseconds, others get their turn."""
_AHEAD: Final = 2
"""Frames that are read ahead of the work: more would only fill the memory."""
_CONFIG_WAIT: Final = timedelta(seconds=10)
"""Whoever opens a stream knows what it is for."""
_END_SECONDS: Final = 0.05
"""Where a client is cut off its side looks ended for a moment, until the cut is noticed."""

_NAME: Final = re.compile(f"filmImports/({UUID_PATTERN})")

_MODES: Final = {
    pb.IMPORT_MODE_ATOMIC: ImportMode.ATOMIC,
    pb.IMPORT_MODE_PER_BATCH: ImportMode.PER_BATCH,
    pb.IMPORT_MODE_BEST_EFFORT: ImportMode.BEST_EFFORT,
}
_POLICIES: Final = {
    pb.IMPORT_CONFLICT_POLICY_FAIL: ConflictPolicy.FAIL,
    pb.IMPORT_CONFLICT_POLICY_SKIP: ConflictPolicy.SKIP,
    pb.IMPORT_CONFLICT_POLICY_UPDATE: ConflictPolicy.UPDATE,
}


def _one_of(kind: Any) -> AfterValidator:
    def check(value: int) -> int:
        if not value:
            raise ValueError("must be set")
        if value not in kind.values():
            names = ", ".join(name for name, number in kind.items() if number)
            raise ValueError(f"must be one of {names}")
        return value

    return AfterValidator(check)


def _import_name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ValueError("must be a name like filmImports/5f0c8e0a-1d0e-4b8e-9a55-6a3b1f2c9d10")
    return name


class ExportFilms(BaseModel):
    """Rules of ExportFilmsRequest."""

    filter: FilterText
    view: View
    resume_cursor: Annotated[str, Field(max_length=4096)]


class Config(BaseModel):
    """Rules of ImportFilmsConfig."""

    import_id: UUID
    mode: Annotated[int, _one_of(pb.ImportMode)]
    conflict_policy: Annotated[int, _one_of(pb.ImportConflictPolicy)]


class FirstFrame(BaseModel):
    """Rules of the first ImportFilmsRequest."""

    config: Config


class Batch(BaseModel):
    """Rules of ImportFilmsBatch; those of its films are for each of them."""

    batch_number: Annotated[int, Field(ge=1)]
    films: Annotated[list[Any], Field(min_length=1, max_length=MAX_FILMS)]


class LaterFrame(BaseModel):
    """Rules of each later ImportFilmsRequest."""

    batch: Batch


class GetFilmImport(BaseModel):
    """Rules of GetFilmImportRequest."""

    name: Annotated[str, AfterValidator(_import_name)]


def wanted_films(request: pb.ExportFilmsRequest) -> Wanted:
    """Read an ExportFilmsRequest; raises ValidationFailed."""
    names = ("filter", "view", "resume_cursor")
    validated(ExportFilms, {name: getattr(request, name) for name in names})
    full = request.view != resources_pb2.FILM_VIEW_BASIC
    return Wanted(request.filter, full, request.show_deleted)


def import_id_of(request: pb.GetFilmImportRequest) -> UUID:
    """Read which import is asked for; raises ValidationFailed."""
    return UUID(validated(GetFilmImport, {"name": request.name}).name.partition("/")[2])


class ImportFrames:
    """The frames of one import in their order: read by one task, a little ahead of the work.

    A read that is cancelled would lose frames, so what waits for them waits for the task.
    """

    def __init__(self, requests: AsyncIterator[pb.ImportFilmsRequest], idle: timedelta) -> None:
        self._requests = requests
        self._idle = idle
        self._queue: asyncio.Queue[pb.ImportFilmsRequest | Exception | None]
        self._queue = asyncio.Queue(_AHEAD)
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to read."""
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Read no more."""
        assert self._reader is not None, "it was begun"
        self._reader.cancel()
        await asyncio.wait([self._reader])

    async def config(self) -> ImportConfig:
        """Return the first frame.

        Raises:
            ValidationFailed: it breaks rules.
            DomainError: PROTOCOL_VIOLATION, it has no config.
        """
        frame = await self._next(min(self._idle, _CONFIG_WAIT))
        if frame is None or frame.WhichOneof("frame") != "config":
            _violation("config", frame)
        sent = frame.config
        names = ("import_id", "mode", "conflict_policy")
        values = {name: getattr(sent, name) for name in names}
        config = validated(FirstFrame, {"config": values}).config
        return ImportConfig(
            config.import_id,
            _MODES[sent.mode],
            _POLICIES[sent.conflict_policy],
            sent.validate_only,
        )

    async def batches(self) -> AsyncGenerator[SentBatch, None]:
        """Yield each batch until the client ends its side.

        Raises:
            ValidationFailed: a batch breaks rules; of films those that do are told one by one.
            DomainError: PROTOCOL_VIOLATION, a frame has no batch; DEADLINE_EXCEEDED, none came.
        """
        while (frame := await self._next(self._idle)) is not None:
            if frame.WhichOneof("frame") != "batch":
                _violation("batch", frame)
            yield await _sent_batch(frame.batch)
        await asyncio.sleep(_END_SECONDS)

    async def _next(self, patience: timedelta) -> pb.ImportFilmsRequest | None:
        try:
            async with asyncio.timeout(patience.total_seconds()):
                item = await self._queue.get()
        except TimeoutError:
            raise DomainError(
                f"nothing came for {patience.total_seconds():.0f} s; begin the stream again"
                " and go on with the batch that GetFilmImport tells",
                reason="DEADLINE_EXCEEDED",
            ) from None
        if isinstance(item, Exception):
            raise item
        return item

    async def _read(self) -> None:
        end: Exception | None = None
        with suppress(asyncio.CancelledError):
            try:
                async for request in self._requests:
                    await self._queue.put(request)
            except Exception as error:  # noqa: BLE001  # who takes the frames meets it
                end = error
            await self._queue.put(end)


async def _sent_batch(batch: pb.ImportFilmsBatch) -> SentBatch:
    films = list(batch.films)
    validated(LaterFrame, {"batch": {"batch_number": batch.batch_number, "films": films}})
    read = []
    for place, film in enumerate(films):
        if place and place % _FILMS_AT_ONCE == 0:
            await asyncio.sleep(0)
        read.append(_sent_film(film))
    return SentBatch(batch.batch_number, read, batch.ByteSize())


def _sent_film(film: resources_pb2.Film) -> SentFilm:
    violations: list[FieldViolation] = []
    number, fields = None, None
    if film.name:
        number = number_of(film.name, "films")
        if number is None or number > MAX_FILM_NUMBER:
            description = f"must be empty or a name like films/17, up to films/{MAX_FILM_NUMBER}"
            violations.append(FieldViolation("film.name", description))
            number = None
    try:
        fields = film_fields(film)
    except ValidationFailed as error:
        violations += error.violations
    if violations:
        return SentFilm(number, error=ValidationFailed(violations))
    return SentFilm(number, fields)


def _violation(expected: str, frame: pb.ImportFilmsRequest | None) -> NoReturn:
    received = "end" if frame is None else frame.WhichOneof("frame") or "nothing"
    raise DomainError(
        f"a message with {expected} must come here, not {received}; the first message has the"
        " config, each later one a batch",
        reason="PROTOCOL_VIOLATION",
        metadata={"expected": expected, "received": received},
    )
