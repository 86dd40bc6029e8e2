"""The methods of CatalogueService that change films: map in, ask the domain, map out."""

from server.core.errors import DomainError
from server.generated.interview.catalogue.v1 import film_changes_pb2, resources_pb2
from server.rpc.call import Call


class FilmChangeMethods:
    """The methods of CatalogueService that change films: map in, ask the domain, map out."""

    async def CreateFilm(
        self, request: film_changes_pb2.CreateFilmRequest, call: Call
    ) -> resources_pb2.Film:
        """Not there yet."""
        raise not_there()

    async def UpdateFilm(
        self, request: film_changes_pb2.UpdateFilmRequest, call: Call
    ) -> resources_pb2.Film:
        """Not there yet."""
        raise not_there()

    async def DeleteFilm(
        self, request: film_changes_pb2.DeleteFilmRequest, call: Call
    ) -> resources_pb2.Film:
        """Not there yet."""
        raise not_there()

    async def UndeleteFilm(
        self, request: film_changes_pb2.UndeleteFilmRequest, call: Call
    ) -> resources_pb2.Film:
        """Not there yet."""
        raise not_there()


def not_there() -> DomainError:
    """Return the error of a method that is not there yet."""
    return DomainError("not there yet", reason="METHOD_UNKNOWN")
