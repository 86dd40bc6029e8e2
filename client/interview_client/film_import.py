"""Storing films, in batches that are sent again where a stream was cut."""
# ruff: noqa: ASYNC109  # a timeout here is the call's deadline, which the server is told

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from uuid import uuid4

from grpc import aio

from .call_end import CallEnd, StreamEnded
from .calls import Calls, UnaryCall, pause_before
from .catalogue_calls import CatalogueCalls
from .errors import InterviewError, NotFound
from .generated.interview.catalogue.v1 import (
    Film,
    FilmImport,
    GetFilmImportRequest,
    ImportConflictPolicy,
    ImportFilmsBatch,
    ImportFilmsConfig,
    ImportFilmsRequest,
    ImportFilmsResponse,
    ImportMode,
)
from .generated.methods import CatalogueService as Methods
from .names import resource_name
from .resumption import PATIENCE, Resumption

Films = Iterable[Film] | AsyncIterable[Film]
Call = aio.StreamStreamCall[ImportFilmsRequest, ImportFilmsResponse]

MOST_FILMS = 500
"""Most films that the server takes in one batch."""
BATCH_BYTES = 768 * 1024
"""Largest message with a batch of more than one film; the server takes messages of 1 MiB."""
ENVELOPE_BYTES = 16
"""Most that a message has besides its films: its own head, and the batch's number."""
UNCONFIRMED = 8
"""So many batches are kept in memory because the server may not have stored them yet."""


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """How far an import is: a batch is on its way, or was stored by an earlier call.

    `film_count` counts the films up to the end of this batch, in the order of their source;
    `film_import` is what the server told last, None if nothing yet.
    """

    batch_number: int
    film_count: int
    film_import: FilmImport | None


Progress = Callable[[ImportProgress], None]


class FilmImports(CatalogueCalls):
    """Imports films."""

    def __init__(self, calls: Calls) -> None:
        super().__init__(calls)
        self._get_film_import = calls.unary(self._stub.get_film_import, Methods.GET_FILM_IMPORT)
        # The same on the wire as the stub's own method. But that one, of which one answer is
        # expected, loses the server's words when it says no while the client still writes.
        self._import_films: aio.StreamStreamMultiCallable[
            ImportFilmsRequest, ImportFilmsResponse
        ] = calls.channel.stream_stream(
            Methods.IMPORT_FILMS.path,
            request_serializer=bytes,
            response_deserializer=ImportFilmsResponse.parse,
        )

    async def get_film_import(self, name: str, *, timeout: float | None = None) -> FilmImport:
        """Return how far an import is: "filmImports/{import_id}" or the id. Raises NotFound."""
        request = GetFilmImportRequest(name=resource_name("filmImports", name))
        return await self._get_film_import(request, timeout)

    async def import_films(  # the fields of the request, by keyword
        self,
        films: Films,
        *,
        mode: ImportMode,
        conflict_policy: ImportConflictPolicy,
        import_id: str = "",
        validate_only: bool = False,
        batch_size: int = MOST_FILMS,
        on_progress: Progress | None = None,
        patience: float = PATIENCE,
    ) -> FilmImport:
        """Store the films, and return what became of them.

        A stream that is cut is opened again and goes on behind the last batch that is stored, for
        `patience` seconds without a new one. With the `import_id` of an import that failed or was
        given up, the same films in the same order and `batch_size` go on with it: batches that are
        stored are read from `films` and not sent.

        Raises the InterviewError of the first film that cannot be taken, or of the stream, with
        `film_import` set where anything is known of the import. At most 8 batches are kept in
        memory; all of them in IMPORT_MODE_ATOMIC and with `validate_only`, which store nothing
        before the end.
        """
        if not 1 <= batch_size <= MOST_FILMS:
            raise ValueError(f"batch_size must be 1 to {MOST_FILMS}, not {batch_size}")
        config = ImportFilmsConfig(
            import_id=import_id or str(uuid4()),
            mode=mode,
            conflict_policy=conflict_policy,
            validate_only=validate_only,
        )
        resumption = Resumption(self._calls.source, patience)
        importing = _Importing(
            self._import_films, self._get_film_import, config, resumption, on_progress or _ignored
        )
        async with aclosing(_batches(films, batch_size)) as batches:
            return await importing.run(batches, known=bool(import_id) and not validate_only)


class _Importing:
    """One import: its streams one after the other, and the batches that may have to go again."""

    def __init__(
        self,
        method: aio.StreamStreamMultiCallable[ImportFilmsRequest, ImportFilmsResponse],
        get_film_import: UnaryCall[GetFilmImportRequest, FilmImport],
        config: ImportFilmsConfig,
        resumption: Resumption,
        on_progress: Progress,
    ) -> None:
        self._method = method
        self._get = get_film_import
        self._config = config
        self._resumption = resumption
        self._on_progress = on_progress
        self._unconfirmed: deque[ImportFilmsBatch] = deque()
        self._count = 0
        self._last: FilmImport | None = None
        # Nothing is stored before the end of these, so everything may have to go again.
        self._is_whole = config.mode is ImportMode.ATOMIC or config.validate_only

    async def run(
        self, batches: AsyncGenerator[ImportFilmsBatch, None], *, known: bool
    ) -> FilmImport:
        """Send the batches until all are stored."""
        ask = known
        while True:
            try:
                if ask:
                    await self._confirm()
                return await self._stream(batches)
            except InterviewError as error:
                self._last = error.film_import or self._last
                error.film_import = self._last
                await self._resumption.wait(error)
                ask = True

    async def _stream(self, batches: AsyncGenerator[ImportFilmsBatch, None]) -> FilmImport:
        timeout = Methods.IMPORT_FILMS.default_timeout
        call = self._method(timeout=timeout, metadata=await self._resumption.metadata())
        end = CallEnd(call, idempotent=True)
        try:
            await call.write(ImportFilmsRequest(config=self._config))
            self._resumption.begin()
            for batch in self._unconfirmed:
                await call.write(ImportFilmsRequest(batch=batch))
            async for batch in batches:
                await self._send(call, batch)
            await call.done_writing()
            response = await call.read()
            if isinstance(response, ImportFilmsResponse):
                return response.film_import or FilmImport()
            raise StreamEnded("the stream has ended before the import")
        except (aio.AioRpcError, asyncio.InvalidStateError) as failure:
            error = await end.error() or StreamEnded("the stream has ended before the import")
            raise error from failure
        finally:
            call.cancel()

    async def _send(self, call: Call, batch: ImportFilmsBatch) -> None:
        self._count += len(batch.films)
        stored = self._last is not None and batch.batch_number <= self._last.committed_batch_number
        if not stored:
            # Kept before it is sent: the stream may be cut within it.
            self._unconfirmed.append(batch)
            await call.write(ImportFilmsRequest(batch=batch))
        self._on_progress(ImportProgress(batch.batch_number, self._count, self._last))
        await self._make_room(call)

    async def _make_room(self, call: Call) -> None:
        """Wait until the server has stored enough of what it was sent."""
        attempt = 0
        while not self._is_whole and len(self._unconfirmed) >= UNCONFIRMED and not call.done():
            before = len(self._unconfirmed)
            await self._confirm()
            if len(self._unconfirmed) == before:
                attempt += 1
                await asyncio.sleep(pause_before(attempt))

    async def _confirm(self) -> None:
        """Ask what is stored, and forget it here."""
        if self._config.validate_only:
            return
        request = GetFilmImportRequest(name=f"filmImports/{self._config.import_id}")
        try:
            self._last = await self._get(request)
        except NotFound:
            # Not even its first batch is stored.
            return
        committed = self._last.committed_batch_number
        while self._unconfirmed and self._unconfirmed[0].batch_number <= committed:
            self._unconfirmed.popleft()
            self._resumption.progress()


async def _batches(films: Films, size: int) -> AsyncGenerator[ImportFilmsBatch, None]:
    number, batch, length = 1, list[Film](), ENVELOPE_BYTES
    async for film in _each(films):
        more = _bytes_in_batch(film)
        if batch and length + more > BATCH_BYTES:
            yield ImportFilmsBatch(batch_number=number, films=batch)
            number, batch, length = number + 1, [], ENVELOPE_BYTES
        batch.append(film)
        length += more
        if len(batch) == size:
            yield ImportFilmsBatch(batch_number=number, films=batch)
            number, batch, length = number + 1, [], ENVELOPE_BYTES
    if batch:
        yield ImportFilmsBatch(batch_number=number, films=batch)


def _bytes_in_batch(film: Film) -> int:
    """Return how many bytes the film adds to a message: itself, its field's tag and its length."""
    length = len(bytes(film))
    # A varint has seven bits of a number in each byte.
    return 1 + max(1, -(-length.bit_length() // 7)) + length


async def _each(films: Films) -> AsyncGenerator[Film, None]:
    if isinstance(films, AsyncIterable):
        async for film in films:
            yield film
        return
    for film in films:
        yield film


def _ignored(progress: ImportProgress) -> None:
    del progress
