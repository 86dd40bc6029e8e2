"""What the parts of the catalogue have in common."""

from collections.abc import Sequence
from uuid import uuid4

from .calls import Calls
from .generated.google.protobuf import FieldMask
from .generated.interview.catalogue.v1.catalogue_service_stub import CatalogueServiceStub


class CatalogueCalls:
    """A part of the catalogue's calls; `Catalogue` is all of them."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._stub = CatalogueServiceStub(calls.channel)


def new_request_id(given: str) -> str:
    """Return the request_id that was given, else a new one, so that the call can be repeated."""
    return given or str(uuid4())


def mask_of(fields: Sequence[str]) -> FieldMask | None:
    """Return the mask of these fields, None for those that are sent with a value."""
    paths = [fields] if isinstance(fields, str) else list(fields)
    return FieldMask(paths=paths) if paths else None
