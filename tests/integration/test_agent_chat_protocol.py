"""What a client may send on a chat, and what each wrong frame is answered with."""

import asyncio
import time
from contextlib import suppress
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from server.generated.interview.agent.v1 import chat_pb2, resources_pb2
from tests.support.chat_driver import PATIENCE, Chat, Problem, kind, kinds, reason_of, talk
from tests.support.running import Running

FIRST = [
    {"user_message": chat_pb2.UserMessageFrame(turn_id=str(uuid4()), text="Hi")},
    {"cancel_turn": chat_pb2.CancelTurnFrame()},
    {"ping": chat_pb2.PingFrame()},
    {"end_session": chat_pb2.EndSessionFrame()},
    {"refresh_credential": chat_pb2.RefreshCredentialFrame(access_token="x")},
    {},
]


@pytest.mark.parametrize("frame", FIRST, ids=lambda frame: next(iter(frame), "empty"))
async def test_the_first_frame_opens_the_session(embedded: Running, frame: dict[str, Any]) -> None:
    chat = await talk(embedded)
    await chat.send("f", **frame)
    assert await chat.rest() == []
    end = await chat.end()
    assert (end.code, end.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PROTOCOL_VIOLATION")
    assert end.metadata == {"expected": "start or resume", "received": next(iter(frame), "")}


async def test_a_stream_without_frames(embedded: Running) -> None:
    chat = await talk(embedded)
    await chat.half_close()
    assert await chat.rest() == []
    assert (await chat.end()).reason == "PROTOCOL_VIOLATION"


@pytest.mark.parametrize("again", ["start", "resume"])
async def test_a_session_is_opened_once(embedded: Running, again: str) -> None:
    chat = await talk(embedded)
    await chat.start()
    frames = {"start": chat_pb2.StartFrame(), "resume": chat_pb2.ResumeFrame()}
    await chat.send("again", **{again: frames[again]})
    assert await chat.rest() == []
    end = await chat.end()
    assert (end.code, end.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PROTOCOL_VIOLATION")
    assert end.metadata["received"] == again


def _message(**fields: Any) -> dict[str, Any]:
    given = {"turn_id": str(uuid4()), "text": "Hi", **fields}
    return {"user_message": chat_pb2.UserMessageFrame(**given)}


REJECTED = {
    "no uuid": (_message(turn_id="17"), "user_message.turn_id"),
    "no turn_id": (_message(turn_id=""), "user_message.turn_id"),
    "no text": (_message(text=""), "user_message.text"),
    "blank text": (_message(text=" \n\t"), "user_message.text"),
    "NUL": (_message(text="a\x00b"), "user_message.text"),
    "one byte too many": (_message(text="x" * 32_769), "user_message.text"),
    "too many bytes in few characters": (_message(text="ü" * 16_385), "user_message.text"),
    "unknown policy": (_message(busy_policy=9), "user_message.busy_policy"),
    "negative budget": (
        _message(budget=resources_pb2.TurnBudget(max_tool_calls=-1)),
        "user_message.budget.max_tool_calls",
    ),
    "endless budget": (
        _message(budget=resources_pb2.TurnBudget(timeout=Duration(seconds=315_576_000_000))),
        "user_message.budget.timeout",
    ),
    "overflowing budget": (
        _message(budget=resources_pb2.TurnBudget(timeout=Duration(seconds=2**62))),
        "user_message.budget.timeout",
    ),
    "bad cancel": (
        {"cancel_turn": chat_pb2.CancelTurnFrame(turn_id="x")},
        "cancel_turn.turn_id",
    ),
    "long ping": ({"ping": chat_pb2.PingFrame(payload=b"x" * 65)}, "ping.payload"),
    "empty": ({}, "frame"),
}


@pytest.mark.parametrize("case", REJECTED)
async def test_a_frame_that_cannot_be_done_is_rejected(embedded: Running, case: str) -> None:
    frame, field = REJECTED[case]
    chat = await talk(embedded)
    await chat.start()
    await chat.send("bad", **frame)
    event = await chat.expect("frame_rejected")
    assert (event.in_reply_to, event.sequence) == ("bad", 0)
    status = event.frame_rejected.status
    assert reason_of(status) == "VALIDATION_FAILED"
    assert status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert field.removeprefix("user_message.") in status.message
    await chat.ping()
    await chat.expect("pong")


async def test_a_frame_of_a_newer_client_is_rejected(embedded: Running) -> None:
    chat = await talk(embedded)
    await chat.start()
    frame = chat_pb2.ChatRequest(frame_id="new")
    frame.MergeFromString(b"\xc2\x3e\x03abc")  # field 1000, unknown to this server
    await chat.call.write(frame)
    event = await chat.expect("frame_rejected")
    assert event.in_reply_to == "new"
    assert kind((await chat.turn("Hi"))[-1]) == "turn_completed"


async def test_a_long_frame_id(embedded: Running) -> None:
    chat = await talk(embedded)
    await chat.start()
    await chat.send("x" * 65, ping=chat_pb2.PingFrame())
    event = await chat.expect("frame_rejected")
    assert event.in_reply_to == "x" * 64
    assert "frame_id" in event.frame_rejected.status.message


async def test_the_longest_text_is_taken(embedded: Running) -> None:
    chat = await talk(embedded)
    await chat.start()
    events = await chat.turn("x" * 32_768)
    assert events[0].turn_started.user_message.text == "x" * 32_768


START_FAULTS: dict[str, dict[str, Any]] = {
    "session_id": {"session_id": "17"},
    "config.entry_agent": {"config": resources_pb2.SessionConfig(entry_agent="agents/Nobody")},
    "config.muted_event_classes": {"config": resources_pb2.SessionConfig.FromString(b"\x30\x09")},
    "options.delta_interval": {
        "options": chat_pb2.StreamOptions(delta_interval=Duration(seconds=2))
    },
    "options.heartbeat_interval": {
        "options": chat_pb2.StreamOptions(heartbeat_interval=Duration(seconds=-1))
    },
}


@pytest.mark.parametrize("field", START_FAULTS)
async def test_a_bad_start(embedded: Running, field: str) -> None:
    chat = await talk(embedded)
    await chat.send(start=chat_pb2.StartFrame(**START_FAULTS[field]))
    assert await chat.rest() == []
    end = await chat.end()
    assert (end.code, end.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED")
    assert field in end.message


async def _raw(server: Running, *frames: bytes) -> Problem:
    """Send bytes as they are behind a proper start, and return the status."""
    await server.app.agents_ready()
    chat = Chat(server.channel, ())
    chat.call.cancel()
    method: Any = server.channel.stream_stream("/interview.agent.v1.AgentService/Chat")
    chat.call = method(metadata=await server.sign_in())
    start = chat_pb2.ChatRequest(start=chat_pb2.StartFrame()).SerializeToString()
    for frame in (start, *frames):
        await chat.call.write(frame)
    with suppress(grpc.aio.AioRpcError):
        async with asyncio.timeout(PATIENCE):
            while await chat.call.read() is not grpc.aio.EOF:
                pass
    return await chat.end()


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff\xff\xff\xff",
        b"\x22\x7f" + b"cut off",
        chat_pb2.ChatRequest(frame_id="x")
        .SerializeToString()
        .replace(b"x", b"\xff"),  # text that is not UTF-8
        chat_pb2.ChatRequest(
            user_message=chat_pb2.UserMessageFrame(text="x" * 65_536)
        ).SerializeToString(),
    ],
    ids=["garbage", "cut off", "no UTF-8", "too large"],
)
async def test_bytes_that_are_no_frame_end_the_stream(embedded: Running, frame: bytes) -> None:
    end = await _raw(embedded, frame)
    assert (end.code, end.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED")
    assert "DecodeError" not in end.message


async def test_a_message_larger_than_the_transport_takes(embedded: Running) -> None:
    end = await _raw(embedded, b"x" * (1024 * 1024 + 1))
    assert end.code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_stranger_learns_nothing(embedded: Running) -> None:
    chat = Chat(embedded.channel, ())
    assert await chat.rest() == []
    end = await chat.end()
    assert (end.code, end.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIAL_MISSING")


async def test_silence_brings_heartbeats(embedded: Running) -> None:
    chat = await talk(embedded)
    options = chat_pb2.StreamOptions(heartbeat_interval=Duration(nanos=200_000_000))
    ready = await chat.start(options=options)
    assert ready.session_ready.effective_options.heartbeat_interval.nanos == 200_000_000
    started = time.monotonic()
    for _ in range(2):
        assert (await chat.expect("heartbeat")).heartbeat.last_sequence == 0
    assert 0.35 < time.monotonic() - started < 2
    events = await chat.turn("Hi")
    last = (await chat.until("heartbeat"))[-1]
    assert last.heartbeat.last_sequence == events[-1].sequence


async def test_heartbeats_never_flood(embedded: Running) -> None:
    chat = await talk(embedded)
    ready = await chat.start(
        options=chat_pb2.StreamOptions(heartbeat_interval=Duration(nanos=1000))
    )
    effective = ready.session_ready.effective_options.heartbeat_interval
    assert effective.ToTimedelta().total_seconds() == 0.1


async def test_a_session_that_is_ended(embedded: Running) -> None:
    chat = await talk(embedded)
    await chat.start()
    events = await chat.turn("Hi")
    await chat.send("end", end_session=chat_pb2.EndSessionFrame())
    ended = await chat.expect("session_ended")
    assert ended.sequence == events[-1].sequence + 1
    assert ended.session_ended.usage.model_calls == events[-1].turn_completed.usage.model_calls
    assert await chat.rest() == []
    assert (await chat.end()).code is grpc.StatusCode.OK


async def test_two_frames_in_one_write(embedded: Running) -> None:
    chat = await talk(embedded)
    await chat.start()
    for number in range(3):
        await chat.say(f"Hello {number}")
    await chat.half_close()
    names = kinds(await chat.rest())
    assert names.count("turn_completed") == 3
    assert (await chat.end()).code is grpc.StatusCode.OK
