"""Tokens that nobody may accept: forged, broken, or of keys that do not count.

Each is made like the good one of its mint and is wrong in one thing.
"""

import json
from collections.abc import Callable, Mapping
from uuid import uuid4

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server.auth.keys import ES256, SigningKey, new_signing_key, signing_key_from_secret
from tests.support.auth import forge, segment
from tests.support.mint import Mint, octets

Bad = Mapping[str, Callable[[Mint], str]]

STRANGER = signing_key_from_secret(b"another secret of 32 bytes......")
STRANGER_ES256 = new_signing_key(ES256)


def _encoded(key: SigningKey, encoding: Encoding) -> bytes:
    return key.public.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)


def _jwk(key: SigningKey) -> bytes:
    return json.dumps(key.public_jwk).encode()


def _point(key: SigningKey) -> bytes:
    """Return the bare numbers of a public key."""
    return b"".join(octets(key.public_jwk[name]) for name in ("x", "y") if name in key.public_jwk)


def _flipped(signature: bytes, position: int) -> bytes:
    return bytes(b ^ (i == position % len(signature)) for i, b in enumerate(signature))


def _long(made: Mint, letters: int) -> str:
    """Return a token that is wrong in its length alone, where it is."""
    return made.with_claims(scope=f"films.{'r' * letters}")


FORMS: Bad = {
    "two dots": lambda _: "..",
    "one word": lambda _: "token",
    "two parts": lambda m: ".".join(m.parts[:2]),
    "four parts": lambda m: f"{m.good}.{m.parts[1]}",
    "four parts, the last empty": lambda m: f"{m.good}.",
    "five parts": lambda m: f"{m.good}..",
    "five parts of an encrypted one": lambda m: f"{m.good}.{m.parts[1]}.{m.parts[2]}",
    "no header": lambda m: f".{m.parts[1]}.{m.parts[2]}",
    "no payload": lambda m: f"{m.parts[0]}..{m.parts[2]}",
    "padded": lambda m: f"{m.good}==",
    "payload padded": lambda m: f"{m.parts[0]}.{m.parts[1]}=.{m.parts[2]}",
    "a space before it": lambda m: f" {m.good}",
    "a space in it": lambda m: f"{m.parts[0]}. {m.parts[1]}.{m.parts[2]}",
    "a NUL in it": lambda m: f"{m.parts[0]}\0.{m.parts[1]}.{m.parts[2]}",
    "a newline behind it": lambda m: f"{m.good}\n",
    "not ASCII": lambda m: f"{m.good[:-1]}é",
    "in quotes": lambda m: f'"{m.good}"',
    "standard base64": lambda m: f"{m.parts[0]}.{m.parts[1]}.{'+/' * 43}",
    "the prefix again": lambda m: f"Bearer {m.good}",
    "as JSON": lambda m: json.dumps(
        dict(zip(("protected", "payload", "signature"), m.parts, strict=True))
    ),
    "longer than 4 KiB": lambda m: _long(m, 2900),
    "one megabyte": lambda _: "A" * 1_000_000,
    "one megabyte of dots": lambda _: "." * 1_000_000,
}

SIGNATURES: Bad = {
    "no signature": lambda m: ".".join([*m.parts[:2], ""]),
    "signature cut by a byte": lambda m: m.signature(lambda s: s[:-1]),
    "signature cut to a half": lambda m: m.signature(lambda s: s[:32]),
    "signature with a byte more": lambda m: m.signature(lambda s: s + b"\0"),
    "first bit of the signature flipped": lambda m: m.signature(lambda s: _flipped(s, 0)),
    "last bit of the signature flipped": lambda m: m.signature(lambda s: _flipped(s, -1)),
    "signature halves swapped": lambda m: m.signature(lambda s: s[32:] + s[:32]),
    "signature of zeros": lambda m: m.signature(lambda _: bytes(64)),
    "ES256 signature of zeros": lambda m: ".".join(
        [*m.by(m.coming, alg=ES256, kid=m.coming.kid).split(".")[:2], segment(bytes(64))]
    ),
    "loose bits at the end": lambda m: m.good[:-1] + chr(ord(m.good[-1]) + 1),
    "the signature of another token": lambda m: ".".join(
        [*m.parts[:2], m.with_claims(roles=["admin"]).split(".")[2]]
    ),
    "the payload of another token": lambda m: ".".join(
        [m.parts[0], m.with_claims(sub=str(uuid4())).split(".")[1], m.parts[2]]
    ),
    "a stranger's key": lambda m: m.by(STRANGER),
    "a stranger's key under its own name": lambda m: m.by(STRANGER, kid=STRANGER.kid),
    "a stranger's ES256 under our name": lambda m: m.by(
        STRANGER_ES256, alg=ES256, kid=m.coming.kid
    ),
    "another key of ours than it names": lambda m: m.by(m.dead),
    "a key retired too long": lambda m: m.by(m.dead, kid=m.dead.kid),
    "ES256 under the name of an EdDSA key": lambda m: m.by(m.coming, alg=ES256),
    "ES256 that says EdDSA": lambda m: m.by(m.coming, kid=m.coming.kid),
    "EdDSA under the name of an ES256 key": lambda m: m.by(m.key, kid=m.coming.kid),
    "EdDSA that says ES256": lambda m: m.by(m.key, alg=ES256),
    "HMAC with the public key's bytes": lambda m: m.by_hmac(_point(m.key)),
    "HMAC with the public key's PEM": lambda m: m.by_hmac(_encoded(m.key, Encoding.PEM)),
    "HMAC with the PEM without its end": lambda m: m.by_hmac(_encoded(m.key, Encoding.PEM).strip()),
    "HMAC with the public key's DER": lambda m: m.by_hmac(_encoded(m.key, Encoding.DER)),
    "HMAC with the public key's JWK": lambda m: m.by_hmac(_jwk(m.key)),
    "HMAC with nothing": lambda m: m.by_hmac(b""),
    "HMAC with the name of the key": lambda m: m.by_hmac(m.key.kid.encode()),
    "HMAC that says EdDSA": lambda m: m.by_hmac(_point(m.key), alg="EdDSA"),
    "HMAC with the PEM of the ES256 key": lambda m: m.by_hmac(
        _encoded(m.coming, Encoding.PEM), kid=m.coming.kid
    ),
    "HMAC with the JWK of the ES256 key": lambda m: m.by_hmac(_jwk(m.coming), kid=m.coming.kid),
    "HMAC with the point of the ES256 key": lambda m: m.by_hmac(
        _point(m.coming), kid=m.coming.kid, alg=ES256
    ),
}

HEADERS: Bad = {
    "alg none": lambda m: m.unsigned("none"),
    "alg None": lambda m: m.unsigned("None"),
    "alg NONE": lambda m: m.unsigned("NONE"),
    "alg nOnE": lambda m: m.unsigned("nOnE"),
    "alg empty": lambda m: m.unsigned(""),
    "alg none, signed": lambda m: m.with_header(alg="none"),
    "alg null": lambda m: m.with_header(alg=None),
    "alg a list": lambda m: m.with_header(alg=["EdDSA"]),
    "alg in lower case": lambda m: m.with_header(alg="eddsa"),
    "alg by its other name": lambda m: m.with_header(alg="Ed25519"),
    "alg RS256": lambda m: m.with_header(alg="RS256"),
    "no alg": lambda m: forge(m.key, {"typ": "at+jwt", "kid": m.key.kid}, m.claims),
    "no typ": lambda m: forge(m.key, {"alg": "EdDSA", "kid": m.key.kid}, m.claims),
    "typ JWT": lambda m: m.with_header(typ="JWT"),
    "typ of a refresh token": lambda m: m.with_header(typ="rt+jwt"),
    "typ of an ID token": lambda m: m.with_header(typ="id+jwt"),
    "typ in upper case": lambda m: m.with_header(typ="AT+JWT"),
    "typ with its prefix": lambda m: m.with_header(typ="application/at+jwt"),
    "typ null": lambda m: m.with_header(typ=None),
    "typ a list": lambda m: m.with_header(typ=["at+jwt"]),
    "no kid": lambda m: forge(m.key, {"alg": "EdDSA", "typ": "at+jwt"}, m.claims),
    "kid unknown": lambda m: m.with_header(kid="0"),
    "kid empty": lambda m: m.with_header(kid=""),
    "kid a path": lambda m: m.with_header(kid="../../../../dev/null"),
    "kid a statement": lambda m: m.with_header(kid="x' UNION SELECT 'key' --"),
    "kid a command": lambda m: m.with_header(kid="| id"),
    "kid a URL": lambda m: m.with_header(kid="https://example.com/key.pem"),
    "kid a number": lambda m: m.with_header(kid=1),
    "kid a list": lambda m: m.with_header(kid=[m.key.kid]),
    "kid an object": lambda m: m.with_header(kid={"kid": m.key.kid}),
    "kid null": lambda m: m.with_header(kid=None),
    "kid with a NUL": lambda m: m.with_header(kid=f"{m.key.kid}\0"),
    "jwk": lambda m: m.by(STRANGER, jwk=STRANGER.public_jwk),
    "jwk under its own name": lambda m: m.by(STRANGER, jwk=STRANGER.public_jwk, kid=STRANGER.kid),
    "our own jwk": lambda m: m.with_header(jwk=m.key.public_jwk),
    "jku": lambda m: m.with_header(jku="https://example.com/keys"),
    "x5u": lambda m: m.with_header(x5u="https://example.com/chain.pem"),
    "x5c": lambda m: m.with_header(x5c=["MIIB"]),
    "crit": lambda m: m.with_header(crit=["exp"]),
    "crit empty": lambda m: m.with_header(crit=[]),
    "b64 false": lambda m: m.with_header(b64=False, crit=["b64"]),
    "zip": lambda m: m.with_header(zip="DEF"),
    "cty of a nested one": lambda m: m.with_header(cty="JWT"),
    "alg twice": lambda m: m.with_member_twice('"alg":"none"'),
    "kid twice": lambda m: m.with_member_twice('"kid":"0"'),
    "typ twice": lambda m: m.with_member_twice('"typ":"JWT"'),
    "header a list": lambda m: forge(m.key, [m.header], m.claims),
    "header null": lambda m: forge(m.key, b"null", m.claims),
    "header no JSON": lambda m: forge(m.key, b"{alg:EdDSA}", m.claims),
    "header not UTF-8": lambda m: forge(m.key, b'{"alg":"\xff"}', m.claims),
    "header of nested lists": lambda m: forge(m.key, b"[" * 350, {}),
}
