"""Calls that are done once however often they are sent (AIP-155).

A caller names a call by a request_id. The first answer is kept with the change that it tells of,
and is given again to the same caller, method and request.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar
from uuid import UUID

from server.core.clock import rfc3339
from server.core.errors import DomainError

RETENTION: Final = timedelta(hours=24)
"""How long an answer is given again."""

T_contra = TypeVar("T_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Repeatable(Generic[T_contra]):
    """A call with a request_id. `answer` writes what the change returns as it is to be kept."""

    user_id: UUID
    method: str
    request_id: UUID
    request_hash: bytes = field(repr=False)
    answer: Callable[[T_contra], bytes] = field(repr=False, compare=False)

    def reused(self, first_seen_time: datetime) -> DomainError:
        """Return the error of a request_id that another request had before."""
        return DomainError(
            "this request_id was sent with another request before; send a new one",
            reason="REQUEST_ID_REUSED",
            metadata={
                "request_id": str(self.request_id),
                "first_seen_time": rfc3339(first_seen_time),
                "method": self.method,
            },
        )


@dataclass(frozen=True, slots=True)
class Replay:
    """The first answer to a call that was done before."""

    answer: bytes = field(repr=False)
