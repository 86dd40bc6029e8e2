"""Counts of failed sign-ins as rows: exact in a race, telling nobody anything, and forgotten."""

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import text

from server.auth.attempt_repository import AttemptRows
from server.auth.attempts import ATTACKED, RECOVERY, Attempts, Limits
from server.core.errors import DomainError
from server.core.telemetry import Silent
from server.database.engine import Database
from tests.support.amount import amount
from tests.support.auth import MovableClock
from tests.support.guesses import AWAY, EMAIL, HOME, attempts_over, fail, signed_in, wait


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def attempts(database: Database, clock: MovableClock) -> Attempts:
    return attempts_over(database, clock)


@pytest.mark.parametrize("known", [True, False])
async def test_parallel_guesses_are_counted_one_by_one(
    database: Database, clock: MovableClock, known: bool
) -> None:
    """ASVS 6.3.1, 15.4.2: forty at once are no more than forty one after the other."""
    for _ in range(amount(2, 20)):
        email = f"{uuid4()}@example.com"
        user_id = await signed_in(database, clock, HOME) if known else None
        processes = [attempts_over(database, clock) for _ in range(4)]
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
    await asyncio.gather(*(fail(attempts, stranger) for stranger in strangers))
    row = await database.read.first(text("SELECT max(failures) AS most FROM login_attempts"))
    assert row is not None
    assert row.most == len(strangers)
    assert await wait(attempts, AWAY) == 0
    assert await wait(attempts, AWAY) == 60


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
    user_id = await signed_in(database, clock, HOME)
    ran = []
    for email, found in ((EMAIL, user_id), ("nobody@example.com", None)):
        telemetry = _Statements()
        observed = Database(database_url, telemetry=telemetry)
        attempts = attempts_over(observed, clock, Limits(failures=2))
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
    await fail(attempts)
    other = Attempts(AttemptRows(database), Limits(), b"another secret" * 3, clock)
    await fail(other)
    rows = await database.read.all(text("SELECT subject FROM login_attempts"))
    assert len({bytes(row.subject) for row in rows}) == 6, "three subjects under each key"
    assert all(EMAIL.encode() not in row.subject for row in rows)


async def test_what_means_nothing_any_more_is_forgotten_a_part_at_a_time(
    database: Database, attempts: Attempts, clock: MovableClock
) -> None:
    for number in range(4):
        await fail(attempts, HOME, f"user{number}@example.com")
    assert await attempts.forget_expired(clock(), 100) == 0
    clock.now += RECOVERY
    await fail(attempts, HOME, "user0@example.com")
    assert await attempts.forget_expired(clock(), 4) == 4
    assert await attempts.forget_expired(clock(), 100) == 2
    row = await database.read.first(text("SELECT count(*) AS kept FROM login_attempts"))
    assert row is not None
    assert row.kept == 3


async def test_counts_that_are_forgotten_while_they_grow_lose_nothing(
    database: Database, attempts: Attempts, clock: MovableClock
) -> None:
    """ASVS 6.3.1, 15.4.2: a count that was taken up again is not swept away with the old ones."""
    for _ in range(amount(3, 40)):
        await fail(attempts)
        clock.now += RECOVERY
        outcomes = await asyncio.gather(
            *(wait(attempts) for _ in range(8)),
            *(attempts.forget_expired(clock(), 100) for _ in range(8)),
        )
        assert outcomes[:8].count(0.0) == 5
        clock.now += RECOVERY
