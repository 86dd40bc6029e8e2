"""Access and refresh tokens: what is accepted, and everything that is not."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server.auth.keys import SigningKey, signing_key, signing_key_from_secret
from server.auth.tokens import AccessTokens, RefreshTokens
from server.core.errors import Unauthenticated
from tests.support.auth import MovableClock, forge, segment

KEY = signing_key_from_secret(b"a secret of thirty-two bytes....")
STRANGER = signing_key_from_secret(b"another secret of 32 bytes......")
HEADER = {"alg": "EdDSA", "typ": "at+jwt", "kid": KEY.kid}
USER = UUID("6a1f8a1e-51f1-4c0e-9d57-0f4dcb7f3a10")
SESSION = UUID("0b6b7c52-5a36-4e52-8f4e-8a6d1de0b0a7")
NOW = int(MovableClock().now.timestamp())
CLAIMS: dict[str, Any] = {
    "iss": "interview",
    "aud": "interview-api",
    "sub": str(USER),
    "sid": str(SESSION),
    "jti": "abcdefghijklmnopqrstuv",
    "roles": ["viewer"],
    "auth_time": NOW - 60,
    "iat": NOW,
    "exp": NOW + 900,
}


def access_tokens(clock: MovableClock, key: SigningKey = KEY, **options: Any) -> AccessTokens:
    return AccessTokens(key, issuer="interview", audience="interview-api", clock=clock, **options)


def claims(**changes: Any) -> str:
    """A token signed with the right key whose claims differ from good ones."""
    return forge(KEY, HEADER, CLAIMS | changes)


def without(claim: str) -> str:
    return forge(KEY, HEADER, {k: v for k, v in CLAIMS.items() if k != claim})


def header(**changes: Any) -> str:
    return forge(KEY, HEADER | changes, CLAIMS)


def raw_claims(find: str, put: str) -> str:
    """A token whose payload is not what json.dumps would write."""
    return forge(KEY, HEADER, json.dumps(CLAIMS).replace(find, put).encode())


def signed_by_hmac(secret: bytes, algorithm: str) -> str:
    """The confusion of keys: our public key used as the secret of an HMAC."""
    signed = f"{segment(json.dumps(HEADER | {'alg': algorithm}).encode())}.{GOOD.split('.')[1]}"
    return f"{signed}.{segment(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def signed_by_elliptic_curve() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    headers = {"typ": "at+jwt", "kid": KEY.kid}
    return jwt.encode(CLAIMS, key, algorithm="ES256", headers=headers)


GOOD = forge(KEY, HEADER, CLAIMS)
HEAD, BODY, SIGNATURE = GOOD.split(".")
PUBLIC_PEM = KEY.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
JWK = {"kty": "OKP", "crv": "Ed25519", "x": segment(STRANGER.public.public_bytes_raw())}

BAD: dict[str, Callable[[], str]] = {
    "nothing": lambda: "",
    "two dots": lambda: "..",
    "one word": lambda: "token",
    "two parts": lambda: f"{HEAD}.{BODY}",
    "four parts": lambda: f"{GOOD}.{BODY}",
    "five parts": lambda: f"{GOOD}..",
    "no signature": lambda: f"{HEAD}.{BODY}.",
    "short signature": lambda: GOOD[:-2],
    "changed signature": lambda: f"{HEAD}.{BODY}.{'A' * len(SIGNATURE)}",
    "loose bits at the end": lambda: GOOD[:-1] + chr(ord(GOOD[-1]) + 1),
    "padded": lambda: f"{GOOD}==",
    "a newline behind it": lambda: f"{GOOD}\n",
    "a space before it": lambda: f" {GOOD}",
    "a NUL in it": lambda: f"{HEAD}\0.{BODY}.{SIGNATURE}",
    "not ASCII": lambda: f"{HEAD}.{BODY}.{SIGNATURE[:-1]}é",
    "standard base64": lambda: f"{HEAD}.{BODY}.{'+/' * 43}",
    "the prefix again": lambda: f"Bearer {GOOD}",
    "too long": lambda: claims(roles=["viewer", "x" * 4096]),
    "one megabyte": lambda: "A" * 1_000_000,
    "another key": lambda: forge(STRANGER, HEADER, CLAIMS),
    "another key under its own name": lambda: forge(
        STRANGER, HEADER | {"kid": STRANGER.kid}, CLAIMS
    ),
    "the payload of another token": lambda: (
        f"{HEAD}.{claims(sub=str(uuid4())).split('.')[1]}.{SIGNATURE}"
    ),
    "alg none": lambda: f"{segment(json.dumps(HEADER | {'alg': 'none'}).encode())}.{BODY}.",
    "alg none, signed": lambda: header(alg="none"),
    "alg NoNe": lambda: header(alg="NoNe"),
    "alg null": lambda: header(alg=None),
    "alg a list": lambda: header(alg=["EdDSA"]),
    "alg in lower case": lambda: header(alg="eddsa"),
    "alg by its other name": lambda: header(alg="Ed25519"),
    "HMAC with the public key's bytes": lambda: signed_by_hmac(
        KEY.public.public_bytes_raw(), "HS256"
    ),
    "HMAC with the public key's PEM": lambda: signed_by_hmac(PUBLIC_PEM, "HS256"),
    "HMAC that says EdDSA": lambda: signed_by_hmac(KEY.public.public_bytes_raw(), "EdDSA"),
    "ES256": signed_by_elliptic_curve,
    "no typ": lambda: forge(KEY, {"alg": "EdDSA", "kid": KEY.kid}, CLAIMS),
    "typ JWT": lambda: header(typ="JWT"),
    "typ of a refresh token": lambda: header(typ="rt+jwt"),
    "typ in upper case": lambda: header(typ="AT+JWT"),
    "no kid": lambda: forge(KEY, {"alg": "EdDSA", "typ": "at+jwt"}, CLAIMS),
    "kid unknown": lambda: header(kid="0"),
    "kid a path": lambda: header(kid="../../etc/passwd"),
    "kid a number": lambda: header(kid=1),
    "kid a list": lambda: header(kid=[KEY.kid]),
    "kid null": lambda: header(kid=None),
    "jwk in the header": lambda: forge(STRANGER, HEADER | {"jwk": JWK}, CLAIMS),
    "jku in the header": lambda: header(jku="https://example.com/keys"),
    "crit": lambda: header(crit=["exp"]),
    "b64 false": lambda: header(b64=False),
    "alg twice": lambda: forge(
        KEY, json.dumps(HEADER).replace("{", '{"alg":"none",', 1).encode(), CLAIMS
    ),
    "header a list": lambda: forge(KEY, [HEADER], CLAIMS),
    "header no JSON": lambda: forge(KEY, b"{alg:EdDSA}", CLAIMS),
    "header of nested lists": lambda: forge(KEY, b"[" * 2000, {}),
    "payload a list": lambda: forge(KEY, HEADER, [CLAIMS]),
    "payload a string": lambda: forge(KEY, HEADER, "claims"),
    "payload empty": lambda: forge(KEY, HEADER, b""),
    "payload broken": lambda: forge(KEY, HEADER, json.dumps(CLAIMS).encode()[:-1]),
    "payload not UTF-8": lambda: raw_bytes(b"interview-api", b"interview\xff"),
    "payload UTF-16": lambda: forge(KEY, HEADER, json.dumps(CLAIMS).encode("utf-16")),
    "payload of nested lists": lambda: forge(KEY, HEADER, b"[" * 2500),
    "exp twice": lambda: raw_claims('"exp":', '"exp": 1, "exp":'),
    "a claim too many": lambda: claims(token_use="refresh"),
    "exp missing": lambda: without("exp"),
    "exp null": lambda: claims(exp=None),
    "exp a string": lambda: claims(exp=str(NOW + 900)),
    "exp a fraction": lambda: claims(exp=NOW + 900.5),
    "exp a whole fraction": lambda: claims(exp=float(NOW + 900)),
    "exp true": lambda: claims(exp=True),
    "exp a list": lambda: claims(exp=[NOW + 900]),
    "exp in the far future": lambda: claims(exp=10**30),
    "exp beyond the lifetime": lambda: claims(exp=NOW + 901),
    "exp of 1500 digits": lambda: raw_claims(str(NOW + 900), "9" * 1500),
    "exp infinite": lambda: raw_claims(str(NOW + 900), "Infinity"),
    "exp 1e400": lambda: raw_claims(str(NOW + 900), "1e400"),
    "exp NaN": lambda: raw_claims(str(NOW + 900), "NaN"),
    "exp negative": lambda: claims(exp=-1),
    "exp before iat": lambda: claims(exp=NOW - 1),
    "iat missing": lambda: without("iat"),
    "iat a string": lambda: claims(iat=str(NOW)),
    "iat false": lambda: claims(iat=False, exp=900),
    "iat in the future": lambda: claims(iat=NOW + 31, exp=NOW + 900),
    "iat negative": lambda: claims(iat=-1, exp=800),
    "auth_time missing": lambda: without("auth_time"),
    "auth_time in the future": lambda: claims(auth_time=NOW + 31),
    "auth_time a string": lambda: claims(auth_time=str(NOW)),
    "auth_time negative": lambda: claims(auth_time=-1),
    "iss missing": lambda: without("iss"),
    "iss of another": lambda: claims(iss="interview.example.com"),
    "iss a list": lambda: claims(iss=["interview"]),
    "aud missing": lambda: without("aud"),
    "aud of another": lambda: claims(aud="interview"),
    "aud a part": lambda: claims(aud="interview-ap"),
    "aud a list": lambda: claims(aud=["interview-api"]),
    "aud among others": lambda: claims(aud=["interview-api", "other"]),
    "aud an object": lambda: claims(aud={"interview-api": 1}),
    "sub missing": lambda: without("sub"),
    "sub empty": lambda: claims(sub=""),
    "sub no UUID": lambda: claims(sub="admin"),
    "sub a number": lambda: claims(sub=1),
    "sub null": lambda: claims(sub=None),
    "sub in another form": lambda: claims(sub=f"urn:uuid:{USER}"),
    "sub in upper case": lambda: claims(sub=str(USER).upper()),
    "sid missing": lambda: without("sid"),
    "sid empty": lambda: claims(sid=""),
    "sid no UUID": lambda: claims(sid="1"),
    "jti missing": lambda: without("jti"),
    "jti empty": lambda: claims(jti=""),
    "jti a number": lambda: claims(jti=12345678901234567890),
    "jti with a newline": lambda: claims(jti="abcdefghijklmnopqrstuv\n"),
    "roles missing": lambda: without("roles"),
    "roles a string": lambda: claims(roles="admin"),
    "roles of numbers": lambda: claims(roles=[1]),
    "roles nested": lambda: claims(roles=[["admin"]]),
    "roles twice": lambda: claims(roles=["admin", "admin"]),
    "roles not ASCII": lambda: claims(roles=["\ud800"]),
    "roles too many": lambda: claims(roles=[f"role-{'x' * n}" for n in range(1, 34)]),
}


def raw_bytes(find: bytes, put: bytes) -> str:
    return forge(KEY, HEADER, json.dumps(CLAIMS).encode().replace(find, put))


def reason_and_text(tokens: AccessTokens, token: str) -> tuple[str, str]:
    with pytest.raises(Unauthenticated) as caught:
        tokens.verify(token)
    assert caught.value.__cause__ is None
    assert caught.value.metadata == {}
    return caught.value.reason, caught.value.message


def test_forging_with_the_right_key_and_claims_is_accepted() -> None:
    """Shows that the corpus below is refused for what is wrong in it, not for its making."""
    principal = access_tokens(MovableClock()).verify(GOOD)
    assert (principal.user_id, principal.session_id) == (USER, SESSION)


@pytest.mark.parametrize("name", BAD)
def test_broken_or_forged_token_is_refused_with_one_text(name: str) -> None:
    found = reason_and_text(access_tokens(MovableClock()), BAD[name]())
    assert found == ("CREDENTIAL_INVALID", "the credential is not valid; sign in again")


def test_changing_any_character_spoils_a_token() -> None:
    tokens = access_tokens(MovableClock())
    for position, character in enumerate(GOOD):
        other = "A" if character != "A" else "B"
        changed = GOOD[:position] + other + GOOD[position + 1 :]
        assert reason_and_text(tokens, changed)[0] == "CREDENTIAL_INVALID", position


def test_issued_token_tells_whose_it_is() -> None:
    clock = MovableClock()
    tokens = access_tokens(clock)
    signed_in = clock.now - timedelta(hours=2)
    token, expires = tokens.issue(USER, SESSION, ("admin", "viewer"), signed_in)
    principal = tokens.verify(token)
    assert expires == clock.now + timedelta(minutes=15)
    assert principal.expire_time == expires
    assert principal.auth_time == signed_in
    assert principal.roles == ("admin", "viewer")
    assert principal.may("users.write")
    assert not tokens.verify(GOOD).may("users.write")


def test_header_and_claims_are_exactly_those_of_the_contract() -> None:
    token, _ = access_tokens(MovableClock()).issue(USER, SESSION, ("viewer",), datetime.now(UTC))
    assert jwt.get_unverified_header(token) == HEADER
    payload = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert payload.keys() == CLAIMS.keys()
    assert len(token) < 1024


def test_every_token_has_another_id() -> None:
    tokens = access_tokens(MovableClock())
    made = [tokens.issue(USER, SESSION, (), MovableClock().now)[0] for _ in range(20)]
    assert len({tokens.verify(token).token_id for token in made}) == 20


def test_expired_token_says_when_it_ended() -> None:
    clock = MovableClock()
    tokens = access_tokens(clock)
    clock.advance(minutes=15)
    with pytest.raises(Unauthenticated) as caught:
        tokens.verify(GOOD)
    assert caught.value.reason == "TOKEN_EXPIRED"
    assert caught.value.metadata == {"expired_at": "2026-03-01T12:15:00Z"}


def test_remembered_token_is_refused_from_its_last_moment_on() -> None:
    clock = MovableClock()
    tokens = access_tokens(clock)
    tokens.verify(GOOD)
    clock.advance(minutes=15, microseconds=-1)
    tokens.verify(GOOD)
    assert tokens.remembered == 1
    clock.advance(microseconds=1)
    with pytest.raises(Unauthenticated) as caught:
        tokens.verify(GOOD)
    assert caught.value.reason == "TOKEN_EXPIRED"
    assert tokens.remembered == 0


def test_memory_is_bounded_and_keeps_what_is_used() -> None:
    clock = MovableClock()
    tokens = access_tokens(clock, cache_size=3)
    made = [tokens.issue(USER, SESSION, (), clock.now)[0] for _ in range(5)]
    first = tokens.verify(made[0])
    for token in made[1:]:
        tokens.verify(token)
        # The same object: not read a second time.
        assert tokens.verify(made[0]) is first
        assert tokens.remembered <= 3


def test_refused_token_is_not_remembered() -> None:
    tokens = access_tokens(MovableClock())
    reason_and_text(tokens, BAD["another key"]())
    assert tokens.remembered == 0


def test_token_of_an_ended_session_is_refused_remembered_or_not() -> None:
    clock = MovableClock()
    tokens = access_tokens(clock)
    other = claims(jti="zyxwvutsrqponmlkjihgfe")
    tokens.verify(GOOD)
    tokens.forget_session(SESSION)
    clock.advance(minutes=5)
    for token in (GOOD, other):
        with pytest.raises(Unauthenticated) as caught:
            tokens.verify(token)
        assert caught.value.reason == "TOKEN_REVOKED"
        assert caught.value.metadata == {"revoked_at": "2026-03-01T12:00:00Z"}


def test_ended_session_stays_ended_until_its_last_token_is_dead() -> None:
    clock = MovableClock()
    tokens = access_tokens(clock)
    tokens.forget_session(SESSION)
    # Signed by a replica whose clock is ahead by the leeway.
    late = claims(iat=NOW + 30, exp=NOW + 930)
    clock.advance(minutes=15, seconds=29)
    tokens.forget_session(uuid4())
    with pytest.raises(Unauthenticated) as caught:
        tokens.verify(late)
    assert caught.value.reason == "TOKEN_REVOKED"


def test_ending_one_session_leaves_the_others() -> None:
    tokens = access_tokens(MovableClock())
    tokens.forget_session(uuid4())
    assert tokens.verify(GOOD).session_id == SESSION


def test_clock_of_the_signer_may_be_ahead_by_the_leeway() -> None:
    token = claims(iat=NOW + 30, auth_time=NOW + 30, exp=NOW + 930)
    assert access_tokens(MovableClock()).verify(token).user_id == USER


def test_name_of_a_key_is_its_thumbprint() -> None:
    """RFC 8037, appendix A.1 to A.3."""
    private = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    key = signing_key(Ed25519PrivateKey.from_private_bytes(private))
    assert key.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_replicas_with_one_secret_agree_and_others_do_not() -> None:
    clock = MovableClock()
    secret = b"s" * 32
    token, _ = access_tokens(clock, signing_key_from_secret(secret)).issue(
        USER, SESSION, (), clock()
    )
    assert access_tokens(clock, signing_key_from_secret(secret)).verify(token).user_id == USER
    with pytest.raises(Unauthenticated):
        access_tokens(clock, signing_key_from_secret(secret + b"!")).verify(token)


def test_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32 bytes"):
        signing_key_from_secret(b"s" * 31)


def test_key_does_not_show_itself() -> None:
    assert "private" not in repr(KEY)


def test_refresh_token_is_random_and_kept_as_its_hash() -> None:
    source = RefreshTokens()
    token = source.new()
    assert token.startswith("rt_")
    assert len(base64.urlsafe_b64decode(token.removeprefix("rt_") + "=")) == 32
    assert source.digest(token) == hashlib.sha256(token.encode()).digest()
    assert len({source.new() for _ in range(100)}) == 100


@pytest.mark.parametrize("token", ["", "rt_", "x" * 46, "rt_" + "é" * 43, "rt_" + "A" * 44, GOOD])
def test_what_cannot_be_a_refresh_token_has_no_hash(token: str) -> None:
    assert RefreshTokens().digest(token) is None
