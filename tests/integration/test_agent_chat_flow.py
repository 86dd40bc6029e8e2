"""How text flows: merged, never buffered without bound, and to its end when the server stops."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from server.generated.interview.agent.v1 import chat_pb2, resources_pb2
from tests.support.chat_driver import (
    Chat,
    another_server,
    eventually,
    kind,
    kinds,
    modelled,
    reason_of,
    talk,
    text_of,
)
from tests.support.fake_openai import (
    DONE,
    FakeOpenAI,
    Pause,
    Step,
    answer,
    delta,
    running_fake_openai,
    words,
)
from tests.support.running import Running


@pytest.fixture
async def model() -> AsyncIterator[FakeOpenAI]:
    async with running_fake_openai() as server:
        yield server


@pytest.fixture
async def server(
    sqlite_templates: dict[str, Path], tmp_path: Path, model: FakeOpenAI
) -> AsyncIterator[Running]:
    async with modelled(sqlite_templates["sample"], tmp_path, model) as running:
        yield running


async def test_a_burst_of_tokens_is_few_messages(server: Running, model: FakeOpenAI) -> None:
    tokens = [f"tok{number} " for number in range(1000)]
    model.script(answer(*tokens))
    chat = await talk(server)
    await chat.start()
    events = await chat.turn("Go")
    assert text_of(events) == "".join(tokens)
    assert sum(kind(event) == "text_delta" for event in events) < 100
    assert len(events) < 110
    assert max(len(event.text_delta.text) for event in events) < 70_000


async def test_the_first_words_come_at_once_and_the_next_are_gathered(
    server: Running, model: FakeOpenAI
) -> None:
    chat = await talk(server)
    await chat.start(options=chat_pb2.StreamOptions(delta_interval=Duration(seconds=1)))
    model.script(answer("First ", *["more "] * 100, pause=0.02))
    asked = time.monotonic()
    await chat.say("Go")
    await chat.until("text_delta")
    assert time.monotonic() - asked < 0.9
    rest = await chat.until("turn_completed")
    assert 1 <= sum(kind(event) == "text_delta" for event in rest) <= 6


class Endless(list[Step]):
    """Steps that are counted as they are sent. Each is much on the wire and little text."""

    def __init__(self, count: int, piece: str) -> None:
        super().__init__([Pause(0)])
        self.sent = 0
        self._count = count
        self._chunk = delta({"content": piece, "padding": "x" * 60_000})

    def __iter__(self) -> Iterator[Step]:
        for _ in range(self._count):
            self.sent += 1
            yield self._chunk
        yield delta({}, "stop")
        yield DONE


@asynccontextmanager
async def narrow_channel(server: Running) -> AsyncIterator[grpc.aio.Channel]:
    """A connection of its own whose window does not grow: what is not read is not taken."""
    options = [("grpc.http2.lookahead_bytes", 65_536), ("grpc.http2.bdp_probe", 0)]
    async with grpc.aio.insecure_channel(server.target, options=options) as channel:
        yield channel


async def test_a_slow_reader_slows_the_model(server: Running, model: FakeOpenAI) -> None:
    steps = Endless(1_000, "0123456789abcdef" * 64)
    model.script(steps)
    who = await server.sign_in()
    async with narrow_channel(server) as channel:
        chat = Chat(channel, who)
        await chat.start()
        await chat.say("Go")
        await _settled(lambda: steps.sent)
        assert 0 < steps.sent < 800, "the model is read though nobody reads the answer"
        events = await chat.until("turn_completed")
    assert steps.sent == 1_000
    assert text_of(events) == "0123456789abcdef" * 64_000
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))


async def test_a_model_that_never_stops(server: Running, model: FakeOpenAI) -> None:
    steps = Endless(3_000, "0123456789abcdef" * 64)
    model.script(steps)
    chat = await talk(server)
    await chat.start()
    events = await chat.turn("Go")
    failed = events[-1].turn_failed
    assert reason_of(failed.status) == "TURN_BUDGET_EXHAUSTED"
    assert not failed.retryable
    assert len(text_of(events)) <= 1024 * 1024
    await eventually(lambda: model.open_streams == 0, seconds=1)
    assert steps.sent < 3_000
    model.script(answer("Brief"))
    assert kind((await chat.turn("Again"))[-1]) == "turn_completed"


async def _settled(value: Callable[[], int]) -> None:
    """Wait until a number does not change any more."""
    before = -1
    async with asyncio.timeout(15):
        while value() != before:
            before = value()
            await asyncio.sleep(1)


async def test_a_server_that_stops_lets_the_turn_end(server: Running, model: FakeOpenAI) -> None:
    model.script(answer("Once ", "upon ", "a time", pause=0.2))
    async with another_server(server) as stopping:
        chat = await talk(stopping)
        idle = await talk(stopping)
        silent = await talk(stopping)
        await chat.start()
        await idle.start()
        running = await chat.say("Go")
        waiting = await chat.say("And then?")
        await chat.until("text_delta")
        stop = asyncio.create_task(stopping.app.stop(asyncio.Event()))
        events = await chat.until("go_away")
        away = events[-1].go_away
        assert away.reason == chat_pb2.GO_AWAY_REASON_SERVER_DRAINING
        assert away.time_left.ToTimedelta() == timedelta(seconds=2)
        await chat.say("One more", frame_id="late")
        events = await chat.rest()
        assert "".join(e.message_completed.message.text for e in events) == "Once upon a time"
        ends = {event.turn_id: event for event in events}
        assert kind(ends[running]) == "turn_completed"
        cause = ends[waiting].turn_cancelled.cause
        assert cause == resources_pb2.CANCEL_CAUSE_SERVER_DRAINING
        assert "frame_rejected" in kinds(events)
        for stream in (chat, idle, silent):
            await stream.rest()
            end = await stream.end()
            assert (end.code, end.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")
            assert end.retry_delay is not None
        await stop
        assert len(model.requests) == 1


async def test_a_turn_that_outlasts_the_grace_is_cut_and_recorded(
    server: Running, model: FakeOpenAI
) -> None:
    model.script([*words("Once "), Pause(30)])
    async with another_server(server) as stopping:
        chat = await talk(stopping)
        session = (await chat.start()).session_ready.session.name
        await chat.say("Go")
        await chat.until("text_delta")
        began = time.monotonic()
        await stopping.app.stop(asyncio.Event())
        assert time.monotonic() - began < 6
        await chat.rest()
        assert (await chat.end()).code is grpc.StatusCode.UNAVAILABLE
        await eventually(lambda: model.open_streams == 0, seconds=1)
    again = await talk(server)
    cancelled = (await again.resume(session))[-2]
    assert cancelled.turn_cancelled.cause == resources_pb2.CANCEL_CAUSE_SERVER_DRAINING


async def test_pings_are_answered_while_a_turn_runs(server: Running, model: FakeOpenAI) -> None:
    model.script([*words("Once "), Pause(0.5), *answer("upon")])
    chat = await talk(server)
    await chat.start()
    await chat.say("Go")
    await chat.until("text_delta")
    asked = time.monotonic()
    await chat.ping(b"\x00\xff")
    pong = (await chat.until("pong"))[-1]
    assert (pong.in_reply_to, pong.pong.payload, pong.sequence) == ("ping", b"\x00\xff", 0)
    assert time.monotonic() - asked < 0.4
    assert kind((await chat.until("turn_completed"))[-1]) == "turn_completed"


async def test_a_client_that_only_sends_is_stopped(server: Running, model: FakeOpenAI) -> None:
    model.script(answer("x"))
    who = await server.sign_in()
    async with narrow_channel(server) as channel:
        chat = Chat(channel, who)
        await chat.start()
        sent = 0
        try:
            async with asyncio.timeout(6):
                while sent < 200_000:
                    await chat.send("x" * 64, ping=chat_pb2.PingFrame(payload=b"x" * 64))
                    sent += 1
        except TimeoutError:
            pass
        assert 0 < sent < 200_000
        chat.call.cancel()
