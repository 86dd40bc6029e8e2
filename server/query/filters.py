"""Filters (a part of AIP-160) and orders (AIP-132) of list calls, read and checked.

What a filter can say:
- `AND`, `OR`, `NOT`, `-`, parentheses; a space between two conditions is an AND. A bare `or`
  is refused, because it would be looked for as a word; `"or"` is one.
- `= != < <= > >=` on strings, numbers, money, timestamps and years; `=` and `!=` on enums
  (by full or short name), booleans and resource names. Strings compare by code point.
- A string's `=` takes `*` at one or both ends: `title = "ACADEMY*"`; `\\*` is the character.
- `categories:"categories/1"` on repeated fields, exactly; `rating:*` asks for any value.
- `contains(labels.categories, "act")`, `in(release_year, 2005, 2006)`,
  `search("dinosaur")`; a bare word or quoted text is a search for all of its words.
- `now()` and `ago("168h")` where a timestamp is expected.

A field without a value meets no comparison, `!=` included, and so meets every NOT of one:
`NOT rating = PG` keeps films that are not rated.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime

from server.query.filter_errors import order_by_invalid
from server.query.filter_grammar import parse
from server.query.filter_reader import FilterReader
from server.query.filter_types import FieldKind, Fields, FieldSpec, Filter, OrderTerm

__all__ = [
    "FieldKind",
    "FieldSpec",
    "Fields",
    "Filter",
    "OrderTerm",
    "parse_filter",
    "parse_order_by",
    "words",
]

MAX_ORDER_FIELDS = 4
MAX_TERMS = 32
"""Words of one search beyond these are not looked at."""


_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> Sequence[str]:
    """Return the distinct words of a text in order, at most MAX_TERMS."""
    return list(dict.fromkeys(_WORD.findall(text)))[:MAX_TERMS]


def parse_filter(
    text: str,
    fields: Fields,
    now: datetime | None = None,
    *,
    terms: Callable[[str], Sequence[str]] = words,
) -> Filter | None:
    """Return what the filter says, None if it is blank.

    `now` is the moment that now() and ago() count from: for later pages of a list, that of
    the first one. Without it both are refused. `terms` turns the text of a search into what
    is looked for.

    Raises:
        DomainError: FILTER_SYNTAX, FILTER_UNKNOWN_FIELD, FILTER_TYPE_MISMATCH or
            FILTER_TOO_COMPLEX.
    """
    if not text.strip():
        return None
    return FilterReader(fields, now, terms).condition(parse(text))


def parse_order_by(text: str, fields: Fields) -> tuple[OrderTerm, ...]:
    """Return the fields of `title, release_year desc`, none if it is blank.

    Raises:
        DomainError: ORDER_BY_INVALID for an unknown or repeated field, another word than
            `asc` or `desc`, or more than MAX_ORDER_FIELDS fields.
    """
    if not text.strip():
        return ()
    parts = text.split(",")
    if len(parts) > MAX_ORDER_FIELDS:
        problem = f"is one field too many: at most {MAX_ORDER_FIELDS} are allowed"
        raise order_by_invalid(parts[MAX_ORDER_FIELDS].strip(), problem, fields)
    terms: list[OrderTerm] = []
    for part in parts:
        term = _order_term(part, fields)
        if any(term.field == earlier.field for earlier in terms):
            raise order_by_invalid(term.field, "is named twice", fields)
        terms.append(term)
    return tuple(terms)


def _order_term(part: str, fields: Fields) -> OrderTerm:
    name, *direction = part.split() or [""]
    spec = fields.get(name)
    if spec is None or not spec.sortable:
        raise order_by_invalid(name, "cannot be ordered by", fields)
    if direction not in ([], ["asc"], ["desc"]):
        raise order_by_invalid(part.strip(), "must be a field, then asc, desc or nothing", fields)
    return OrderTerm(name, descending=direction == ["desc"])
