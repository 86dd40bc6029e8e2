"""RunTurn, Ask and ListAgents: one turn without a conversation on a stream."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest

from server.generated.interview.agent.v1 import (
    agent_service_pb2,
    agent_service_pb2_grpc,
    chat_pb2,
    resources_pb2,
)
from tests.support.chat_driver import (
    Event,
    Problem,
    eventually,
    kind,
    kinds,
    modelled,
    problem_of,
    talk,
    text_of,
)
from tests.support.fake_openai import (
    FakeOpenAI,
    Pause,
    Status,
    answer,
    calls,
    running_fake_openai,
    words,
)
from tests.support.running import ADMIN, VIEWER, Running


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


def stub_of(server: Running) -> Any:
    return agent_service_pb2_grpc.AgentServiceStub(server.channel)


async def run_turn(
    server: Running, text: str = "Go", turn_id: str = "", who: str = VIEWER, **request: Any
) -> list[Event]:
    """Run one turn and return what came."""
    await server.app.agents_ready()
    message = chat_pb2.UserMessageFrame(turn_id=turn_id or str(uuid4()), text=text)
    call = stub_of(server).RunTurn(
        agent_service_pb2.RunTurnRequest(user_message=message, **request),
        metadata=await server.sign_in(who),
    )
    return [event async for event in call]


async def ask(server: Running, question: str, who: str = VIEWER, **request: Any) -> Any:
    await server.app.agents_ready()
    return await stub_of(server).Ask(
        agent_service_pb2.AskRequest(question=question, **request),
        metadata=await server.sign_in(who),
    )


async def failure(work: Any) -> Problem:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await work
    return problem_of(raised.value)


async def test_a_turn_in_a_new_session(running: Running) -> None:
    ready, *events = await run_turn(running, "Which films with dinosaurs do you have?")
    assert kind(ready) == "session_ready"
    assert kinds(events)[0] == "turn_started"
    assert kinds(events)[-2:] == ["usage_updated", "turn_completed"]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert "Jurassic Park" in text_of(events)


async def test_a_turn_in_a_session_that_is_there(server: Running, model: FakeOpenAI) -> None:
    model.script(answer("Hello"), answer("Hello again"))
    ready, *first = await run_turn(server, "Hi")
    session = ready.session_ready.session.name
    _, *second = await run_turn(server, "Ho", session=session)
    assert second[0].sequence == first[-1].sequence + 1
    assert [m["content"] for m in model.requests[1]["messages"] if m["role"] == "user"] == [
        "Hi",
        "Ho",
    ]


@pytest.mark.parametrize("named", [True, False])
async def test_a_turn_sent_again_is_replayed(
    server: Running, model: FakeOpenAI, named: bool
) -> None:
    model.script(answer("Hello"))
    turn_id = str(uuid4())
    ready, *first = await run_turn(server, "Hi", turn_id)
    session = ready.session_ready.session.name
    request = {"session": session} if named else {}
    for after in (0, 2):
        ready, *again = await run_turn(server, "Hi", turn_id, after_sequence=after, **request)
        assert ready.session_ready.session.name == session
        assert all(event.replayed for event in again)
        assert [event.sequence for event in again] == [e.sequence for e in first[after:]]
    assert len(model.requests) == 1
    told = await failure(run_turn(server, "Ho", turn_id, **request))
    assert (told.code, told.reason) == (grpc.StatusCode.ALREADY_EXISTS, "TURN_ID_REUSED")
    _, *others = await run_turn(server, "Hi", turn_id, ADMIN)
    assert not any(event.replayed for event in others), "another user's turn is another turn"


async def test_a_client_that_leaves_a_single_turn(server: Running, model: FakeOpenAI) -> None:
    model.script([*words("Once "), Pause(30)])
    message = chat_pb2.UserMessageFrame(turn_id=str(uuid4()), text="Go")
    request = agent_service_pb2.RunTurnRequest(user_message=message)
    call = stub_of(server).RunTurn(request, metadata=await server.sign_in())
    async for event in call:
        if kind(event) == "text_delta":
            break
    call.cancel()
    await eventually(lambda: model.open_streams == 0, seconds=1)
    await asyncio.sleep(0.3)  # for the server to store the end and let go of the session
    events = await run_turn(server, "Go", message.turn_id)
    assert kind(events[-1]) == "turn_cancelled"
    assert len(model.requests) == 1


async def test_an_answer_in_one_message(server: Running, model: FakeOpenAI) -> None:
    model.script(
        calls(("search_films", '{"query": "jurassic"}')),
        answer("Ünter anderem ", "Jurassic Park."),
    )
    given = await ask(server, "Dinosaurs?")
    assert given.answer == "Ünter anderem Jurassic Park."
    assert given.agent == "agents/SearchAgent"
    (citation,) = given.citations
    cut = given.answer.encode()[citation.start_byte : citation.end_byte]
    assert cut == b"Jurassic Park"
    turn = given.turn
    assert turn.name == f"{given.session}/turns/{turn.turn_id}"
    assert turn.state == resources_pb2.TURN_STATE_COMPLETED
    assert turn.user_message.text == "Dinosaurs?"
    assert [message.text for message in turn.agent_messages] == [given.answer]
    assert [call.tool for call in turn.tool_calls] == ["search_films"]
    assert (turn.usage.model_calls, turn.usage.tool_calls) == (2, 1)
    assert turn.first_sequence == 1
    assert turn.last_sequence > 5
    assert turn.create_time.ToDatetime() <= turn.end_time.ToDatetime()


async def test_a_question_asked_twice_is_answered_once(server: Running, model: FakeOpenAI) -> None:
    model.script(answer("Hello"))
    request_id = str(uuid4())
    first = await ask(server, "Hi", request_id=request_id)
    second = await ask(server, "Hi", request_id=request_id)
    assert first == second
    assert len(model.requests) == 1
    told = await failure(ask(server, "Ho", request_id=request_id))
    assert told.reason == "TURN_ID_REUSED"


async def test_a_question_in_a_session(server: Running, model: FakeOpenAI) -> None:
    model.script(answer("Hello"), answer("Hello again"))
    first = await ask(server, "Hi")
    second = await ask(server, "Ho", session=first.session)
    assert second.turn.first_sequence == first.turn.last_sequence + 1
    told = await failure(ask(server, "Ho", ADMIN, session=first.session))
    assert told.code is grpc.StatusCode.NOT_FOUND


async def test_a_question_beside_an_open_chat(server: Running) -> None:
    chat = await talk(server)
    session = (await chat.start()).session_ready.session.name
    told = await failure(ask(server, "Hi", session=session))
    assert told.reason == "SESSION_ATTACHED_ELSEWHERE"


async def test_a_question_that_fails(server: Running, model: FakeOpenAI) -> None:
    model.script([Status(429, "{}")], answer("Better"))
    request_id = str(uuid4())
    for _ in range(2):
        told = await failure(ask(server, "Hi", request_id=request_id))
        assert (told.code, told.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
        assert told.retry_delay is not None
        assert told.metadata["bucket"] == "model"
    assert (await ask(server, "Hi")).answer == "Better"


async def test_a_question_whose_first_asker_left(server: Running, model: FakeOpenAI) -> None:
    model.script([*words("Once "), Pause(30)])
    request = agent_service_pb2.AskRequest(question="Hi", request_id=str(uuid4()))
    call = stub_of(server).Ask(request, metadata=await server.sign_in(), timeout=0.5)
    with pytest.raises(grpc.aio.AioRpcError):
        await call
    await eventually(lambda: model.open_streams == 0, seconds=1)
    await asyncio.sleep(0.3)
    told = await failure(ask(server, "Hi", request_id=request.request_id))
    assert (told.code, told.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")


BAD_QUESTIONS: dict[str, dict[str, Any]] = {
    "question": {"question": ""},
    "request_id": {"question": "Hi", "request_id": "17"},
    "session": {"question": "Hi", "session": "sessions/17"},
    "config.entry_agent": {
        "question": "Hi",
        "config": resources_pb2.SessionConfig(entry_agent="agents/Nobody"),
    },
    "budget.max_handoffs": {
        "question": "Hi",
        "budget": resources_pb2.TurnBudget(max_handoffs=99),
    },
}


@pytest.mark.parametrize("field", BAD_QUESTIONS)
async def test_a_bad_question(embedded: Running, field: str) -> None:
    told = await failure(ask(embedded, **BAD_QUESTIONS[field]))
    assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED")
    assert field in told.message


async def test_a_bad_turn(embedded: Running) -> None:
    told = await failure(run_turn(embedded, turn_id="17"))
    assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED")


async def test_the_agents(embedded: Running) -> None:
    model_id = await embedded.app.agents_ready()
    listed = await stub_of(embedded).ListAgents(
        agent_service_pb2.ListAgentsRequest(), metadata=await embedded.sign_in()
    )
    assert [agent.name for agent in listed.agents] == ["agents/SearchAgent", "agents/LLMAgent"]
    search, general = listed.agents
    assert {agent.model for agent in listed.agents} == {model_id}
    assert "search_films" in {tool.tool for tool in search.tools}
    assert not any(tool.writes for tool in search.tools)
    assert [edge.target_agent for edge in search.handoffs] == ["agents/LLMAgent"]
    assert [edge.target_agent for edge in general.handoffs] == ["agents/SearchAgent"]
    request = agent_service_pb2.ListAgentsRequest(page_size=-1)
    told = await failure(stub_of(embedded).ListAgents(request, metadata=await embedded.sign_in()))
    assert told.reason == "VALIDATION_FAILED"
