"""The clock that every part is given, so that a test can move time."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the present moment, aware, in UTC."""


def rfc3339(moment: datetime) -> str:
    """Write a moment in UTC to the second: `2026-01-31T12:00:00Z`."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def utc_now() -> datetime:
    """Return the machine's time, aware, in UTC."""
    return datetime.now(UTC)
