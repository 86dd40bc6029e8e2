"""Between changes and their messages."""

from collections import OrderedDict
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from server.catalogue.changes import Change, ChangeType, Resource, ResourceKind
from server.catalogue.domain import Actor, Category, Film
from server.catalogue.mapping import actor_message, category_message, fill_film, language_message
from server.catalogue.watch import Closing, Event, Found, FoundAll, Passed, Told
from server.catalogue.watch_cursors import Place, WatchCursors
from server.generated.interview.catalogue.v1 import change_pb2
from server.rpc.well_known import duration, timestamp

KINDS: Final[Mapping[int, ResourceKind]] = {
    change_pb2.RESOURCE_KIND_FILM: ResourceKind.FILM,
    change_pb2.RESOURCE_KIND_CATEGORY: ResourceKind.CATEGORY,
    change_pb2.RESOURCE_KIND_ACTOR: ResourceKind.ACTOR,
    change_pb2.RESOURCE_KIND_LANGUAGE: ResourceKind.LANGUAGE,
}
_KIND: Final[Mapping[ResourceKind, change_pb2.ResourceKind.ValueType]] = {
    ResourceKind.FILM: change_pb2.RESOURCE_KIND_FILM,
    ResourceKind.CATEGORY: change_pb2.RESOURCE_KIND_CATEGORY,
    ResourceKind.ACTOR: change_pb2.RESOURCE_KIND_ACTOR,
    ResourceKind.LANGUAGE: change_pb2.RESOURCE_KIND_LANGUAGE,
}
_TYPE: Final[Mapping[ChangeType, change_pb2.ChangeType.ValueType]] = {
    ChangeType.CREATED: change_pb2.CHANGE_TYPE_CREATED,
    ChangeType.UPDATED: change_pb2.CHANGE_TYPE_UPDATED,
    ChangeType.DELETED: change_pb2.CHANGE_TYPE_DELETED,
    ChangeType.UNDELETED: change_pb2.CHANGE_TYPE_UNDELETED,
    ChangeType.PURGED: change_pb2.CHANGE_TYPE_PURGED,
}
_KEPT: Final = 512
"""Messages of the latest changes, which all watches tell alike."""


def _fill(message: change_pb2.CatalogueResource, resource: Resource) -> None:
    if isinstance(resource, Film):
        fill_film(message.film, resource, full=True)
    elif isinstance(resource, Category):
        message.category.CopyFrom(category_message(resource))
    elif isinstance(resource, Actor):
        message.actor.CopyFrom(actor_message(resource))
    else:
        message.language.CopyFrom(language_message(resource))


def fill_change(
    message: change_pb2.Change, change: Change, *, previous: bool, left_filter: bool = False
) -> None:
    """Set the fields of an empty message, in place: one that is handed on would be copied."""
    message.revision = change.revision
    message.change_type = _TYPE[change.change_type]
    message.resource_kind = _KIND[change.kind]
    message.resource_name = change.resource_name
    if change.after is not None:
        _fill(message.resource, change.after)
    if previous and change.before is not None:
        _fill(message.previous, change.before)
    message.changed_fields.paths.extend(change.changed_fields)
    message.change_time.CopyFrom(timestamp(change.change_time))
    message.principal = change.author.principal
    message.request_id = change.author.request_id
    message.left_filter = left_filter


class WatchMessages:
    """Turns what a watch tells into messages."""

    def __init__(self, cursors: WatchCursors) -> None:
        self._cursors = cursors
        self._told: OrderedDict[tuple[int, bool, bool], change_pb2.WatchCatalogueResponse]
        self._told = OrderedDict()

    def response(self, event: Event, *, previous: bool) -> change_pb2.WatchCatalogueResponse:
        """Return the message, which is shared: send it, never change it."""
        match event:
            case Told():
                return self._change(event, previous=previous)
            case Passed(place):
                return self._checkpoint(place)
            case Found(resource):
                message = change_pb2.WatchCatalogueResponse()
                _fill(message.snapshot_item.resource, resource)
                return message
            case FoundAll(place, count):
                end = change_pb2.SnapshotEnd(revision=place.revision, item_count=count)
                cursor = self._cursors.seal(place)
                return change_pb2.WatchCatalogueResponse(snapshot_end=end, cursor=cursor)
            case Closing(reason, closing_place):
                closing = change_pb2.WatchClosing(reason=reason, time_left=duration(timedelta()))
                cursor = "" if closing_place is None else self._cursors.seal(closing_place)
                return change_pb2.WatchCatalogueResponse(closing=closing, cursor=cursor)

    def _checkpoint(self, place: Place) -> change_pb2.WatchCatalogueResponse:
        checkpoint = change_pb2.Checkpoint(
            revision=place.revision, checkpoint_time=timestamp(place.time)
        )
        return change_pb2.WatchCatalogueResponse(
            checkpoint=checkpoint, cursor=self._cursors.seal(place)
        )

    def _change(self, told: Told, *, previous: bool) -> change_pb2.WatchCatalogueResponse:
        change = told.change
        key = (change.revision, previous, told.left_filter)
        message = self._told.get(key)
        if message is None:
            message = self._told[key] = change_pb2.WatchCatalogueResponse(
                cursor=self._cursors.seal(Place(change.revision, change.change_time))
            )
            fill_change(message.change, change, previous=previous, left_filter=told.left_filter)
            if len(self._told) > _KEPT:
                self._told.popitem(last=False)
        return message
