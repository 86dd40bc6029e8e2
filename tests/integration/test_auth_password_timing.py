"""What the time of a refused sign-in tells, and what the others feel while passwords are checked.

Run with -s to see the figures.
"""

import asyncio
import statistics
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from shutil import copy
from time import perf_counter
from typing import Any, TypeVar

import grpc
import pytest
import structlog
from structlog.testing import CapturingLogger

from server.auth.account_passwords import AccountPasswords
from server.auth.domain import Account
from server.auth.hash_threads import HashThreads
from server.auth.password_hashes import PasswordHashes
from server.auth.passwords import Passwords
from server.auth.user_repository import UserRows
from server.generated.interview.catalogue.v1 import catalogue_service_pb2_grpc, film_pb2
from tests.support.amount import amount
from tests.support.rank import chance_margin, chance_of_less
from tests.support.running import PASSWORD, VIEWER, Running, running_server
from tests.support.signing_in import Door
from tests.support.statuses import Told, refused

T = TypeVar("T")

WRONG = "wrong horse battery staple"
OVERSIZE = "x" * 100_000
KINDS = ("known", "unknown", "suspended", "passwordless")


@pytest.fixture
async def people(sqlite_templates: dict[str, Path], tmp_path: Path) -> AsyncIterator[Running]:
    """A server that counts attempts but does not stop them, with users of each kind."""
    copy(sqlite_templates["sample"], tmp_path / "test.db")
    async with running_server(
        f"sqlite+aiosqlite:///{tmp_path / 'test.db'}",
        tmp_path,
        password_cost=8,
        login_failures=1000,
        login_failures_per_address=100_000,
    ) as running:
        for kind in KINDS:
            if kind != "unknown":
                await running.app.users.create_user(_email(kind), PASSWORD, ["viewer"])
        await Door(running, _email("suspended")).set_fields(state="suspended")
        await Door(running, _email("passwordless")).set_fields(password_hash="")
        yield running


def _email(kind: str) -> str:
    return f"{kind}@example.com"


async def test_refused_sign_ins_are_the_same_to_the_last_word_and_second(
    people: Running,
) -> None:
    """ASVS 6.3.8. One kind of user after the other in random order, so that load falls on all.

    Kinds of users are compared among those with the same password: whether that is one of 100 kB
    is no secret to who sends it.
    """
    door = Door(people, VIEWER)
    rounds = amount(25, 125)
    attempts = [(kind, password) for kind in KINDS for password in (WRONG, OVERSIZE)] * rounds
    Random(6).shuffle(attempts)
    seconds: dict[tuple[str, str], list[float]] = {attempt: [] for attempt in attempts}
    answers = set()
    for kind, password in attempts:
        call = door.login(password, _email(kind))
        started = perf_counter()
        told = await refused(call)
        seconds[kind, password].append(perf_counter() - started)
        answers.add(_words(told))
    assert len(answers) == 1
    margin = chance_margin(rounds, rounds)
    for password in (WRONG, OVERSIZE):
        known = seconds["known", password]
        for kind in KINDS[1:]:
            other = seconds[kind, password]
            area = chance_of_less(known, other)
            _say(
                f"{len(password)} bytes, {kind}: median {statistics.median(other) * 1000:.2f} ms,"
                f" known {statistics.median(known) * 1000:.2f} ms, area {area:.3f} +- {margin:.3f}"
            )
            assert abs(area - 0.5) < margin, (kind, len(password))
    await _can_be_told_apart(door, seconds["known", WRONG])


async def _can_be_told_apart(door: Door, known: Sequence[float]) -> None:
    """Prove that the measure works: an answer for which nothing was hashed stands out."""
    unhashed = []
    for _ in range(len(known)):
        call = door.login("", _email("known"))
        started = perf_counter()
        assert (await refused(call)).reason == "VALIDATION_FAILED"
        unhashed.append(perf_counter() - started)
    assert chance_of_less(known, unhashed) < 0.1


def _words(told: Told) -> tuple[Any, ...]:
    """Return all that an answer says but for its own id."""
    others = {kind for kind in told.by_kind if kind != "RequestInfo"}
    return (
        told.code,
        told.message,
        *sorted(told.by_kind[kind].SerializeToString(deterministic=True) for kind in others),
    )


class CountedHashes(PasswordHashes):
    """Counts hashes, by the method that each of them goes through."""

    hashes = 0

    def matches(self, password: bytes, stored: str) -> bool:
        before = self.hashes
        matches = super().matches(password, stored)
        if self.hashes == before:
            self.hashes += 1
        return matches

    def waste(self) -> bool:
        self.hashes += 1
        return super().waste()

    def make(self, password: str) -> str:
        self.hashes += 1
        return super().make(password)


class CountedThreads(HashThreads):
    """Counts what is given to the threads."""

    jobs = 0

    async def run(self, work: Callable[[], T]) -> T:
        self.jobs += 1
        return await super().run(work)


async def test_every_refused_attempt_is_one_job_with_one_hash(people: Running) -> None:
    """ASVS 6.3.8, exactly: not by time."""
    hashes = CountedHashes(4, people.app.settings.peppers)
    threads = CountedThreads(2, 16, random=lambda: 0.5)
    passwords = Passwords(
        hashes, threads, log=structlog.wrap_logger(CapturingLogger(), processors=[])
    )
    rows = UserRows(people.app.database)
    accounts = AccountPasswords(_NothingIsReplaced(), passwords)
    for kind in KINDS:
        account = await rows.find_account(_email(kind))
        assert (account is None) == (kind == "unknown")
        for password in (WRONG, OVERSIZE, "x" * 1025, "", "a\0b", "\udcff", PASSWORD + " "):
            before = (hashes.hashes, threads.jobs)
            assert await accounts.verified(account, password) is None
            assert (hashes.hashes, threads.jobs) == (before[0] + 1, before[1] + 1), (kind, password)
    for kind in ("unknown", "suspended", "passwordless"):
        before = (hashes.hashes, threads.jobs)
        assert await accounts.verified(await rows.find_account(_email(kind)), PASSWORD) is None
        assert (hashes.hashes, threads.jobs) == (before[0] + 1, before[1] + 1), kind
    await passwords.close()


class _NothingIsReplaced:
    """A repository that must not be asked: nobody was right."""

    async def account_of(self, user_id: object) -> Account | None:
        raise AssertionError

    async def replace_hash(self, user_id: object, verified_hash: str, new_hash: str) -> bool:
        raise AssertionError


@asynccontextmanager
async def signing_in(door: Door, number: int) -> AsyncIterator[None]:
    """Keep so many sign-ins under way, whoever of them is refused for want of a place."""

    enough = asyncio.Event()

    async def again_and_again() -> None:
        while not enough.is_set():
            try:
                await door.login()
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                await asyncio.sleep(0.05)

    crowd = [asyncio.create_task(again_and_again()) for _ in range(number)]
    await asyncio.sleep(0.2)
    yield
    enough.set()
    await asyncio.gather(*crowd)


async def test_films_are_answered_while_sixteen_sign_in(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    """ASVS 15.1.3: at the cost of production, the loop never waits for a hash."""
    copy(sqlite_templates["sample"], tmp_path / "test.db")
    url = f"sqlite+aiosqlite:///{tmp_path / 'test.db'}"
    async with running_server(url, tmp_path, password_cost=12) as running:
        await running.app.agents_ready()
        door = Door(running, VIEWER)
        metadata = await running.sign_in()
        started = perf_counter()
        await door.login()
        hash_seconds = perf_counter() - started
        quiet, _ = await _films(running, metadata)
        async with signing_in(door, 16):
            busy, lags = await _films(running, metadata)
    lag = _percentile(lags, 90)
    _say(f"GetFilm alone: {_told(quiet)}; while 16 sign in: {_told(busy)}")
    _say(f"a sign-in: {hash_seconds * 1000:.0f} ms; lag of the loop: {_told(lags)}")
    assert lag < hash_seconds / 4
    assert _percentile(busy, 90) < hash_seconds / 2


async def _films(running: Running, metadata: Any) -> tuple[list[float], list[float]]:
    """Return the seconds of calls, one after the other, and by how much the loop was late."""
    stub = catalogue_service_pb2_grpc.CatalogueServiceStub(running.channel)
    seconds: list[float] = []
    lags: list[float] = []
    watching = asyncio.create_task(_watch(lags))
    for _ in range(amount(150, 1000)):
        started = perf_counter()
        await stub.GetFilm(film_pb2.GetFilmRequest(name="films/1"), metadata=metadata)
        seconds.append(perf_counter() - started)
        await asyncio.sleep(0.002)
    watching.cancel()
    return seconds, lags


async def _watch(lags: list[float]) -> None:
    while True:
        started = perf_counter()
        await asyncio.sleep(0.005)
        lags.append(perf_counter() - started - 0.005)


def _percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _told(seconds: Sequence[float]) -> str:
    median, late = _percentile(seconds, 50) * 1000, _percentile(seconds, 99) * 1000
    return f"median {median:.1f} ms, p99 {late:.1f} ms"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
