"""A request's values held against their rules, all of them at once.

The rules stand in a pydantic model per request; what a caller reads is said here, in the
words of the contract and never in those of the library.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from server.core.errors import FieldViolation, ValidationFailed

M = TypeVar("M", bound=BaseModel)

_Context = Mapping[str, Any]
_SENTENCES: Final[dict[str, Callable[[_Context], str]]] = {
    "missing": lambda _: "must be set",
    "string_too_short": lambda c: _at_least(c["min_length"], "character"),
    "string_too_long": lambda c: f"must have at most {_count(c['max_length'], 'character')}",
    "bytes_too_short": lambda c: _at_least(c["min_length"], "byte"),
    "bytes_too_long": lambda c: f"must have at most {_count(c['max_length'], 'byte')}",
    "too_short": lambda c: _at_least(c["min_length"], "item"),
    "too_long": lambda c: f"must have at most {_count(c['max_length'], 'item')}",
    "string_pattern_mismatch": lambda c: f"must match {c['pattern']}",
    "greater_than": lambda c: f"must be greater than {c['gt']}",
    "greater_than_equal": lambda c: f"must be at least {c['ge']}",
    "less_than": lambda c: f"must be less than {c['lt']}",
    "less_than_equal": lambda c: f"must be at most {c['le']}",
    "enum": lambda c: f"must be one of {c['expected']}",
    "literal_error": lambda c: f"must be one of {c['expected']}",
    "uuid_parsing": lambda _: "must be a UUID",
    "value_error": lambda c: str(c["error"]),
}


def validated(model: type[M], values: Mapping[str, Any]) -> M:
    """Return the model of the values. Field names are those of the proto message.

    A validator of the model says what is wrong by a ValueError whose text goes on from the
    field's name: "must be later than start_time".

    Raises:
        ValidationFailed: at least one rule is broken; every broken one is listed, each with
            its path (`film.title`, `names[3]`; `request` for a rule about several fields).
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    raise ValidationFailed([FieldViolation(_path(d["loc"]), _sentence(d)) for d in details])


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return path.removeprefix(".") or "request"


def _sentence(detail: ErrorDetails) -> str:
    write = _SENTENCES.get(detail["type"])
    return write(detail.get("ctx", {})) if write else "is not valid"


def _at_least(minimum: int, noun: str) -> str:
    # proto3 does not tell an empty value from one that was not sent.
    return "must be set" if minimum == 1 else f"must have at least {_count(minimum, noun)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
