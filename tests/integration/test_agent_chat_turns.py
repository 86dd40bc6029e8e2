"""A chat's turns over the sample films: what comes, in which order, and what it says."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import text

from server.generated.interview.agent.v1 import resources_pb2
from tests.support.chat_driver import (
    TERMINAL,
    Chat,
    Event,
    kind,
    kinds,
    modelled,
    talk,
    text_of,
)
from tests.support.fake_openai import FakeOpenAI, answer, calls, running_fake_openai
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


def of(events: Sequence[Event], name: str) -> list[Event]:
    return [event for event in events if kind(event) == name]


def messages_of(events: Sequence[Event]) -> list[resources_pb2.Message]:
    return [event.message_completed.message for event in of(events, "message_completed")]


def check_turn(events: Sequence[Event], first: int) -> None:
    """Hold a turn's events against the rules that every turn keeps."""
    assert [event.sequence for event in events] == list(range(first, first + len(events)))
    assert len({event.turn_id for event in events}) == 1
    assert [kind(event) in TERMINAL for event in events] == [False] * (len(events) - 1) + [True]
    times = [event.emit_time.ToDatetime() for event in events]
    assert times == sorted(times)
    for message in messages_of(events):
        check_message(message, events)


def check_message(message: resources_pb2.Message, events: Sequence[Event]) -> None:
    deltas = [event.text_delta for event in of(events, "text_delta")]
    deltas = [delta for delta in deltas if delta.message_id == message.message_id]
    assert "".join(delta.text for delta in deltas) == message.text
    offset = 0
    for delta in deltas:
        assert delta.offset_byte == offset
        offset += len(delta.text.encode())
    added = [event.citation_added for event in of(events, "citation_added")]
    added = [event for event in added if event.message_id == message.message_id]
    assert [event.citation for event in added] == list(message.citations)
    for citation in message.citations:
        raw = message.text.encode()[citation.start_byte : citation.end_byte]
        assert raw.decode().casefold() == citation.title.casefold()


async def test_a_turn_about_films(running: Running) -> None:
    chat = await talk(running)
    ready = (await chat.start()).session_ready
    assert ready.session.name.startswith("sessions/")
    assert [agent.name for agent in ready.agents] == ["agents/SearchAgent", "agents/LLMAgent"]
    events = await chat.turn("Which films with dinosaurs do you have?", frame_id="ask")
    assert kinds(events) == [
        "turn_started",
        "agent_activated",
        "tool_call_started",
        "tool_call_finished",
        "message_started",
        "text_delta",
        *["citation_added"] * len(of(events, "citation_added")),
        "message_completed",
        "usage_updated",
        "turn_completed",
    ]
    check_turn(events, first=1)
    assert {event.in_reply_to for event in events} == {"ask"}
    message = messages_of(events)[0]
    assert any("Jurassic Park" in citation.title for citation in message.citations)
    call_id = of(events, "tool_call_finished")[0].tool_call_finished.tool_call.tool_call_id
    assert {citation.tool_call_id for citation in message.citations} == {call_id}
    assert all(citation.resource_name.startswith("films/") for citation in message.citations)
    completed = events[-1].turn_completed
    assert completed.agent == "agents/SearchAgent"
    assert completed.finish_reason == resources_pb2.FINISH_REASON_STOP
    await chat.half_close()
    assert await chat.rest() == []
    assert (await chat.end()).code.name == "OK"


async def test_a_turn_that_is_handed_over(running: Running) -> None:
    chat = await talk(running)
    await chat.start()
    events = await chat.turn("What is the capital of France?")
    assert kinds(events) == [
        "turn_started",
        "agent_activated",
        "agent_handoff",
        "agent_activated",
        "message_started",
        "text_delta",
        "message_completed",
        "usage_updated",
        "turn_completed",
    ]
    check_turn(events, first=1)
    handoff = of(events, "agent_handoff")[0].agent_handoff.handoff
    assert (handoff.source_agent, handoff.target_agent) == (
        "agents/SearchAgent",
        "agents/LLMAgent",
    )
    assert events[-1].turn_completed.agent == "agents/LLMAgent"
    again = await chat.turn("Which films with dinosaurs do you have?")
    check_turn(again, first=len(events) + 1)
    assert again[-1].turn_completed.agent == "agents/SearchAgent"


async def test_citations_count_bytes_and_not_characters(server: Running, model: FakeOpenAI) -> None:
    pieces = ("Ünïcödé 🦖🦕 — “", "Jurass", "ic Park” ist über Dinosaurier", " 🎬; 日本語")
    model.script(calls(("search_films", '{"query": "jurassic"}')), answer(*pieces))
    chat = await talk(server)
    await chat.start()
    events = await chat.turn("Dinosaurier?")
    check_turn(events, first=1)
    message = messages_of(events)[0]
    assert message.text == "".join(pieces)
    (citation,) = [c for c in message.citations if c.title == "Jurassic Park"]
    assert message.text.encode()[citation.start_byte : citation.end_byte] == b"Jurassic Park"
    assert citation.verified


async def test_a_film_that_no_tool_returned_is_not_cited(
    server: Running, model: FakeOpenAI
) -> None:
    model.script(answer("I like Jurassic Park."))
    chat = await talk(server)
    await chat.start()
    events = await chat.turn("Hi")
    assert of(events, "citation_added") == []
    assert messages_of(events)[0].citations == []


async def test_usage_adds_up(server: Running, model: FakeOpenAI) -> None:
    chat = await talk(server)
    await chat.start()
    model.script(calls(("search_films", '{"query": "alien"}')), answer("Alien"), answer("Hello"))
    first = of(await chat.turn("Aliens?"), "usage_updated")[0].usage_updated
    second = of(await chat.turn("Hi"), "usage_updated")[0].usage_updated
    assert first.turn_usage.model_calls == 2
    assert first.turn_usage.tool_calls == 1
    assert (first.turn_usage.input_tokens, first.turn_usage.output_tokens) == (20, 10)
    assert second.turn_usage.model_calls == 1
    for name in ("input_tokens", "output_tokens", "model_calls", "tool_calls"):
        total = getattr(first.turn_usage, name) + getattr(second.turn_usage, name)
        assert getattr(second.session_usage, name) == total
    spans = [u.turn_usage.total_time.ToTimedelta() for u in (first, second)]
    assert second.session_usage.total_time.ToTimedelta() == spans[0] + spans[1]
    assert first.turn_usage.time_to_first_delta.ToTimedelta() <= spans[0]
    assert [usage.model for usage in first.turn_usage.models] == ["fake-model"]


async def test_two_agents_that_both_speak(server: Running, model: FakeOpenAI) -> None:
    hand_over = ("transfer_to_LLMAgent", '{"reason": "general"}')
    model.script(calls(hand_over, text="One moment. "), answer("Paris."))
    chat = await talk(server)
    await chat.start()
    events = await chat.turn("What is the capital of France?")
    check_turn(events, first=1)
    first, second = messages_of(events)
    assert (first.text, first.agent) == ("One moment. ", "agents/SearchAgent")
    assert (second.text, second.agent) == ("Paris.", "agents/LLMAgent")
    assert text_of(events) == "One moment. Paris."


async def test_only_a_cited_answer_counts_where_the_session_wants_that(
    server: Running, model: FakeOpenAI
) -> None:
    chat = await talk(server)
    ready = await chat.start(config=resources_pb2.SessionConfig(grounded_only=True))
    assert ready.session_ready.session.config.grounded_only
    model.script(answer("Jurassic Park"))
    assert (await _finish(chat)) == resources_pb2.FINISH_REASON_NO_GROUNDED_ANSWER
    model.script(calls(("search_films", '{"query": "jurassic"}')), answer("Jurassic Park"))
    assert (await _finish(chat)) == resources_pb2.FINISH_REASON_STOP


async def _finish(chat: Chat) -> int:
    return (await chat.turn("Dinosaurs?"))[-1].turn_completed.finish_reason


async def test_muted_events_are_stored_but_not_sent(server: Running, model: FakeOpenAI) -> None:
    model.script(calls(("search_films", '{"query": "jurassic"}')), answer("Jurassic Park"))
    chat = await talk(server)
    muted = [
        resources_pb2.EVENT_CLASS_TEXT_DELTA,
        resources_pb2.EVENT_CLASS_TOOL,
        resources_pb2.EVENT_CLASS_CITATION,
        resources_pb2.EVENT_CLASS_USAGE,
    ]
    ready = await chat.start(config=resources_pb2.SessionConfig(muted_event_classes=muted))
    session = ready.session_ready.session
    assert sorted(session.config.muted_event_classes) == sorted(muted)
    events = await chat.turn("Dinosaurs?")
    expected = [
        "turn_started",
        "agent_activated",
        "message_started",
        "message_completed",
        "turn_completed",
    ]
    assert kinds(events) == expected
    assert len(messages_of(events)[0].citations) == 1
    assert events[-1].sequence > len(events)
    await chat.half_close()
    await chat.rest()
    again = await talk(server)
    replay = (await again.resume(session.name))[1:-1]
    assert [event.sequence for event in replay] == [event.sequence for event in events]
    assert await _stored(server) == list(range(1, events[-1].sequence + 1))


async def _stored(server: Running) -> list[int]:
    rows = await server.app.database.read.all(
        text("SELECT sequence FROM chat_event ORDER BY sequence")
    )
    return [row.sequence for row in rows]


async def test_a_turn_takes_the_budget_of_its_message(server: Running, model: FakeOpenAI) -> None:
    model.script(answer("Hello"))
    chat = await talk(server)
    await chat.start()
    budget = resources_pb2.TurnBudget(max_output_tokens=77, max_tool_calls=3)
    events = await chat.turn("Hi", budget=budget)
    told = events[0].turn_started.budget
    assert (told.max_output_tokens, told.max_tool_calls, told.max_handoffs) == (77, 3, 2)
    assert told.timeout.seconds == 60
    assert model.requests[0]["max_tokens"] == 77
