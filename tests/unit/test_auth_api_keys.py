"""Parts of API keys by themselves: secrets, scopes, requests, noted uses."""

import asyncio
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from server.auth.api_key_requests import wanted_key
from server.auth.api_key_secrets import digest, hint_of, is_api_key, new_secret
from server.auth.api_key_uses import ApiKeyUses
from server.auth.api_keys import within
from server.core.errors import ValidationFailed
from server.generated.interview.auth.v1 import resources_pb2, user_service_pb2
from tests.support.amount import amount
from tests.support.auth import MovableClock
from tests.support.running import capturing_log

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def test_a_secret_is_256_bits_a_prefix_and_a_checksum() -> None:
    """ASVS 6.5.2, 11.5.1: nothing of a secret can be foreseen, and little of it is in its hint."""
    seen = {new_secret() for _ in range(100)}
    assert len(seen) == 100
    for secret in seen:
        assert is_api_key(secret)
        assert secret.isascii()
        assert len(secret) == 52
        assert len(digest(secret) or b"") == 32
        assert hint_of(secret) == secret[:8]
    assert new_secret(lambda n: b"\0" * n)[:46] == "ik_" + "A" * 43
    assert new_secret(lambda n: (b"\0" * n)[:-1] + b"\1")[:46] == "ik_" + "A" * 42 + "E"


def test_a_typing_error_is_no_key() -> None:
    """ASVS 2.2.1: wrong characters, and two that changed places, are found without a look."""
    chance = random.Random(7)
    for _ in range(amount(3, 100)):
        secret = new_secret(chance.randbytes)
        for place in range(3, len(secret)):
            other = chance.choice(ALPHABET.replace(secret[place], ""))
            assert digest(secret[:place] + other + secret[place + 1 :]) is None
            turned = secret[: place - 1] + secret[place] + secret[place - 1] + secret[place + 1 :]
            assert (digest(turned) is None) == (turned != secret)
        for wrong in ("", "ik_", secret[:-1], secret + "A", f" {secret}", secret + "\n"):
            assert digest(wrong) is None


def test_scopes_leave_what_they_name_of_what_there_is() -> None:
    """ASVS 8.2.1: a scope narrows, to own resources too, and never adds."""
    have = frozenset({"a.read", "b.read.own"})
    assert within(have, ()) == have
    assert within(have, ["a.read", "b.read", "c.read"]) == {"a.read"}
    assert within(have, ["a.read.own", "b.read.own"]) == {"a.read.own", "b.read.own"}


@pytest.mark.parametrize(
    "moment",
    [
        Timestamp(seconds=10**15),
        Timestamp(seconds=-(10**15)),
        Timestamp(nanos=-1),
        Timestamp(seconds=1, nanos=2_000_000_000),
        Timestamp(),
    ],
)
def test_a_time_that_is_none_or_past_is_refused(moment: Timestamp) -> None:
    """ASVS 2.2.1: the end of a key is a moment to come."""
    request = user_service_pb2.CreateApiKeyRequest(
        parent="users/a",
        api_key=resources_pb2.ApiKey(display_name="x", expire_time=moment),
    )
    with pytest.raises(ValidationFailed) as caught:
        wanted_key(request, datetime(2026, 1, 1, tzinfo=UTC))
    assert [v.field for v in caught.value.violations] == ["api_key.expire_time"]


async def test_a_use_is_stored_once_a_minute() -> None:
    """ASVS 6.5.1: in batches, and the newest where the database was away."""
    batches: list[Mapping[UUID, datetime]] = []
    away = False

    async def store(batch: Mapping[UUID, datetime]) -> None:
        if away:
            raise ConnectionRefusedError("planted")
        batches.append(batch)

    log, lines = capturing_log()
    uses, clock, keys = ApiKeyUses(store, log), MovableClock(), [uuid4(), uuid4()]
    minute = clock()
    for _ in range(5):
        for key in keys:
            uses.note(key, clock())
        clock.advance(seconds=11)
        await uses.store()
    assert batches == [dict.fromkeys(keys, minute)]
    away = True
    for _ in range(3):
        clock.advance(seconds=60)
        uses.note(keys[0], clock())
        await uses.store()
    away = False
    await uses.close()
    assert batches[1:] == [{keys[0]: minute + timedelta(minutes=3)}]
    assert len(lines) == 3
    assert "planted" not in repr(lines)


async def test_uses_are_stored_beside_the_calls() -> None:
    """Also while the server runs, and what is being stored when it ends comes with the end."""
    stored = asyncio.Event()
    batches: list[Mapping[UUID, datetime]] = []
    slow = asyncio.Event()

    async def store(batch: Mapping[UUID, datetime]) -> None:
        await slow.wait()
        batches.append(batch)
        stored.set()

    log, _ = capturing_log()
    uses, clock = ApiKeyUses(store, log, seconds=0.001), MovableClock()
    uses.note(uuid4(), clock())
    task = asyncio.create_task(uses.run())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not batches
    slow.set()
    await uses.close()
    assert [len(batch) for batch in batches] == [1]
    task = asyncio.create_task(uses.run())
    uses.note(uuid4(), clock())
    stored.clear()
    async with asyncio.timeout(5):
        await stored.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(batches) == 2
