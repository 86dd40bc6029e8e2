"""The keys that sign access tokens: their algorithms, names and form as JWK (RFC 7517)."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from server.auth.strict_json import base64url, base64url_bytes

EDDSA: Final = "EdDSA"
ES256: Final = "ES256"
ALGORITHMS: Final = (EDDSA, ES256)
MIN_SECRET_BYTES: Final = 32

_LABEL: Final = b"interview-server access token signing key 1"
_COORDINATE_BYTES: Final = 32
"""Of P-256 (RFC 7518, 6.2.1.2), and of every number of Ed25519 (RFC 8037, 2)."""

PrivateKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey
PublicKey = Ed25519PublicKey | ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, its one algorithm (RFC 8725, 3.1), and the name that tokens give it.

    The name tells all public keys apart, so two of the same name are equal.
    """

    kid: str
    algorithm: str
    private: PrivateKey = field(repr=False, compare=False)

    @property
    def public(self) -> PublicKey:
        """The key that checks what this one signs."""
        return self.private.public_key()

    @property
    def public_jwk(self) -> dict[str, str]:
        """The key that others check by, as a JWK (RFC 7517, 4)."""
        return {"kid": self.kid, "alg": self.algorithm, "use": "sig", **_members(self.public)}

    @property
    def private_jwk(self) -> dict[str, str]:
        """The whole key as a JWK, private part included."""
        return {**self.public_jwk, "d": base64url(_private_bytes(self.private))}


def signing_key(private: PrivateKey) -> SigningKey:
    """Name a key by its JWK thumbprint (RFC 7638, RFC 8037); its kind decides the algorithm."""
    canonical = json.dumps(_members(private.public_key()), separators=(",", ":"), sort_keys=True)
    kid = base64url(hashlib.sha256(canonical.encode("ascii")).digest())
    return SigningKey(kid, EDDSA if isinstance(private, Ed25519PrivateKey) else ES256, private)


def new_signing_key(algorithm: str) -> SigningKey:
    """Make a random key for an algorithm of ALGORITHMS."""
    if algorithm == EDDSA:
        return signing_key(Ed25519PrivateKey.generate())
    return signing_key(ec.generate_private_key(ec.SECP256R1()))


def signing_key_from_secret(secret: bytes) -> SigningKey:
    """Derive an EdDSA key from a secret, so that processes that share the secret agree on it.

    Raises:
        ValueError: the secret has fewer than 32 bytes.
    """
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"the secret needs at least {MIN_SECRET_BYTES} bytes")
    derivation = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=_LABEL)
    return signing_key(Ed25519PrivateKey.from_private_bytes(derivation.derive(secret)))


def signing_key_from_jwk(jwk: Mapping[str, Any]) -> SigningKey:
    """Read what `private_jwk` writes.

    Raises:
        ValueError: a member is missing, wrong or too many, or does not belong to the private part.
    """
    try:
        key = signing_key(_private_key(jwk["alg"], base64url_bytes(jwk["d"])))
    except (KeyError, TypeError, ValueError):
        raise ValueError("must be a private JWK for EdDSA or ES256") from None
    if key.private_jwk != jwk:
        raise ValueError("its members do not belong together")
    return key


def _private_key(algorithm: object, number: bytes) -> PrivateKey:
    if algorithm == EDDSA:
        return Ed25519PrivateKey.from_private_bytes(number)
    if algorithm == ES256 and len(number) == _COORDINATE_BYTES:
        return ec.derive_private_key(int.from_bytes(number), ec.SECP256R1())
    raise ValueError


def _private_bytes(private: PrivateKey) -> bytes:
    if isinstance(private, Ed25519PrivateKey):
        return private.private_bytes_raw()
    return private.private_numbers().private_value.to_bytes(_COORDINATE_BYTES)


def _members(public: PublicKey) -> dict[str, str]:
    """Return the members that make the thumbprint."""
    if isinstance(public, Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": base64url(public.public_bytes_raw())}
    point = public.public_numbers()
    x, y = (base64url(number.to_bytes(_COORDINATE_BYTES)) for number in (point.x, point.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}
