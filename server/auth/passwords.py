"""Passwords: set by a policy, kept as hashes, checked in threads and never on the event loop."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from structlog.typing import FilteringBoundLogger

from server.auth.password_hashes import HashUnusable, PasswordHashes
from server.auth.password_policy import MAX_BYTES, check_password

T = TypeVar("T")


class Threads(Protocol):
    """Runs blocking work off the event loop."""

    async def run(self, work: Callable[[], T]) -> T:
        """Return what the work returns, or raise what it raises."""

    async def close(self) -> None:
        """Let what runs and waits come to its end, then stop."""


class Passwords:
    """Makes and checks hashes.

    Every method may raise DomainError RATE_LIMITED when too many wait for a thread.
    """

    def __init__(
        self, hashes: PasswordHashes, threads: Threads, *, log: FilteringBoundLogger
    ) -> None:
        self._hashes = hashes
        self._threads = threads
        self._log = log

    async def hash(
        self, password: str, *, context: Sequence[str] = (), field: str = "password"
    ) -> str:
        """Return the hash of a new password.

        `context` is what an attacker knows of the user, such as address and name; `field` is
        where the password stands in the request.

        Raises:
            DomainError: PASSWORD_POLICY for a password that must not be used.
        """

        def work() -> str:
            check_password(password, context, field=field)
            return self._hashes.make(password)

        return await self._threads.run(work)

    async def verify(self, password: str, stored_hash: str | None, *, subject: str = "") -> bool:
        """Tell whether the password belongs to the stored hash.

        None and the empty hash stand for a user who is not there, is barred, or has no password.
        Whatever is wrong, exactly one hash is computed, so the time tells a caller nothing.
        `subject` names the user in the alarm about a stored hash that is none.
        """
        return await self._threads.run(lambda: self._matches(password, stored_hash, subject))

    async def renewed(self, password: str, stored_hash: str) -> str:
        """Return the hash to keep of a password that was just verified.

        That is the stored one, unless its scheme, pepper or cost is not the present one.
        """
        if self._hashes.is_present(stored_hash):
            return stored_hash
        return await self._threads.run(lambda: self._hashes.make(password))

    async def close(self) -> None:
        """Let what runs and waits come to its end, then stop the threads."""
        await self._threads.close()

    def _matches(self, password: str, stored_hash: str | None, subject: str) -> bool:
        secret = _bytes(password)
        if not stored_hash or secret is None:
            return self._hashes.waste()
        try:
            return self._hashes.matches(secret, stored_hash)
        except HashUnusable:
            self._log.error("stored_password_hash_unusable", subject=subject)
            return self._hashes.waste()


def _bytes(password: str) -> bytes | None:
    """Return the bytes of a password; None for what cannot be one."""
    try:
        secret = password.encode("utf-8")
    except UnicodeEncodeError:
        return None
    return secret if len(secret) <= MAX_BYTES else None
