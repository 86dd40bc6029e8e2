"""Keys of access tokens: their names, their form as JWK, and the ring that they make."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.auth.key_mapping import json_web_key_set
from server.auth.key_ring import KEPT, KeyRing, KeyState, checked_ring, new_ring, ring_of
from server.auth.keys import (
    ALGORITHMS,
    EDDSA,
    ES256,
    new_signing_key,
    signing_key,
    signing_key_from_jwk,
    signing_key_from_secret,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LIVED = timedelta(minutes=15, seconds=30)
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "k", "oth"}
"""RFC 7518, 6.2.2, 6.3.2 and 6.4.1."""


def test_name_of_a_key_is_its_thumbprint() -> None:
    """RFC 8037, appendix A.1 to A.3."""
    private = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    key = signing_key(Ed25519PrivateKey.from_private_bytes(private))
    assert key.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_members_of_a_key_on_p256_are_those_of_the_standard() -> None:
    """RFC 7515, appendix A.3: the key of its example of ES256."""
    number = int.from_bytes(
        base64.urlsafe_b64decode("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI=")
    )
    key = signing_key(ec.derive_private_key(number, ec.SECP256R1()))
    assert key.algorithm == ES256
    assert key.public_jwk == {
        "kid": key.kid,
        "alg": "ES256",
        "use": "sig",
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }
    assert key.private_jwk["d"] == "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_comes_back_from_its_jwk(algorithm: str) -> None:
    """RFC 7517: a JWK says all that there is of a key."""
    key = new_signing_key(algorithm)
    again = signing_key_from_jwk(key.private_jwk)
    assert again == key
    assert again.private_jwk == key.private_jwk
    assert new_signing_key(algorithm) != key


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "change",
    [
        {"d": None},
        {"d": "AAAA"},
        {"d": "A" * 43},
        {"d": "A" * 86},
        {"alg": "HS256"},
        {"alg": "none"},
        {"alg": None},
        {"use": "enc"},
        {"crv": "P-384"},
        {"kty": "RSA"},
        {"kid": "1"},
        {"x": "A" * 43},
        {"x5u": "https://example.com"},
        {"key_ops": ["sign"]},
    ],
    ids=str,
)
def test_a_jwk_whose_members_disagree_is_no_key(algorithm: str, change: dict[str, Any]) -> None:
    """RFC 7517, 9: what is wrong in a file of keys is found when it is read."""
    jwk = {**new_signing_key(algorithm).private_jwk, **change}
    with pytest.raises(ValueError, match=r"^(must be a private JWK|its members do not belong)"):
        signing_key_from_jwk(jwk)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_shown_of_a_key_holds_nothing_private(algorithm: str) -> None:
    """RFC 7517, 9.2: neither what is published nor its text for logs."""
    key = new_signing_key(algorithm)
    (shown,) = json_web_key_set([key]).keys
    told = {field.name: value for field, value in shown.ListFields()}
    assert told == key.public_jwk
    assert not told.keys() & PRIVATE_MEMBERS
    assert jwt.PyJWK(told).key_id == key.kid
    assert key.private_jwk["d"] not in repr(key)
    assert "Private" not in repr(key)


def test_short_secret_is_refused() -> None:
    """ASVS 11.2.3: a secret has 256 bits or more."""
    with pytest.raises(ValueError, match="at least 32 bytes"):
        signing_key_from_secret(b"s" * 31)


def test_a_rotation_moves_each_key_a_step_on() -> None:
    first, second, third = (new_signing_key(EDDSA) for _ in range(3))
    ring = new_ring(first, second, NOW)
    later = NOW + timedelta(days=30)
    rotated = ring.rotated(third, later)
    assert (ring.current, ring.coming) == (first, second)
    assert (rotated.current, rotated.coming) == (second, third)
    (_, _, retired) = rotated.keys
    assert (retired.key, retired.state, retired.retire_time) == (first, KeyState.RETIRED, later)
    assert (retired.create_time, retired.sign_time) == (NOW, NOW)
    assert rotated.keys[0].sign_time == later
    assert checked_ring(rotated.keys) == rotated


def test_a_retired_key_counts_until_its_tokens_are_dead_and_goes_a_day_later() -> None:
    """ASVS 9.1.3: a key is trusted no longer than its last token lives."""
    first, *more = (new_signing_key(EDDSA) for _ in range(4))
    ring = new_ring(first, more[0], NOW).rotated(more[1], NOW)
    assert first in ring.counting(NOW + LIVED - timedelta(microseconds=1), LIVED)
    assert first not in ring.counting(NOW + LIVED, LIVED)
    assert len(ring.counting(NOW + LIVED, LIVED)) == 2
    before, after = (ring.rotated(more[2], NOW + KEPT + moved) for moved in (-LIVED, LIVED))
    assert first in [one.key for one in before.keys]
    assert first not in [one.key for one in after.keys]


def test_a_ring_has_one_current_key_and_one_next() -> None:
    ring = new_ring(new_signing_key(EDDSA), new_signing_key(ES256), NOW)
    current, coming = ring.keys
    retired = replace(current, state=KeyState.RETIRED)
    for keys, said in (
        ((), "must have one current key; it has 0"),
        ((current,), "must have one next key; it has 0"),
        ((current, coming, coming), "must have one next key; it has 2"),
        ((current, replace(coming, key=current.key)), "must have each key once"),
        (
            (current, coming, replace(retired, key=new_signing_key(EDDSA))),
            "must have a retire_time for each retired key and for no other",
        ),
        (
            (replace(current, retire_time=NOW), coming),
            "must have a retire_time for each retired key and for no other",
        ),
    ):
        with pytest.raises(ValueError, match=f"^{said}$"):
            checked_ring(keys)
    assert checked_ring(ring.keys) == ring


def test_a_ring_of_one_key_signs_and_an_empty_one_does_not() -> None:
    key = new_signing_key(EDDSA)
    assert ring_of(key, NOW).current == key
    assert ring_of(key, NOW).counting(NOW + timedelta(days=10_000), LIVED) == [key]
    with pytest.raises(LookupError, match="no current key"):
        _ = KeyRing().current
