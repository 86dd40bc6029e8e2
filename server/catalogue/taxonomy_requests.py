"""The rules that requests about categories, actors and languages must meet."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, TypeAlias
from uuid import UUID

from google.api import field_behavior_pb2  # type: ignore[import-untyped]  # it has no types
from google.protobuf.descriptor import Descriptor
from google.protobuf.field_mask_pb2 import FieldMask
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from server.catalogue.mapping import number_of
from server.catalogue.requests import numbered
from server.catalogue.taxonomy_rules import ACTOR_BRANCH, CATEGORY_BRANCH, Target
from server.core.errors import DomainError
from server.generated.interview.catalogue.v1 import resources_pb2, taxonomy_pb2
from server.rpc.validation import validated

_CONTROLS: Final = frozenset({"Cc", "Zl", "Zp"})
"""Unicode's general categories of what must not stand in a line of text."""


def _line(text: str) -> str:
    if any(unicodedata.category(char) in _CONTROLS for char in text):
        raise ValueError("must not contain control characters")
    if text != text.strip():
        raise ValueError("must not begin or end with a blank")
    return text


def _given(text: str) -> str | None:
    return text or None


CategoryName = Annotated[str, numbered("categories")]
ActorName = Annotated[str, numbered("actors")]
DisplayName = Annotated[str, Field(min_length=1, max_length=25), AfterValidator(_line)]
PersonName = Annotated[str, Field(min_length=1, max_length=45), AfterValidator(_line)]
Etag = Annotated[str, Field(max_length=64)]
RequestId = Annotated[UUID | None, BeforeValidator(_given)]


class GetCategory(BaseModel):
    """Rules of GetCategoryRequest."""

    name: CategoryName


class GetActor(BaseModel):
    """Rules of GetActorRequest."""

    name: ActorName


class GetLanguage(BaseModel):
    """Rules of GetLanguageRequest."""

    name: Annotated[str, numbered("languages")]


class NewCategory(BaseModel):
    """Rules of the Category in CreateCategoryRequest."""

    display_name: DisplayName


class CreateCategory(BaseModel):
    """Rules of CreateCategoryRequest."""

    category: NewCategory
    request_id: RequestId


class UpdatedCategory(BaseModel):
    """Rules of the Category in UpdateCategoryRequest, of which only what is to change is given."""

    name: CategoryName
    etag: Etag
    display_name: DisplayName | None = None


class UpdateCategory(BaseModel):
    """Rules of UpdateCategoryRequest."""

    category: UpdatedCategory
    request_id: RequestId


class DeleteCategory(BaseModel):
    """Rules of DeleteCategoryRequest."""

    name: CategoryName
    etag: Etag
    request_id: RequestId


class NewActor(BaseModel):
    """Rules of the Actor in CreateActorRequest."""

    given_name: PersonName
    family_name: PersonName


class CreateActor(BaseModel):
    """Rules of CreateActorRequest."""

    actor: NewActor
    request_id: RequestId


class UpdatedActor(BaseModel):
    """Rules of the Actor in UpdateActorRequest, of which only what is to change is given."""

    name: ActorName
    etag: Etag
    given_name: PersonName | None = None
    family_name: PersonName | None = None


class UpdateActor(BaseModel):
    """Rules of UpdateActorRequest."""

    actor: UpdatedActor
    request_id: RequestId


class DeleteActor(BaseModel):
    """Rules of DeleteActorRequest."""

    name: ActorName
    etag: Etag
    request_id: RequestId


Values: TypeAlias = Mapping[str, str]
"""Fields to set, by their names in the domain."""


def created_category(request: taxonomy_pb2.CreateCategoryRequest) -> tuple[Values, UUID | None]:
    """Read a CreateCategoryRequest; raises ValidationFailed."""
    sent = {"category": _sent(request.category, CATEGORY_BRANCH.fields)}
    command = validated(CreateCategory, {**sent, "request_id": request.request_id})
    return _values(command.category, CATEGORY_BRANCH.fields), command.request_id


def created_actor(request: taxonomy_pb2.CreateActorRequest) -> tuple[Values, UUID | None]:
    """Read a CreateActorRequest; raises ValidationFailed."""
    sent = {"actor": _sent(request.actor, ACTOR_BRANCH.fields)}
    command = validated(CreateActor, {**sent, "request_id": request.request_id})
    return _values(command.actor, ACTOR_BRANCH.fields), command.request_id


def updated_category(
    request: taxonomy_pb2.UpdateCategoryRequest,
) -> tuple[Target, Values, UUID | None]:
    """Read an UpdateCategoryRequest; raises ValidationFailed, DomainError FIELD_MASK_INVALID."""
    chosen = _chosen(request.category, request.update_mask, CATEGORY_BRANCH.fields)
    sent = {"category": _sent(request.category, ("name", "etag", *chosen))}
    command = validated(UpdateCategory, {**sent, "request_id": request.request_id})
    target = _target(command.category, "categories")
    return target, _values(command.category, chosen), command.request_id


def updated_actor(request: taxonomy_pb2.UpdateActorRequest) -> tuple[Target, Values, UUID | None]:
    """Read an UpdateActorRequest; raises ValidationFailed, DomainError FIELD_MASK_INVALID."""
    chosen = _chosen(request.actor, request.update_mask, ACTOR_BRANCH.fields)
    sent = {"actor": _sent(request.actor, ("name", "etag", *chosen))}
    command = validated(UpdateActor, {**sent, "request_id": request.request_id})
    return _target(command.actor, "actors"), _values(command.actor, chosen), command.request_id


def deleted_category(
    request: taxonomy_pb2.DeleteCategoryRequest,
) -> tuple[Target, UUID | None]:
    """Read a DeleteCategoryRequest; raises ValidationFailed."""
    command = validated(DeleteCategory, _sent(request, ("name", "etag", "request_id")))
    return _target(command, "categories"), command.request_id


def deleted_actor(request: taxonomy_pb2.DeleteActorRequest) -> tuple[Target, UUID | None]:
    """Read a DeleteActorRequest; raises ValidationFailed."""
    command = validated(DeleteActor, _sent(request, ("name", "etag", "request_id")))
    return _target(command, "actors"), command.request_id


def _sent(message: Any, names: Sequence[str] | Mapping[str, str]) -> dict[str, Any]:
    return {name: getattr(message, name) for name in names}


def _values(command: BaseModel, fields: Mapping[str, str]) -> Values:
    return {attribute: getattr(command, name) for name, attribute in fields.items()}


def _target(
    command: UpdatedCategory | UpdatedActor | DeleteCategory | DeleteActor, collection: str
) -> Target:
    return Target(number_of(command.name, collection) or 0, command.etag)


def _chosen(
    message: resources_pb2.Category | resources_pb2.Actor,
    mask: FieldMask,
    fields: Mapping[str, str],
) -> Mapping[str, str]:
    """Return the fields to change (AIP-134).

    Of a mask, the name, the etag and fields that only the server sets are passed over, so that a
    row can be read and sent back under one mask (AIP-161).
    """
    if not mask.paths:
        return {name: fields[name] for name in fields if getattr(message, name)}
    passed_over = {"name", "etag"} | _output_only(message.DESCRIPTOR)
    for path in mask.paths:
        if path != "*" and path not in fields and path not in passed_over:
            raise _mask_invalid(path, fields)
    return {name: fields[name] for name in fields if "*" in mask.paths or name in mask.paths}


def _mask_invalid(path: str, fields: Mapping[str, str]) -> DomainError:
    allowed = (*fields, "*")
    return DomainError(
        f"update_mask: {path[:64]!r} cannot be changed; name some of {', '.join(allowed)}",
        reason="FIELD_MASK_INVALID",
        metadata={"path": path, "allowed_paths": ",".join(allowed)},
    )


def _output_only(message: Descriptor) -> frozenset[str]:
    return frozenset(
        field.name
        for field in message.fields
        if field_behavior_pb2.OUTPUT_ONLY
        in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    )
