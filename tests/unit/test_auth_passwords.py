"""Password hashes: what they accept, what they cost, and that the loop goes on meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import bcrypt
import pytest
import structlog
from structlog.testing import CapturingLogger

from server.auth.passwords import Passwords
from server.core.errors import DomainError

GOOD = "correct horse battery"
COST = 4


@pytest.fixture
def log() -> CapturingLogger:
    return CapturingLogger()


@pytest.fixture
async def passwords(log: CapturingLogger) -> AsyncIterator[Passwords]:
    made = Passwords(COST, log=structlog.wrap_logger(log, processors=[]))
    yield made
    await made.close()


@pytest.fixture
async def dear() -> AsyncIterator[Passwords]:
    """Hashes that take long enough to be measured."""
    made = Passwords(10, log=structlog.wrap_logger(CapturingLogger(), processors=[]))
    yield made
    await made.close()


async def test_password_matches_its_own_hash_alone(passwords: Passwords) -> None:
    stored = await passwords.hash(GOOD)
    assert stored.startswith("$2b$04$")
    assert await passwords.verify(GOOD, stored)
    assert not await passwords.verify(GOOD + "!", stored)
    assert not await passwords.verify("", stored)


async def test_equal_passwords_have_different_hashes(passwords: Passwords) -> None:
    assert await passwords.hash(GOOD) != await passwords.hash(GOOD)


async def test_longest_password_counts_to_its_last_byte(passwords: Passwords) -> None:
    longest = "ä" * 36
    stored = await passwords.hash(longest)
    assert await passwords.verify(longest, stored)
    assert not await passwords.verify("ä" * 35 + "ö", stored)


@pytest.mark.parametrize(
    "attempt",
    [GOOD.ljust(73), GOOD.ljust(1024), "ä" * 37, GOOD + "\0", GOOD + "\0x", "\0", "\udcff" * 15],
)
async def test_what_bcrypt_would_not_take_is_just_wrong(passwords: Passwords, attempt: str) -> None:
    stored = bcrypt.hashpw(GOOD.encode(), bcrypt.gensalt(COST)).decode()
    assert not await passwords.verify(attempt, stored)


async def test_password_with_nul_is_wrong_even_where_bcrypt_hashed_one(
    passwords: Passwords,
) -> None:
    stored = bcrypt.hashpw(b"a\0b", bcrypt.gensalt(COST)).decode()
    assert not await passwords.verify("a\0b", stored)


async def test_unknown_user_is_wrong_without_alarm(
    passwords: Passwords, log: CapturingLogger
) -> None:
    assert not await passwords.verify(GOOD, None)
    assert log.calls == []


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "x",
        "plain text",
        "$2b$12$short",
        "$2b$31$" + "." * 53,
        "$2b$04$" + "a" * 53,
        "$2b$04$" + "é" * 53,
        "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA",
        "$2b$04$" + "." * 53 + "\n",
    ],
)
async def test_stored_garbage_is_wrong_and_raises_the_alarm(
    passwords: Passwords, log: CapturingLogger, stored: str
) -> None:
    assert not await passwords.verify(GOOD, stored, subject="users/1")
    assert [(call.method_name, call.kwargs) for call in log.calls] == [
        ("error", {"event": "stored_password_hash_unusable", "subject": "users/1"})
    ]


@pytest.mark.parametrize(
    ("password", "rule"),
    [
        ("", "blank"),
        (" " * 20, "blank"),
        ("\t\n \u3000" * 5, "blank"),
        ("fourteen chars", "too_short"),
        ("ä" * 14, "too_short"),
        ("x" * 73, "too_long"),
        ("ä" * 37, "too_long"),
        ("correct horse\0battery", "not_text"),
        ("correct horse \udcff battery", "not_text"),
    ],
)
async def test_password_against_the_policy_is_refused(
    passwords: Passwords, password: str, rule: str
) -> None:
    with pytest.raises(DomainError) as caught:
        await passwords.hash(password)
    assert caught.value.reason == "PASSWORD_POLICY"
    assert caught.value.metadata == {"rule": rule}
    assert [violation.field for violation in caught.value.violations] == ["password"]
    assert password == "" or password not in caught.value.message


@pytest.mark.parametrize("password", ["fifteen letters", "x" * 72, "ä" * 15, "ä" * 36])
async def test_password_within_the_policy_is_taken(passwords: Passwords, password: str) -> None:
    assert await passwords.verify(password, await passwords.hash(password))


async def test_every_attempt_costs_one_hash(dear: Passwords) -> None:
    """Measured in processor time of this process, which other work does not stretch."""
    stored = await dear.hash(GOOD)
    one = await _least_cpu(lambda: dear.verify(GOOD, stored))
    attempts: dict[str, tuple[str, str | None]] = {
        "wrong": ("wrong horse battery", stored),
        "unknown user": (GOOD, None),
        "too long": ("x" * 73, stored),
        "too long, unknown user": ("x" * 1000, None),
        "NUL": ("a\0b", stored),
        "garbage": (GOOD, "garbage"),
        "garbage in the form of a hash": (GOOD, "$2b$10$" + "a" * 53),
    }
    for name, (password, stored_hash) in attempts.items():
        cost = await _least_cpu(lambda p=password, s=stored_hash: dear.verify(p, s))  # type: ignore[misc]  # bound at once
        assert 0.6 < cost / one < 1.6, name


async def test_loop_goes_on_while_hashes_run(dear: Passwords) -> None:
    hashes = asyncio.gather(*(dear.hash(GOOD) for _ in range(4)))
    ticks = 0
    while not hashes.done():
        await asyncio.sleep(0.001)
        ticks += 1
    await hashes
    # On the loop itself, four hashes would leave room for about four.
    assert ticks > 20


async def test_no_more_hashes_run_than_there_are_threads_and_all_are_answered(
    dear: Passwords,
) -> None:
    attempts = [asyncio.create_task(dear.verify(GOOD, None)) for _ in range(6)]
    before = time.process_time()
    done, _ = await asyncio.wait(attempts, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) <= 2
    assert await asyncio.gather(*attempts) == [False] * 6
    assert time.process_time() > before


async def test_caller_who_gives_up_stays_until_the_hash_has_ended() -> None:
    """So the place that a call holds is never free while its thread is not."""
    slow = Passwords(12, log=structlog.wrap_logger(CapturingLogger(), processors=[]), threads=1)
    runs, waits = (asyncio.create_task(slow.verify(GOOD, None)) for _ in range(2))
    await asyncio.sleep(0.01)
    for task in (runs, waits):
        task.cancel()
    await asyncio.wait({waits}, timeout=5)
    assert waits.cancelled()
    assert not runs.done(), "its hash takes a tenth of a second and more"
    runs.cancel()
    await asyncio.wait({runs}, timeout=30)
    assert runs.cancelled()
    assert await slow.verify(GOOD, None) is False
    await slow.close()


@pytest.mark.parametrize("cost", [3, 17])
def test_cost_out_of_range_is_refused(log: CapturingLogger, cost: int) -> None:
    with pytest.raises(ValueError, match="from 4 to 16"):
        Passwords(cost, log=structlog.wrap_logger(log, processors=[]))


async def _least_cpu(attempt: Callable[[], Awaitable[object]]) -> float:
    spent = []
    for _ in range(3):
        before = time.process_time()
        await attempt()
        spent.append(time.process_time() - before)
    return min(spent)
