"""Lookups of API keys: shared by who asks at once, limited for keys that nobody knows."""

import asyncio
import random
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from server.auth.api_key_principals import (
    REMEMBERED,
    WAITING_LOOKUPS,
    ApiKeyPrincipals,
    KeyInUse,
)
from server.auth.api_key_secrets import digest, hint_of, new_secret
from server.auth.api_keys import ApiKey
from server.auth.domain import ACTIVE, User
from server.auth.single_flight import SingleFlight
from server.core.errors import DomainError
from server.core.principal import FOREVER, CredentialKind, Principal
from tests.support.amount import amount
from tests.support.auth import MovableClock


class Store:
    """Keys by their hash. A lookup waits while the gate is closed."""

    def __init__(self, clock: MovableClock) -> None:
        self.keys: dict[bytes, KeyInUse] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.lookups = self.running = self.most = 0
        self.failure: Exception | None = None
        self._clock = clock

    async def find_in_use(self, secret_hash: bytes) -> KeyInUse | None:
        self.lookups += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
            if self.failure is not None:
                raise self.failure
            return self.keys.get(secret_hash)
        finally:
            self.running -= 1

    def add(self, *roles: str, **fields: Any) -> str:
        """Keep a new key and return its secret."""
        secret, now = new_secret(), self._clock()
        secret_hash = digest(secret)
        assert secret_hash is not None
        user = User(uuid4(), "", "", roles or ("viewer",), ACTIVE, now, now, None, now)
        key = ApiKey(uuid4(), user.user_id, "x", "x", (), hint_of(secret), now, **fields)
        self.keys[secret_hash] = KeyInUse(key, user)
        return secret


class Parts:
    """Principals over a store, and what they noted."""

    def __init__(self, **options: Any) -> None:
        self.clock = MovableClock()
        self.store = Store(self.clock)
        self.uses: list[UUID] = []
        self.principals = ApiKeyPrincipals(
            self.store,
            lambda key_id, _: self.uses.append(key_id),
            clock=self.clock,
            random=lambda: 0.5,
            **{"unknown_lookups": 2, **options},
        )

    async def ask(self, secret: str) -> Principal:
        answer = self.principals.authenticate(secret)
        return answer if isinstance(answer, Principal) else await answer

    def start(self, secret: str) -> "asyncio.Task[Principal]":
        return asyncio.create_task(self.ask(secret))


async def _reason(call: Any) -> str:
    with pytest.raises(DomainError) as caught:
        await call
    return caught.value.reason


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_principal_says_what_the_key_and_its_user_say() -> None:
    """ASVS 8.3.3: rights are the user's own, read when the key is looked up."""
    parts = Parts()
    secret = parts.store.add("viewer", "manager")
    made = parts.clock()
    parts.clock.advance(minutes=1)
    principal = await parts.ask(secret)
    assert principal.kind is CredentialKind.API_KEY
    assert (principal.auth_time, principal.issue_time) == (made, parts.clock())
    assert principal.expire_time == FOREVER
    assert principal.may("films.write")
    assert parts.uses == [principal.session_id]


async def test_a_key_is_asked_for_once_in_a_while() -> None:
    """ASVS 7.4.1: changes elsewhere count after REMEMBERED; a clock set back lends nothing."""
    parts = Parts()
    secret = parts.store.add()
    for _ in range(3):
        await parts.ask(secret)
        parts.clock.advance(seconds=3)
    assert parts.store.lookups == 1
    parts.clock.advance(seconds=1)
    await parts.ask(secret)
    assert parts.store.lookups == 2
    parts.clock.advance(seconds=-1)
    await parts.ask(secret)
    assert parts.store.lookups == 3
    parts.store.keys.clear()
    await parts.ask(secret)
    parts.clock.advance(seconds=REMEMBERED.total_seconds())
    assert await _reason(parts.ask(secret)) == "CREDENTIAL_INVALID"
    assert parts.principals.remembered == 0


async def test_what_is_no_key_costs_no_look_and_no_memory() -> None:
    """ASVS 2.4.1: the checksum refuses typing errors; false keys are not remembered."""
    parts = Parts()
    for wrong in ("ik_", "ik_" + "A" * 49, new_secret()[:-1] + "!"):
        with pytest.raises(DomainError):
            parts.principals.authenticate(wrong)
    assert parts.store.lookups == 0
    for _ in range(3):
        assert await _reason(parts.ask(new_secret())) == "CREDENTIAL_INVALID"
    assert (parts.store.lookups, parts.principals.remembered, parts.uses) == (3, 0, [])


async def test_memory_is_bounded() -> None:
    """ASVS 15.2.2: the keys that were used longest ago are forgotten."""
    parts = Parts(max_remembered=2)
    secrets = [parts.store.add() for _ in range(3)]
    for secret in (*secrets[:2], secrets[0], secrets[2]):
        await parts.ask(secret)
    assert parts.principals.remembered == 2
    await parts.ask(secrets[0])
    assert parts.store.lookups == 3
    await parts.ask(secrets[1])
    assert parts.store.lookups == 4


@pytest.mark.parametrize("subject", [lambda p: p.session_id, lambda p: p.user_id, lambda _: None])
async def test_what_is_forgotten_is_asked_for_anew(
    subject: Callable[[Principal], UUID | None],
) -> None:
    """ASVS 7.4.1: news of a key, of its user, or of all."""
    parts = Parts()
    secret = parts.store.add()
    principal = await parts.ask(secret)
    parts.principals.forget(uuid4())
    await parts.ask(secret)
    assert parts.store.lookups == 1
    parts.principals.forget(subject(principal))
    await parts.ask(secret)
    assert parts.store.lookups == 2


async def test_a_look_from_before_a_change_tells_nobody_who_comes_after() -> None:
    """ASVS 7.4.1: what was read before the key was deleted is not remembered either."""
    parts = Parts()
    secret = parts.store.add()
    parts.store.gate.clear()
    before = parts.start(secret)
    await _settle()
    found = dict(parts.store.keys)
    parts.principals.forget(next(iter(found.values())).key.key_id)
    parts.store.gate.set()
    after = parts.start(secret)
    await before
    await after
    assert parts.store.lookups == 2
    parts.store.keys.clear()
    parts.principals.forget(None)
    assert await _reason(parts.ask(secret)) == "CREDENTIAL_INVALID"


async def test_all_who_use_a_key_at_once_share_one_look() -> None:
    """ASVS 15.4.1: and one who leaves takes nothing from the others."""
    parts = Parts()
    secret = parts.store.add()
    parts.store.gate.clear()
    calls = [parts.start(secret) for _ in range(10)]
    await _settle()
    for call in calls[:5]:
        call.cancel()
    await _settle()
    parts.store.gate.set()
    assert len({(await call).session_id for call in calls[5:]}) == 1
    assert parts.store.lookups == 1
    assert all(call.cancelled() for call in calls[:5])


async def test_when_all_have_left_the_look_ends_and_the_next_one_begins_anew() -> None:
    """ASVS 15.4.1: nobody joins what is being cancelled."""
    parts = Parts(unknown_lookups=1)
    secret = parts.store.add()
    parts.store.gate.clear()
    calls = [parts.start(secret) for _ in range(3)]
    await _settle()
    for call in calls:
        call.cancel()
    late = parts.start(secret)
    await _settle()
    assert parts.store.running == 1
    parts.store.gate.set()
    assert (await late).kind is CredentialKind.API_KEY
    assert parts.store.running == 0


async def test_a_look_that_fails_fails_for_its_callers_and_is_tried_again() -> None:
    """ASVS 16.5.3: a database that is away lets nobody in and is not remembered as a refusal."""
    parts = Parts()
    secret = parts.store.add()
    parts.store.failure = ConnectionRefusedError()
    parts.store.gate.clear()
    calls = [parts.start(secret) for _ in range(3)]
    await _settle()
    parts.store.gate.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ConnectionRefusedError] * 3
    parts.store.failure = None
    assert (await parts.ask(secret)).kind is CredentialKind.API_KEY


async def test_unknown_keys_have_few_looks_and_known_ones_pass_them() -> None:
    """ASVS 2.4.1, 6.3.1: a flood of false keys takes two connections; its surplus is refused."""
    parts = Parts(unknown_lookups=2)
    known = parts.store.add()
    await parts.ask(known)
    parts.clock.advance(seconds=REMEMBERED.total_seconds())
    parts.store.most = 0
    parts.store.gate.clear()
    most = 2 * WAITING_LOOKUPS
    flood = [parts.start(new_secret()) for _ in range(2 + most)]
    await _settle()
    assert parts.store.running == 2
    refused = [parts.start(new_secret()) for _ in range(5)]
    for call in refused:
        assert await _reason(call) == "RATE_LIMITED"
    good = parts.start(known)
    await _settle()
    assert parts.store.running == 3
    flood[1].cancel()
    flood[40].cancel()
    await _settle()
    assert parts.store.running == 3
    parts.store.gate.set()
    assert (await good).kind is CredentialKind.API_KEY
    outcomes = await asyncio.gather(*flood, return_exceptions=True)
    assert sum(isinstance(o, DomainError) for o in outcomes) == len(flood) - 2
    assert parts.store.most == 3
    assert await _reason(parts.ask(new_secret())) == "CREDENTIAL_INVALID"


async def test_calls_that_leave_at_random_leave_nothing_behind() -> None:
    """ASVS 15.4.1: whoever gives up, turns and places come back."""
    chance = random.Random(11)
    parts = Parts(unknown_lookups=1)
    for _ in range(amount(30, 1000)):
        secrets = [parts.store.add() for _ in range(3)]
        calls = [parts.start(chance.choice(secrets)) for _ in range(12)]
        for call in calls:
            if chance.random() < 0.4:
                await asyncio.sleep(0)
            if chance.random() < 0.5:
                call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        for call in calls:
            assert call.cancelled() or isinstance(call.result(), Principal)
        parts.principals.forget(None)
    await _settle()
    assert parts.store.running == 0
    assert parts.store.most == 1


async def test_a_flight_that_nobody_waits_for_is_gone() -> None:
    """What failed while its last caller left is told to nobody, and warned about nowhere."""
    flights: SingleFlight[str, None] = SingleFlight()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError

    call = asyncio.create_task(flights.run("a", work))
    await _settle()
    assert len(flights) == 1
    call.cancel()
    await _settle()
    assert len(flights) == 0
