"""The rules that requests which change films must meet, each request a command model."""

import unicodedata
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Final
from uuid import UUID

from google.api import field_behavior_pb2  # type: ignore[import-untyped]  # it has no types
from google.protobuf.message import Message
from google.type.money_pb2 import Money
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from server.catalogue.film_rules import (
    RENTAL_DURATION_DAYS,
    RENTAL_RATE,
    REPLACEMENT_COST,
    FilmFields,
    Target,
)
from server.catalogue.mapping import FEATURES, RATINGS, number_of
from server.catalogue.requests import FilmName
from server.core.errors import DomainError
from server.generated.interview.catalogue.v1 import film_changes_pb2, resources_pb2
from server.rpc.validation import validated

MAX_TITLE: Final = 255
MAX_DESCRIPTION: Final = 10_000
MAX_FEATURES: Final = 16
MAX_CATEGORIES: Final = 32
MAX_ACTORS: Final = 256
MAX_RATE: Final = Decimal("99.99")
MAX_COST: Final = Decimal("999.99")

_MAX_NUMBER: Final = 2**31 - 1
_NANOS_PER_CENT: Final = 10_000_000
_CENTS_PER_UNIT: Final = 100
_NOT_IN_A_LINE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Control characters, halves of characters, ends of lines and of paragraphs."""


def _title(text: str) -> str:
    if text and not text.strip():
        raise ValueError("must not be blank")
    if any(unicodedata.category(character) in _NOT_IN_A_LINE for character in text):
        raise ValueError("must not contain control characters")
    return text


def _description(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    return text


def _number(name: str, collection: str) -> int:
    number = number_of(name, collection)
    if number is None or number > _MAX_NUMBER:
        raise ValueError(f"must be a name like {collection}/17")
    return number


def _required_language(name: str) -> int:
    if not name:
        raise ValueError("must be set")
    return _number(name, "languages")


def _optional_language(name: str) -> int | None:
    return _number(name, "languages") if name else None


def _reference(collection: str) -> BeforeValidator:
    return BeforeValidator(lambda name: _number(name, collection))


def _amount(most: Decimal, otherwise: Decimal) -> BeforeValidator:
    """Read a Money in whole cents, without a float on the way; none is the default."""

    def read(money: Money | None) -> Decimal:
        if money is None:
            return otherwise
        if money.currency_code != "USD":
            raise ValueError("must be in US dollars: currency_code USD")
        if money.nanos % _NANOS_PER_CENT:
            raise ValueError("must be in whole cents: nanos a multiple of 10000000")
        cents = money.units * _CENTS_PER_UNIT + money.nanos // _NANOS_PER_CENT
        if money.units * money.nanos < 0 or abs(money.nanos) >= _CENTS_PER_UNIT * _NANOS_PER_CENT:
            raise ValueError("must have units and nanos of one sign, nanos of less than a dollar")
        amount = Decimal(cents).scaleb(-2)
        if not 0 < amount <= most:
            raise ValueError(f"must be from 0.01 to {most}")
        return amount

    return BeforeValidator(read)


def _days(days: int) -> int:
    return days or RENTAL_DURATION_DAYS


def _rating(value: int) -> str | None:
    if not value:
        return None
    if value not in _RATINGS:
        raise ValueError("must be one of the ratings of FilmRating")
    return _RATINGS[value]


def _feature(value: int) -> str:
    if value not in _FEATURES:
        raise ValueError("must be one of the features of SpecialFeature")
    return _FEATURES[value]


def _without_repeats(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError("must not have the same item twice")
    return values


_RATINGS: Final[dict[int, str]] = {number: text for text, number in RATINGS.items()}
_FEATURES: Final[dict[int, str]] = {number: text for text, number in FEATURES.items()}
_Unique = AfterValidator(_without_repeats)


class SentFields(BaseModel):
    """Rules of the fields of a Film that can be set; those that are given are set."""

    title: Annotated[str, Field(min_length=1, max_length=MAX_TITLE), AfterValidator(_title)] = ""
    description: Annotated[str, Field(max_length=MAX_DESCRIPTION), AfterValidator(_description)] = (
        ""
    )
    release_year: Annotated[int | None, Field(ge=1901, le=2155)] = None
    language: Annotated[int, BeforeValidator(_required_language)] = 0
    original_language: Annotated[int | None, BeforeValidator(_optional_language)] = None
    rental_duration_days: Annotated[int, Field(ge=0, le=365), AfterValidator(_days)] = 0
    rental_rate: Annotated[Decimal, _amount(MAX_RATE, RENTAL_RATE)] = RENTAL_RATE
    length_minutes: Annotated[int | None, Field(ge=1, le=32_767)] = None
    replacement_cost: Annotated[Decimal, _amount(MAX_COST, REPLACEMENT_COST)] = REPLACEMENT_COST
    rating: Annotated[str | None, BeforeValidator(_rating)] = None
    special_features: Annotated[
        tuple[Annotated[str, BeforeValidator(_feature)], ...],
        Field(max_length=MAX_FEATURES),
        _Unique,
    ] = ()
    streaming_available: bool = False
    categories: Annotated[
        tuple[Annotated[int, _reference("categories")], ...],
        Field(max_length=MAX_CATEGORIES),
        _Unique,
    ] = ()
    actors: Annotated[
        tuple[Annotated[int, _reference("actors")], ...],
        Field(max_length=MAX_ACTORS),
        _Unique,
    ] = ()


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
