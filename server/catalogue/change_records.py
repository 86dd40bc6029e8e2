"""Rows of the log of changes: the catalogue's things as JSON, and back."""

from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import orjson

from server.catalogue.changes import Resource, ResourceKind
from server.catalogue.domain import Actor, Category, Film, Label, Language

_KINDS: Final[dict[ResourceKind, type[Resource]]] = {
    ResourceKind.FILM: Film,
    ResourceKind.CATEGORY: Category,
    ResourceKind.ACTOR: Actor,
    ResourceKind.LANGUAGE: Language,
}
_TIMES: Final = frozenset({"create_time", "update_time", "delete_time", "purge_time"})
_AMOUNTS: Final = frozenset({"rental_rate", "replacement_cost"})
_LABELS: Final = frozenset({"language", "original_language", "categories", "actors"})


def to_json(resource: Resource | None) -> str | None:
    """Write a resource; money as text, so that it stays exact."""
    if resource is None:
        return None
    return orjson.dumps(asdict(resource), default=str).decode()


def from_json(kind: ResourceKind, text: str | None) -> Resource | None:
    """Read a resource that `to_json` wrote, maybe in an earlier version with fewer fields."""
    if text is None:
        return None
    written: dict[str, Any] = orjson.loads(text)
    return _KINDS[kind](**{name: _read(name, value) for name, value in written.items()})


def _read(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _TIMES:
        return datetime.fromisoformat(value)
    if name in _AMOUNTS:
        return Decimal(value)
    if name in _LABELS:
        if isinstance(value, list):
            return tuple(Label(**label) for label in value)
        return Label(**value)
    return tuple(value) if isinstance(value, list) else value
