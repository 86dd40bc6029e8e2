"""Turn the text of a dump's values into what a column holds.

The rules are the columns' own and hold on every database: what PostgreSQL would refuse
(a number out of range, an unknown rating) is refused for SQLite too.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Date,
    Enum,
    Integer,
    Numeric,
    SmallInteger,
    String,
)

from server.database.types import Money, UtcDateTime

Converter = Callable[[str | None], Any]
"""Takes a value's text (None: NULL); raises ValueError with what it should have been."""

_INTEGER = re.compile(r"-?[0-9]{1,20}")
_AMOUNT = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")
_ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^{}",\\\s][^{}",\\]*)', re.DOTALL)


def converter(column: Column[Any]) -> Converter:
    """Return the conversion for a column."""
    convert = _by_type(column.type)

    def convert_or_null(text: str | None) -> Any:
        if text is not None:
            return convert(text)
        if not column.nullable:
            raise ValueError("NULL is not allowed")
        return None

    return convert_or_null


def _by_type(kind: Any) -> Callable[[str], Any]:
    for type_, make in _CONVERSIONS:
        if isinstance(kind, type_):
            return make(kind)
    raise NotImplementedError(f"no conversion for columns of type {kind!r}")


def _integer(kind: Integer) -> Callable[[str], int]:
    bits = 16 if isinstance(kind, SmallInteger) else 64 if isinstance(kind, BigInteger) else 32
    limit = 1 << (bits - 1)

    def convert(text: str) -> int:
        if not _INTEGER.fullmatch(text) or not -limit <= int(text) < limit:
            raise ValueError(f"{_shown(text)} is not an integer of {bits} bits")
        return int(text)

    return convert


def _amount(kind: Money) -> Callable[[str], Decimal]:
    numeric = kind.impl_instance
    precision = numeric.precision if isinstance(numeric, Numeric) else None
    limit = Decimal(10) ** ((precision or 20) - 2)

    def convert(text: str) -> Decimal:
        amount = Decimal(text) if _AMOUNT.fullmatch(text) else None
        if amount is None or abs(amount) >= limit or amount != round(amount, 2):
            raise ValueError(
                f"{_shown(text)} is not an amount below {limit} with at most two decimals"
            )
        return round(amount, 2)

    return convert


def _moment(text: str) -> datetime:
    """Read a timestamp; one without an offset, as in older Pagila dumps, is taken as UTC."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{_shown(text)} is not a moment like 2022-02-15 09:34:33+00") from error


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{_shown(text)} is not a date like 2022-02-15") from error


def _truth(text: str) -> bool:
    if text not in {"t", "f"}:
        raise ValueError(f"{_shown(text)} is neither t nor f")
    return text == "t"


def _one_of(kind: Enum) -> Callable[[str], str]:
    allowed = tuple(kind.enums)

    def convert(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"{_shown(text)} is none of {', '.join(allowed)}")
        return text

    return convert


def _text(kind: String) -> Callable[[str], str]:
    length = kind.length
    if length is None:
        return str

    def convert(text: str) -> str:
        # Pagila declares such a column character(n): PostgreSQL pads it with blanks that
        # are no part of the value.
        stripped = text.rstrip(" ")
        if len(stripped) > length:
            raise ValueError(f"{_shown(text)} is longer than {length} characters")
        return stripped

    return convert


def _text_list(text: str) -> list[str]:
    """Read an array of one dimension (PostgreSQL manual, "Array Input and Output Syntax")."""
    wrong = ValueError(f'{_shown(text)} is not a list like {{Trailers,"Deleted Scenes"}}')
    if not (text.startswith("{") and text.endswith("}") and len(text) > 1):
        raise wrong
    position, end = 1, len(text) - 1
    elements: list[str] = []
    while position < end:
        match = _ELEMENT.match(text, position, end)
        if match is None or (match[2] or "").upper() == "NULL":
            raise wrong
        elements.append(match[2] or re.sub(r"\\(.)", r"\1", match[1], flags=re.DOTALL))
        position = match.end() + 1
        if match.end() < end and (text[match.end()] != "," or position == end):
            raise wrong
    return elements


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")


_CONVERSIONS: tuple[tuple[type[Any], Callable[[Any], Callable[[str], Any]]], ...] = (
    (Money, _amount),
    (UtcDateTime, lambda _kind: _moment),
    (Boolean, lambda _kind: _truth),
    (Date, lambda _kind: _day),
    (Integer, _integer),
    (Enum, _one_of),
    (String, _text),
    (ARRAY, lambda _kind: _text_list),
)
"""The first that fits: an Enum is a String to SQLAlchemy, a SmallInteger an Integer."""
