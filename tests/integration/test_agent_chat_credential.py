"""Streams that outlive their access token."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from server.core.clock import rfc3339, utc_now
from server.generated.interview.agent.v1 import chat_pb2, resources_pb2
from tests.support.chat_driver import Chat, eventually, kind, kinds, modelled, reason_of
from tests.support.fake_openai import FakeOpenAI, Pause, answer, running_fake_openai, words
from tests.support.running import ADMIN, Running


class MovableClock:
    """The real time, moved."""

    def __init__(self) -> None:
        self.moved = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.moved


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def model() -> AsyncIterator[FakeOpenAI]:
    async with running_fake_openai() as server:
        yield server


@pytest.fixture
async def server(
    sqlite_templates: dict[str, Path], tmp_path: Path, model: FakeOpenAI, clock: MovableClock
) -> AsyncIterator[Running]:
    settings = {"clock": clock, "access_token_minutes": 2}
    async with modelled(sqlite_templates["sample"], tmp_path, model, **settings) as running:
        yield running


async def token(server: Running, email: str = "viewer@example.com") -> str:
    ((_, header),) = await server.sign_in(email)
    return header.removeprefix("Bearer ")


def refresh(access_token: str) -> chat_pb2.RefreshCredentialFrame:
    return chat_pb2.RefreshCredentialFrame(access_token=access_token)


async def expiring(server: Running, clock: MovableClock, seconds: float) -> Chat:
    """Open a stream whose token has so many seconds left."""
    who = await server.sign_in()
    clock.moved += timedelta(seconds=120 - seconds)
    chat = Chat(server.channel, who)
    await chat.start()
    return chat


async def test_the_warning_comes_60_seconds_before_the_end(
    server: Running, clock: MovableClock
) -> None:
    chat = await expiring(server, clock, 62)
    assert chat.seen[0].session_ready.credential_expire_time.ToDatetime(tzinfo=UTC) > (
        clock() + timedelta(seconds=60)
    )
    warning = await chat.expect("credential_expiring")
    left = warning.credential_expiring.expire_time.ToDatetime() - warning.emit_time.ToDatetime()
    assert timedelta(seconds=59.5) < left <= timedelta(seconds=60)
    await chat.leave()


async def test_a_credential_that_expires(
    server: Running, model: FakeOpenAI, clock: MovableClock
) -> None:
    chat = await expiring(server, clock, 1.5)
    expire_time = chat.seen[0].session_ready.credential_expire_time
    warning = await chat.expect("credential_expiring")
    assert warning.credential_expiring.expire_time == expire_time
    model.script([*words("Once "), Pause(30)])
    await chat.say("Go")
    events = await chat.rest()
    assert kinds(events)[-1] == "go_away"
    assert events[-1].go_away.reason == chat_pb2.GO_AWAY_REASON_CREDENTIAL_EXPIRED
    last = [event.sequence for event in events if event.sequence][-1]
    assert events[-1].go_away.resume_after_sequence == last
    end = await chat.end()
    assert (end.code, end.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")
    assert end.metadata == {"expired_at": rfc3339(expire_time.ToDatetime())}
    assert clock() >= expire_time.ToDatetime(tzinfo=clock().tzinfo)
    await eventually(lambda: model.open_streams == 0, seconds=1)
    again = Chat(server.channel, await server.sign_in())
    session = chat.seen[0].session_ready.session.name
    (*_, cancelled, completed) = await again.resume(session, last)
    assert cancelled.turn_cancelled.cause == resources_pb2.CANCEL_CAUSE_CLIENT_GONE
    assert completed.replay_completed.through_sequence == cancelled.sequence


async def test_a_credential_that_is_renewed_in_time(
    server: Running, model: FakeOpenAI, clock: MovableClock
) -> None:
    chat = await expiring(server, clock, 1.5)
    await chat.expect("credential_expiring")
    clock.moved -= timedelta(seconds=57)
    of_before = await token(server)
    clock.moved += timedelta(seconds=57)
    await chat.send("new", refresh_credential=refresh(of_before))
    accepted = await chat.expect("frame_accepted")
    assert (accepted.in_reply_to, accepted.frame_accepted.no_effect) == ("new", False)
    await asyncio.sleep(1.6)  # the first one has expired by now
    await chat.ping()
    await chat.expect("pong")
    again = await chat.expect("credential_expiring")
    left = again.credential_expiring.expire_time.ToDatetime() - again.emit_time.ToDatetime()
    assert timedelta(seconds=59) < left <= timedelta(seconds=60)
    model.script(answer("Still here"))
    assert kind((await chat.turn("Hi"))[-1]) == "turn_completed"


async def test_a_credential_that_will_not_do(server: Running, clock: MovableClock) -> None:
    chat = await expiring(server, clock, 1.5)
    await chat.expect("credential_expiring")
    expired = await token(server)
    clock.moved -= timedelta(hours=1)
    early = await token(server)
    clock.moved += timedelta(hours=1)
    del expired
    for bad in (await token(server, ADMIN), early, "not a token", ""):
        await chat.send("bad", refresh_credential=refresh(bad))
        rejected = await chat.expect("frame_rejected")
        status = rejected.frame_rejected.status
        assert rejected.in_reply_to == "bad"
        assert status.code == grpc.StatusCode.UNAUTHENTICATED.value[0]
        assert reason_of(status) in {"CREDENTIAL_INVALID", "TOKEN_EXPIRED", "CREDENTIAL_MISSING"}
        assert not bad or bad not in status.message
    events = await chat.rest()
    assert kinds(events) == ["go_away"]
    assert (await chat.end()).reason == "TOKEN_EXPIRED"


async def test_time_that_jumps_is_seen_at_the_next_frame(
    server: Running, clock: MovableClock
) -> None:
    """A machine that slept: its timers did not run, but the token is no longer good."""
    chat = await expiring(server, clock, 59)
    await chat.expect("credential_expiring")
    clock.moved += timedelta(minutes=5)
    await chat.ping()
    assert kinds(await chat.rest()) == ["go_away"]
    end = await chat.end()
    assert (end.code, end.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")
