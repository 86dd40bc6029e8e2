"""What the command line does with the audit trail: `interview-server audit`."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TextIO

from sqlalchemy import Row

from server.core.clock import rfc3339

_SPAN = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_EMPTY: Final = "-"
_HEADER: Final = ("TIME", "OUTCOME", "METHOD", "BY", "ABOUT", "FROM", "REQUEST")
_USER_LENGTH: Final = len("users/00000000-0000-0000-0000-000000000000")


def moment(text: str, now: datetime) -> datetime:
    """Return the moment that a word names: a span back from now ("24h", "7d"), or RFC 3339.

    Raises:
        ValueError: it is neither; says what it must be.
    """
    if span := _SPAN.fullmatch(text):
        return now - timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None:
        raise ValueError("--since: must be a span such as 24h or 7d, or a time of RFC 3339")
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


async def show(
    records: AsyncIterator[Row[Any]], chosen: Mapping[str, str], *, as_json: bool, out: TextIO
) -> int:
    """Print records, a line each; return the exit code.

    The trail has users by their UUIDs; `chosen` gives the names of those whose id was chosen.
    """
    if not as_json:
        out.write("  ".join(_HEADER) + "\n")
    async for row in records:
        fields = _fields(row, chosen)
        out.write((json.dumps(fields) if as_json else _line(fields)) + "\n")
    return 0


def _fields(row: Row[Any], chosen: Mapping[str, str]) -> Mapping[str, Any]:
    def named(name: str) -> str:
        user, rest = name[:_USER_LENGTH], name[_USER_LENGTH:]
        return chosen.get(user, user) + rest

    return {
        "event_id": row.event_id,
        "time": rfc3339(row.event_time),
        "method": row.method,
        "outcome": row.outcome,
        "principal": named(row.principal),
        "credential": named(row.credential),
        "target": named(row.target),
        "peer_address": row.peer_address,
        "user_agent": row.user_agent,
        "request_id": row.request_id,
        "request": row.request,
    }


def _line(fields: Mapping[str, Any]) -> str:
    """Write who did what to whom, from where, and how it ended."""
    _, _, method = fields["method"].rpartition("/")
    told = (
        fields["time"],
        fields["outcome"],
        method,
        fields["principal"],
        fields["target"],
        fields["peer_address"],
        fields["request_id"],
    )
    return "  ".join(str(value) or _EMPTY for value in told)
