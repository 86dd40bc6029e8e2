"""The methods of CatalogueService that move films in and out."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta

from server.catalogue.bulk_mapping import (
    ExportCursors,
    attached_import,
    export_responses,
    film_import_message,
)
from server.catalogue.film_export import FilmExports
from server.catalogue.film_import import IDLE
from server.catalogue.film_import_requests import ImportFrames, import_id_of, wanted_films
from server.catalogue.film_imports import FilmImports, ImportStopped
from server.generated.interview.catalogue.v1 import film_bulk_pb2
from server.rpc.call import Call


class BulkMethods:
    """Answers the methods that move films in and out."""

    def __init__(
        self,
        exports: FilmExports,
        imports: FilmImports,
        cursors: ExportCursors,
        idle: timedelta = IDLE,
    ) -> None:
        self._exports = exports
        self._imports = imports
        self._cursors = cursors
        self._idle = idle

    async def ExportFilms(
        self, request: film_bulk_pb2.ExportFilmsRequest, call: Call
    ) -> AsyncIterator[film_bulk_pb2.ExportFilmsResponse]:
        """Answer every film of one state, each batch when the client has taken the one before."""
        wanted = wanted_films(request)
        progress = self._cursors.open(wanted, request.resume_cursor)
        async with (
            self._exports.open(wanted, progress) as export,
            aclosing(export_responses(export, wanted, self._cursors)) as responses,
        ):
            async for response in responses:
                yield response

    async def ImportFilms(
        self, requests: AsyncIterator[film_bulk_pb2.ImportFilmsRequest], call: Call
    ) -> film_bulk_pb2.ImportFilmsResponse:
        """Store the films that the client sends."""
        async with ImportFrames(requests, self._idle) as frames:
            config = await frames.config()
            try:
                async with aclosing(frames.batches()) as batches:
                    done = await self._imports.run(
                        config, batches, call.principal.user_id, call.audited
                    )
            except ImportStopped as stopped:
                stopped.error.attached = (attached_import(stopped.film_import),)
                raise stopped.error from None
        if done.revision:
            call.tell_revision(done.revision)
        return film_bulk_pb2.ImportFilmsResponse(film_import=film_import_message(done.film_import))

    async def GetFilmImport(
        self, request: film_bulk_pb2.GetFilmImportRequest, call: Call
    ) -> film_bulk_pb2.FilmImport:
        """Answer how far an import of the caller is."""
        found = await self._imports.get(import_id_of(request), call.principal.user_id)
        return film_import_message(found)
