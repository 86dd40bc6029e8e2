"""Signing in with e-mail address and password."""

from typing import Protocol

from server.auth.attempts import Attempts
from server.auth.domain import ACTIVE, Account, folded_email
from server.auth.sessions import Device, Login, Sessions
from server.core.errors import Unauthenticated


class Accounts(Protocol):
    """Finds accounts."""

    async def find_account(self, email: str) -> Account | None:
        """Return the account with this folded address."""


class PasswordVerifier(Protocol):
    """Checks a password against a stored hash."""

    async def verify(self, password: str, stored_hash: str | None, *, subject: str = "") -> bool:
        """Tell whether they belong together, in the same time whatever the answer."""


class SignIn:
    """Turns a password into a login session."""

    def __init__(
        self,
        accounts: Accounts,
        attempts: Attempts,
        passwords: PasswordVerifier,
        sessions: Sessions,
    ) -> None:
        self._accounts = accounts
        self._attempts = attempts
        self._passwords = passwords
        self._sessions = sessions

    async def login(self, email: str, password: str, device: Device) -> Login:
        """Open a login session.

        Raises:
            Unauthenticated: LOGIN_FAILED; the same for an unknown user, a wrong password and
                a user who is barred.
            DomainError: LOGIN_THROTTLED, after too many that failed; no password is looked at.
        """
        address = folded_email(email)
        account = await self._accounts.find_account(address)
        user_id = account.user.user_id if account else None
        attempt = await self._attempts.begin(address, user_id, device.ip_address)
        stored_hash = account.password_hash if account and account.user.state == ACTIVE else None
        subject = account.user.name if account else ""
        matches = await self._passwords.verify(password, stored_hash, subject=subject)
        if account is None or stored_hash is None or not matches:
            raise _login_failed()
        login = await self._sessions.open(account, device)
        if login is None:
            raise _login_failed()
        await self._attempts.succeed(attempt)
        return login


def _login_failed() -> Unauthenticated:
    return Unauthenticated("the e-mail address or the password is wrong", reason="LOGIN_FAILED")
