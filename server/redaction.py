"""What may stand in a log: no secret, no control character, and no words of an exception.

The text of an exception repeats what it was given, a password or a question for instance, and
nobody can tell which one does. So a failure is told by classes, codes and places in the program.
"""

import errno
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from traceback import StackSummary, walk_tb
from typing import Any, Final

MASK: Final = "[redacted]"

_SECRET_SHAPES = re.compile(
    r"(?<=://)[^\s\"'<>]{1,500}(?=@)"  # user and password in a URL
    r"|(?i:(?<=bearer )\S+)"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"  # a JWT
    r"|\b(?:rt|ik)_[\w-]{16,}"
    r"|\bsk-[\w-]{8,}"
)
_SIGNS = ("://", "bearer ", "eyj", "rt_", "ik_", "sk-")
"""One of these is in every text of such a shape, in lower case: finding none is far cheaper."""
_MIN_SECRET_CHARACTERS = 6
"""Shorter values would be found in words that are no secret."""
_MAX_CHARACTERS = 4096
"""Of a value: a longer one is cut, so that no line costs more than its call."""
_MAX_CAUSES = 8
_CODES = ("sqlstate", "constraint_name", "sqlite_errorname")
"""Attributes of drivers' errors that hold a name and nothing of a row."""


_NUMBERS = (int, float)


class Redactor:
    """Makes every value of a line safe: a processor of structlog.

    `fields` are masked whole, `secrets` wherever they stand.
    """

    def __init__(self, fields: Iterable[str], secrets: Iterable[str] = ()) -> None:
        self._fields = frozenset(fields)
        self._secrets = tuple(s for s in secrets if len(s) >= _MIN_SECRET_CHARACTERS)

    def __call__(
        self, _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Redact one line."""
        error = event.pop("exc_info", None)
        for key, value in event.items():
            event[key] = MASK if key in self._fields else self._safe(value)
        if isinstance(error, BaseException):
            lines = described(error).splitlines()
            event["exception"] = "\n".join(self.text(line) for line in lines)
        return event

    def text(self, text: str) -> str:
        """Return a text without secrets, on one line, without what moves a cursor."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, MASK)
        if len(text) > _MAX_CHARACTERS:
            text = text[:_MAX_CHARACTERS] + "\u2026"
        folded = text.lower()
        for sign in _SIGNS:
            if sign in folded:
                text = _SECRET_SHAPES.sub(MASK, text)
                break
        return text if text.isprintable() else _escaped(text)

    def _safe(self, value: object) -> object:
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, _NUMBERS):
            return value
        if isinstance(value, BaseException):
            return _name(value)
        if isinstance(value, Mapping):
            pairs = ((self.text(str(key)), key, part) for key, part in value.items())
            return {k: MASK if key in self._fields else self._safe(v) for k, key, v in pairs}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._safe(part) for part in value]
        return self.text(str(value))


def described(error: BaseException) -> str:
    """Return a traceback, the first cause first, that names exceptions and quotes none."""
    chain = list(_chain(error))
    return "\n\n".join(_one(link) for link in reversed(chain))


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if link is None:
            return
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _one(error: BaseException) -> str:
    frames = StackSummary.extract(walk_tb(error.__traceback__)).format()
    parts = [described(part) for part in getattr(error, "exceptions", ())]
    return "\n".join(("Traceback (most recent call last):", *_joined(frames), _name(error), *parts))


def _joined(frames: Iterable[str]) -> Iterator[str]:
    return (frame.rstrip("\n") for frame in frames)


def _name(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ != "builtins":
        name = f"{kind.__module__}.{name}"
    codes = [str(getattr(error, key, None) or "") for key in _CODES]
    if isinstance(error, OSError) and error.errno is not None:
        codes.append(errno.errorcode.get(error.errno, ""))
    known = ", ".join(filter(None, codes))
    return f"{name} [{known}]" if known else name


def _escaped(text: str) -> str:
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
