"""All films of one moment, as one iteration that outlives cuts of its stream."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from types import TracebackType
from typing import Self

from .call_end import StreamEnded
from .catalogue_calls import CatalogueCalls
from .errors import InterviewError
from .generated.interview.catalogue.v1 import (
    ExportFilmsRequest,
    ExportFilmsResponse,
    Film,
    FilmView,
)
from .generated.methods import CatalogueService as Methods
from .resumption import PATIENCE, Resumption, received


class FilmExports(CatalogueCalls):
    """Exports films."""

    def export_films(
        self,
        *,
        filter: str = "",  # noqa: A002  # the field's name in the API
        view: FilmView = FilmView.UNSPECIFIED,
        show_deleted: bool = False,
        resume_cursor: str = "",
        patience: float = PATIENCE,
    ) -> "FilmExport":
        """Return an iteration over all films that meet the filter, by number.

        A stream that is cut is opened again behind its last batch, for `patience` seconds without
        a new film; then its error is raised. Films are of the state when the stream was opened
        that brought them; `watch_cursor` leads to everything that has changed since the first.
        """
        request = ExportFilmsRequest(
            filter=filter, view=view, show_deleted=show_deleted, resume_cursor=resume_cursor
        )
        return FilmExport(self, request, Resumption(self._calls.source, patience))


class FilmExport:
    """The films of an export, once. Leaving early ends the stream; `aclose` does it at once."""

    def __init__(
        self, part: CatalogueCalls, request: ExportFilmsRequest, resumption: Resumption
    ) -> None:
        self._method = part._stub.export_films  # noqa: SLF001  # of the same part of the library
        self._request = request
        self._resumption = resumption
        self._films = self._exported()
        self.resume_cursor = request.resume_cursor
        """Where to go on behind the last batch of which all films were yielded."""
        self.watch_cursor = ""
        """After the last film: the start of a watch for everything changed since the export."""
        self.exported_count = 0
        """How many films the export has had, up to `resume_cursor`."""
        self.snapshot_revision = 0
        """The state of the catalogue that the newest films are of."""

    def __aiter__(self) -> AsyncIterator[Film]:
        """Yield the films. Raises InterviewError when the export cannot be gone on with."""
        return self

    async def __anext__(self) -> Film:
        """Return the next film."""
        return await anext(self._films)

    async def __aenter__(self) -> Self:
        """Return the export."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the stream."""
        await self.aclose()

    async def aclose(self) -> None:
        """End the stream."""
        await self._films.aclose()

    async def _exported(self) -> AsyncGenerator[Film, None]:
        while True:
            try:
                async with aclosing(await self._opened()) as batches:
                    async for batch in batches:
                        self._resumption.progress()
                        self.snapshot_revision = batch.snapshot_revision
                        for film in batch.films:
                            yield film
                        self._note(batch)
                        if batch.complete:
                            return
                # A stream that ends without its last batch was cut by somebody on the way.
                raise StreamEnded("the stream has ended before the last film")
            except InterviewError as error:
                await self._resumption.wait(error)

    async def _opened(self) -> AsyncGenerator[ExportFilmsResponse, None]:
        self._request.resume_cursor = self.resume_cursor
        metadata = await self._resumption.metadata()
        timeout = Methods.EXPORT_FILMS.default_timeout
        return received(self._method, self._request, timeout, metadata)

    def _note(self, batch: ExportFilmsResponse) -> None:
        self.resume_cursor = batch.resume_cursor
        self.watch_cursor = batch.watch_cursor
        self.exported_count = batch.exported_count
