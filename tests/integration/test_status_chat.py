"""What is told in a chat, by an event or by the stream's end: one test per row."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import status_pb2
from sqlalchemy import update

from server.agent.models import ChatTurn
from server.generated.interview.agent.v1 import agent_service_pb2, chat_pb2, resources_pb2
from tests.support.caller import Caller
from tests.support.chat_driver import Chat, talk
from tests.support.fake_openai import FakeOpenAI, Pause, answer, words
from tests.support.running import Running, running_server
from tests.support.statuses import Told, check_call, check_row, told_in

REJECT = chat_pb2.BUSY_POLICY_REJECT


@pytest.fixture
def server(modelled: Running, model: FakeOpenAI) -> Running:
    """A server whose agents ask a model that begins an answer and never ends it."""
    model.script_with(lambda _: [*words("Once "), Pause(60)])
    return modelled


@pytest.fixture
async def chat(server: Running) -> AsyncIterator[Chat]:
    """A chat in which a turn runs."""
    chat = await talk(server)
    await chat.start()
    await chat.say("Go", turn_id=FIRST)
    await chat.until("text_delta")
    yield chat
    await chat.leave()


FIRST = str(uuid4())


def _in_event(status: status_pb2.Status, reason: str) -> Told:
    """Hold a status in an event against the contract."""
    codes = {code.value[0]: code for code in grpc.StatusCode}
    told = told_in(codes[status.code], status)
    check_row(told, reason)
    return told


async def _rejected(chat: Chat, reason: str) -> Told:
    events = await chat.until("frame_rejected")
    return _in_event(events[-1].frame_rejected.status, reason)


async def test_a_message_while_a_turn_runs(chat: Chat) -> None:
    await chat.say("And now?", busy_policy=REJECT)
    told = await _rejected(chat, "TURN_IN_PROGRESS")
    assert told.metadata["active_turn"] == FIRST


async def test_more_messages_than_may_wait(chat: Chat) -> None:
    for number in range(9):
        await chat.say(f"And {number}?")
    told = await _rejected(chat, "TURN_QUEUE_FULL")
    assert told.metadata["queue_limit"] == "8"


async def test_a_turn_id_for_another_text(chat: Chat) -> None:
    await chat.say("Stop", turn_id=FIRST)
    told = await _rejected(chat, "TURN_ID_REUSED")
    assert told.metadata["turn_id"] == FIRST


async def test_a_frame_with_bad_fields(chat: Chat) -> None:
    await chat.say(" ", turn_id="seven")
    told = await _rejected(chat, "VALIDATION_FAILED")
    assert told.bad_fields == ["turn_id", "text"]


async def test_a_credential_that_is_none(chat: Chat) -> None:
    await chat.send(refresh_credential=chat_pb2.RefreshCredentialFrame(access_token="x.y.z"))
    await _rejected(chat, "CREDENTIAL_INVALID")


async def test_a_second_stream_of_a_session(server: Running, chat: Chat) -> None:
    session = chat.seen[0].session_ready.session.name
    caller = await Caller.signed_in(server)
    request = agent_service_pb2.AskRequest(question="Hi", session=session)
    told = await check_call(server, caller.Ask(request), "SESSION_ATTACHED_ELSEWHERE")
    assert told.metadata["session"] == session


async def test_a_session_that_has_ended(server: Running, chat: Chat) -> None:
    session = chat.seen[0].session_ready.session.name
    await chat.send(end_session=chat_pb2.EndSessionFrame())
    await chat.rest()
    caller = await Caller.signed_in(server)
    request = agent_service_pb2.AskRequest(question="Hi", session=session)
    told = await check_call(server, caller.Ask(request), "WRONG_STATE")
    (violation,) = told.by_kind["PreconditionFailure"].violations
    assert (violation.type, violation.subject) == ("STATE", session)


async def test_a_turn_that_takes_too_long(server: Running) -> None:
    chat = await talk(server)
    await chat.start()
    budget = resources_pb2.TurnBudget(timeout=Duration(nanos=300_000_000))
    events = await chat.turn("Go", budget=budget)
    _in_event(events[-1].turn_failed.status, "TURN_TIMEOUT")
    await chat.leave()


async def test_a_frame_that_is_out_of_order(server: Running) -> None:
    chat = await talk(server)
    await chat.ping()
    await check_call(server, chat.call.read(), "PROTOCOL_VIOLATION")


async def test_a_turn_whose_process_is_gone(server: Running, model: FakeOpenAI) -> None:
    model.script_with(lambda _: answer("Once"))
    chat = await talk(server)
    session = (await chat.start()).session_ready.session.name
    await chat.turn("Go", turn_id=FIRST)
    await chat.half_close()
    await chat.rest()
    async with server.app.database.write() as write:
        # As a process leaves it that is killed.
        lost = update(ChatTurn).where(ChatTurn.turn_id == UUID(FIRST))
        await write.execute(lost.values(state="running", end_time=None))
    again = await talk(server)
    await again.resume(session)
    failed = (await again.until("turn_failed"))[-1]
    told = _in_event(failed.turn_failed.status, "TURN_WORKER_LOST")
    assert told.metadata["turn_id"] == FIRST
    await again.leave()


async def test_a_server_that_stops(
    sample_database_url: str, tmp_path: Path, model: FakeOpenAI
) -> None:
    async with running_server(
        sample_database_url, tmp_path, openai_base_url=model.base_url
    ) as server:
        await _drain(server)


async def _drain(server: Running) -> None:
    chat = await talk(server)
    await chat.start()
    caller = await Caller.signed_in(server)
    server.app._gate.draining.set()  # what a signal does first
    server.app._gate.closed.set()  # and what it does then
    await chat.rest()
    await check_call(server, chat.call.read(), "SERVER_DRAINING")
    await check_call(
        server, caller.Ask(agent_service_pb2.AskRequest(question="Hi")), "SERVER_DRAINING"
    )
