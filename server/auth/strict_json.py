"""JSON that is read to the letter, from tokens and from the file of keys."""

import base64
import json
from typing import Any


def strict_object(text: bytes) -> dict[str, Any]:
    """Parse a JSON object: UTF-8, no name twice, no NaN (RFC 8259, 4; RFC 8725, 2.4).

    Raises:
        ValueError, RecursionError: it is anything else.
    """
    value = json.loads(
        text.decode("utf-8"), object_pairs_hook=_without_repeats, parse_constant=_refuse_constant
    )
    if not isinstance(value, dict):
        raise ValueError  # noqa: TRY004  # one kind of error for whatever is wrong
    return value


def base64url(data: bytes) -> str:
    """Encode without padding (RFC 7515, 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def base64url_bytes(text: str) -> bytes:
    """Decode what `base64url` writes and nothing else.

    Raises:
        ValueError: padding, another alphabet, or bits behind the last byte.
    """
    data = base64.b64decode(text + "==", altchars=b"-_")
    if base64url(data) != text:
        raise ValueError
    return data


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError
    return result


def _refuse_constant(_name: str) -> None:
    raise ValueError
