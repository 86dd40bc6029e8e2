"""Changes of the catalogue as its log keeps them: what happened to what, by whom."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Self, TypeAlias

from server.catalogue.domain import Actor, Category, Film, Language
from server.core.audit import AuditRecord

Resource: TypeAlias = Film | Category | Actor | Language


class ResourceKind(StrEnum):
    """What can change; the words of the log's rows."""

    FILM = "film"
    CATEGORY = "category"
    ACTOR = "actor"
    LANGUAGE = "language"


class ChangeType(StrEnum):
    """What happened; the words of the log's rows."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    UNDELETED = "undeleted"
    PURGED = "purged"


COLLECTIONS: Final[Mapping[ResourceKind, str]] = {
    ResourceKind.FILM: "films",
    ResourceKind.CATEGORY: "categories",
    ResourceKind.ACTOR: "actors",
    ResourceKind.LANGUAGE: "languages",
}


@dataclass(frozen=True, slots=True)
class Author:
    """Who changes something, by which call; both empty where the server does so by itself."""

    principal: str = ""
    request_id: str = ""

    @classmethod
    def of(cls, record: AuditRecord) -> Self:
        """Return the caller of an audited call."""
        return cls(record.principal, record.request_id)


@dataclass(frozen=True, slots=True)
class Entry:
    """A change that is about to be logged. `before` is None for what is new, `after` for what is
    gone."""

    change_type: ChangeType
    kind: ResourceKind
    number: int
    before: Resource | None
    after: Resource | None


@dataclass(frozen=True, slots=True)
class Change:
    """A change as it was logged. `changed_fields` are the contract's names."""

    revision: int
    change_type: ChangeType
    kind: ResourceKind
    number: int
    after: Resource | None
    before: Resource | None
    changed_fields: tuple[str, ...]
    change_time: datetime
    author: Author

    @property
    def resource_name(self) -> str:
        """The resource's name, as `films/17`."""
        return f"{COLLECTIONS[self.kind]}/{self.number}"


_FILM_FIELDS: Final[Mapping[str, str]] = {
    "title": "title",
    "description": "description",
    "release_year": "release_year",
    "language": "language",
    "original_language": "original_language",
    "rental_duration": "rental_duration_days",
    "rental_rate": "rental_rate",
    "length": "length_minutes",
    "replacement_cost": "replacement_cost",
    "rating": "rating",
    "special_features": "special_features",
    "streaming_available": "streaming_available",
    "categories": "categories",
    "actors": "actors",
    "delete_time": "delete_time",
    "purge_time": "purge_time",
}
_FIELDS: Final[Mapping[type[Resource], Mapping[str, str]]] = {
    Film: _FILM_FIELDS,
    Category: {"name": "display_name"},
    Actor: {"given_name": "given_name", "family_name": "family_name"},
    Language: {"name": "display_name"},
}
"""The contract's names of the attributes of each kind."""

_REFERENCES: Final = frozenset({"language", "original_language", "categories", "actors"})


def changed_fields(before: Resource | None, after: Resource | None) -> tuple[str, ...]:
    """Return which of the contract's fields differ; none where one of the two is not there."""
    if before is None or after is None:
        return ()
    names = _FIELDS[type(after)]
    return tuple(told for name, told in names.items() if _of(before, name) != _of(after, name))


def _of(resource: Resource, name: str) -> object:
    """Return an attribute's value; of references the numbers, whose labels are no part of it."""
    value = getattr(resource, name)
    if name not in _REFERENCES or value is None:
        return value
    if isinstance(value, tuple):
        return frozenset(label.number for label in value)
    return value.number
