"""A chat through the client: order, repeats, what waits for whom."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from interview_client import (
    StreamEnded,
    kind_of,
)
from interview_client.messages import SessionConfig

from server.generated.interview.agent.v1 import chat_pb2
from tests.support.scripted_chat import (
    Event,
    Parrot,
    delta,
    event,
    playing,
    text_of,
    turn_of,
    unknown,
)
from tests.support.scripted_server import (
    Context,
    Script,
    connected,
    ready,
)


async def test_turns_stream_in_order_to_their_end() -> None:
    parrot = Parrot()
    async with connected(Script(Chat=parrot)) as client:
        config = SessionConfig(entry_agent="agents/search")
        session_id = "6f2c1c0e-0000-4000-8000-000000000001"
        async with client.chat(config=config, session_id=session_id) as chat:
            assert chat.session == "sessions/1"
            kinds = [kind_of(one) async for one in chat.turn("which dinosaur films")]
            assert kinds == ["turn_started", *["text_delta"] * 3, "turn_completed"]
            assert await text_of(chat.turn("and why")) == ["and", "why"]
            assert chat.last_sequence == 9
    start, first, second = parrot.frames
    assert start.start.session_id == session_id
    assert start.start.config.entry_agent == "agents/search"
    assert first.user_message.text == "which dinosaur films"
    assert first.user_message.turn_id != second.user_message.turn_id


async def test_an_event_that_comes_twice_is_seen_once() -> None:
    turn = turn_of("t", 1, "a", "b")
    script = Script(Chat=playing(ready(), *turn[:2], turn[1], turn[0], *turn[2:], turn[3]))
    async with connected(script) as client, client.chat() as chat:
        assert [one.sequence async for one in chat] == [1, 2, 3, 4]


async def test_kinds_of_a_newer_server_are_left_out_but_counted() -> None:
    script = Script(Chat=playing(ready(), delta("a", 1, "t"), unknown(2, "t"), unknown(3, "t")))
    async with connected(script) as client, client.chat() as chat:
        assert [kind_of(one) async for one in chat] == ["text_delta"]
        assert chat.last_sequence == 3


async def test_events_of_the_stream_have_no_number_and_are_all_seen() -> None:
    beat = event("heartbeat", heartbeat=chat_pb2.Heartbeat(last_sequence=7))
    script = Script(Chat=playing(ready(), beat, beat, delta("a", 1, "t"), beat))
    async with connected(script) as client, client.chat() as chat:
        kinds = [kind_of(one) async for one in chat]
    assert kinds == ["heartbeat", "heartbeat", "text_delta", "heartbeat"]


async def test_resuming_asks_for_what_is_missing_and_drops_what_is_not() -> None:
    frames: list[Any] = []

    async def play(requests: Any, context: Context) -> AsyncIterator[Event]:
        frames.append(await anext(requests))
        yield ready(resumed=True)
        for sequence in (2, 3, 4):
            yield delta(str(sequence), sequence, "t")
        yield event("replay_completed")

    async with (
        connected(Script(Chat=play)) as client,
        client.chat(resume=("sessions/1", 3)) as chat,
    ):
        assert chat.ready.resumed
        assert [kind_of(one) async for one in chat] == ["text_delta", "replay_completed"]
        assert chat.last_sequence == 4
    assert frames[0].resume.session == "sessions/1"
    assert frames[0].resume.after_sequence == 3


async def test_a_wait_that_is_given_up_loses_no_event() -> None:
    go_on = asyncio.Event()

    async def play(requests: Any, context: Context) -> AsyncIterator[Event]:
        await anext(requests)
        yield ready()
        await go_on.wait()
        for one in turn_of("t", 1, "a"):
            yield one

    async with connected(Script(Chat=play)) as client, client.chat() as chat:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(chat), 0.05)
        go_on.set()
        assert [one.sequence async for one in chat] == [1, 2, 3]


async def test_a_send_that_is_given_up_does_not_end_the_stream() -> None:
    read_on = asyncio.Event()
    texts: list[str] = []

    async def play(requests: Any, context: Context) -> AsyncIterator[Event]:
        await anext(requests)
        yield ready()
        await read_on.wait()
        texts.extend([frame.user_message.text[:1] async for frame in requests])
        yield event("heartbeat")

    async with connected(Script(Chat=play)) as client, client.chat() as chat:
        # The server does not read: flow control holds the writer up after some of these.
        big = 1_000_000
        senders = [asyncio.create_task(chat.send(f"{n % 10}" * big)) for n in range(20)]
        await asyncio.sleep(0.3)
        stuck = [sender for sender in senders if not sender.done()]
        assert stuck
        stuck[-1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await stuck[-1]
        read_on.set()
        await asyncio.gather(*(sender for sender in senders if sender is not stuck[-1]))
        await chat.half_close()
        assert [kind_of(one) async for one in chat] == ["heartbeat"]
    assert texts == [str(n % 10) for n in range(19)]


async def test_events_of_another_turn_wait_for_the_next_loop() -> None:
    class Two(Parrot):
        def answers(self, frame: chat_pb2.ChatRequest) -> list[Event]:
            if frame.user_message.text != "second":
                return super().answers(frame)
            mine = frame.user_message.turn_id
            return [
                delta("late", 4, "other"),
                event("turn_started", 5, mine),
                event("heartbeat"),
                delta("end", 6, "other"),
                event("turn_completed", 7, mine),
            ]

    async with connected(Script(Chat=Two())) as client, client.chat() as chat:
        own = [kind_of(one) async for one in chat.turn("second")]
        assert own == ["turn_started", "turn_completed"]
        await chat.half_close()
        assert [one.text_delta and one.text_delta.text async for one in chat] == ["late", "end"]


async def test_a_turn_whose_first_events_were_already_read_past_is_complete() -> None:
    async def play(requests: Any, context: Context) -> AsyncIterator[Event]:
        await anext(requests)
        yield ready()
        yield event("turn_started", 1, "b")
        async for frame in requests:
            if frame.user_message.turn_id == "a":
                yield event("turn_completed", 2, "a")
            else:
                yield event("turn_completed", 3, "b")

    async with connected(Script(Chat=play)) as client, client.chat() as chat:
        assert [kind_of(one) async for one in chat.turn("x", "a")] == ["turn_completed"]
        kinds = [kind_of(one) async for one in chat.turn("y", "b")]
        assert kinds == ["turn_started", "turn_completed"]


async def test_cancel_ping_and_half_close_reach_the_server() -> None:
    parrot = Parrot()
    async with connected(Script(Chat=parrot)) as client, client.chat() as chat:
        await chat.cancel("turn-1")
        await chat.ping(b"\x00\xff")
        await chat.half_close()
        first, second = [one async for one in chat]
        assert first.turn_cancelled is not None
        assert first.turn_id == "turn-1"
        assert second.pong is not None
        assert second.pong.payload == b"\x00\xff"
        with pytest.raises(StreamEnded):
            await chat.send("too late")
    assert [frame.WhichOneof("frame") for frame in parrot.frames] == [
        "start",
        "cancel_turn",
        "ping",
    ]
