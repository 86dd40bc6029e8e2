"""Refresh tokens are used once: what is kept of them, and who gets an answer nevertheless.

The answer to a refresh may be lost on its way, and then only the used token is left. Its sender
may repeat the call for some seconds, known by a request_id that nobody else has seen, until a
successor is used: whoever has one has an answer. Anything else that brings a used token is a
theft, by this sender or by the other one (RFC 9700, 4.14.2).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Final
from uuid import UUID

from server.auth.domain import ACTIVE, LoginSession, SignedIn, User

MAX_REPEATS: Final = 4
"""How often at most the answer to one refresh is given anew."""


@dataclass(frozen=True, slots=True)
class NewRefreshToken:
    """A refresh token as it is kept: by its hash. Its session's end caps `expire_time`."""

    token_hash: bytes
    create_time: datetime
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class RefreshAttempt:
    """A refresh token that is to be exchanged, by its hash, and the id of the call.

    A repeat of a call from before `repeat_since` is none; None: there are no repeats.
    """

    token_hash: bytes
    request_id: UUID | None
    repeat_since: datetime | None


@dataclass(frozen=True, slots=True)
class KeptToken:
    """A refresh token as found: when and by which call it was used, and what came of it."""

    use_time: datetime | None
    use_request_id: UUID | None
    successors: int
    used_successors: int

    def is_repeat(self, attempt: RefreshAttempt) -> bool:
        """Tell whether this is the call once more that used the token."""
        return (
            self.use_time is not None
            and attempt.request_id is not None
            and attempt.request_id == self.use_request_id
            and attempt.repeat_since is not None
            and attempt.repeat_since <= self.use_time
            and not self.used_successors
        )


class RefusalCause(Enum):
    """Why a refresh token was not exchanged."""

    INVALID = auto()
    REUSED = auto()
    REVOKED = auto()


@dataclass(frozen=True, slots=True)
class RefreshRefused:
    """A refresh token that was not exchanged; its session unless it is unknown."""

    cause: RefusalCause
    session: LoginSession | None = None


@dataclass(frozen=True, slots=True)
class Rotated:
    """A refresh token that was exchanged; `repeats` counts the answers after the first."""

    user: User
    session: LoginSession
    repeats: int = 0


def refusal_of(
    attempt: RefreshAttempt, token: KeptToken, found: SignedIn, now: datetime
) -> RefusalCause | None:
    """Tell why a token is refused that cannot be used now; None: its answer is given anew."""
    if token.use_time is not None and not token.is_repeat(attempt):
        return RefusalCause.REUSED
    if found.session.revoke_time is not None:
        return RefusalCause.REVOKED
    if (
        token.use_time is None
        or token.successors > MAX_REPEATS
        or found.session.expire_time <= now
        or found.user.state != ACTIVE
    ):
        return RefusalCause.INVALID
    return None
