"""Passwords that are guessed at a real server: who waits, what is told, and who gets in."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from server.app import Application
from server.core.clock import rfc3339
from server.generated.interview.auth.v1 import auth_service_pb2
from server.generated.interview.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from tests.support.amount import amount
from tests.support.auth import MovableClock
from tests.support.proxy import Proxy
from tests.support.running import (
    ADMIN,
    PASSWORD,
    SECRET,
    VIEWER,
    Running,
    capturing_log,
    running_server,
)
from tests.support.statuses import Told, check_call, refused

LIMITS = {"login_failures": 5, "login_failures_per_address": 50, "max_waiting_logins": 100}
WRONG = "not the password of anybody"


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def guarded(
    sample_database_url: str, tmp_path: Path, clock: MovableClock
) -> AsyncIterator[Running]:
    """A server that counts failures, on each kind of database."""
    async with running_server(sample_database_url, tmp_path, clock=clock, **LIMITS) as running:
        yield running


@asynccontextmanager
async def _beside(running: Running, clock: MovableClock) -> AsyncIterator[Running]:
    """Start another server over the same database."""
    log, lines = capturing_log()
    app = Application(running.app.settings, SECRET, clock, log)
    port = await app.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            yield Running(app, port, channel, lines)
        finally:
            hurry = asyncio.Event()
            hurry.set()
            await app.stop(hurry)


@asynccontextmanager
async def _from(running: Running, address: str) -> AsyncIterator[grpc.aio.Channel]:
    """Connect from another address than the test's own, 127.0.0.1."""
    proxy = Proxy(running.port, address)
    await proxy.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{proxy.port}") as channel:
            yield channel
    finally:
        await proxy.stop()


def _login(channel: grpc.aio.Channel, email: str = VIEWER, password: str = WRONG) -> Awaitable[Any]:
    request = auth_service_pb2.LoginRequest(email=email, password=password)
    answer: Awaitable[Any] = AuthServiceStub(channel).Login(request, timeout=20)
    return answer


async def _reasons(channel: grpc.aio.Channel, times: int, email: str = VIEWER) -> list[str]:
    return [(await refused(_login(channel, email))).reason for _ in range(times)]


async def test_the_right_password_waits_too_and_then_clears_what_failed(
    guarded: Running, clock: MovableClock
) -> None:
    """ASVS 6.3.1: who is throttled learns nothing, not even whether the password is right."""
    channel = guarded.channel
    assert await _reasons(channel, 5) == ["LOGIN_FAILED"] * 5
    told = await check_call(guarded, _login(channel, password=PASSWORD), "LOGIN_THROTTLED")
    assert told.by_kind["RetryInfo"].retry_delay.ToTimedelta().total_seconds() == 1
    clock.advance(seconds=1)
    assert told.metadata == {"locked_until": rfc3339(clock())}
    await _login(channel, password=PASSWORD)
    assert await _reasons(channel, 6) == ["LOGIN_FAILED"] * 5 + ["LOGIN_THROTTLED"]


async def test_guesses_at_once_are_no_more_than_guesses_in_a_row(guarded: Running) -> None:
    """ASVS 6.3.1, 15.4.2: attempts count before their password is looked at."""
    count = amount(40, 100)
    told = await asyncio.gather(*(refused(_login(guarded.channel)) for _ in range(count)))
    assert Counter(one.reason for one in told) == {
        "LOGIN_FAILED": 5,
        "LOGIN_THROTTLED": count - 5,
    }


def _without_request(told: Told) -> tuple[object, ...]:
    details = {kind: str(one) for kind, one in told.by_kind.items() if kind != "RequestInfo"}
    return told.code, told.message, details


async def test_an_account_that_does_not_exist_is_answered_like_one_that_does(
    guarded: Running, clock: MovableClock
) -> None:
    """ASVS 6.3.8: failed sign-ins do not tell which accounts there are."""
    for _ in range(7):
        answers = [
            _without_request(await refused(_login(guarded.channel, email)))
            for email in (ADMIN, "nobody@example.com")
        ]
        assert answers[0] == answers[1]
    clock.advance(seconds=1)
    assert await _reasons(guarded.channel, 2, ADMIN) == ["LOGIN_FAILED", "LOGIN_THROTTLED"]
    assert await _reasons(guarded.channel, 2, "nobody@example.com") == [
        "LOGIN_FAILED",
        "LOGIN_THROTTLED",
    ]


async def test_replicas_share_the_count_and_a_restart_keeps_it(
    guarded: Running, clock: MovableClock
) -> None:
    """ASVS 6.3.1: more servers are not more guesses."""
    async with _beside(guarded, clock) as other:
        assert await _reasons(guarded.channel, 3) == ["LOGIN_FAILED"] * 3
        assert await _reasons(other.channel, 3) == ["LOGIN_FAILED"] * 2 + ["LOGIN_THROTTLED"]
        assert await _reasons(guarded.channel, 1) == ["LOGIN_THROTTLED"]
    async with _beside(guarded, clock) as restarted:
        assert await _reasons(restarted.channel, 1) == ["LOGIN_THROTTLED"]
        clock.advance(seconds=1)
        await _login(restarted.channel, password=PASSWORD)


async def test_guesses_from_elsewhere_stop_nobody(guarded: Running) -> None:
    """ASVS 6.1.1, 6.3.1: throttling must not become a way to lock users out."""
    await _login(guarded.channel, password=PASSWORD)
    async with _from(guarded, "127.0.0.2") as stranger, _from(guarded, "127.0.0.3") as hotel:
        assert (await _reasons(stranger, 6))[-1] == "LOGIN_THROTTLED"
        await _login(guarded.channel, password=PASSWORD)
        await _login(hotel, password=PASSWORD)
        assert await _reasons(stranger, 1) == ["LOGIN_THROTTLED"]


async def test_an_address_that_tries_many_accounts_waits_but_for_those_who_belong_there(
    sample_database_url: str, tmp_path: Path, clock: MovableClock
) -> None:
    """ASVS 6.3.1: password spraying is slowed, and not everybody behind one NAT with it."""
    limits = {**LIMITS, "login_failures_per_address": 3}
    async with running_server(sample_database_url, tmp_path, clock=clock, **limits) as running:
        await _login(running.channel, password=PASSWORD)
        for number in range(3):
            assert await _reasons(running.channel, 1, f"u{number}@example.com") == ["LOGIN_FAILED"]
        assert await _reasons(running.channel, 1, ADMIN) == ["LOGIN_THROTTLED"]
        await _login(running.channel, password=PASSWORD)
        async with _from(running, "127.0.0.2") as elsewhere:
            await _login(elsewhere, ADMIN, PASSWORD)


async def test_the_password_of_ones_own_is_no_easier_to_guess(
    guarded: Running, clock: MovableClock
) -> None:
    """ASVS 6.3.1: whoever has a stolen token guesses no faster, and no more than at Login."""
    metadata = await guarded.sign_in()

    async def change(current: str) -> str:
        request = auth_service_pb2.ChangePasswordRequest(
            current_password=current, new_password="an entirely different passphrase"
        )
        stub = AuthServiceStub(guarded.channel)
        return (await refused(stub.ChangePassword(request, metadata=metadata))).reason

    assert [await change(WRONG) for _ in range(3)] == ["LOGIN_FAILED"] * 3
    assert await _reasons(guarded.channel, 3) == ["LOGIN_FAILED"] * 2 + ["LOGIN_THROTTLED"]
    assert await change(PASSWORD) == "LOGIN_THROTTLED"
    assert await _reasons(guarded.channel, 1, ADMIN) == ["LOGIN_FAILED"]
    clock.advance(seconds=1)
    assert await change(WRONG) == "LOGIN_FAILED"


async def test_neither_log_nor_table_names_who_was_tried(guarded: Running) -> None:
    """ASVS 16.2.5: the log of failed sign-ins holds neither the address nor the password."""
    await _reasons(guarded.channel, 6)
    assert VIEWER not in repr(guarded.lines)
    assert WRONG not in repr(guarded.lines)
