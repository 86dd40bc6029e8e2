"""The form in which passwords are kept (OWASP Password Storage Cheat Sheet; ASVS 11.4.2).

    v1$<id of the pepper>$<bcrypt hash of base64(HMAC-SHA-256(pepper, password))>

The HMAC gives bcrypt 44 characters of any password: nothing of it is cut at bcrypt's 72 bytes,
and who has the table alone cannot try passwords. A bare bcrypt hash is what earlier versions
stored; it still counts.
"""

import base64
import hmac
import re
from collections.abc import Sequence
from typing import Final

import bcrypt

MIN_PEPPER_BYTES: Final = 32
COSTS: Final = range(4, 17)

_SCHEME: Final = "v1"
_BCRYPT_BYTES: Final = 72
_STORED: Final = re.compile(
    r"(?:v1\$(?P<pepper>[0-9a-f]{16})\$)?"
    r"(?P<bcrypt>\$2[aby]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{53})"
)


class HashUnusable(ValueError):
    """A stored hash is none, or its pepper is not known."""


class PasswordHashes:
    """Makes and checks hashes. Every method that hashes blocks for one hash.

    `cost` is the binary logarithm of the number of rounds. The first of the `peppers` is the
    present one, the others are those of before.
    """

    def __init__(self, cost: int, peppers: Sequence[bytes]) -> None:
        if cost not in COSTS:
            raise ValueError(f"the bcrypt cost must be from {COSTS[0]} to {COSTS[-1]}")
        if not peppers or any(len(pepper) < MIN_PEPPER_BYTES for pepper in peppers):
            raise ValueError(f"there must be a pepper of at least {MIN_PEPPER_BYTES} bytes")
        self._cost = cost
        self._peppers = {_pepper_id(pepper): pepper for pepper in reversed(peppers)}
        self._pepper = peppers[0]
        self._prefix = f"{_SCHEME}${_pepper_id(peppers[0])}$"

    def make(self, password: str) -> str:
        """Return a new hash of a password, which must be text."""
        secret = _peppered(self._pepper, password.encode("utf-8"))
        return self._prefix + bcrypt.hashpw(secret, self._salt()).decode("ascii")

    def matches(self, password: bytes, stored: str) -> bool:
        """Tell whether a password belongs to a stored hash.

        Raises:
            HashUnusable: the hash cannot be checked; no hash was computed.
        """
        match = _STORED.fullmatch(stored)
        # The bound on the cost keeps a damaged row from holding a thread for days.
        if match is None or int(match["cost"]) not in COSTS:
            raise HashUnusable("the stored hash has no known form")
        secret = self._bare(password) if match["pepper"] is None else None
        if match["pepper"] is not None:
            pepper = self._peppers.get(match["pepper"])
            if pepper is None:
                raise HashUnusable("the stored hash was made with another pepper")
            secret = _peppered(pepper, password)
        if secret is None:
            return self.waste()
        try:
            return bcrypt.checkpw(secret, match["bcrypt"].encode("ascii"))
        except ValueError as error:
            # It has the form of a hash and yet bcrypt will not have its salt.
            raise HashUnusable("the stored hash has no salt") from error

    def is_present(self, stored: str) -> bool:
        """Tell whether a stored hash has the present scheme, pepper and cost."""
        match = _STORED.fullmatch(stored)
        return (
            match is not None
            and stored.startswith(self._prefix)
            and int(match["cost"]) == self._cost
        )

    def waste(self) -> bool:
        """Compute a hash for nothing, so that the time tells nothing; always False."""
        bcrypt.hashpw(b"nobody", self._salt())
        return False

    def _salt(self) -> bytes:
        return bcrypt.gensalt(self._cost)

    @staticmethod
    def _bare(password: bytes) -> bytes | None:
        """Return what earlier versions gave bcrypt; None for what they would not have taken."""
        fits = len(password) <= _BCRYPT_BYTES and b"\0" not in password
        return password if fits else None


def _peppered(pepper: bytes, password: bytes) -> bytes:
    # In base64, for bcrypt ends at a NUL.
    return base64.b64encode(hmac.digest(pepper, password, "sha256"))


def _pepper_id(pepper: bytes) -> str:
    """Return a name for a pepper that tells nothing of it."""
    return hmac.digest(pepper, b"interview-api pepper id", "sha256")[:8].hex()
