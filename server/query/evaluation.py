"""Filters on rows in memory: they hold for the same rows as server.query.filter_sql finds.

A field's values are a list: empty where it has none, of several where it is repeated. Strings
compare by code point, which is the order of their UTF-8 bytes in the databases.
"""

import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase
from typing import Any, Final

from server.query.filter_types import (
    And,
    Comparison,
    Contains,
    Filter,
    Has,
    In,
    Not,
    Or,
    Pattern,
    Presence,
    Search,
    Value,
)

_ASCII_LOWER: Final = str.maketrans(ascii_uppercase, ascii_lowercase)
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class FilterValues:
    """What a row holds: the values of a field by its path, and whether a search finds a term.

    Values are as in filters: an enum's by short name, a resource name's as its number, money
    as Decimal, moments with their offset.
    """

    values: Callable[[str], Collection[Value]]
    has_term: Callable[[str], bool]


def holds(node: Filter, row: FilterValues) -> bool:
    """Tell whether the row meets the filter.

    Raises:
        KeyError: what `row.values` raises for a field that it does not know.
    """
    match node:
        case And(parts):
            return all(holds(part, row) for part in parts)
        case Or(parts):
            return any(holds(part, row) for part in parts)
        case Not(part):
            return not holds(part, row)
        case Search(terms):
            return all(row.has_term(term) for term in terms)
        case _:
            return any(_passes(node, value) for value in row.values(node.field))


def _passes(node: Comparison | Has | Presence | Contains | In, found: Value) -> bool:
    match node:
        case Presence():
            return True
        case Contains():
            return node.text.translate(_ASCII_LOWER) in str(found).translate(_ASCII_LOWER)
        case In():
            return found in node.values
        case Has():
            return found == node.value
        case Comparison():
            if isinstance(node.value, Pattern):
                return _matches(str(found), node.value)
            return _COMPARE[node.operator](found, node.value)


def _matches(found: str, pattern: Pattern) -> bool:
    if pattern.any_before and pattern.any_after:
        return pattern.text in found
    if pattern.any_before:
        return found.endswith(pattern.text)
    return found.startswith(pattern.text)
