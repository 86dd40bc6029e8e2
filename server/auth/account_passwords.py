"""A user's password: checked, and its hash brought up to date by the way."""

from dataclasses import replace
from typing import Final, Protocol
from uuid import UUID

from server.auth.domain import ACTIVE, Account

_TRIES: Final = 2
"""Of two who sign in at once with a hash of before, one finds that the other has replaced it."""


class PasswordVerifier(Protocol):
    """Checks a password against a stored hash."""

    async def verify(self, password: str, stored_hash: str | None, *, subject: str = "") -> bool:
        """Tell whether they belong together, in the same time whatever the answer."""

    async def renewed(self, password: str, stored_hash: str) -> str:
        """Return the hash to keep of a password that was just verified: mostly the stored one."""


class HashRepository(Protocol):
    """Keeps the hashes of users' passwords."""

    async def account_of(self, user_id: UUID) -> Account | None:
        """Return a user's account."""

    async def replace_hash(self, user_id: UUID, verified_hash: str, new_hash: str) -> bool:
        """Replace a hash by another one of the same password.

        False, and nothing stored, when it is not the stored one any more.
        """


class AccountPasswords:
    """Checks passwords of accounts."""

    def __init__(self, repository: HashRepository, passwords: PasswordVerifier) -> None:
        self._repository = repository
        self._passwords = passwords

    async def verified(self, account: Account | None, password: str) -> Account | None:
        """Return the account as it is kept now; None unless the password is that of an active user.

        Whoever is refused has cost one hash, neither more nor less (ASVS 6.3.8). A hash whose
        scheme, pepper or cost is not the present one is replaced, which ends no session and is no
        change of the password.
        """
        for _ in range(_TRIES):
            if not await self._matches(account, password) or account is None:
                return None
            old = account.password_hash
            new = await self._passwords.renewed(password, old)
            user_id = account.user.user_id
            if new == old or await self._repository.replace_hash(user_id, old, new):
                return replace(account, password_hash=new)
            account = await self._repository.account_of(user_id)
        return None

    async def _matches(self, account: Account | None, password: str) -> bool:
        stored_hash = account.password_hash if account and account.user.state == ACTIVE else None
        subject = account.user.name if account else ""
        return await self._passwords.verify(password, stored_hash, subject=subject)
