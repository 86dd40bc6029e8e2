"""The methods of CatalogueService that change categories and actors: map in, ask, map out."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from google.protobuf.empty_pb2 import Empty

from server.catalogue import taxonomy_requests as requests
from server.catalogue.domain import Actor, Category
from server.catalogue.mapping import actor_message, category_message
from server.catalogue.taxonomy_changes import TaxonomyChanges
from server.catalogue.taxonomy_rules import Asked, Changed, T
from server.core.idempotency import Replay
from server.generated.interview.catalogue.v1 import resources_pb2, taxonomy_pb2
from server.rpc.call import Call
from server.rpc.idempotency import RequestIds, replayed

M = TypeVar("M", resources_pb2.Category, resources_pb2.Actor)

_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for the time of what is to be created, which the domain sets."""


@dataclass(frozen=True, slots=True)
class _Form(Generic[T, M]):
    """A kind of message and how it is written."""

    kind: type[M]
    write: Callable[[T], M]


_CATEGORY: Final = _Form(resources_pb2.Category, category_message)
_ACTOR: Final = _Form(resources_pb2.Actor, actor_message)


class TaxonomyChangeMethods:
    """The methods of CatalogueService that change categories and actors."""

    def __init__(
        self,
        categories: TaxonomyChanges[Category],
        actors: TaxonomyChanges[Actor],
        request_ids: RequestIds,
    ) -> None:
        self._categories = categories
        self._actors = actors
        self._request_ids = request_ids

    async def CreateCategory(
        self, request: taxonomy_pb2.CreateCategoryRequest, call: Call
    ) -> resources_pb2.Category:
        """Create a category, once for each request_id."""
        values, request_id = requests.created_category(request)
        asked = self._asked(call, request, request_id, _CATEGORY)
        new = Category(0, values["name"], 0, _NEVER)
        return _created(call, await self._categories.create(new, asked), _CATEGORY)

    async def UpdateCategory(
        self, request: taxonomy_pb2.UpdateCategoryRequest, call: Call
    ) -> resources_pb2.Category:
        """Set fields of a category."""
        target, values, request_id = requests.updated_category(request)
        asked = self._asked(call, request, request_id, _CATEGORY)
        changed = await self._categories.update(target, values, asked)
        return _answer(call, changed, _CATEGORY)

    async def DeleteCategory(
        self, request: taxonomy_pb2.DeleteCategoryRequest, call: Call
    ) -> Empty:
        """Delete a category for good."""
        target, request_id = requests.deleted_category(request)
        asked = self._asked(call, request, request_id, _CATEGORY)
        removed = await self._categories.delete(
            target, asked, force=request.force, allow_missing=request.allow_missing
        )
        return _removed(call, removed)

    async def CreateActor(
        self, request: taxonomy_pb2.CreateActorRequest, call: Call
    ) -> resources_pb2.Actor:
        """Create an actor, once for each request_id."""
        values, request_id = requests.created_actor(request)
        asked = self._asked(call, request, request_id, _ACTOR)
        new = Actor(0, values["given_name"], values["family_name"], 0, _NEVER)
        return _created(call, await self._actors.create(new, asked), _ACTOR)

    async def UpdateActor(
        self, request: taxonomy_pb2.UpdateActorRequest, call: Call
    ) -> resources_pb2.Actor:
        """Set fields of an actor."""
        target, values, request_id = requests.updated_actor(request)
        asked = self._asked(call, request, request_id, _ACTOR)
        return _answer(call, await self._actors.update(target, values, asked), _ACTOR)

    async def DeleteActor(self, request: taxonomy_pb2.DeleteActorRequest, call: Call) -> Empty:
        """Delete an actor for good."""
        target, request_id = requests.deleted_actor(request)
        asked = self._asked(call, request, request_id, _ACTOR)
        removed = await self._actors.delete(
            target, asked, force=request.force, allow_missing=request.allow_missing
        )
        return _removed(call, removed)

    def _asked(
        self, call: Call, request: Any, request_id: UUID | None, form: _Form[T, M]
    ) -> Asked[T]:
        def kept(changed: Changed[T]) -> bytes:
            message = Empty() if changed.resource is None else form.write(changed.resource)
            return message.SerializeToString()

        repeatable = self._request_ids.repeatable(call, request, request_id, kept)
        return Asked(call.audited, repeatable, request.validate_only)


def _created(call: Call, changed: Changed[T] | Replay, form: _Form[T, M]) -> M:
    answer = _answer(call, changed, form)
    if isinstance(changed, Replay):
        call.audited.target = answer.name
    elif changed.revision is None:
        answer.name = ""  # a number is chosen with the creation
    return answer


def _answer(call: Call, changed: Changed[T] | Replay, form: _Form[T, M]) -> M:
    if isinstance(changed, Replay):
        return replayed(call, changed, form.kind)
    assert changed.resource is not None, "it was not removed"
    answer = form.write(changed.resource)
    if changed.revision is None:
        answer.etag = ""  # there is nothing that it could be the tag of
    _tell_revision(call, changed.revision)
    return answer


def _removed(call: Call, changed: Changed[T] | Replay) -> Empty:
    if isinstance(changed, Replay):
        return replayed(call, changed, Empty)
    _tell_revision(call, changed.revision)
    return Empty()


def _tell_revision(call: Call, revision: int | None) -> None:
    if revision is not None:
        call.tell_revision(revision)
