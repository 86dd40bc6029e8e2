"""What the tests of sign-in share."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from server.auth.keys import SigningKey


class MovableClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **span: float) -> None:
        self.now += timedelta(**span)


def segment(data: bytes) -> str:
    """Encode one part of a token."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forge(key: SigningKey, header: Any, payload: Any) -> str:
    """Sign whatever is given: bytes as they are, anything else as JSON."""
    parts = [p if isinstance(p, bytes) else json.dumps(p).encode() for p in (header, payload)]
    signed = ".".join(segment(part) for part in parts)
    return f"{signed}.{segment(key.private.sign(signed.encode()))}"
