"""What the tests of sign-in share."""

import base64
import json
from datetime import UTC, datetime, timedelta
from random import random
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from structlog.typing import FilteringBoundLogger

from server.auth.attempt_repository import AttemptRows
from server.auth.attempts import Attempts, Limits
from server.auth.hash_threads import HashThreads
from server.auth.keys import SigningKey
from server.auth.password_hashes import PasswordHashes
from server.auth.passwords import Passwords
from server.database.engine import Database


class MovableClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **span: float) -> None:
        self.now += timedelta(**span)


def segment(data: bytes) -> str:
    """Encode one part of a token."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forge(key: SigningKey, header: Any, payload: Any) -> str:
    """Sign whatever is given: bytes as they are, anything else as JSON."""
    parts = [p if isinstance(p, bytes) else json.dumps(p).encode() for p in (header, payload)]
    signed = ".".join(segment(part) for part in parts)
    return f"{signed}.{segment(_signature(key, signed.encode()))}"


def _signature(key: SigningKey, signed: bytes) -> bytes:
    if isinstance(key.private, Ed25519PrivateKey):
        return key.private.sign(signed)
    r, s = decode_dss_signature(key.private.sign(signed, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32) + s.to_bytes(32)


def passwords_at(cost: int, log: FilteringBoundLogger) -> Passwords:
    """Return what makes and checks hashes of that cost, with a pepper of its own."""
    hashes = PasswordHashes(cost, [b"p" * 32])
    return Passwords(hashes, HashThreads(2, 16, random=random), log=log)


def attempts_without_limit(database: Database, clock: MovableClock) -> Attempts:
    """Count nobody's failures, for tests of something else."""
    return Attempts(AttemptRows(database), Limits(0, 0), b"k" * 32, clock)
