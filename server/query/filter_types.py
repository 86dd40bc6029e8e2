"""What a list can be filtered and ordered by, and what a filter says once it is read."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal, TypeAlias


class FieldKind(StrEnum):
    """What a field holds; the value is the word that error details use for it."""

    STRING = "string"
    NUMBER = "number"
    MONEY = "money"
    TIMESTAMP = "timestamp"
    YEAR = "year"
    ENUM = "enum"
    BOOLEAN = "boolean"
    RESOURCE_NAME = "resource_name"


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """What callers may do with one field.

    `enum_values` are short names (`PG_13`). `prefix` is what the long form of a value begins
    with: `FILM_RATING_` for an enum, `films/` for a resource name, which must have one.
    """

    kind: FieldKind
    filterable: bool = False
    sortable: bool = False
    text_searchable: bool = False
    enum_values: tuple[str, ...] = ()
    repeated: bool = False
    prefix: str = ""


Fields: TypeAlias = Mapping[str, FieldSpec]
"""Specs by field path as callers write it: `title`, `labels.categories`."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A string with `*` at one end or both; `*` alone has no text and matches every string."""

    text: str
    any_before: bool
    any_after: bool


Value: TypeAlias = str | int | Decimal | bool | datetime
"""A literal in its field's type: an enum by short name, a resource name as its number (17),
a timestamp in UTC."""

Operator: TypeAlias = Literal["=", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True, slots=True)
class And:
    """All parts hold."""

    parts: "tuple[Filter, ...]"


@dataclass(frozen=True, slots=True)
class Or:
    """At least one part holds."""

    parts: "tuple[Filter, ...]"


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: "Filter"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The field has a value and it compares so. A Pattern goes with `=` only.

    `position` is the 0-based character of the field's name in the filter's text.
    """

    field: str
    operator: Operator
    value: Value | Pattern
    position: int = dataclasses.field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Has:
    """One of the repeated field's elements equals the value."""

    field: str
    value: Value


@dataclass(frozen=True, slots=True)
class Presence:
    """The field has a value, a repeated one at least one element."""

    field: str


@dataclass(frozen=True, slots=True)
class Contains:
    """The text is a part of the field, of one of its elements if it is repeated.

    A-Z equal a-z; no other letters are folded, because databases differ in how they would.
    """

    field: str
    text: str


@dataclass(frozen=True, slots=True)
class In:
    """The field, or one of its elements if it is repeated, is one of the values."""

    field: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Search:
    """The text-searchable fields together hold every term."""

    terms: tuple[str, ...]


Filter: TypeAlias = And | Or | Not | Comparison | Has | Presence | Contains | In | Search


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """One field of an order."""

    field: str
    descending: bool = False
