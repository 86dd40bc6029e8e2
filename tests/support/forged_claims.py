"""Claims that nobody may accept, each signed with the right key."""

import json

from tests.support.auth import forge
from tests.support.forged_tokens import FORMS, HEADERS, SIGNATURES, Bad
from tests.support.mint import Mint


def _bytes(made: Mint, find: bytes, put: bytes) -> str:
    return forge(made.key, made.header, json.dumps(made.claims).encode().replace(find, put))


def _exp(made: Mint, put: str) -> str:
    return made.with_payload(str(made.claims["exp"]), put)


PAYLOADS: Bad = {
    "payload a list": lambda m: forge(m.key, m.header, [m.claims]),
    "payload a string": lambda m: forge(m.key, m.header, "claims"),
    "payload null": lambda m: forge(m.key, m.header, None),
    "payload empty": lambda m: forge(m.key, m.header, b""),
    "payload an empty object": lambda m: forge(m.key, m.header, {}),
    "payload broken": lambda m: forge(m.key, m.header, json.dumps(m.claims).encode()[:-1]),
    "payload and more": lambda m: forge(m.key, m.header, json.dumps(m.claims).encode() + b"{}"),
    "payload not UTF-8": lambda m: _bytes(m, b'"viewer"', b'"viewer\xff"'),
    "payload UTF-16": lambda m: forge(m.key, m.header, json.dumps(m.claims).encode("utf-16")),
    "payload with a byte order mark": lambda m: _bytes(m, b"{", b"\xef\xbb\xbf{"),
    "payload of nested lists": lambda m: forge(m.key, m.header, b"[" * 2500),
    "payload of nested objects": lambda m: forge(m.key, m.header, b'{"a":' * 450),
    "payload a token": lambda m: forge(m.key, m.header, m.good.encode()),
    "exp twice": lambda m: m.with_payload('"exp":', '"exp": 1, "exp":'),
    "sub twice": lambda m: m.with_payload('"sub":', '"sub": "", "sub":'),
    "roles twice named": lambda m: m.with_payload('"roles":', '"roles": ["admin"], "roles":'),
    "a claim too many": lambda m: m.with_claims(token_use="refresh"),
    "nbf": lambda m: m.with_claims(nbf=m.now),
    "client_id": lambda m: m.with_claims(client_id="interview"),
}

TIMES: Bad = {
    "exp missing": lambda m: m.without("exp"),
    "exp null": lambda m: m.with_claims(exp=None),
    "exp a string": lambda m: m.with_claims(exp=str(m.now + 900)),
    "exp a fraction": lambda m: m.with_claims(exp=m.now + 900.5),
    "exp a whole fraction": lambda m: m.with_claims(exp=float(m.now + 900)),
    "exp true": lambda m: m.with_claims(exp=True),
    "exp a list": lambda m: m.with_claims(exp=[m.now + 900]),
    "exp in the far future": lambda m: m.with_claims(exp=10**30),
    "exp beyond the lifetime": lambda m: m.with_claims(exp=m.now + 901),
    "exp of 1500 digits": lambda m: _exp(m, "9" * 1500),
    "exp infinite": lambda m: _exp(m, "Infinity"),
    "exp 1e400": lambda m: _exp(m, "1e400"),
    "exp with an exponent": lambda m: _exp(m, f"{m.now + 900}e0"),
    "exp NaN": lambda m: _exp(m, "NaN"),
    "exp negative": lambda m: m.with_claims(exp=-1),
    "exp before iat": lambda m: m.with_claims(exp=m.now - 1),
    "exp at iat": lambda m: m.with_claims(exp=m.now),
    "iat missing": lambda m: m.without("iat"),
    "iat a string": lambda m: m.with_claims(iat=str(m.now)),
    "iat false": lambda m: m.with_claims(iat=False, exp=900),
    "iat in the future": lambda m: m.with_claims(iat=m.now + 331, exp=m.now + 900),
    "iat negative": lambda m: m.with_claims(iat=-1, exp=800),
    "auth_time missing": lambda m: m.without("auth_time"),
    "auth_time in the future": lambda m: m.with_claims(auth_time=m.now + 331),
    "auth_time a string": lambda m: m.with_claims(auth_time=str(m.now)),
    "auth_time negative": lambda m: m.with_claims(auth_time=-1),
}

ROLES_TIMES: Bad = {
    "roles_time null": lambda m: m.with_claims(roles_time=None),
    "roles_time a string": lambda m: m.with_claims(roles_time=f"{m.now}000000"),
    "roles_time a fraction": lambda m: m.with_claims(roles_time=m.now * 1e6),
    "roles_time true": lambda m: m.with_claims(roles_time=True),
    "roles_time negative": lambda m: m.with_claims(roles_time=-1),
    "roles_time after all time": lambda m: m.with_claims(roles_time=10**30),
    "roles_time twice": lambda m: m.with_payload('"sub":', '"roles_time":0,"roles_time":1,"sub":'),
}

CLAIMS: Bad = {
    "iss missing": lambda m: m.without("iss"),
    "iss of another": lambda m: m.with_claims(iss="interview.example.com"),
    "iss with a slash": lambda m: m.with_claims(iss=f"{m.claims['iss']}/"),
    "iss in upper case": lambda m: m.with_claims(iss=str(m.claims["iss"]).upper()),
    "iss empty": lambda m: m.with_claims(iss=""),
    "iss null": lambda m: m.with_claims(iss=None),
    "iss a list": lambda m: m.with_claims(iss=[m.claims["iss"]]),
    "aud missing": lambda m: m.without("aud"),
    "aud of another": lambda m: m.with_claims(aud="films"),
    "aud a part": lambda m: m.with_claims(aud=str(m.claims["aud"])[:-1]),
    "aud empty": lambda m: m.with_claims(aud=""),
    "aud a list": lambda m: m.with_claims(aud=[m.claims["aud"]]),
    "aud an empty list": lambda m: m.with_claims(aud=[]),
    "aud among others": lambda m: m.with_claims(aud=[m.claims["aud"], "other"]),
    "aud an object": lambda m: m.with_claims(aud={m.claims["aud"]: 1}),
    "sub missing": lambda m: m.without("sub"),
    "sub empty": lambda m: m.with_claims(sub=""),
    "sub no UUID": lambda m: m.with_claims(sub="admin"),
    "sub a number": lambda m: m.with_claims(sub=1),
    "sub null": lambda m: m.with_claims(sub=None),
    "sub in another form": lambda m: m.with_claims(sub=f"urn:uuid:{m.claims['sub']}"),
    "sub in upper case": lambda m: m.with_claims(sub="6A1F8A1E-51F1-4C0E-9D57-0F4DCB7F3A10"),
    "sub a resource name": lambda m: m.with_claims(sub=f"users/{m.claims['sub']}"),
    "sid missing": lambda m: m.without("sid"),
    "sid empty": lambda m: m.with_claims(sid=""),
    "sid no UUID": lambda m: m.with_claims(sid="1"),
    "sid null": lambda m: m.with_claims(sid=None),
    "sid a list": lambda m: m.with_claims(sid=[m.claims["sid"]]),
    "jti missing": lambda m: m.without("jti"),
    "jti empty": lambda m: m.with_claims(jti=""),
    "jti a number": lambda m: m.with_claims(jti=12345678901234567890),
    "jti with a newline": lambda m: m.with_claims(jti="abcdefghijklmnopqrstuv\n"),
    "roles missing": lambda m: m.without("roles"),
    "roles a string": lambda m: m.with_claims(roles="admin"),
    "roles an object": lambda m: m.with_claims(roles={"admin": True}),
    "roles of numbers": lambda m: m.with_claims(roles=[1]),
    "roles nested": lambda m: m.with_claims(roles=[["admin"]]),
    "roles twice": lambda m: m.with_claims(roles=["admin", "admin"]),
    "roles not ASCII": lambda m: m.with_claims(roles=["\ud800"]),
    "roles too many": lambda m: m.with_claims(roles=[f"role-{'x' * n}" for n in range(1, 34)]),
    "scope empty": lambda m: m.with_claims(scope=""),
    "scope null": lambda m: m.with_claims(scope=None),
    "scope a list": lambda m: m.with_claims(scope=["films.read"]),
    "scope of two spaces": lambda m: m.with_claims(scope="films.read  films.watch"),
    "scope twice": lambda m: m.with_claims(scope="films.read films.read"),
    "scope of commas": lambda m: m.with_claims(scope="films.read,films.watch"),
    "scope of all": lambda m: m.with_claims(scope="*"),
    "scopes too many": lambda m: m.with_claims(
        scope=" ".join(f"a.{'x' * n}" for n in range(1, 66))
    ),
}

BAD: Bad = {**FORMS, **SIGNATURES, **HEADERS, **PAYLOADS, **TIMES, **ROLES_TIMES, **CLAIMS}
"""All of them, by what is wrong."""
