"""From the words of a filter to values in their field's type."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from server.query.filter_errors import filter_syntax
from server.query.filter_types import FieldKind, FieldSpec, Pattern, Value

WILDCARD = "\0"
"""A `*` that was not escaped. Filters may hold no NUL (PostgreSQL's text cannot), so this
stands for nothing else."""

_NUMBER = re.compile(r"-?[0-9]{1,19}")
_MONEY = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,9})?")  # google.type.Money: int64 units, 9 decimals
_RESOURCE_NUMBER = re.compile(r"[1-9][0-9]{0,9}")
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_DURATION = re.compile(r"(?=.)(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?")
_ESCAPE = re.compile(r"\\(.)|(\*)", re.DOTALL)
_INT64 = 2**63


def word_text(word: str) -> str:
    """Return an unquoted word with its wildcards marked."""
    return word.replace("*", WILDCARD)


def quoted_text(literal: str, position: int) -> str:
    r"""Return what a quoted string holds, its wildcards marked.

    The escapes are `\"`, `\'`, `\\` and `\*`.

    Raises:
        DomainError: FILTER_SYNTAX, another character is escaped.
    """

    def replaced(found: re.Match[str]) -> str:
        escaped: str | None = found[1]
        if escaped is None:
            return WILDCARD
        if escaped not in "\"'\\*":
            at = position + 1 + found.start()
            raise filter_syntax(at, found[0], r"one of \" \' \\ \*")
        return escaped

    return _ESCAPE.sub(replaced, literal[1:-1])


def literal_text(text: str) -> str:
    """Return a text in which `*` has no special meaning."""
    return text.replace(WILDCARD, "*")


def to_value(text: str, spec: FieldSpec) -> Value:
    """Return the literal in the field's type.

    Timestamps are RFC 3339 with an offset; what is finer than a microsecond is cut.

    Raises:
        ValueError: the field cannot have this value.
    """
    return _READERS[spec.kind](text, spec)


def to_pattern(text: str) -> Pattern | None:
    """Return the pattern that a text with marked wildcards is, None if it has none.

    Raises:
        ValueError: a wildcard stands elsewhere than at the ends.
    """
    if WILDCARD not in text:
        return None
    inner = text.removeprefix(WILDCARD).removesuffix(WILDCARD)
    if WILDCARD in inner:
        raise ValueError(text)
    return Pattern(inner, text.startswith(WILDCARD), text.endswith(WILDCARD))


def to_duration(text: str) -> timedelta:
    """Return a duration written in hours, minutes and seconds: `168h`, `1h30m`, `20s`.

    Raises:
        ValueError: it is written otherwise.
        OverflowError: it is longer than a timedelta can be.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(text)
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def _whole(form: re.Pattern[str], text: str) -> str:
    if form.fullmatch(text) is None:
        raise ValueError(text)
    return text


def _string(text: str, _: FieldSpec) -> str:
    return text


def _number(text: str, _: FieldSpec) -> int:
    number = int(_whole(_NUMBER, text))
    if not -_INT64 <= number < _INT64:
        raise ValueError(text)
    return number


def _money(text: str, _: FieldSpec) -> Decimal:
    return Decimal(_whole(_MONEY, text))


def _timestamp(text: str, _: FieldSpec) -> datetime:
    try:
        return datetime.fromisoformat(_whole(_TIMESTAMP, text).upper()).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(text) from error


def _boolean(text: str, _: FieldSpec) -> bool:
    if text not in {"true", "false"}:
        raise ValueError(text)
    return text == "true"


def _enum(text: str, spec: FieldSpec) -> str:
    name = text.removeprefix(spec.prefix)
    if name not in spec.enum_values:
        raise ValueError(text)
    return name


def _resource_number(text: str, spec: FieldSpec) -> int:
    if not text.startswith(spec.prefix):
        raise ValueError(text)
    return int(_whole(_RESOURCE_NUMBER, text.removeprefix(spec.prefix)))


_READERS: Mapping[FieldKind, Callable[[str, FieldSpec], Value]] = {
    FieldKind.STRING: _string,
    FieldKind.NUMBER: _number,
    FieldKind.YEAR: _number,
    FieldKind.MONEY: _money,
    FieldKind.TIMESTAMP: _timestamp,
    FieldKind.ENUM: _enum,
    FieldKind.BOOLEAN: _boolean,
    FieldKind.RESOURCE_NAME: _resource_number,
}
