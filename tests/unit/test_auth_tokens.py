"""Access and refresh tokens: what is accepted, and everything that is not."""

import base64
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest

from server.auth.key_ring import KeyRing, ring_of
from server.auth.keys import EDDSA, ES256, new_signing_key, signing_key_from_secret
from server.auth.token_form import MAX_TOKEN_CHARACTERS
from server.auth.tokens import AccessTokens, RefreshTokens
from server.core.errors import Unauthenticated
from server.core.roles import permissions_of
from tests.support.auth import MovableClock
from tests.support.forged_claims import BAD
from tests.support.mint import mint, ring_of_mint

KEY = signing_key_from_secret(b"a secret of thirty-two bytes....")
USER = UUID("6a1f8a1e-51f1-4c0e-9d57-0f4dcb7f3a10")
SESSION = UUID("0b6b7c52-5a36-4e52-8f4e-8a6d1de0b0a7")
MINT = mint(KEY, MovableClock().now, USER, SESSION, issuer="interview", audience="interview-api")
NOW = MINT.now
GOOD = MINT.good
RING = ring_of_mint(MINT, MovableClock().now)


def access_tokens(clock: MovableClock, keys: KeyRing = RING, **options: Any) -> AccessTokens:
    return AccessTokens(keys, issuer="interview", audience="interview-api", clock=clock, **options)


def claims(**changes: Any) -> str:
    """A token signed with the right key whose claims differ from good ones."""
    return MINT.with_claims(**changes)


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
    """ASVS 9.1.1 to 9.1.3, 9.2.1 to 9.2.3: nothing tells what was wrong with it."""
    found = reason_and_text(access_tokens(MovableClock()), BAD[name](MINT))
    assert found == (
        "CREDENTIAL_INVALID",
        "the credential is not accepted; sign in again, or send another API key",
    )


def test_changing_any_character_spoils_a_token() -> None:
    """ASVS 9.1.1: the signature is of every character."""
    tokens = access_tokens(MovableClock())
    for position, character in enumerate(GOOD):
        other = "A" if character != "A" else "B"
        changed = GOOD[:position] + other + GOOD[position + 1 :]
        assert reason_and_text(tokens, changed)[0] == "CREDENTIAL_INVALID", position


def test_issued_token_tells_whose_it_is() -> None:
    """RFC 9068, 2.2: of whom, since when, until when and with which roles."""
    clock = MovableClock()
    tokens = access_tokens(clock)
    signed_in = clock.now - timedelta(hours=2)
    token, expires = tokens.issue(USER, SESSION, ("admin", "viewer"), signed_in)
    principal = tokens.verify(token)
    assert expires == clock.now + timedelta(minutes=15)
    assert principal.expire_time == expires
    assert principal.auth_time == signed_in
    assert principal.roles == ("admin", "viewer")
    assert principal.issue_time == clock.now
    assert principal.may("users.write")
    assert not tokens.verify(GOOD).may("users.write")


def test_header_and_claims_are_exactly_those_of_the_contract() -> None:
    """RFC 9068, 2.1, 2.2."""
    token, _ = access_tokens(MovableClock()).issue(USER, SESSION, ("viewer",), datetime.now(UTC))
    assert jwt.get_unverified_header(token) == MINT.header
    payload = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert payload.keys() == MINT.claims.keys()
    assert len(token) < 1024


def test_every_token_has_another_id() -> None:
    """RFC 9068, 2.2: no two tokens have the same jti."""
    tokens = access_tokens(MovableClock())
    made = [tokens.issue(USER, SESSION, (), MovableClock().now)[0] for _ in range(20)]
    assert len({tokens.verify(token).token_id for token in made}) == 20


def test_expired_token_says_when_it_ended() -> None:
    """ASVS 9.2.1."""
    clock = MovableClock()
    tokens = access_tokens(clock)
    clock.advance(minutes=15)
    with pytest.raises(Unauthenticated) as caught:
        tokens.verify(GOOD)
    assert caught.value.reason == "TOKEN_EXPIRED"
    assert caught.value.metadata == {"expired_at": "2026-03-01T12:15:00Z"}


def test_remembered_token_is_refused_from_its_last_moment_on() -> None:
    """ASVS 9.2.1: the span is checked at every use."""
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
    """ASVS 9.1.1: what was not signed by a key of ours is never taken as verified."""
    tokens = access_tokens(MovableClock())
    reason_and_text(tokens, BAD["a stranger's key"](MINT))
    assert tokens.remembered == 0


def test_token_of_an_ended_session_is_refused_remembered_or_not() -> None:
    """ASVS 7.4.1."""
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
    """ASVS 7.4.1: also for a token from a clock that is ahead."""
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
    """ASVS 7.4.1: the end of a session is the end of its own tokens alone."""
    tokens = access_tokens(MovableClock())
    tokens.forget_session(uuid4())
    assert tokens.verify(GOOD).session_id == SESSION


def test_clock_of_the_signer_may_be_ahead_by_the_leeway() -> None:
    """ASVS 9.2.1: the span is checked with a leeway for clocks."""
    token = claims(iat=NOW + 30, auth_time=NOW + 30, exp=NOW + 930)
    assert access_tokens(MovableClock()).verify(token).user_id == USER


def test_replicas_with_one_secret_agree_and_others_do_not() -> None:
    """ASVS 9.1.3: only the key of the configured secret is trusted."""
    clock = MovableClock()
    one, same, other = (
        access_tokens(clock, ring_of(signing_key_from_secret(secret), clock.now))
        for secret in (b"s" * 32, b"s" * 32, b"s" * 33)
    )
    token, _ = one.issue(USER, SESSION, (), clock.now)
    assert same.verify(token).user_id == USER
    with pytest.raises(Unauthenticated):
        other.verify(token)


@pytest.mark.parametrize("algorithm", [EDDSA, ES256])
def test_each_key_signs_with_its_own_algorithm(algorithm: str) -> None:
    """RFC 8725, 3.1: the verifier knows the algorithm and does not ask the token."""
    clock = MovableClock()
    key = new_signing_key(algorithm)
    tokens = access_tokens(clock, ring_of(key, clock.now))
    token, _ = tokens.issue(USER, SESSION, ("viewer",), clock.now)
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "typ": "at+jwt", "kid": key.kid}
    assert tokens.verify(token).user_id == USER


def test_a_next_key_verifies_before_it_signs() -> None:
    """ASVS 9.1.3: every key of the ring is trusted, also the one that does not sign yet."""
    tokens = access_tokens(MovableClock())
    token = MINT.by(MINT.coming, alg=ES256, kid=MINT.coming.kid)
    assert tokens.verify(token).user_id == USER


def test_a_retired_key_verifies_until_its_tokens_are_dead_remembered_or_not() -> None:
    """A token of whoever finds the key later ends with the key (RFC 7517, 10)."""
    clock = MovableClock()
    signing, coming, _ = RING.keys
    retired = KeyRing((replace(signing, retire_time=clock.now), coming))
    tokens = access_tokens(clock, retired)
    clock.advance(minutes=15, seconds=29)
    late = MINT.with_claims(iat=NOW + 900, exp=NOW + 1800)
    other = MINT.with_claims(iat=NOW + 900, exp=NOW + 1800, jti="zyxwvutsrqponmlkjihgfe")
    assert tokens.verify(late) == tokens.verify(late)
    assert KEY in tokens.public_keys()
    clock.advance(seconds=1)
    for token in (late, other):
        assert reason_and_text(tokens, token)[0] == "CREDENTIAL_INVALID"
    assert tokens.remembered == 0
    assert KEY not in tokens.public_keys()


def test_tokens_of_a_key_that_is_dropped_are_forgotten_and_others_are_not() -> None:
    """ASVS 9.1.3: what a key signed is trusted no longer than the key."""
    tokens = access_tokens(MovableClock())
    kept = MINT.by(MINT.coming, alg=ES256, kid=MINT.coming.kid)
    tokens.verify(GOOD)
    same = tokens.verify(kept)
    tokens.use_keys(KeyRing(RING.keys[1:]))
    assert tokens.remembered == 1
    assert tokens.verify(kept) is same
    assert reason_and_text(tokens, GOOD)[0] == "CREDENTIAL_INVALID"


def test_without_a_key_nothing_is_signed_and_nothing_verified() -> None:
    """ASVS 9.1.3: no other key stands in."""
    clock = MovableClock()
    tokens = access_tokens(clock, KeyRing())
    assert reason_and_text(tokens, GOOD)[0] == "CREDENTIAL_INVALID"
    assert tokens.public_keys() == []
    with pytest.raises(LookupError):
        tokens.issue(USER, SESSION, (), clock.now)


def test_scopes_limit_what_roles_grant() -> None:
    """RFC 9068, 2.2.3; a scope grants nothing that no role does."""
    clock = MovableClock()
    tokens = access_tokens(clock)
    scopes = ("films.read", "users.write", "not.of.this.version")
    token, _ = tokens.issue(USER, SESSION, ("viewer",), clock.now, scopes)
    assert tokens.verify(token).permissions == {"films.read"}
    payload = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert payload["scope"] == " ".join(scopes)
    unlimited, _ = tokens.issue(USER, SESSION, ("viewer",), clock.now)
    assert tokens.verify(unlimited).permissions == permissions_of(("viewer",))


def test_length_alone_decides_about_a_long_token() -> None:
    """ASVS 2.2.1: a token has a greatest length."""
    tokens = access_tokens(MovableClock())
    lengths = {
        len(token): token for token in (claims(scope=f"a.{'b' * n}") for n in range(2600, 2900))
    }
    longest = max(length for length in lengths if length <= MAX_TOKEN_CHARACTERS)
    assert tokens.verify(lengths[longest]).permissions == frozenset()
    shortest = min(length for length in lengths if length > MAX_TOKEN_CHARACTERS)
    assert reason_and_text(tokens, lengths[shortest])[0] == "CREDENTIAL_INVALID"


def test_refresh_token_is_random_and_kept_as_its_hash() -> None:
    """ASVS 7.2.3: 256 random bits, kept as their SHA-256."""
    source = RefreshTokens()
    token = source.new()
    assert token.startswith("rt_")
    assert len(base64.urlsafe_b64decode(token.removeprefix("rt_") + "=")) == 32
    assert source.digest(token) == hashlib.sha256(token.encode()).digest()
    assert len({source.new() for _ in range(100)}) == 100


@pytest.mark.parametrize("token", ["", "rt_", "x" * 46, "rt_" + "é" * 43, "rt_" + "A" * 44, GOOD])
def test_what_cannot_be_a_refresh_token_has_no_hash(token: str) -> None:
    """ASVS 2.2.1, 9.2.2: an access token is no refresh token either."""
    assert RefreshTokens().digest(token) is None
