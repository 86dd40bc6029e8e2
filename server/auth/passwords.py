"""Password hashes: bcrypt in threads of its own, never on the event loop."""

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

import bcrypt
from structlog.typing import FilteringBoundLogger

from server.core.errors import DomainError, FieldViolation

T = TypeVar("T")

MIN_CHARACTERS: Final = 15
MAX_BYTES: Final = 72
"""bcrypt reads no further: a longer password is refused, never cut."""

_COSTS: Final = range(4, 17)
_STORED = re.compile(r"\$2[aby]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{53}")


class Passwords:
    """Makes and checks bcrypt hashes.

    `cost` is the binary logarithm of the number of rounds; as many hashes as there are `threads`
    run at a time, the others wait. Who limits how many callers there are at a time limits the
    hashes with it: a call does not end before its hash does, not even one that is cancelled.
    """

    def __init__(self, cost: int = 12, *, log: FilteringBoundLogger, threads: int = 2) -> None:
        if cost not in _COSTS:
            raise ValueError(f"the bcrypt cost must be from {_COSTS[0]} to {_COSTS[-1]}")
        self._cost = cost
        self._log = log
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="bcrypt")

    async def hash(self, password: str) -> str:
        """Return the hash of a new password.

        Raises:
            DomainError: PASSWORD_POLICY for a password that must not be used.
        """
        secret = _checked(password)
        return (await self._run(lambda: bcrypt.hashpw(secret, self._salt()))).decode("ascii")

    async def verify(self, password: str, stored_hash: str | None, *, subject: str = "") -> bool:
        """Tell whether the password belongs to the stored hash (None: there is no such user).

        Whatever is wrong, exactly one hash is computed, so the time tells a caller nothing.
        `subject` names the user in the alarm about a stored hash that is none.
        """
        secret = _secret(password)
        if stored_hash is not None and not _is_hash(stored_hash):
            self._alarm(subject)
            stored_hash = None
        if secret is None or stored_hash is None:
            await self._run(self._waste_one_hash)
            return False
        stored = stored_hash.encode("ascii")
        return await self._run(lambda: self._matches(secret, stored, subject))

    async def close(self) -> None:
        """Let what runs and waits come to its end, then stop the threads."""
        await asyncio.to_thread(self._threads.shutdown)

    def _matches(self, secret: bytes, stored: bytes, subject: str) -> bool:
        try:
            return bcrypt.checkpw(secret, stored)
        except ValueError:
            # It has the form of a hash and yet bcrypt will not have its salt.
            self._alarm(subject)
            return self._waste_one_hash()

    def _waste_one_hash(self) -> bool:
        bcrypt.hashpw(b"nobody", self._salt())
        return False

    def _salt(self) -> bytes:
        return bcrypt.gensalt(self._cost)

    def _alarm(self, subject: str) -> None:
        self._log.error("stored_password_hash_unusable", subject=subject)

    async def _run(self, work: Callable[[], T]) -> T:
        job = self._threads.submit(work)
        answer = asyncio.wrap_future(job)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            # A hash that runs cannot be stopped. Its caller stays with it, or a crowd that comes
            # and goes would have more hashes waiting than callers.
            job.cancel()
            while not answer.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({answer})
            raise


def _secret(password: str) -> bytes | None:
    """Return the bytes that bcrypt is given; None where it would not take all of them."""
    try:
        secret = password.encode("utf-8")
    except UnicodeEncodeError:
        return None
    return secret if len(secret) <= MAX_BYTES and b"\0" not in secret else None


def _is_hash(stored_hash: str) -> bool:
    # The bound on the cost keeps a damaged row from holding a thread for days.
    match = _STORED.fullmatch(stored_hash)
    return match is not None and int(match["cost"]) in _COSTS


def _checked(password: str) -> bytes:
    """Apply the rules for a new password (NIST SP 800-63B: length only, no composition)."""
    if not password.strip():
        raise _against_policy("blank", "must not be blank")
    if len(password) < MIN_CHARACTERS:
        raise _against_policy("too_short", f"must have at least {MIN_CHARACTERS} characters")
    if len(password.encode("utf-8", "replace")) > MAX_BYTES:
        raise _against_policy("too_long", f"must have at most {MAX_BYTES} bytes of UTF-8")
    secret = _secret(password)
    if secret is None:
        raise _against_policy("not_text", "must be text without NUL characters")
    return secret


def _against_policy(rule: str, description: str) -> DomainError:
    return DomainError(
        f"password: {description}",
        reason="PASSWORD_POLICY",
        metadata={"rule": rule},
        violations=[FieldViolation("password", description)],
    )
