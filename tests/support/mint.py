"""Makes access tokens, good ones and others, with the keys of a server."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from server.auth.key_ring import KeyRing, KeyState, RingKey
from server.auth.keys import EDDSA, ES256, SigningKey, new_signing_key
from tests.support.auth import forge, segment


@dataclass(frozen=True)
class Mint:
    """The keys of a server, and claims that it accepts."""

    key: SigningKey
    """EdDSA, current."""
    coming: SigningKey
    """ES256, next."""
    dead: SigningKey
    """Retired so long ago that it counts no more."""
    claims: Mapping[str, Any]

    @property
    def header(self) -> dict[str, Any]:
        """The header of a good token."""
        return {"alg": EDDSA, "typ": "at+jwt", "kid": self.key.kid}

    @property
    def good(self) -> str:
        """A token with which nothing is wrong."""
        return forge(self.key, self.header, self.claims)

    @property
    def parts(self) -> list[str]:
        """Header, payload and signature of the good token."""
        return self.good.split(".")

    @property
    def now(self) -> int:
        """When the good token was issued."""
        return int(self.claims["iat"])

    def with_claims(self, **changes: Any) -> str:
        """Sign other claims with the right key."""
        return forge(self.key, self.header, {**self.claims, **changes})

    def without(self, claim: str) -> str:
        """Sign with the right key and leave a claim out."""
        left = {name: value for name, value in self.claims.items() if name != claim}
        return forge(self.key, self.header, left)

    def with_header(self, **changes: Any) -> str:
        """Sign another header with the right key."""
        return forge(self.key, self.header | changes, self.claims)

    def with_payload(self, find: str, put: str) -> str:
        """Sign a payload that is not what json.dumps would write."""
        return forge(self.key, self.header, json.dumps(self.claims).replace(find, put).encode())

    def with_member_twice(self, member: str) -> str:
        """Sign a header that names something also before its proper member."""
        header = json.dumps(self.header).replace("{", f"{{{member},", 1)
        return forge(self.key, header.encode(), self.claims)

    def by(self, signer: SigningKey, **header: Any) -> str:
        """Sign good claims with another key."""
        return forge(signer, self.header | header, self.claims)

    def by_hmac(self, secret: bytes, **header: Any) -> str:
        """Use what is public as the secret of an HMAC (RFC 8725, 2.1)."""
        head = segment(json.dumps({**self.header, "alg": "HS256", **header}).encode())
        signed = f"{head}.{self.parts[1]}"
        return f"{signed}.{segment(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"

    def unsigned(self, algorithm: Any) -> str:
        """Leave the signature out and say so."""
        head = segment(json.dumps(self.header | {"alg": algorithm}).encode())
        return f"{head}.{self.parts[1]}."

    def signature(self, change: Any) -> str:
        """Change the bytes of the signature."""
        head, body, signature = self.parts
        return f"{head}.{body}.{segment(change(octets(signature)))}"


def mint(
    key: SigningKey, now: datetime, user: UUID, session: UUID, *, issuer: str, audience: str
) -> Mint:
    """Return a mint whose good token is a viewer's, issued now for 15 minutes."""
    issued = int(now.timestamp())
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": str(user),
        "sid": str(session),
        "jti": "abcdefghijklmnopqrstuv",
        "roles": ["viewer"],
        "auth_time": issued - 60,
        "iat": issued,
        "exp": issued + 900,
    }
    return Mint(key, new_signing_key(ES256), new_signing_key(EDDSA), claims)


def ring_of_mint(made: Mint, now: datetime) -> KeyRing:
    """Return its keys; all that the dead one signed ended two hours ago, or before."""
    then = now.replace(microsecond=0) - timedelta(days=1)
    return KeyRing(
        (
            RingKey(made.key, KeyState.CURRENT, then, then),
            RingKey(made.coming, KeyState.NEXT, then),
            RingKey(made.dead, KeyState.RETIRED, then, then, then + timedelta(hours=21)),
        )
    )


def octets(text: str) -> bytes:
    """Decode one part of a token."""
    return base64.urlsafe_b64decode(text + "==")
