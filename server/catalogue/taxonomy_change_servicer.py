"""The methods of CatalogueService that change categories and actors."""

from google.protobuf.empty_pb2 import Empty

from server.core.errors import DomainError
from server.generated.interview.catalogue.v1 import resources_pb2, taxonomy_pb2
from server.rpc.call import Call


class TaxonomyChangeMethods:
    """The methods of CatalogueService that change categories and actors."""

    async def CreateCategory(
        self, request: taxonomy_pb2.CreateCategoryRequest, call: Call
    ) -> resources_pb2.Category:
        """Not there yet."""
        raise not_there()

    async def UpdateCategory(
        self, request: taxonomy_pb2.UpdateCategoryRequest, call: Call
    ) -> resources_pb2.Category:
        """Not there yet."""
        raise not_there()

    async def DeleteCategory(
        self, request: taxonomy_pb2.DeleteCategoryRequest, call: Call
    ) -> Empty:
        """Not there yet."""
        raise not_there()

    async def CreateActor(
        self, request: taxonomy_pb2.CreateActorRequest, call: Call
    ) -> resources_pb2.Actor:
        """Not there yet."""
        raise not_there()

    async def UpdateActor(
        self, request: taxonomy_pb2.UpdateActorRequest, call: Call
    ) -> resources_pb2.Actor:
        """Not there yet."""
        raise not_there()

    async def DeleteActor(self, request: taxonomy_pb2.DeleteActorRequest, call: Call) -> Empty:
        """Not there yet."""
        raise not_there()


def not_there() -> DomainError:
    """Return the error of a method that is not there yet."""
    return DomainError("not there yet", reason="METHOD_UNKNOWN")
