"""The methods of CatalogueService that move films in and out."""

from collections.abc import AsyncIterator

from server.core.errors import DomainError
from server.generated.interview.catalogue.v1 import film_bulk_pb2
from server.rpc.call import Call


class BulkMethods:
    """The methods of CatalogueService that move films in and out."""

    async def ExportFilms(
        self, request: film_bulk_pb2.ExportFilmsRequest, call: Call
    ) -> AsyncIterator[film_bulk_pb2.ExportFilmsResponse]:
        """Not there yet."""
        raise not_there()
        yield

    async def ImportFilms(
        self, requests: AsyncIterator[film_bulk_pb2.ImportFilmsRequest], call: Call
    ) -> film_bulk_pb2.ImportFilmsResponse:
        """Not there yet."""
        raise not_there()

    async def GetFilmImport(
        self, request: film_bulk_pb2.GetFilmImportRequest, call: Call
    ) -> film_bulk_pb2.FilmImport:
        """Not there yet."""
        raise not_there()


def not_there() -> DomainError:
    """Return the error of a method that is not there yet."""
    return DomainError("not there yet", reason="METHOD_UNKNOWN")
