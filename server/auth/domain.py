"""Sign-in: users, login sessions and what keeps them."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Final, Protocol
from uuid import UUID

from server.core.clock import rfc3339
from server.core.errors import Unauthenticated

ACTIVE: Final = "active"
SUSPENDED: Final = "suspended"
DELETED: Final = "deleted"
USER_TYPE: Final = "interview-api/User"
MAX_EMAIL_CHARACTERS: Final = 254
"""What fits into an SMTP path (RFC 5321, 4.5.3.1.3)."""

_EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@.]{1,63}(\.[^\s@.]{1,63})*")


@dataclass(frozen=True, slots=True)
class User:
    """Who signs in. `email` is case-folded, `roles` are in alphabetical order.

    `state` is ACTIVE, SUSPENDED or DELETED; with the last, `delete_time` and `purge_time` are set.
    `revision` counts changes, from 1; a sign-in is none.
    """

    user_id: UUID
    email: str
    display_name: str
    roles: tuple[str, ...]
    state: str
    create_time: datetime
    update_time: datetime
    last_login_time: datetime | None
    password_change_time: datetime
    chosen_id: str | None = None
    customer_id: int | None = None
    staff_id: int | None = None
    roles_change_time: datetime | None = None
    delete_time: datetime | None = None
    purge_time: datetime | None = None
    revision: int = 1

    @property
    def name(self) -> str:
        """The resource name, `users/{id}` with the id chosen at creation or else the UUID."""
        return f"users/{self.chosen_id or self.user_id}"

    @property
    def etag(self) -> str:
        """A strong entity tag, quoted (RFC 9110, 8.8.3), which changes with each revision."""
        # A name that was purged can be taken again, hence the time of creation.
        state = repr((self.name, self.create_time.timestamp(), self.revision))
        return f'"{hashlib.blake2b(state.encode(), digest_size=9).hexdigest()}"'


@dataclass(frozen=True, slots=True)
class Account:
    """A user with the hash of the password."""

    user: User
    password_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LoginSession:
    """One sign-in on one device; it ends at `expire_time` however often it is refreshed."""

    session_id: UUID
    user_id: UUID
    device_label: str
    user_agent: str
    ip_address: str
    create_time: datetime
    expire_time: datetime
    revoke_time: datetime | None = None

    def cap(self, moment: datetime) -> datetime:
        """Return the moment, or the session's end where that comes first."""
        return min(moment, self.expire_time)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A user and one of the user's login sessions."""

    user: User
    session: LoginSession


@dataclass(frozen=True, slots=True)
class NewRefreshToken:
    """A refresh token as it is kept: by its hash. Its session's end caps `expire_time`."""

    token_hash: bytes
    create_time: datetime
    expire_time: datetime


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


class SessionRepository(Protocol):
    """Keeps login sessions and their refresh tokens."""

    async def open_session(
        self, session: LoginSession, token: NewRefreshToken, password_hash: str
    ) -> bool:
        """Store a session with its first token and note the time of the sign-in.

        False, and nothing stored, when the user is no longer active or has another password
        by now: both may change while a hash is computed.
        """

    async def rotate(
        self, used_hash: bytes, successor: NewRefreshToken
    ) -> SignedIn | RefreshRefused:
        """Exchange a token for its successor, for at most one of any number of callers.

        A token that was used before ends its session.
        """

    async def find_signed_in(self, user_id: UUID, session_id: UUID) -> SignedIn | None:
        """Return the user's session, ended or not."""

    async def revoke_session(self, session_id: UUID, now: datetime) -> None:
        """End one session; one that has ended stays as it is."""

    async def revoke_sessions_of(self, user_id: UUID, now: datetime) -> Sequence[UUID]:
        """End every session of a user and return those that ended now."""


class UserRepository(Protocol):
    """Keeps users."""

    async def find_account(self, email: str) -> Account | None:
        """Return the account with this folded address."""

    async def users(self) -> Sequence[User]:
        """Return every user in the order of the address."""

    async def add_user(self, account: Account) -> bool:
        """Store a user with roles; False when the address is taken."""

    async def grant_role(self, user_id: UUID, role: str, now: datetime) -> None:
        """Give a user a role; one the user has already stays."""

    async def set_password(
        self, user_id: UUID, password_hash: str, now: datetime
    ) -> Sequence[UUID]:
        """Replace the hash, end every session of the user and return those that ended."""


def folded_email(email: str) -> str:
    """Return the form in which addresses are kept and compared."""
    return unicodedata.normalize("NFC", email.casefold())


def checked_email(email: str) -> str:
    """Return the folded address.

    Only what can be said without sending a message is checked.

    Raises:
        ValueError: it is not an address; says what it must be.
    """
    folded = folded_email(email)
    if len(folded) > MAX_EMAIL_CHARACTERS:
        raise ValueError(f"must have at most {MAX_EMAIL_CHARACTERS} characters")
    if not (folded.isprintable() and _EMAIL.fullmatch(folded)):
        raise ValueError("must be an e-mail address such as name@example.com")
    return folded


def credential_invalid() -> Unauthenticated:
    """Return the one answer to every credential that is not accepted, whatever is wrong."""
    return Unauthenticated("the credential is not valid; sign in again")


def token_revoked(revoke_time: datetime) -> Unauthenticated:
    """Return the answer to a token whose login session was ended."""
    return Unauthenticated(
        "the login session has ended; sign in again",
        reason="TOKEN_REVOKED",
        metadata={"revoked_at": rfc3339(revoke_time)},
    )
