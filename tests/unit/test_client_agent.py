"""The agents through the client without a chat: one turn, one question, who there is."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from interview_client import (
    PermissionDenied,
    kind_of,
)

from server.generated.interview.agent.v1 import agent_service_pb2, resources_pb2
from tests.support.scripted_chat import (
    Event,
    turn_of,
    unknown,
)
from tests.support.scripted_server import (
    Context,
    Script,
    answering,
    connected,
    fail,
    ready,
)


async def test_one_turn_without_a_chat() -> None:
    async def play(request: Any, context: Context) -> AsyncIterator[Event]:
        yield ready()
        turn = turn_of(request.user_message.turn_id, 1, "a", "b")
        for one in [*turn[:2], turn[1], unknown(3, ""), turn[3]]:
            yield one

    script = Script(RunTurn=play)
    async with connected(script) as client:
        events = [one async for one in client.run_turn("hi", session="sessions/1")]
    kinds = [kind_of(one) for one in events]
    assert kinds == ["session_ready", "turn_started", "text_delta", "turn_completed"]
    request = script.calls["RunTurn"][0][0]
    assert (request.session, request.user_message.text) == ("sessions/1", "hi")
    assert len(request.user_message.turn_id) == 36


async def test_a_turn_that_is_left_early_is_cancelled_at_the_server() -> None:
    gone = asyncio.Event()

    async def play(request: Any, context: Context) -> AsyncIterator[Event]:
        try:
            yield ready()
            await asyncio.sleep(60)
        finally:
            gone.set()

    async with connected(Script(RunTurn=play)) as client:
        events = client.run_turn("hi")
        assert kind_of(await anext(events)) == "session_ready"
        await events.aclose()
        await asyncio.wait_for(gone.wait(), 5)


async def test_a_run_turn_that_fails_raises_its_error() -> None:
    async def play(request: Any, context: Context) -> AsyncIterator[Event]:
        yield ready()
        await fail(context, grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")

    async with connected(Script(RunTurn=play)) as client:
        events = client.run_turn("hi")
        await anext(events)
        with pytest.raises(PermissionDenied):
            await anext(events)


async def test_ask_and_list_agents() -> None:
    agent = resources_pb2.Agent(name="agents/search", display_name="SearchAgent")
    agent.tools.add(tool="search_films").parameters_schema["type"] = "object"
    citation = resources_pb2.Citation(resource_name="films/17", verified=True)
    answer = agent_service_pb2.AskResponse(
        answer="Jurassic Park.", citations=[citation], session="sessions/9"
    )
    script = Script(
        Ask=answering(answer),
        ListAgents=answering(agent_service_pb2.ListAgentsResponse(agents=[agent])),
    )
    async with connected(script) as client:
        got = await client.ask("Which?", session="sessions/9", request_id="r")
        agents = [one async for one in client.list_agents()]
    assert (got.answer, got.session) == ("Jurassic Park.", "sessions/9")
    assert [(one.resource_name, one.verified) for one in got.citations] == [("films/17", True)]
    schema = agents[0].tools[0].parameters_schema
    assert schema is not None
    assert schema.to_dict() == {"type": "object"}
    request = script.calls["Ask"][0][0]
    assert (request.question, request.request_id) == ("Which?", "r")
