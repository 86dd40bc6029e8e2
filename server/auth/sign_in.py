"""Signing in with e-mail address and password."""

from collections.abc import Sequence
from typing import Protocol

from server.auth.account_passwords import AccountPasswords
from server.auth.attempts import Attempts
from server.auth.domain import Account, folded_email
from server.auth.sessions import Device, Login, Sessions
from server.core.audit import AuditRecord
from server.core.errors import Unauthenticated


class Accounts(Protocol):
    """Finds accounts."""

    async def find_account(self, email: str) -> Account | None:
        """Return the account with this folded address."""


class SignIn:
    """Turns a password into a login session."""

    def __init__(
        self,
        accounts: Accounts,
        attempts: Attempts,
        passwords: AccountPasswords,
        sessions: Sessions,
    ) -> None:
        self._accounts = accounts
        self._attempts = attempts
        self._passwords = passwords
        self._sessions = sessions

    async def login(
        self,
        email: str,
        password: str,
        device: Device,
        record: AuditRecord,
        scopes: Sequence[str] = (),
    ) -> Login:
        """Open a login session, whose tokens are limited to the permissions `scopes` if any.

        Raises:
            Unauthenticated: LOGIN_FAILED; the same for an unknown user, a wrong password and
                a user who is barred.
            DomainError: LOGIN_THROTTLED, after too many that failed; no password is looked at.
        """
        address = folded_email(email)
        account = await self._accounts.find_account(address)
        # Whom somebody tried to be: told to operators, never to the caller.
        record.target = account.user.name if account else ""
        user_id = account.user.user_id if account else None
        attempt = await self._attempts.begin(address, user_id, device.ip_address)
        verified = await self._passwords.verified(account, password)
        if verified is None:
            raise _login_failed()
        login = await self._sessions.open(verified, device, scopes, record)
        if login is None:
            raise _login_failed()
        await self._attempts.succeed(attempt)
        return login


def _login_failed() -> Unauthenticated:
    return Unauthenticated("the e-mail address or the password is wrong", reason="LOGIN_FAILED")
