"""Changing one's own password (ASVS 6.2.2, 6.2.3)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from server.auth.account_passwords import AccountPasswords
from server.auth.attempts import Attempts
from server.auth.domain import ACTIVE, Account, credential_invalid
from server.auth.password_policy import against_policy
from server.core.audit import AuditRecord
from server.core.clock import Clock
from server.core.errors import Unauthenticated
from server.core.principal import Principal


@dataclass(frozen=True, slots=True)
class NewPassword:
    """What is to be stored in place of a verified hash, and which session goes on.

    With `keep_others` the user's other sessions go on too.
    """

    user_id: UUID
    verified_hash: str = field(repr=False)
    new_hash: str = field(repr=False)
    session_id: UUID
    keep_others: bool
    change_time: datetime


class PasswordHasher(Protocol):
    """Hashes new passwords."""

    async def hash(
        self, password: str, *, context: Sequence[str] = (), field: str = "password"
    ) -> str:
        """Return the hash; raises DomainError PASSWORD_POLICY for a weak password."""


class PasswordRepository(Protocol):
    """Stores new passwords."""

    async def account_of(self, user_id: UUID) -> Account | None:
        """Return a user's account."""

    async def change(self, new: NewPassword, record: AuditRecord) -> Sequence[UUID] | None:
        """Store a password with its audit record; return the sessions that ended by it.

        None, and nothing stored, when the user is barred or has another password by now.
        """


class SessionEnds(Protocol):
    """Hears of login sessions that have ended."""

    def forget_session(self, session_id: UUID) -> None:
        """Refuse the session's tokens from now on."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a caller asks for, and from which address."""

    current: str = field(repr=False)
    new: str = field(repr=False)
    keep_other_sessions: bool = False
    ip_address: str = ""


class PasswordChange:
    """Replaces passwords of those who know them."""

    def __init__(
        self,
        repository: PasswordRepository,
        attempts: Attempts,
        accounts: AccountPasswords,
        passwords: PasswordHasher,
        sessions: SessionEnds,
        *,
        clock: Clock,
    ) -> None:
        self._repository = repository
        self._attempts = attempts
        self._accounts = accounts
        self._passwords = passwords
        self._sessions = sessions
        self._clock = clock

    async def change(self, principal: Principal, change: Change, record: AuditRecord) -> None:
        """Replace the caller's password and end the caller's other sessions, unless kept.

        Raises:
            Unauthenticated: LOGIN_FAILED, the current password is wrong; CREDENTIAL_INVALID when
                the user is gone or barred.
            DomainError: LOGIN_THROTTLED, after too many that were wrong; PASSWORD_POLICY.
        """
        account = await self._verified(principal, change)
        if change.new == change.current:
            raise against_policy("same", "must not be the current password", "new_password")
        user = account.user
        new_hash = await self._passwords.hash(
            change.new, context=(user.email, user.display_name), field="new_password"
        )
        new = NewPassword(
            user.user_id,
            account.password_hash,
            new_hash,
            principal.session_id,
            change.keep_other_sessions,
            self._clock(),
        )
        record.target = user.name
        ended = await self._repository.change(new, record)
        if ended is None:
            raise _wrong()
        for session_id in ended:
            self._sessions.forget_session(session_id)

    async def _verified(self, principal: Principal, change: Change) -> Account:
        account = await self._repository.account_of(principal.user_id)
        if account is None or account.user.state != ACTIVE:
            raise credential_invalid()
        attempt = await self._attempts.begin(
            account.user.email, account.user.user_id, change.ip_address
        )
        verified = await self._accounts.verified(account, change.current)
        if verified is None:
            raise _wrong()
        await self._attempts.succeed(attempt)
        return verified


def _wrong() -> Unauthenticated:
    return Unauthenticated(
        "the current password is wrong; give the one that you sign in with", reason="LOGIN_FAILED"
    )
