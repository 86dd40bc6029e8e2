"""The methods of CatalogueService that tell what changed."""

from collections.abc import AsyncIterator

from server.core.errors import DomainError
from server.generated.interview.catalogue.v1 import change_pb2
from server.rpc.call import Call


class WatchMethods:
    """The methods of CatalogueService that tell what changed."""

    async def WatchCatalogue(
        self, request: change_pb2.WatchCatalogueRequest, call: Call
    ) -> AsyncIterator[change_pb2.WatchCatalogueResponse]:
        """Not there yet."""
        raise not_there()
        yield

    async def ListChanges(
        self, request: change_pb2.ListChangesRequest, call: Call
    ) -> change_pb2.ListChangesResponse:
        """Not there yet."""
        raise not_there()


def not_there() -> DomainError:
    """Return the error of a method that is not there yet."""
    return DomainError("not there yet", reason="METHOD_UNKNOWN")
