"""Sign-in: users, login sessions and what keeps them."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from server.core.clock import rfc3339
from server.core.errors import Unauthenticated
from server.core.principal import CredentialKind

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
    `revision` counts changes, from 1; a sign-in is none. Who has no password cannot sign in, and
    `password_change_time` means nothing.
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
    has_password: bool = True

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
    """One sign-in on one device; it ends at `expire_time` however often it is refreshed.

    Its tokens are limited to the permissions `scopes`, unless there are none.
    """

    session_id: UUID
    user_id: UUID
    device_label: str
    user_agent: str
    ip_address: str
    create_time: datetime
    expire_time: datetime
    revoke_time: datetime | None = None
    last_refresh_time: datetime | None = None
    scopes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The resource name, `users/{uuid}/loginSessions/{uuid}`."""
        return f"users/{self.user_id}/loginSessions/{self.session_id}"

    def cap(self, moment: datetime) -> datetime:
        """Return the moment, or the session's end where that comes first."""
        return min(moment, self.expire_time)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A user and one of the user's login sessions."""

    user: User
    session: LoginSession


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
    return Unauthenticated("the credential is not accepted; sign in again, or send another API key")


def token_revoked(
    revoke_time: datetime, kind: CredentialKind = CredentialKind.ACCESS_TOKEN
) -> Unauthenticated:
    """Return the answer to a token whose login session was ended, or to a key that was."""
    text = "the login session has ended; sign in again"
    if kind is CredentialKind.API_KEY:
        text = "the API key has ended; use another one"
    return Unauthenticated(
        text,
        reason="TOKEN_REVOKED",
        metadata={"revoked_at": rfc3339(revoke_time)},
    )
