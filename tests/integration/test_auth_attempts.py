"""Counts of failed sign-ins on both databases: what waits, for how long, and who is let through."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, text

from server.auth.attempt_repository import AttemptRows
from server.auth.attempts import ATTACKED, RECOVERY, Attempts, Limits, network_of
from server.auth.models import AppUser, LoginSession
from server.core.clock import rfc3339
from server.core.errors import DomainError
from server.core.telemetry import Silent
from server.database.engine import Database
from tests.support.amount import amount
from tests.support.auth import MovableClock

SECRET = b"k" * 32
EMAIL = "ann@example.com"
HOME, AWAY = "192.0.2.1", "198.51.100.7"
STRANGERS = 200


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def attempts(database: Database, clock: MovableClock) -> Attempts:
    return _attempts(database, clock)


def _attempts(database: Database, clock: MovableClock, limits: Limits | None = None) -> Attempts:
    return Attempts(AttemptRows(database), limits or Limits(), SECRET, clock)


async def _fail(attempts: Attempts, address: str = HOME, email: str = EMAIL) -> None:
    """Make an attempt with a wrong password, by an account that nobody has."""
    await attempts.begin(email, None, address)


async def _wait(attempts: Attempts, address: str = HOME, email: str = EMAIL) -> float:
    """Return the seconds that an attempt would have to wait; one that need not is made."""
    try:
        await attempts.begin(email, None, address)
    except DomainError as error:
        wait = error.retry_delay if error.reason == "LOGIN_THROTTLED" else None
        if wait is None:
            raise
        return wait.total_seconds()
    return 0.0


async def _signed_in(database: Database, clock: MovableClock, address: str) -> UUID:
    """Return a user who signed in from an address just now."""
    user_id = uuid4()
    now = clock()
    async with database.write() as write:
        await write.execute(
            insert(AppUser),
            {
                "user_id": user_id,
                "email": f"{user_id}@example.com",
                "password_hash": "",
                "create_time": now,
                "update_time": now,
                "password_change_time": now,
            },
        )
        await write.execute(
            insert(LoginSession),
            {
                "session_id": uuid4(),
                "user_id": user_id,
                "ip_address": address,
                "create_time": now,
                "expire_time": now + timedelta(days=30),
            },
        )
    return user_id


async def test_the_wait_grows_from_one_second_to_the_longest_and_no_further(
    attempts: Attempts, clock: MovableClock
) -> None:
    """ASVS 6.3.1: guesses are slowed down."""
    for _ in range(5):
        assert await _wait(attempts) == 0
    waits = []
    for _ in range(14):
        waits.append(await _wait(attempts))
        clock.advance(seconds=waits[-1])
        assert await _wait(attempts) == 0
    assert waits[:10] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    # Some are forgotten meanwhile, one every 12 minutes.
    assert set(waits[10:]) == {512, 900}


async def test_a_guess_a_minute_gets_no_further_than_the_hour_allows(
    attempts: Attempts, clock: MovableClock
) -> None:
    """ASVS 6.3.1: over a day one address gets some 120 guesses at an account, however it waits."""
    made = 0
    for _ in range(amount(720, 86400 // 60)):
        made += await _wait(attempts) == 0
        clock.advance(seconds=60)
    hours = amount(12, 24)
    assert made <= 5 + 10 + 5 * hours


async def test_who_waits_an_hour_has_every_free_failure_again(
    attempts: Attempts, clock: MovableClock
) -> None:
    for _ in range(5):
        await _fail(attempts)
    clock.now += RECOVERY
    assert [await _wait(attempts) for _ in range(6)] == [0, 0, 0, 0, 0, 1]


async def test_a_sign_in_that_works_clears_what_failed_before_it(attempts: Attempts) -> None:
    for _ in range(4):
        await _fail(attempts)
    await attempts.succeed(await attempts.begin(EMAIL, None, HOME))
    assert [await _wait(attempts) for _ in range(6)] == [0, 0, 0, 0, 0, 1]


async def test_what_is_told_of_the_wait_is_true(attempts: Attempts, clock: MovableClock) -> None:
    clock.advance(microseconds=1)
    for _ in range(5):
        await _fail(attempts)
    with pytest.raises(DomainError) as caught:
        await _fail(attempts)
    until = clock() + timedelta(seconds=1)
    assert caught.value.retry_delay == timedelta(seconds=1)
    # Told in whole seconds, so up to one later, never sooner.
    assert caught.value.metadata == {"locked_until": rfc3339(until + timedelta(seconds=1))}
    assert caught.value.metadata["locked_until"] in caught.value.message


async def test_another_address_and_another_account_are_not_touched(attempts: Attempts) -> None:
    for _ in range(6):
        await _wait(attempts)
    assert await _wait(attempts) > 0
    assert await _wait(attempts, AWAY) == 0
    assert await _wait(attempts, HOME, "bob@example.com") == 0


async def test_refused_attempts_count_for_nothing(attempts: Attempts, clock: MovableClock) -> None:
    for _ in range(30):
        await _wait(attempts)
    clock.advance(seconds=1)
    assert await _wait(attempts) == 0


async def test_many_addresses_cannot_lock_an_account(
    database: Database, attempts: Attempts, clock: MovableClock
) -> None:
    """ASVS 6.3.1, 6.1.1: protection against guessing must not become a way to lock users out."""
    user_id = await _signed_in(database, clock, HOME)
    strangers = [f"203.0.{number // 250}.{number % 250}" for number in range(STRANGERS)]
    for stranger in strangers:
        assert await _wait(attempts, stranger) == 0, "a first attempt is always let through"
    # The account is attacked by now, so an unknown address has one free failure.
    assert await _wait(attempts, strangers[-1]) == 60
    assert await _wait(attempts, AWAY) == 0
    assert await _wait(attempts, AWAY) == 60
    for _ in range(5):
        await attempts.begin(EMAIL, user_id, HOME)
    with pytest.raises(DomainError) as caught:
        await attempts.begin(EMAIL, user_id, HOME)
    assert caught.value.retry_delay == timedelta(seconds=1)


async def test_an_attack_is_over_soon_after_it_ends(
    attempts: Attempts, clock: MovableClock
) -> None:
    for number in range(STRANGERS):
        await _fail(attempts, f"203.0.113.{number}")
    clock.now += RECOVERY / 2
    assert [await _wait(attempts, AWAY) for _ in range(6)] == [0, 0, 0, 0, 0, 1]


async def test_an_address_that_sprays_waits_and_those_who_belong_there_do_not(
    database: Database, attempts: Attempts, clock: MovableClock
) -> None:
    """ASVS 6.3.1: one password for many accounts; behind one NAT the others still sign in."""
    user_id = await _signed_in(database, clock, HOME)
    for number in range(50):
        assert await _wait(attempts, HOME, f"user{number}@example.com") == 0
    assert await _wait(attempts, HOME, "newcomer@example.com") == 1
    for _ in range(3):
        await attempts.begin(EMAIL, user_id, HOME)
    clock.advance(seconds=1)
    assert await _wait(attempts, HOME, "newcomer@example.com") == 0
    assert await _wait(attempts, HOME, "another@example.com") == 2
    assert await _wait(attempts, AWAY, "newcomer@example.com") == 0


async def test_an_account_of_ones_own_does_not_clear_an_address(attempts: Attempts) -> None:
    """ASVS 6.3.1: signing in between two guesses must not start the count anew."""
    for number in range(49):
        await _fail(attempts, HOME, f"user{number}@example.com")
    for _ in range(3):
        await attempts.succeed(await attempts.begin("mallory@example.com", None, HOME))
    await _fail(attempts, HOME, "user49@example.com")
    assert await _wait(attempts, HOME, "user50@example.com") == 1


async def test_an_address_is_known_for_thirty_days(
    database: Database, attempts: Attempts, clock: MovableClock
) -> None:
    user_id = await _signed_in(database, clock, HOME)
    for days, known in ((29, True), (2, False)):
        clock.advance(days=days)
        for number in range(50):
            await _fail(attempts, HOME, f"user{number}@example.com")
        if known:
            await attempts.begin(EMAIL, user_id, HOME)
            continue
        with pytest.raises(DomainError):
            await attempts.begin(EMAIL, user_id, HOME)


@pytest.mark.parametrize("known", [True, False])
async def test_parallel_guesses_are_counted_one_by_one(
    database: Database, clock: MovableClock, known: bool
) -> None:
    """ASVS 6.3.1, 15.4.2: forty at once are no more than forty one after the other."""
    for _ in range(amount(2, 20)):
        email = f"{uuid4()}@example.com"
        user_id = await _signed_in(database, clock, HOME) if known else None
        processes = [_attempts(database, clock) for _ in range(4)]
        outcomes = await asyncio.gather(
            *(processes[n % 4].begin(email, user_id, HOME) for n in range(40)),
            return_exceptions=True,
        )
        refused = [one for one in outcomes if isinstance(one, BaseException)]
        assert all(isinstance(one, DomainError) for one in refused), refused
        assert len(outcomes) - len(refused) == 5
        clock.now += 2 * RECOVERY


async def test_parallel_guesses_from_everywhere_are_all_counted(
    database: Database, attempts: Attempts, clock: MovableClock
) -> None:
    """ASVS 6.3.1: the count of an account loses none, or an attack would not be noticed."""
    strangers = [f"203.0.113.{number}" for number in range(5 * ATTACKED)]
    await asyncio.gather(*(_fail(attempts, stranger) for stranger in strangers))
    row = await database.read.first(text("SELECT max(failures) AS most FROM login_attempts"))
    assert row is not None
    assert row.most == len(strangers)
    assert await _wait(attempts, AWAY) == 0
    assert await _wait(attempts, AWAY) == 60


class _Statements(Silent):
    """Keeps the names of the statements that were run."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def statement(self, name: str, seconds: float, outcome: str) -> None:
        """Keep the name and how it ended."""
        self.names.append(f"{name} {outcome}")


async def test_who_there_is_costs_the_same_statements_as_who_there_is_not(
    database: Database, database_url: str, clock: MovableClock
) -> None:
    """ASVS 6.3.8: neither what is answered nor what it takes tells which accounts there are."""
    user_id = await _signed_in(database, clock, HOME)
    ran = []
    for email, found in ((EMAIL, user_id), ("nobody@example.com", None)):
        telemetry = _Statements()
        observed = Database(database_url, telemetry=telemetry)
        attempts = _attempts(observed, clock, Limits(failures=2))
        await attempts.succeed(await attempts.begin(email, found, AWAY))
        for _ in range(2):
            await attempts.begin(email, found, AWAY)
        with pytest.raises(DomainError):
            await attempts.begin(email, found, AWAY)
        await observed.close()
        ran.append(telemetry.names)
    assert ran[0] == ran[1]
    assert len(ran[0]) == 23, "four attempts: one taken back, one refused"


async def test_the_table_tells_nobody_who_tried_what(
    database: Database, attempts: Attempts, clock: MovableClock
) -> None:
    await _fail(attempts)
    other = Attempts(AttemptRows(database), Limits(), b"another secret" * 3, clock)
    await _fail(other)
    rows = await database.read.all(text("SELECT subject FROM login_attempts"))
    assert len({bytes(row.subject) for row in rows}) == 6, "three subjects under each key"
    assert all(EMAIL.encode() not in row.subject for row in rows)


async def test_what_means_nothing_any_more_is_forgotten_a_part_at_a_time(
    database: Database, attempts: Attempts, clock: MovableClock
) -> None:
    for number in range(4):
        await _fail(attempts, HOME, f"user{number}@example.com")
    assert await attempts.forget_expired(clock(), 100) == 0
    clock.now += RECOVERY
    await _fail(attempts, HOME, "user0@example.com")
    assert await attempts.forget_expired(clock(), 4) == 4
    assert await attempts.forget_expired(clock(), 100) == 2
    row = await database.read.first(text("SELECT count(*) AS kept FROM login_attempts"))
    assert row is not None
    assert row.kept == 3


async def test_counts_that_are_forgotten_while_they_grow_lose_nothing(
    database: Database, attempts: Attempts, clock: MovableClock
) -> None:
    """A count that was taken up again must not be swept away with the old ones."""
    for _ in range(amount(3, 40)):
        await _fail(attempts)
        clock.now += RECOVERY
        outcomes = await asyncio.gather(
            *(_wait(attempts) for _ in range(8)),
            *(attempts.forget_expired(clock(), 100) for _ in range(8)),
        )
        assert outcomes[:8].count(0.0) == 5
        clock.now += RECOVERY


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
    attempts = _attempts(database, clock, limits)
    for _ in range(5):
        await _fail(attempts)
    assert await _wait(attempts) == account_waits
    for number in range(50):
        await _wait(attempts, HOME, f"user{number}@example.com")
    assert await _wait(attempts, HOME, "new@example.com") == address_waits


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
    assert network_of(address) == network


async def test_a_customer_with_many_addresses_is_one(attempts: Attempts) -> None:
    """ASVS 6.3.1: a host has 2 to the 64 addresses of IPv6 to guess from."""
    waits = [await _wait(attempts, f"2001:db8::{number:x}") for number in range(1, 7)]
    assert waits == [0, 0, 0, 0, 0, 1]
    assert await _wait(attempts, "2001:db8:0:1::1") == 0
