"""The key that signs access tokens."""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MIN_SECRET_BYTES: Final = 32
_LABEL: Final = b"interview-server access token signing key 1"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and the name by which tokens refer to it."""

    kid: str
    private: Ed25519PrivateKey = field(repr=False)

    @property
    def public(self) -> Ed25519PublicKey:
        """The key that checks what this one signs."""
        return self.private.public_key()


def signing_key(private: Ed25519PrivateKey) -> SigningKey:
    """Name a key by its JWK thumbprint (RFC 7638, RFC 8037)."""
    jwk = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(private.public_key().public_bytes_raw())}
    canonical = json.dumps(jwk, separators=(",", ":"), sort_keys=True).encode("ascii")
    return SigningKey(_base64url(hashlib.sha256(canonical).digest()), private)


def signing_key_from_secret(secret: bytes) -> SigningKey:
    """Derive the key from a secret, so that replicas that share the secret agree on it.

    Raises:
        ValueError: the secret has fewer than 32 bytes.
    """
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"the secret needs at least {MIN_SECRET_BYTES} bytes")
    derivation = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=_LABEL)
    return signing_key(Ed25519PrivateKey.from_private_bytes(derivation.derive(secret)))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
