"""Messages that come while a turn runs, turns that are cancelled, and turns sent again."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import grpc
import pytest

from server.generated.interview.agent.v1 import chat_pb2, resources_pb2
from tests.support.chat_driver import (
    TERMINAL,
    Chat,
    Event,
    eventually,
    kind,
    kinds,
    modelled,
    reason_of,
    talk,
)
from tests.support.fake_openai import FakeOpenAI, Pause, answer, running_fake_openai, words
from tests.support.running import Running

SLOW = [*words("Once "), Pause(30), *words("never said")]
REJECT = chat_pb2.BUSY_POLICY_REJECT
INTERRUPT = chat_pb2.BUSY_POLICY_INTERRUPT


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


@pytest.fixture
async def chat(server: Running) -> Chat:
    opened = await talk(server)
    await opened.start()
    return opened


async def speaking(chat: Chat, model: FakeOpenAI, text: str = "Go") -> str:
    """Begin a turn whose model has said a word and then is silent."""
    model.script(SLOW)
    turn_id = await chat.say(text)
    await chat.until("text_delta")
    return turn_id


def ends(events: list[Event]) -> list[tuple[str, str]]:
    return [(kind(event), event.turn_id) for event in events if kind(event) in TERMINAL]


async def test_messages_wait_their_turn(chat: Chat, model: FakeOpenAI) -> None:
    first = await speaking(chat, model)
    model.script(*[answer(f"{n}") for n in range(8)])
    waiting = [await chat.say(f"Question {n}") for n in range(8)]
    for position, turn_id in enumerate(waiting, 1):
        queued = await chat.expect("turn_queued")
        assert (queued.turn_queued.position, queued.turn_id) == (position, turn_id)
    await chat.say("one too many", frame_id="ninth")
    rejected = await chat.expect("frame_rejected")
    assert rejected.in_reply_to == "ninth"
    assert reason_of(rejected.frame_rejected.status) == "TURN_QUEUE_FULL"
    await chat.say("and not by force", frame_id="tenth", busy_policy=INTERRUPT)
    assert reason_of((await chat.expect("frame_rejected")).frame_rejected.status) == (
        "TURN_QUEUE_FULL"
    )
    await chat.cancel(first)
    await chat.half_close()
    events = await chat.rest()
    done = [("turn_completed", turn_id) for turn_id in waiting]
    assert ends(events) == [("turn_cancelled", first), *done]


async def test_queued_turns_end_behind_a_half_close(chat: Chat, model: FakeOpenAI) -> None:
    model.script(answer("0", pause=0.2), answer("1"), answer("2"))
    turns = [await chat.say(f"Question {n}") for n in range(3)]
    await chat.half_close()
    events = await chat.rest()
    assert ends(events) == [("turn_completed", turn_id) for turn_id in turns]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert (await chat.end()).code is grpc.StatusCode.OK


async def test_nine_messages_at_once_are_one_that_runs_and_eight_that_wait(
    chat: Chat, model: FakeOpenAI
) -> None:
    model.script_with(lambda _: answer("done", pause=0.05))
    for number in range(9):
        await chat.say(f"Question {number}")
    await chat.half_close()
    events = await chat.rest()
    assert kinds(events).count("turn_completed") == 9
    assert "frame_rejected" not in kinds(events)


async def test_an_interrupt_cancels_what_runs(chat: Chat, model: FakeOpenAI) -> None:
    first = await speaking(chat, model)
    waiting = await chat.say("later")
    await chat.expect("turn_queued")
    model.script(answer("now"), answer("later"))
    second = await chat.say("now", busy_policy=INTERRUPT)
    events = await chat.until("turn_cancelled")
    cancelled = events[-1]
    assert cancelled.turn_id == first
    cause = cancelled.turn_cancelled.cause
    assert cause == resources_pb2.CANCEL_CAUSE_INTERRUPTED_BY_NEW_TURN
    assert kinds(events).count("message_completed") == 1, "what was said stays said"
    await eventually(lambda: model.aborted_streams == 1)
    await chat.half_close()
    assert ends(await chat.rest()) == [("turn_completed", second), ("turn_completed", waiting)]


async def test_an_interrupt_right_behind_its_victim(chat: Chat, model: FakeOpenAI) -> None:
    model.script_with(lambda request: answer(request["messages"][-1]["content"], pause=0.05))
    turns = [await chat.say(f"Question {n}", busy_policy=INTERRUPT) for n in range(5)]
    await chat.half_close()
    events = await chat.rest()
    outcome = {turn_id: end for end, turn_id in ends(events)}
    assert len(ends(events)) == 5
    assert outcome[turns[-1]] == "turn_completed"
    assert [outcome[turn_id] for turn_id in turns[:-1]] == ["turn_cancelled"] * 4


async def test_a_message_may_refuse_to_wait(chat: Chat, model: FakeOpenAI) -> None:
    active = await speaking(chat, model)
    await chat.say("Now or never", frame_id="now", busy_policy=REJECT)
    rejected = await chat.expect("frame_rejected")
    assert rejected.in_reply_to == "now"
    assert reason_of(rejected.frame_rejected.status) == "TURN_IN_PROGRESS"
    await chat.cancel(active)
    await chat.until("turn_cancelled")
    model.script(answer("Free"))
    assert kind((await chat.turn("Again", busy_policy=REJECT))[-1]) == "turn_completed"


@pytest.mark.parametrize("named", [True, False])
async def test_the_running_turn_is_cancelled(chat: Chat, model: FakeOpenAI, named: bool) -> None:
    turn_id = await speaking(chat, model)
    assert model.open_streams == 1
    await chat.cancel(turn_id if named else "")
    events = await chat.until("turn_cancelled")
    (accepted,) = [event for event in events if kind(event) == "frame_accepted"]
    assert (accepted.in_reply_to, accepted.frame_accepted.no_effect) == ("cancel", False)
    cancelled = events[-1]
    assert cancelled.turn_id == turn_id
    assert cancelled.turn_cancelled.cause == resources_pb2.CANCEL_CAUSE_CLIENT
    await eventually(lambda: model.open_streams == 0, seconds=1)
    model.script(answer("Still here"))
    assert kind((await chat.turn("Go on"))[-1]) == "turn_completed"


async def test_a_waiting_turn_is_cancelled(chat: Chat, model: FakeOpenAI) -> None:
    running = await speaking(chat, model)
    waiting = await chat.say("later")
    await chat.expect("turn_queued")
    await chat.cancel(waiting)
    events = await chat.until("turn_cancelled")
    assert events[-1].turn_id == waiting
    requests = len(model.requests)
    await chat.cancel(running)
    await chat.half_close()
    assert ends(await chat.rest()) == [("turn_cancelled", running)]
    assert len(model.requests) == requests


async def test_a_turn_cancelled_before_its_first_step(chat: Chat, model: FakeOpenAI) -> None:
    model.script_with(lambda _: answer("too late"))
    turn_id = str(uuid4())
    for _ in range(2):
        await chat.say("Go", turn_id)
        await chat.cancel(turn_id)
    await chat.half_close()
    events = await chat.rest()
    assert len(ends(events)) == 1
    assert ends(events)[0][1] == turn_id
    assert len(model.requests) <= 1


async def test_cancelling_what_is_not_there_has_no_effect(chat: Chat, model: FakeOpenAI) -> None:
    for turn_id in (str(uuid4()), ""):
        await chat.cancel(turn_id)
        assert (await chat.expect("frame_accepted")).frame_accepted.no_effect
    model.script(answer("done"))
    events = await chat.turn("Go")
    await chat.cancel(events[-1].turn_id)
    assert (await chat.expect("frame_accepted")).frame_accepted.no_effect


async def test_a_turn_sent_again_is_not_run_again(chat: Chat, model: FakeOpenAI) -> None:
    turn_id = await speaking(chat, model, "Go")
    await chat.say("Go", turn_id, frame_id="again")
    accepted = await chat.expect("frame_accepted")
    assert (accepted.in_reply_to, accepted.frame_accepted.no_effect) == ("again", True)
    await chat.say("Go on", turn_id, frame_id="other")
    rejected = (await chat.expect("frame_rejected")).frame_rejected
    assert reason_of(rejected.status) == "TURN_ID_REUSED"
    await chat.cancel(turn_id)
    await chat.until("turn_cancelled")
    await chat.say("Go", turn_id)
    assert (await chat.expect("frame_accepted")).frame_accepted.no_effect
    assert len(model.requests) == 1


async def test_a_session_that_is_ended_cancels_its_turns(chat: Chat, model: FakeOpenAI) -> None:
    running = await speaking(chat, model)
    waiting = await chat.say("later")
    await chat.expect("turn_queued")
    await chat.send("end", end_session=chat_pb2.EndSessionFrame())
    await chat.say("too late", frame_id="late")
    events = await chat.rest()
    assert sorted(ends(events)) == sorted(
        [("turn_cancelled", waiting), ("turn_cancelled", running)]
    )
    causes = {e.turn_cancelled.cause for e in events if kind(e) == "turn_cancelled"}
    assert causes == {resources_pb2.CANCEL_CAUSE_SESSION_ENDED}
    stored = [event for event in events if event.sequence]
    assert kind(stored[-1]) == "session_ended"
    for event in events:
        if kind(event) == "frame_rejected":
            assert reason_of(event.frame_rejected.status) == "WRONG_STATE"
    assert (await chat.end()).code is grpc.StatusCode.OK
    assert len(model.requests) == 1


async def test_cancels_that_race_with_the_end(chat: Chat, model: FakeOpenAI) -> None:
    model.script_with(lambda _: answer("done"))
    for _ in range(25):
        turn_id = await chat.say("Go")
        await chat.until("text_delta")
        await chat.cancel(turn_id)
        await chat.ping()
        seen: list[str] = []
        while not {"pong"} <= set(seen) or not set(TERMINAL) & set(seen):
            event = await chat.read()
            assert event is not None
            seen.append(kind(event))
    turns = [event for event in chat.seen if kind(event) in TERMINAL]
    assert len(turns) == len({event.turn_id for event in turns}) == 25
    accepted = [e.frame_accepted.no_effect for e in chat.seen if kind(e) == "frame_accepted"]
    cancelled = [kind(event) == "turn_cancelled" for event in turns]
    assert [not effect for effect in accepted] == cancelled
