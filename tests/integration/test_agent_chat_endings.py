"""Turns and streams that end otherwise than well: nothing is left behind, nothing leaks."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from structlog.testing import capture_logs

from server.generated.interview.agent.v1 import chat_pb2, resources_pb2
from tests.support.chat_driver import (
    Chat,
    eventually,
    kind,
    kinds,
    modelled,
    problem,
    reason_of,
    talk,
    tasks,
    text_of,
)
from tests.support.fake_openai import (
    DONE,
    Cut,
    FakeOpenAI,
    Pause,
    Raw,
    Status,
    Step,
    answer,
    running_fake_openai,
    words,
)
from tests.support.running import Running, running_server

SECRET = "sk-planted-0123456789"
SLOW = [*words("Once "), Pause(30), *words("never said")]


@pytest.fixture
async def model() -> AsyncIterator[FakeOpenAI]:
    async with running_fake_openai() as server:
        yield server


@pytest.fixture
async def server(
    sqlite_templates: dict[str, Path], tmp_path: Path, model: FakeOpenAI
) -> AsyncIterator[Running]:
    settings = {"openai_api_key": SECRET}
    async with modelled(sqlite_templates["sample"], tmp_path, model, **settings) as running:
        yield running


async def end_of_turn(server: Running, session: str) -> resources_pb2.CancelCause.ValueType:
    """Resume a session and return why its only turn was cancelled."""
    chat = await talk(server)
    events = await chat.resume(session)
    assert [event.sequence for event in events[1:-1]] == list(range(1, len(events) - 1))
    assert kind(events[-2]) == "turn_cancelled"
    assert events[-2].replayed
    await chat.half_close()
    await chat.rest()
    return events[-2].turn_cancelled.cause


async def test_a_client_that_goes_away_stops_the_model(server: Running, model: FakeOpenAI) -> None:
    warm = await talk(server)
    await warm.start()
    await warm.half_close()
    await warm.rest()
    before = tasks()
    chat = Chat(server.channel, await server.sign_in())
    session = (await chat.start()).session_ready.session.name
    model.script(SLOW)
    await chat.say("Go")
    waiting = await chat.say("And then?")
    await chat.until("text_delta")
    await chat.leave()
    started = time.monotonic()
    await eventually(lambda: model.open_streams == 0, seconds=1)
    await eventually(lambda: not tasks() - before, seconds=1)
    assert time.monotonic() - started < 1
    again = await talk(server)
    events = (await again.resume(session))[1:-1]
    causes = {e.turn_id: e.turn_cancelled.cause for e in events if kind(e) == "turn_cancelled"}
    assert len(causes) == 2
    assert set(causes.values()) == {resources_pb2.CANCEL_CAUSE_CLIENT_GONE}
    assert waiting in causes
    assert len(model.requests) == 1
    model.script(answer("Welcome back"))
    assert kind((await again.turn("I am back"))[-1]) == "turn_completed"


async def test_a_client_that_goes_away_again_and_again(server: Running, model: FakeOpenAI) -> None:
    model.script_with(lambda _: words(*["word "] * 40, pause=0.005))
    before: set[asyncio.Task[object]] = set()
    for number in range(12):
        chat = await talk(server)
        await chat.start()
        await chat.say("Go")
        while number % 4 and kind(await chat.read() or chat_pb2.ChatResponse()) != "text_delta":
            pass
        await asyncio.sleep(0.003 * number)
        await chat.leave()
        await eventually(lambda: model.open_streams == 0, seconds=1)
        if not before:
            await asyncio.sleep(0.1)
            before = tasks()
    await eventually(lambda: len(tasks()) <= len(before), seconds=2)
    assert not [line for line in server.lines if line.kwargs.get("event") == "call failed"]


async def test_a_deadline_is_announced_and_kept(server: Running, model: FakeOpenAI) -> None:
    model.script(SLOW)
    chat = await talk(server, seconds=5.6)
    ready = (await chat.start()).session_ready
    left = ready.stream_expire_time.ToDatetime() - chat.seen[0].emit_time.ToDatetime()
    assert timedelta(seconds=4) < left < timedelta(seconds=5.7)
    await chat.say("Go")
    (*_, away) = await chat.until("go_away")
    assert away.go_away.reason == chat_pb2.GO_AWAY_REASON_DEADLINE
    assert away.go_away.time_left.seconds == 5
    await chat.rest()
    assert (await chat.end()).code is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: model.open_streams == 0, seconds=1)
    await eventually(lambda: server.access_lines()[-1]["code"] == "DEADLINE_EXCEEDED", seconds=1)
    cause = await end_of_turn(server, ready.session.name)
    assert cause == resources_pb2.CANCEL_CAUSE_CLIENT_GONE


async def test_a_turn_that_takes_too_long(server: Running, model: FakeOpenAI) -> None:
    model.script(SLOW, answer("Quick"))
    chat = await talk(server)
    await chat.start()
    budget = resources_pb2.TurnBudget(timeout=Duration(nanos=300_000_000))
    events = await chat.turn("Go", budget=budget)
    assert kinds(events)[-2:] == ["message_completed", "turn_failed"]
    failed = events[-1].turn_failed
    assert problem(grpc.StatusCode.UNKNOWN, failed.status).reason == "TURN_TIMEOUT"
    assert failed.retryable
    await eventually(lambda: model.open_streams == 0, seconds=1)
    assert kind((await chat.turn("Again"))[-1]) == "turn_completed"


BODY = '{"error": {"message": "Internal words: key ' + SECRET + ' of org-planted"}}'
FAILURES: dict[str, Sequence[Step]] = {
    "401": [Status(401, BODY)],
    "429": [Status(429, BODY, headers={"retry-after": "7"})],
    "500": [Status(500, BODY)],
    "cut": [*words("Once "), Cut()],
    "no end": [*words("Once ")],
    "garbage": [Raw(f"<html>Internal words {SECRET}</html>\n\n".encode()), DONE],
    "no json": [*words("Once "), Raw(b"data: {Internal words\n\n"), DONE],
    "error event": [Raw(b"data: " + BODY.encode() + b"\n\n"), DONE],
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_model_that_fails(server: Running, model: FakeOpenAI, failure: str) -> None:
    model.script_with(lambda _: FAILURES[failure])
    chat = await talk(server)
    await chat.start()
    with capture_logs() as logged:
        events = await chat.turn("Go")
    failed = events[-1].turn_failed
    told = problem(grpc.StatusCode.UNKNOWN, failed.status)
    if failure == "429":
        assert told.reason == "RATE_LIMITED"
        assert failed.status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    else:
        assert told.reason == "MODEL_UNAVAILABLE"
        assert failed.status.code == grpc.StatusCode.UNAVAILABLE.value[0]
    assert failed.retryable
    assert failed.retry_delay.ToTimedelta() == told.retry_delay
    if failure == "429":
        assert failed.retry_delay.seconds == 7
    sent = b"".join(event.SerializeToString() for event in chat.seen)
    assert b"Internal words" not in sent
    assert b"planted" not in sent
    lines = repr((server.lines, logged))
    assert SECRET not in lines
    assert "Internal words" not in repr(server.lines)
    await eventually(lambda: model.open_streams == 0, seconds=1)
    model.script(answer("Better"))
    assert kind((await chat.turn("Again"))[-1]) == "turn_completed"


async def test_a_model_that_writes_what_no_database_takes(
    sample_database_url: str, tmp_path: Path, model: FakeOpenAI
) -> None:
    said = "a\x00b \ufffe \u202e c"
    model.script(answer(said), answer("Better"))
    settings: dict[str, Any] = {"openai_base_url": model.base_url, "openai_api_key": SECRET}
    async with running_server(sample_database_url, tmp_path, **settings) as server:
        chat = await talk(server)
        session = (await chat.start()).session_ready.session.name
        events = await chat.turn("Go")
        assert kind(events[-1]) == "turn_completed"
        assert text_of(events) == said
        await chat.half_close()
        await chat.rest()
        again = await talk(server)
        assert text_of(await again.resume(session)) == said
        assert kind((await again.turn("Again"))[-1]) == "turn_completed"


async def test_a_model_that_writes_half_characters(server: Running, model: FakeOpenAI) -> None:
    model.script(answer("\ud83e", "\udd95"), answer("\ud83e", "\udd95"), answer("Better"))
    chat = await talk(server)
    await chat.start()
    failed = (await chat.turn("Go"))[-1]
    assert reason_of(failed.turn_failed.status) == "MODEL_UNAVAILABLE"
    model.script(answer("Better"))
    assert kind((await chat.turn("Again"))[-1]) == "turn_completed"


async def test_a_database_that_goes_away(
    server: Running, model: FakeOpenAI, tmp_path: Path
) -> None:
    chat = await talk(server)
    await chat.start()
    model.script([*words("Once "), Pause(0.3), *answer("upon a time")])
    await chat.say("Go")
    await chat.until("text_delta")
    await server.app.database.close()
    _break(tmp_path / "chat.db")
    events = await chat.rest()
    assert "turn_completed" not in kinds(events)
    end = await chat.end()
    assert (end.code, end.reason) == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
    assert "chat.db" not in end.message
    await eventually(lambda: model.open_streams == 0, seconds=1)


def _break(file: Path) -> None:
    """Make the next connection to the database fail."""
    for part in file.parent.glob("chat.db*"):
        part.rename(file.parent / f"gone-{part.name}")
    file.mkdir()
