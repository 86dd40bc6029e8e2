"""The secrets of API keys: their form, and the hash under which one is kept.

A secret ends in a checksum, so that a typing error is told from a key that is not known without
asking the database, and so that scanners for leaked secrets find few things that are none.
"""

import base64
import hashlib
import re
import secrets
import zlib
from collections.abc import Callable
from typing import Final

_PREFIX: Final = "ik_"
_CHECKSUM_CHARACTERS: Final = 6
_HINT_CHARACTERS: Final = 8
_FORM = re.compile(r"ik_[A-Za-z0-9_-]{49}")


def new_secret(randomness: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Return `ik_`, 256 random bits in 43 characters and a checksum of 6."""
    body = _PREFIX + _base64url(randomness(32))
    return body + _checksum(body)


def hint_of(secret: str) -> str:
    """Return the beginning, by which people tell keys apart; 226 random bits are left."""
    return secret[:_HINT_CHARACTERS]


def is_api_key(credential: str) -> bool:
    """Tell whether this is meant to be an API key; no other credential begins like one."""
    return credential.startswith(_PREFIX)


def digest(secret: str) -> bytes | None:
    """Return the SHA-256 under which a key is kept; None for what cannot be one of ours.

    A plain hash is enough: nobody guesses 256 random bits, however fast the hash (ASVS 6.5.2).
    """
    if not _FORM.fullmatch(secret):
        return None
    if _checksum(secret[:-_CHECKSUM_CHARACTERS]) != secret[-_CHECKSUM_CHARACTERS:]:
        return None
    return hashlib.sha256(secret.encode("ascii")).digest()


def _checksum(body: str) -> str:
    return _base64url(zlib.crc32(body.encode("ascii")).to_bytes(4, "big"))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
