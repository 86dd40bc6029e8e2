"""The rules that requests for changes must meet, and what a caller of a watch wants by them."""

from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, Field, ValidationInfo

from server.catalogue.change_mapping import KINDS
from server.catalogue.film_filter import film_filter
from server.catalogue.watch import Wanted
from server.catalogue.watch_cursors import WatchCursors
from server.core.errors import DomainError, FieldViolation
from server.generated.interview.catalogue.v1 import change_pb2
from server.query.filters import Fields, Filter
from server.query.requests import FilterText, ListFiltered
from server.rpc.validation import validated

DEFAULT_INTERVAL: Final = timedelta(seconds=15)
_SHORTEST: Final = timedelta(seconds=1)
_LONGEST: Final = timedelta(seconds=300)
_NAMES: Final = ", ".join(name for name, kind in change_pb2.ResourceKind.items() if kind in KINDS)


def _kind(number: int) -> int:
    if number not in KINDS:
        raise ValueError(f"must be one of {_NAMES}")
    return number


def _each_once(kinds: list[int]) -> list[int]:
    if len(set(kinds)) < len(kinds):
        raise ValueError("must name each kind once")
    return kinds


def _alone(cursor: str, info: ValidationInfo) -> str:
    if cursor and info.data["include_snapshot"]:
        raise ValueError("must be empty with include_snapshot, which begins anew")
    return cursor


def _interval(span: timedelta) -> timedelta:
    if not _SHORTEST <= span <= _LONGEST:
        raise ValueError("must be from 1 to 300 seconds")
    return span


class WatchCatalogue(BaseModel):
    """Rules of WatchCatalogueRequest."""

    resource_kinds: Annotated[
        list[Annotated[int, AfterValidator(_kind)]], AfterValidator(_each_once)
    ]
    film_filter: FilterText
    include_snapshot: bool
    start_cursor: Annotated[str, Field(max_length=2048), AfterValidator(_alone)]
    checkpoint_interval: Annotated[timedelta, AfterValidator(_interval)]


class ListChanges(ListFiltered):
    """Rules of ListChangesRequest."""


def wanted(
    request: change_pb2.WatchCatalogueRequest,
    fields: Fields,
    cursors: WatchCursors,
    now: datetime,
) -> Wanted:
    """Return what a watch is to tell.

    Raises:
        DomainError: VALIDATION_FAILED with every broken rule, FILTER_* or CURSOR_INVALID.
    """
    command = validated(
        WatchCatalogue,
        {
            "resource_kinds": list(request.resource_kinds),
            "film_filter": request.film_filter,
            "include_snapshot": request.include_snapshot,
            "start_cursor": request.start_cursor,
            "checkpoint_interval": _span(request),
        },
    )
    cursor = command.start_cursor
    return Wanted(
        kinds=frozenset(KINDS[number] for number in command.resource_kinds or KINDS),
        where=_condition(command.film_filter, fields, now),
        start=cursors.open(cursor) if cursor else None,
        snapshot=command.include_snapshot,
        interval=command.checkpoint_interval,
        previous=request.include_previous,
    )


def _span(request: change_pb2.WatchCatalogueRequest) -> timedelta:
    if not request.HasField("checkpoint_interval"):
        return DEFAULT_INTERVAL
    sent = request.checkpoint_interval
    # Whatever is too much for a timedelta is too much for a watch.
    seconds = max(-1, min(sent.seconds, 2 * _LONGEST.total_seconds()))
    return timedelta(seconds=seconds, microseconds=sent.nanos // 1000)


def _condition(text: str, fields: Fields, now: datetime) -> Filter | None:
    try:
        return film_filter(text, fields, now)
    except DomainError as error:
        # Other methods call it filter.
        error.message = f"film_{error.message}"
        error.violations = tuple(
            FieldViolation("film_filter", violation.description) for violation in error.violations
        )
        raise
