"""The rules that requests for lists share (AIP-132, AIP-158), as parts of command models."""

from typing import Annotated, Final

from google.protobuf.message import Message
from pydantic import AfterValidator, BaseModel, Field

DEFAULT_PAGE: Final = 50
MAX_PAGE: Final = 1000


def _page_size(size: int) -> int:
    if size < 0:
        raise ValueError(f"must be 0 (for the default of {DEFAULT_PAGE}) or more")
    return min(size, MAX_PAGE) or DEFAULT_PAGE


PageSize = Annotated[int, AfterValidator(_page_size)]
PageToken = Annotated[str, Field(max_length=2048)]
FilterText = Annotated[str, Field(max_length=2048)]
OrderText = Annotated[str, Field(max_length=256)]


class ListRows(BaseModel):
    """Rules of a list request without filter."""

    page_size: PageSize
    page_token: PageToken


class ListFiltered(ListRows):
    """Rules of a list request with filter and order."""

    filter: FilterText
    order_by: OrderText


def arguments_of(request: Message) -> dict[str, object]:
    """Return what a page token is bound to: every argument but the page's size and place."""
    return {
        field.name: getattr(request, field.name)
        for field in request.DESCRIPTOR.fields
        if field.name not in {"page_size", "page_token"}
    }
