"""Filters of changes: what they can say, and names of resources as rows can be found by them."""

import re
from collections.abc import Mapping
from typing import Final

from server.catalogue.changes import COLLECTIONS
from server.generated.interview.catalogue.v1 import change_pb2
from server.query.fields import Meaning, query_fields
from server.query.filter_types import (
    And,
    Comparison,
    FieldKind,
    Fields,
    Filter,
    In,
    Not,
    Or,
    Pattern,
    Value,
)

_MEANINGS: Final = {"revision": Meaning(FieldKind.NUMBER)}
_KINDS: Final[Mapping[str, str]] = {
    collection: kind.value for kind, collection in COLLECTIONS.items()
}
_NAME: Final = re.compile(rf"({'|'.join(_KINDS)})/([1-9][0-9]{{0,9}})")


def change_fields() -> Fields:
    """Return the fields of a change that have a `query` option."""
    return query_fields(change_pb2.Change.DESCRIPTOR, _MEANINGS)


def by_number(node: Filter) -> Filter:
    """Return the filter with names of resources as kind and number, which are in an index."""
    match node:
        case And(parts):
            return And(tuple(by_number(part) for part in parts))
        case Or(parts):
            return Or(tuple(by_number(part) for part in parts))
        case Not(part):
            return Not(by_number(part))
        case Comparison("resource_name", "=", value) if not isinstance(value, Pattern):
            return _named(value)
        case In("resource_name", values):
            return Or(tuple(_named(value) for value in values))
        case _:
            return node


def _named(value: Value) -> Filter:
    match = _NAME.fullmatch(str(value))
    if match is None:
        return Comparison("resource_name", "=", value)  # of none, so that it finds nothing
    return And(
        (
            Comparison("resource_kind", "=", _KINDS[match[1]]),
            Comparison("resource_number", "=", int(match[2])),
        )
    )
