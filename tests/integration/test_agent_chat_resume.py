"""Sessions that outlive their stream: what is replayed, to whom, and after which mishaps."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
from sqlalchemy import insert, select, text, update

from server.agent.models import ChatEvent, ChatTurn
from server.generated.interview.agent.v1 import chat_pb2, resources_pb2
from tests.support.chat_driver import (
    Chat,
    Event,
    another_server,
    kind,
    kinds,
    modelled,
    problem,
    talk,
)
from tests.support.fake_openai import FakeOpenAI, Pause, answer, calls, running_fake_openai, words
from tests.support.running import ADMIN, Running


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


@asynccontextmanager
async def closing(chat: Chat) -> AsyncIterator[Chat]:
    """End the stream well behind the block."""
    yield chat
    await chat.half_close()
    await chat.rest()
    assert (await chat.end()).code is grpc.StatusCode.OK


async def held(server: Running, *texts: str) -> tuple[str, list[Event]]:
    """Hold a whole conversation; return its session and its stored events."""
    async with closing(await talk(server)) as chat:
        session = (await chat.start()).session_ready.session.name
        for said in texts:
            await chat.turn(said)
    return session, [event for event in chat.seen if event.sequence]


def as_replayed(event: Event) -> Event:
    copy = Event()
    copy.CopyFrom(event)
    copy.replayed = True
    return copy


async def test_what_is_replayed(running: Running) -> None:
    session, stored = await held(running, "Dinosaurs?", "What is the capital of France?")
    for after in (0, 1, 5, len(stored) - 1, len(stored), len(stored) + 7):
        async with closing(await talk(running)) as chat:
            ready, *replay, completed = await chat.resume(session, after)
            assert ready.session_ready.resumed
            assert ready.session_ready.session.last_sequence == len(stored)
            assert replay == [as_replayed(event) for event in stored[after:]]
            assert completed.replay_completed.through_sequence == len(stored)
            new = await chat.turn("Aliens?")
        assert new[0].sequence == len(stored) + 1
        stored += new


async def test_every_event_is_stored_before_it_is_sent(running: Running) -> None:
    chat = await talk(running)
    session = (await chat.start()).session_ready.session.name
    rows = select(ChatEvent.payload).where(
        ChatEvent.session_id == UUID(session.removeprefix("sessions/"))
    )
    await chat.say("Which films with dinosaurs do you have?")
    while kind(event := await chat.read() or Event()) != "turn_completed":
        found = await running.app.database.read.all(
            rows.where(ChatEvent.sequence == event.sequence)
        )
        assert [Event.FromString(row.payload) for row in found] == [event]


async def test_the_agents_remember(server: Running, model: FakeOpenAI) -> None:
    model.script(calls(("search_films", '{"query": "jurassic"}')), answer("Jurassic Park, 1993"))
    session, _ = await held(server, "Dinosaurs?")
    async with another_server(server) as restarted:
        model.script(answer("By Steven Spielberg"))
        async with closing(await talk(restarted)) as chat:
            await chat.resume(session, 1000)
            await chat.turn("Who made it?")
    told = model.requests[-1]["messages"]
    said = [(m["role"], m["content"]) for m in told if m["role"] != "system" and m["content"]]
    assert said[0] == ("user", "Dinosaurs?")
    assert any(role == "assistant" and "Jurassic Park, 1993" in text for role, text in said)
    assert any("search_films" in str(message) for message in told)
    assert said[-1] == ("user", "Who made it?")


async def test_others_learn_nothing_of_a_session(running: Running) -> None:
    async with closing(await talk(running)) as mine:
        session = (await mine.start()).session_ready.session.name
        await mine.turn("Dinosaurs?")
        answers = []
        for name in (session, f"sessions/{uuid4()}"):
            chat = await talk(running, ADMIN)
            await chat.send(resume=chat_pb2.ResumeFrame(session=name))
            assert await chat.rest() == []
            end = await chat.end()
            assert end.code is grpc.StatusCode.NOT_FOUND
            answers.append((end.reason, end.message.replace(name, ""), sorted(end.metadata)))
        assert answers[0] == answers[1]


async def test_a_session_is_held_by_one_stream(running: Running) -> None:
    async with closing(await talk(running)) as first:
        session = (await first.start()).session_ready.session.name
        second = await talk(running)
        await second.send(resume=chat_pb2.ResumeFrame(session=session))
        assert await second.rest() == []
        assert (await second.end()).reason == "SESSION_ATTACHED_ELSEWHERE"
        assert kind((await first.turn("Hi"))[-1]) == "turn_completed"
    async with closing(await talk(running)) as third:
        await third.resume(session)


async def test_the_same_start_again_is_the_same_session(running: Running) -> None:
    own = str(uuid4())
    german = resources_pb2.SessionConfig(locale="de")
    for resumed in (False, True):
        async with closing(await talk(running)) as chat:
            ready = (await chat.start(session_id=own, config=german)).session_ready
            assert (ready.session.name, ready.resumed) == (f"sessions/{own}", resumed)
            await chat.turn("Hi")
    attempts: list[tuple[str, dict[str, Any]]] = [
        ("viewer@example.com", {}),
        (ADMIN, {"config": german}),
    ]
    for who, start in attempts:
        chat = await talk(running, who)
        await chat.send(start=chat_pb2.StartFrame(session_id=own, **start))
        assert await chat.rest() == []
        assert (await chat.end()).reason == "RESOURCE_EXISTS"


async def test_a_turn_id_is_remembered(server: Running, model: FakeOpenAI) -> None:
    model.script(answer("Hello"))
    session, events = await held(server, "Hi")
    turn_id = events[0].turn_id
    async with another_server(server) as restarted, closing(await talk(restarted)) as chat:
        await chat.resume(session)
        await chat.say("Hi", turn_id)
        assert (await chat.expect("frame_accepted")).frame_accepted.no_effect
        await chat.say("Ho", turn_id)
        await chat.expect("frame_rejected")
    assert len(model.requests) == 1


@pytest.mark.parametrize("state", ["running", "queued"])
async def test_a_turn_whose_process_is_gone(running: Running, state: str) -> None:
    session, stored = await held(running, "Hi")
    session_id = UUID(session.removeprefix("sessions/"))
    async with running.app.database.write() as write:
        row = update(ChatTurn).where(ChatTurn.session_id == session_id)
        await write.execute(row.values(state=state))
    for again in (False, True):
        async with closing(await talk(running)) as chat:
            replay = (await chat.resume(session))[1:-1]
            assert [event.sequence for event in replay] == list(range(1, len(replay) + 1))
            if again:
                lost = replay[-1]
            else:
                assert len(replay) == len(stored)
                lost = await chat.expect("turn_failed")
        assert (lost.sequence, lost.turn_id) == (len(stored) + 1, stored[0].turn_id)
        told = problem(grpc.StatusCode.UNKNOWN, lost.turn_failed.status)
        assert (told.reason, lost.turn_failed.retryable) == ("TURN_WORKER_LOST", True)


async def test_a_session_that_another_process_took_over(server: Running, model: FakeOpenAI) -> None:
    model.script([*words("Once "), Pause(0.5), *answer("upon a time")])
    chat = await talk(server)
    session = (await chat.start()).session_ready.session.name
    await chat.say("Go")
    await chat.until("text_delta")
    async with another_server(server) as other, closing(await talk(other)) as taker:
        *_, completed = await taker.resume(session)
        assert kind(completed) == "replay_completed"
        assert kind((await taker.until("turn_failed"))[-1]) == "turn_failed"
        await chat.rest()
        assert (await chat.end()).reason == "SESSION_ATTACHED_ELSEWHERE"
        model.script(answer("Mine"))
        assert kind((await taker.turn("Again"))[-1]) == "turn_completed"
    async with closing(await talk(server)) as again:
        replay = (await again.resume(session))[1:-1]
    assert [event.sequence for event in replay] == list(range(1, len(replay) + 1))


async def test_a_long_log_is_replayed_whole(server: Running, model: FakeOpenAI) -> None:
    session, stored = await held(server)
    session_id = UUID(session.removeprefix("sessions/"))
    count = 1_001
    async with server.app.database.write() as write:
        payloads = [
            Event(sequence=n, text_delta=chat_pb2.TextDelta(text=str(n)))
            for n in range(1, count + 1)
        ]
        await write.execute(
            insert(ChatEvent),
            [
                {"session_id": session_id, "sequence": e.sequence, "payload": e.SerializeToString()}
                for e in payloads
            ],
        )
    async with closing(await talk(server)) as chat:
        replay = (await chat.resume(session, 1))[1:-1]
    assert [event.sequence for event in replay] == list(range(2, count + 1))
    assert stored == []


async def test_a_stream_that_ends_while_it_replays(server: Running, model: FakeOpenAI) -> None:
    model.script(answer(*["word "] * 50))
    session, _ = await held(server, "Go")
    for _ in range(5):
        chat = await talk(server)
        await chat.send(resume=chat_pb2.ResumeFrame(session=session))
        await chat.read()
        await chat.leave()
        await asyncio.sleep(0.05)
    async with closing(await talk(server)) as chat:
        assert kinds(await chat.resume(session))[-2] == "turn_completed"
    count = await server.app.database.read.first(text("SELECT count(*) AS n FROM chat_session"))
    assert count is not None
    assert count.n == 1


async def test_a_session_that_was_ended_takes_nothing_more(embedded: Running) -> None:
    first = await talk(embedded)
    session = (await first.start()).session_ready.session.name
    await first.turn("Which films with dinosaurs do you have?")
    await first.send(end_session=chat_pb2.EndSessionFrame())
    assert kinds(await first.rest()) == ["session_ended"]
    second = await talk(embedded)
    await second.send(resume=chat_pb2.ResumeFrame(session=session))
    assert await second.rest() == []
    refused = await second.end()
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
    assert refused.metadata["state"] == "SESSION_STATE_ENDED"
