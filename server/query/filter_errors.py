"""What a caller is told about a filter or an order that cannot be used.

Every error names the place, what stood there and what could stand there, so that a client,
or a model that wrote the filter, can mend it without asking again.
"""

from collections.abc import Iterable
from difflib import get_close_matches

from server.core.errors import DomainError, FieldViolation
from server.query.filter_types import FieldKind, Fields, FieldSpec

_SHOWN_CHARACTERS = 64
"""Longer words of the caller's are cut in answers: error details have a size limit."""


def filter_syntax(position: int, token: str, expected: str) -> DomainError:
    """FILTER_SYNTAX: the text at `position` does not fit; an empty token is the end."""
    found = repr(_cut(token)) if token else "the end"
    return _error(
        "filter",
        f"at position {position}: found {found}, expected {expected}",
        "FILTER_SYNTAX",
        position=str(position),
        token=_cut(token),
        expected=expected,
    )


def filter_keyword(position: int, token: str) -> DomainError:
    """FILTER_SYNTAX: a keyword in lower or mixed case, which AIP-160 would take for a word."""
    expected = f'{token.upper()} in capitals, or "{token}" in quotes to look for the word'
    return _error(
        "filter",
        f"at position {position}: write {expected}",
        "FILTER_SYNTAX",
        position=str(position),
        token=token,
        expected=expected,
    )


def filter_unknown_field(name: str, position: int, fields: Fields) -> DomainError:
    """FILTER_UNKNOWN_FIELD: there is no such field, or lists cannot be filtered by it."""
    allowed = sorted(path for path, spec in fields.items() if spec.filterable)
    guess = _closest(name, allowed)
    return _error(
        "filter",
        f"at position {position}: cannot filter by {_cut(name)!r}{_hint(guess)}",
        "FILTER_UNKNOWN_FIELD",
        field=_cut(name),
        position=str(position),
        allowed_fields=",".join(allowed),
        did_you_mean=guess,
    )


def filter_type_mismatch(name: str, position: int, spec: FieldSpec) -> DomainError:
    """FILTER_TYPE_MISMATCH: the value is not one that the field can have."""
    return _error(
        "filter",
        f"at position {position}: {name} takes {_described(spec)}",
        "FILTER_TYPE_MISMATCH",
        field=name,
        position=str(position),
        expected_type=spec.kind.value,
        allowed_values=",".join(_allowed_values(spec)),
    )


def filter_not_text(name: str, position: int) -> DomainError:
    """FILTER_TYPE_MISMATCH: contains() was asked of a field that holds no text."""
    return _error(
        "filter",
        f"at position {position}: contains() takes a string field, {name} is none",
        "FILTER_TYPE_MISMATCH",
        field=name,
        position=str(position),
        expected_type=FieldKind.STRING.value,
        allowed_values="",
    )


def filter_too_complex(what: str, actual: int, limit: int) -> DomainError:
    """FILTER_TOO_COMPLEX: more characters, depth, comparisons or values than are taken."""
    return _error(
        "filter",
        f"{what}: {actual}, at most {limit} are allowed",
        "FILTER_TOO_COMPLEX",
        what=what,
        actual=str(actual),
        limit=str(limit),
    )


def order_by_invalid(name: str, problem: str, fields: Fields) -> DomainError:
    """ORDER_BY_INVALID: `name` is the field, or the part of the text, that is at fault."""
    allowed = sorted(path for path, spec in fields.items() if spec.sortable)
    guess = "" if name in allowed else _closest(name, allowed)
    return _error(
        "order_by",
        f"{_cut(name)!r} {problem}{_hint(guess)}",
        "ORDER_BY_INVALID",
        field=_cut(name),
        allowed_fields=",".join(allowed),
        did_you_mean=guess,
    )


def _error(parameter: str, description: str, reason: str, **metadata: str) -> DomainError:
    return DomainError(
        f"{parameter}: {description}",
        reason=reason,
        metadata=metadata,
        violations=[FieldViolation(parameter, description)],
    )


def _described(spec: FieldSpec) -> str:
    match spec.kind:
        case FieldKind.STRING:
            return "a string"
        case FieldKind.NUMBER | FieldKind.YEAR:
            return f"a whole {spec.kind.value}"
        case FieldKind.MONEY:
            return "an amount such as 2.99"
        case FieldKind.TIMESTAMP:
            return 'an RFC 3339 time such as "2026-01-31T08:30:00Z", now() or ago("168h")'
        case FieldKind.RESOURCE_NAME:
            return f'a name such as "{spec.prefix}1"'
        case FieldKind.ENUM | FieldKind.BOOLEAN:
            return "one of " + ", ".join(_allowed_values(spec))


def _allowed_values(spec: FieldSpec) -> Iterable[str]:
    return ("true", "false") if spec.kind is FieldKind.BOOLEAN else spec.enum_values


def _closest(name: str, allowed: list[str]) -> str:
    """Return what was meant, as JSON (`releaseYear`) or in another case too, or nothing."""
    plain = {_plain(path): path for path in allowed}
    return next((plain[near] for near in get_close_matches(_plain(name), plain, n=1)), "")


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _hint(guess: str) -> str:
    return f"; did you mean {guess}?" if guess else ""


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
