"""The rules that requests which change films must meet, each request a command model."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final
from uuid import UUID

from google.api import field_behavior_pb2  # type: ignore[import-untyped]  # it has no types
from google.protobuf.message import Message
from pydantic import BaseModel, BeforeValidator, Field

from server.catalogue.film_field_rules import SentFields
from server.catalogue.film_rules import FilmFields, Target
from server.catalogue.mapping import number_of
from server.catalogue.requests import FilmName
from server.core.errors import DomainError
from server.generated.interview.catalogue.v1 import film_changes_pb2, resources_pb2
from server.rpc.validation import validated


def _given(text: str) -> str | None:
    return text or None


RequestId = Annotated[UUID | None, BeforeValidator(_given)]
Etag = Annotated[str, Field(max_length=64)]


class CreateFilm(BaseModel):
    """Rules of CreateFilmRequest."""

    film: SentFields
    request_id: RequestId


class UpdatedFilm(SentFields):
    """Rules of the Film in UpdateFilmRequest, of which only the fields to change are given."""

    name: FilmName
    etag: Etag


class UpdateFilm(BaseModel):
    """Rules of UpdateFilmRequest."""

    film: UpdatedFilm
    request_id: RequestId


class TargetFilm(BaseModel):
    """Rules of DeleteFilmRequest and UndeleteFilmRequest."""

    name: FilmName
    etag: Etag
    request_id: RequestId


_SETTABLE: Final = {
    "title": "title",
    "description": "description",
    "release_year": "release_year",
    "language": "language",
    "original_language": "original_language",
    "rental_duration_days": "rental_duration",
    "rental_rate": "rental_rate",
    "length_minutes": "length",
    "replacement_cost": "replacement_cost",
    "rating": "rating",
    "special_features": "special_features",
    "streaming_available": "streaming_available",
    "categories": "categories",
    "actors": "actors",
}
"""Fields of the message that a caller sets, and of the film in the domain."""
_PASSED_OVER: Final = frozenset({"name", "etag"}) | {
    field.name
    for field in resources_pb2.Film.DESCRIPTOR.fields
    if field_behavior_pb2.OUTPUT_ONLY
    in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
}
_ALLOWED: Final = (*_SETTABLE, "*")


def film_fields(film: resources_pb2.Film) -> FilmFields:
    """Read a film that is to be created.

    Raises:
        ValidationFailed: with every field that breaks its rule, as `film.title`.
    """
    return _new(film, "")[0]


def create_command(
    request: film_changes_pb2.CreateFilmRequest,
) -> tuple[FilmFields, UUID | None]:
    """Read a CreateFilmRequest: the film and the request_id; raises ValidationFailed."""
    return _new(request.film, request.request_id)


def update_command(
    request: film_changes_pb2.UpdateFilmRequest,
) -> tuple[Target, Mapping[str, Any], UUID | None]:
    """Read an UpdateFilmRequest: the film, the new values by the domain's names, the request_id.

    Raises:
        ValidationFailed: a field to change, the name or the etag breaks its rule.
        DomainError: FIELD_MASK_INVALID.
    """
    paths, film = _paths(request), request.film
    sent = {"name": film.name, "etag": film.etag, **_sent(film, paths)}
    command = validated(UpdateFilm, {"film": sent, "request_id": request.request_id})
    return (
        _target(command.film.name, command.film.etag),
        _read(command.film, paths),
        (command.request_id),
    )


def target_of(
    request: film_changes_pb2.DeleteFilmRequest | film_changes_pb2.UndeleteFilmRequest,
) -> tuple[Target, UUID | None]:
    """Read which film a request is about, and the request_id; raises ValidationFailed."""
    command = validated(
        TargetFilm, {name: getattr(request, name) for name in ("name", "etag", "request_id")}
    )
    return _target(command.name, command.etag), command.request_id


def _new(film: resources_pb2.Film, request_id: str) -> tuple[FilmFields, UUID | None]:
    sent = {"film": _sent(film, _SETTABLE), "request_id": request_id}
    command = validated(CreateFilm, sent)
    return FilmFields(**_read(command.film, _SETTABLE)), command.request_id


def _target(name: str, etag: str) -> Target:
    number = number_of(name, "films")
    assert number is not None, "the name was checked"
    return Target(number, etag)


def _paths(request: film_changes_pb2.UpdateFilmRequest) -> Sequence[str]:
    """Return the fields to change.

    Of a mask, fields that only the server sets are passed over, so that a film can be read and
    sent back under one mask (AIP-161); so are the name and the etag, which say what is meant.
    """
    if not request.HasField("update_mask") or not request.update_mask.paths:
        return [path for path in _SETTABLE if _is_sent(request.film, path)]
    paths = request.update_mask.paths
    for path in paths:
        if path not in _ALLOWED and path not in _PASSED_OVER:
            raise _mask_invalid(path)
    if "*" in paths:
        return list(_SETTABLE)
    return [path for path in _SETTABLE if path in paths]


def _is_sent(film: Message, path: str) -> bool:
    """Tell whether a field has a value: what may be unset is told from 0, else 0 is no value."""
    if _has_presence(path):
        return film.HasField(path)
    return bool(getattr(film, path))


def _has_presence(path: str) -> bool:
    return bool(resources_pb2.Film.DESCRIPTOR.fields_by_name[path].has_presence)


def _sent(film: Message, paths: Sequence[str] | Mapping[str, str]) -> dict[str, Any]:
    """Return the values of fields, None for what is not set."""
    return {path: _value(film, path) for path in paths}


def _value(film: Message, path: str) -> Any:
    if _has_presence(path) and not film.HasField(path):
        return None
    value = getattr(film, path)
    if isinstance(value, (str, int, Message)):
        return value
    return tuple(value)


def _read(command: SentFields, paths: Sequence[str] | Mapping[str, str]) -> dict[str, Any]:
    return {_SETTABLE[path]: getattr(command, path) for path in paths}


def _mask_invalid(path: str) -> DomainError:
    return DomainError(
        f"update_mask: {path[:64]!r} cannot be changed; name some of {', '.join(_ALLOWED)}",
        reason="FIELD_MASK_INVALID",
        metadata={"path": path, "allowed_paths": ",".join(_ALLOWED)},
    )
