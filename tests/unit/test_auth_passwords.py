"""Password hashes: what they accept, what they cost, and that the loop goes on meanwhile."""

import asyncio
import base64
import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from random import random

import bcrypt
import pytest
import structlog
from structlog.testing import CapturingLogger

from server.auth.hash_threads import HashThreads
from server.auth.password_hashes import PasswordHashes
from server.auth.passwords import Passwords
from server.core.errors import DomainError

GOOD = "correct horse battery"
COST = 4
PEPPER = b"the pepper of now, 32 bytes long"
BEFORE = b"that of before, also of 32 bytes"


@pytest.fixture
def log() -> CapturingLogger:
    return CapturingLogger()


def made(
    log: CapturingLogger, *, cost: int = COST, running: int = 2, peppers: tuple[bytes, ...] = ()
) -> Passwords:
    return Passwords(
        PasswordHashes(cost, peppers or (PEPPER, BEFORE)),
        HashThreads(running, 16, random=random),
        log=structlog.wrap_logger(log, processors=[]),
    )


@pytest.fixture
async def passwords(log: CapturingLogger) -> AsyncIterator[Passwords]:
    parts = made(log)
    yield parts
    await parts.close()


@pytest.fixture
async def dear() -> AsyncIterator[Passwords]:
    """Hashes that take long enough to be measured."""
    parts = made(CapturingLogger(), cost=10)
    yield parts
    await parts.close()


def bare(password: bytes) -> str:
    """Return what earlier versions stored."""
    # One salt for all: tests are told apart by what they are given.
    return bcrypt.hashpw(password, b"$2b$04$......................").decode()


async def test_password_matches_its_own_hash_alone(passwords: Passwords) -> None:
    """ASVS 6.2.8: neither the case of letters nor blanks are passed over."""
    stored = await passwords.hash(GOOD)
    assert await passwords.verify(GOOD, stored)
    assert not await passwords.verify(GOOD + "!", stored)
    assert not await passwords.verify(GOOD.upper(), stored)
    assert not await passwords.verify(f" {GOOD}", stored)
    assert not await passwords.verify("", stored)


async def test_stored_form_is_a_scheme_a_pepper_and_bcrypt_of_the_hmac(
    passwords: Passwords,
) -> None:
    """ASVS 11.4.2, and what the name of the pepper must not tell: the pepper."""
    scheme, pepper_id, hashed = (await passwords.hash(GOOD)).split("$", 2)
    assert scheme == "v1"
    assert len(bytes.fromhex(pepper_id)) == 8
    assert bytes.fromhex(pepper_id) not in PEPPER
    assert hashed.startswith("$2b$04$")
    secret = base64.b64encode(hmac.digest(PEPPER, GOOD.encode(), "sha256"))
    assert bcrypt.checkpw(secret, hashed.encode())


async def test_equal_passwords_have_different_hashes(passwords: Passwords) -> None:
    """ASVS 11.4.2: each hash has a salt of its own."""
    assert await passwords.hash(GOOD) != await passwords.hash(GOOD)


@pytest.mark.parametrize("character", ["x", "é", "🎬"])
async def test_longest_password_counts_to_its_last_character(
    passwords: Passwords, character: str
) -> None:
    """ASVS 6.2.8, 6.2.9: nothing is cut, though bcrypt itself reads 72 bytes."""
    longest = f"{GOOD} lantern {character * 256}"[:256]
    stored = await passwords.hash(longest)
    assert await passwords.verify(longest, stored)
    assert not await passwords.verify(longest[:-1] + "y", stored)
    assert not await passwords.verify(longest[:-1], stored)


async def test_letters_that_look_alike_are_not_the_same(passwords: Passwords) -> None:
    """ASVS 6.2.8: not normalised either."""
    stored = await passwords.hash("caf\u00e9 by the long river")
    assert not await passwords.verify("cafe\u0301 by the long river", stored)


async def test_hash_of_an_earlier_version_still_counts(
    passwords: Passwords, log: CapturingLogger
) -> None:
    stored = bare(GOOD.encode())
    assert await passwords.verify(GOOD, stored)
    assert not await passwords.verify(GOOD + "!", stored)
    assert log.calls == []


@pytest.mark.parametrize(
    "attempt",
    [
        *(GOOD.ljust(73), GOOD.ljust(1024), GOOD.ljust(100_000), "ä" * 37),
        *(GOOD + "\0", GOOD + "\0x", "\0", "\udcff" * 15),
    ],
)
async def test_what_earlier_versions_would_not_take_is_just_wrong(
    passwords: Passwords, attempt: str
) -> None:
    """ASVS 6.2.8: a good password with more behind it is another password."""
    assert not await passwords.verify(attempt, bare(GOOD.encode()))
    assert not await passwords.verify(attempt, await passwords.hash(GOOD))


async def test_password_with_nul_is_wrong_even_where_bcrypt_hashed_one(
    passwords: Passwords,
) -> None:
    assert not await passwords.verify("a\0b", bare(b"a\0b"))


@pytest.mark.parametrize("stored", [None, ""])
async def test_nobody_and_a_user_without_a_password_are_wrong_without_alarm(
    passwords: Passwords, log: CapturingLogger, stored: str | None
) -> None:
    assert not await passwords.verify(GOOD, stored)
    assert not await passwords.verify("", stored)
    assert log.calls == []


@pytest.mark.parametrize(
    "stored",
    [
        *("x", "plain text", "$2b$12$short", "$2b$31$" + "." * 53, "$2b$04$" + "a" * 53),
        *("$2b$04$" + "é" * 53, "$2b$04$" + "." * 53 + "\n"),
        "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA",
        "v1$0123456789abcdef$" + bare(GOOD.encode()),
        "v2$0123456789abcdef$" + bare(GOOD.encode()),
        "v1$$" + bare(GOOD.encode()),
    ],
)
async def test_stored_garbage_is_wrong_and_raises_the_alarm(
    passwords: Passwords, log: CapturingLogger, stored: str
) -> None:
    """ASVS 16.2.5, 16.3.3: the alarm names the user and shows nothing of what is stored."""
    assert not await passwords.verify(GOOD, stored, subject="users/1")
    assert [(call.method_name, call.kwargs) for call in log.calls] == [
        ("error", {"event": "stored_password_hash_unusable", "subject": "users/1"})
    ]


async def test_hash_of_the_pepper_before_counts_and_is_renewed(log: CapturingLogger) -> None:
    """ASVS 13.3.4: a pepper can be changed."""
    old, new = made(log, peppers=(BEFORE,)), made(log)
    stored = await old.hash(GOOD)
    assert await new.verify(GOOD, stored)
    renewed = await new.renewed(GOOD, stored)
    assert renewed != stored
    assert await new.verify(GOOD, renewed)
    assert await new.renewed(GOOD, renewed) == renewed
    assert not await old.verify(GOOD, renewed, subject="users/1")
    assert [call.kwargs["subject"] for call in log.calls] == ["users/1"]
    await asyncio.gather(old.close(), new.close())


async def test_what_is_not_of_the_present_scheme_or_cost_is_renewed(
    passwords: Passwords, log: CapturingLogger
) -> None:
    """ASVS 11.4.2: a hash is made anew when a dearer one is asked for."""
    dearer = made(log, cost=COST + 1)
    for stored in (bare(GOOD.encode()), await passwords.hash(GOOD)):
        renewed = await dearer.renewed(GOOD, stored)
        assert renewed.split("$")[4] == "05"
        assert await passwords.verify(GOOD, renewed)
    await dearer.close()


async def test_a_password_that_is_renewed_need_not_keep_to_the_policy(
    passwords: Passwords,
) -> None:
    """It was right: whoever knows it gets in, and is not asked for another one."""
    renewed = await passwords.renewed("short", bare(b"short"))
    assert await passwords.verify("short", renewed)


async def test_policy_is_applied_before_a_hash_is_made(passwords: Passwords) -> None:
    """ASVS 6.2.11: words of the context are refused, and not repeated in the answer."""
    with pytest.raises(DomainError) as caught:
        await passwords.hash("annsmith annsmith", context=["annsmith@x.org"], field="new_password")
    assert caught.value.reason == "PASSWORD_POLICY"
    assert caught.value.metadata == {"rule": "common"}
    assert [violation.field for violation in caught.value.violations] == ["new_password"]
    assert "annsmith" not in caught.value.message


async def test_every_attempt_costs_one_hash(dear: Passwords) -> None:
    """ASVS 6.3.8. Measured in processor time of this process, which other work does not stretch."""
    stored = await dear.hash(GOOD)
    one = await _least_cpu(lambda: dear.verify(GOOD, stored))
    attempts: dict[str, tuple[str, str | None]] = {
        "wrong": ("wrong horse battery", stored),
        "unknown user": (GOOD, None),
        "no password": (GOOD, ""),
        "too long": (GOOD * 1000, stored),
        "too long, unknown user": ("x" * 2000, None),
        "NUL": ("a\0b", stored),
        "no text": ("\udcff" * 15, stored),
        "too long for a bare hash": ("x" * 73, bare(b"x" * 72).replace("$04$", "$10$")),
        "garbage": (GOOD, "garbage"),
        "garbage in the form of a hash": (GOOD, "$2b$10$" + "a" * 53),
        "another pepper": (GOOD, "v1$0123456789abcdef$" + "$2b$10$" + "a" * 53),
    }
    for name, (password, stored_hash) in attempts.items():
        cost = await _least_cpu(lambda p=password, s=stored_hash: dear.verify(p, s))  # type: ignore[misc]  # bound at once
        assert 0.6 < cost / one < 1.6, name


async def test_loop_goes_on_while_hashes_run(dear: Passwords) -> None:
    stored = await dear.hash(GOOD)
    hashes = asyncio.gather(*(dear.verify(GOOD, stored) for _ in range(4)))
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


async def test_surplus_is_refused_at_once_and_the_rest_is_answered() -> None:
    """ASVS 15.1.3: what is dear is bounded."""
    threads = HashThreads(1, 2, random=lambda: 0.5)
    open_gate = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> bool:
        return asyncio.run_coroutine_threadsafe(open_gate.wait(), loop).result(10)

    held = [asyncio.create_task(threads.run(work)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(DomainError) as caught:
        await threads.run(work)
    assert caught.value.reason == "RATE_LIMITED"
    assert caught.value.metadata == {"bucket": "login", "limit": "1"}
    assert caught.value.retry_delay is not None
    assert caught.value.retry_delay.total_seconds() == 1
    open_gate.set()
    assert await asyncio.gather(*held) == [True] * 3
    assert await threads.run(work) is True
    await threads.close()


async def test_caller_who_gives_up_stays_until_the_hash_has_ended() -> None:
    """So the place that a call holds is never free while its thread is not."""
    slow = made(CapturingLogger(), cost=12, running=1)
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
def test_cost_out_of_range_is_refused(cost: int) -> None:
    with pytest.raises(ValueError, match="from 4 to 16"):
        PasswordHashes(cost, [PEPPER])


@pytest.mark.parametrize("peppers", [(), (b"short",), (PEPPER, b"short")])
def test_hashes_without_a_good_pepper_are_refused(peppers: tuple[bytes, ...]) -> None:
    """ASVS 11.2.3: a pepper has 256 bits or more."""
    with pytest.raises(ValueError, match="at least 32 bytes"):
        PasswordHashes(COST, peppers)


async def _least_cpu(attempt: Callable[[], Awaitable[object]]) -> float:
    spent = []
    for _ in range(3):
        before = time.process_time()
        await attempt()
        spent.append(time.process_time() - before)
    return min(spent)
