"""Counts of failed sign-ins on both databases: what waits, for how long, and who is let through."""

from datetime import timedelta

import pytest

from server.auth.attempts import RECOVERY, Attempts, Limits, network_of
from server.core.clock import rfc3339
from server.core.errors import DomainError
from server.database.engine import Database
from tests.support.amount import amount
from tests.support.auth import MovableClock
from tests.support.guesses import AWAY, EMAIL, HOME, attempts_over, fail, signed_in, wait

STRANGERS = 200


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def attempts(database: Database, clock: MovableClock) -> Attempts:
    return attempts_over(database, clock)


async def test_the_wait_grows_from_one_second_to_the_longest_and_no_further(
    attempts: Attempts, clock: MovableClock
) -> None:
    """ASVS 6.3.1: guesses are slowed down."""
    for _ in range(5):
        assert await wait(attempts) == 0
    waits = []
    for _ in range(14):
        waits.append(await wait(attempts))
        clock.advance(seconds=waits[-1])
        assert await wait(attempts) == 0
    assert waits[:10] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    # Some are forgotten meanwhile, one every 12 minutes.
    assert set(waits[10:]) == {512, 900}


async def test_a_guess_a_minute_gets_no_further_than_the_hour_allows(
    attempts: Attempts, clock: MovableClock
) -> None:
    """ASVS 6.3.1: over a day one address gets some 120 guesses at an account, however it waits."""
    made = 0
    hours = amount(3, 24)
    for _ in range(hours * 60):
        made += await wait(attempts) == 0
        clock.advance(seconds=60)
    assert made <= 5 + 10 + 5 * hours


async def test_who_waits_an_hour_has_every_free_failure_again(
    attempts: Attempts, clock: MovableClock
) -> None:
    """ASVS 6.3.1: the wait ends by itself; nobody is locked out for good."""
    for _ in range(5):
        await fail(attempts)
    clock.now += RECOVERY
    assert [await wait(attempts) for _ in range(6)] == [0, 0, 0, 0, 0, 1]


async def test_a_sign_in_that_works_clears_what_failed_before_it(attempts: Attempts) -> None:
    """ASVS 6.3.1: an owner's own mistakes do not add up to a lockout."""
    for _ in range(4):
        await fail(attempts)
    await attempts.succeed(await attempts.begin(EMAIL, None, HOME))
    assert [await wait(attempts) for _ in range(6)] == [0, 0, 0, 0, 0, 1]


async def test_what_is_told_of_the_wait_is_true(attempts: Attempts, clock: MovableClock) -> None:
    """AIP-193: what the message says of the wait is in the details too, and never too short."""
    clock.advance(microseconds=1)
    for _ in range(5):
        await fail(attempts)
    with pytest.raises(DomainError) as caught:
        await fail(attempts)
    until = clock() + timedelta(seconds=1)
    assert caught.value.retry_delay == timedelta(seconds=1)
    # Told in whole seconds, so up to one later, never sooner.
    assert caught.value.metadata == {"locked_until": rfc3339(until + timedelta(seconds=1))}
    assert caught.value.metadata["locked_until"] in caught.value.message


async def test_another_address_and_another_account_are_not_touched(attempts: Attempts) -> None:
    """ASVS 6.3.1: guesses from one address at one account make nobody else wait."""
    for _ in range(6):
        await wait(attempts)
    assert await wait(attempts) > 0
    assert await wait(attempts, AWAY) == 0
    assert await wait(attempts, HOME, "bob@example.com") == 0


async def test_refused_attempts_count_for_nothing(attempts: Attempts, clock: MovableClock) -> None:
    """ASVS 6.3.1: attempts that are refused make the wait no longer."""
    for _ in range(30):
        await wait(attempts)
    clock.advance(seconds=1)
    assert await wait(attempts) == 0


async def test_many_addresses_cannot_lock_an_account(
    database: Database, attempts: Attempts, clock: MovableClock
) -> None:
    """ASVS 6.3.1, 6.1.1: protection against guessing must not become a way to lock users out."""
    user_id = await signed_in(database, clock, HOME)
    strangers = [f"203.0.{number // 250}.{number % 250}" for number in range(STRANGERS)]
    for stranger in strangers:
        assert await wait(attempts, stranger) == 0, "a first attempt is always let through"
    # The account is attacked by now, so an unknown address has one free failure.
    assert await wait(attempts, strangers[-1]) == 60
    assert await wait(attempts, AWAY) == 0
    assert await wait(attempts, AWAY) == 60
    for _ in range(5):
        await attempts.begin(EMAIL, user_id, HOME)
    with pytest.raises(DomainError) as caught:
        await attempts.begin(EMAIL, user_id, HOME)
    assert caught.value.retry_delay == timedelta(seconds=1)


async def test_an_attack_is_over_soon_after_it_ends(
    attempts: Attempts, clock: MovableClock
) -> None:
    """ASVS 6.3.1: an attack does not lock the account for long after it."""
    for number in range(60):
        await fail(attempts, f"203.0.113.{number}")
    clock.now += RECOVERY / 2
    assert [await wait(attempts, AWAY) for _ in range(6)] == [0, 0, 0, 0, 0, 1]


async def test_an_address_that_sprays_waits_and_those_who_belong_there_do_not(
    database: Database, attempts: Attempts, clock: MovableClock
) -> None:
    """ASVS 6.3.1: one password for many accounts; behind one NAT the others still sign in."""
    user_id = await signed_in(database, clock, HOME)
    for number in range(50):
        assert await wait(attempts, HOME, f"user{number}@example.com") == 0
    assert await wait(attempts, HOME, "newcomer@example.com") == 1
    for _ in range(3):
        await attempts.begin(EMAIL, user_id, HOME)
    clock.advance(seconds=1)
    assert await wait(attempts, HOME, "newcomer@example.com") == 0
    assert await wait(attempts, HOME, "another@example.com") == 2
    assert await wait(attempts, AWAY, "newcomer@example.com") == 0


async def test_an_account_of_ones_own_does_not_clear_an_address(attempts: Attempts) -> None:
    """ASVS 6.3.1: signing in between two guesses must not start the count anew."""
    for number in range(49):
        await fail(attempts, HOME, f"user{number}@example.com")
    for _ in range(3):
        await attempts.succeed(await attempts.begin("mallory@example.com", None, HOME))
    await fail(attempts, HOME, "user49@example.com")
    assert await wait(attempts, HOME, "user50@example.com") == 1


async def test_an_address_is_known_for_thirty_days(
    database: Database, attempts: Attempts, clock: MovableClock
) -> None:
    """ASVS 6.3.1: who signed in from an address of late is let through while others guess there."""
    user_id = await signed_in(database, clock, HOME)
    for days, known in ((29, True), (2, False)):
        clock.advance(days=days)
        for number in range(50):
            await fail(attempts, HOME, f"user{number}@example.com")
        if known:
            await attempts.begin(EMAIL, user_id, HOME)
            continue
        with pytest.raises(DomainError):
            await attempts.begin(EMAIL, user_id, HOME)


@pytest.mark.parametrize(
    ("limits", "address_waits", "account_waits"),
    [(Limits(0, 0), 0, 0), (Limits(5, 0), 0, 1), (Limits(0, 50), 1, 0)],
)
async def test_each_limit_can_be_switched_off(
    database: Database,
    clock: MovableClock,
    limits: Limits,
    address_waits: int,
    account_waits: int,
) -> None:
    attempts = attempts_over(database, clock, limits)
    for _ in range(5):
        await fail(attempts)
    assert await wait(attempts) == account_waits
    for number in range(50):
        await wait(attempts, HOME, f"user{number}@example.com")
    assert await wait(attempts, HOME, "new@example.com") == address_waits


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_an_address_is_what_one_customer_has(address: str, network: str) -> None:
    """ASVS 6.3.1: guesses are counted by what one customer has, which is a /64 of IPv6."""
    assert network_of(address) == network


async def test_a_customer_with_many_addresses_is_one(attempts: Attempts) -> None:
    """ASVS 6.3.1: a host has 2 to the 64 addresses of IPv6 to guess from."""
    waits = [await wait(attempts, f"2001:db8::{number:x}") for number in range(1, 7)]
    assert waits == [0, 0, 0, 0, 0, 1]
    assert await wait(attempts, "2001:db8:0:1::1") == 0
