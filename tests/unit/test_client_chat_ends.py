"""A chat through the client: refusals, ends, and what is left behind."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from interview_client import (
    ChatSession,
    InterviewError,
    PermissionDenied,
    StreamEnded,
    TokenRevoked,
    Unauthenticated,
    kind_of,
)
from interview_client.messages import GoAwayReason

from server.generated.interview.agent.v1 import chat_pb2
from tests.support.scripted_chat import (
    Event,
    Parrot,
    delta,
    event,
    playing,
    rejected,
    text_of,
)
from tests.support.scripted_server import (
    Context,
    Script,
    TokenMill,
    bearer_of,
    connected,
    fail,
    info,
    ready,
    status_of,
)


async def test_a_refused_message_raises_and_the_chat_goes_on() -> None:
    class Strict(Parrot):
        def answers(self, frame: chat_pb2.ChatRequest) -> list[Event]:
            if frame.user_message.text == "again":
                reused = info("TURN_ID_REUSED", turn_id=frame.user_message.turn_id)
                status = status_of(grpc.StatusCode.ALREADY_EXISTS, "used before", reused)
                return [event("heartbeat"), rejected(frame.frame_id, status)]
            return super().answers(frame)

    async with connected(Script(Chat=Strict())) as client, client.chat() as chat:
        with pytest.raises(InterviewError) as caught:
            await text_of(chat.turn("again", "turn-1"))
        assert caught.value.reason == "TURN_ID_REUSED"
        assert caught.value.metadata == {"turn_id": "turn-1"}
        assert await text_of(chat.turn("fine")) == ["fine"]


async def test_a_chat_that_may_not_be_opened_raises_at_once() -> None:
    async def refuse(requests: Any, context: Context) -> AsyncIterator[Event]:
        if not bearer_of(context):
            await fail(context, grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
        yield ready()

    async with connected(Script(Chat=refuse)) as client:
        with pytest.raises(PermissionDenied):
            async with client.chat():
                pass


async def test_a_first_frame_that_is_refused_raises_at_once() -> None:
    status = status_of(grpc.StatusCode.INVALID_ARGUMENT, "no", info("VALIDATION_FAILED"))
    async with connected(Script(Chat=playing(rejected("", status)))) as client:
        with pytest.raises(InterviewError, match="VALIDATION_FAILED"):
            async with client.chat():
                pass


async def test_a_stream_that_ends_badly_says_why_every_time() -> None:
    play = playing(ready(), delta("a", 1, "t"), code=grpc.StatusCode.UNAUTHENTICATED)
    async with connected(Script(Chat=play)) as client, client.chat() as chat:
        assert (await anext(chat)).sequence == 1
        for _ in range(2):
            with pytest.raises(TokenRevoked):
                await anext(chat)
            with pytest.raises(TokenRevoked):
                await chat.rest()
        with pytest.raises(Unauthenticated):
            await chat.send("anybody there?")


async def test_who_rests_keeps_what_comes_and_can_give_up() -> None:
    said = asyncio.Event()

    async def play(requests: Any, context: Context) -> AsyncIterator[Event]:
        await anext(requests)
        yield ready()
        for one in (event("heartbeat"), delta("a", 1, "t")):
            yield one
        await said.wait()
        yield delta("b", 2, "t")

    async with connected(Script(Chat=play)) as client, client.chat() as chat:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(chat.rest(), 0.1)
        said.set()
        await chat.rest()
        assert await text_of(chat) == ["a", "b"]


async def test_a_stream_that_ends_before_the_turn_is_an_error() -> None:
    async def play(requests: Any, context: Context) -> AsyncIterator[Event]:
        await anext(requests)
        yield ready()
        message = (await anext(requests)).user_message
        yield event("turn_started", 1, message.turn_id)
        go_away = chat_pb2.GoAway(reason=chat_pb2.GO_AWAY_REASON_SERVER_DRAINING)
        yield event("go_away", go_away=go_away)

    async with connected(Script(Chat=play)) as client, client.chat() as chat:
        turn = chat.turn("hello")
        assert kind_of(await anext(turn)) == "turn_started"
        with pytest.raises(StreamEnded):
            await anext(turn)
        assert chat.go_away is not None
        assert chat.go_away.reason is GoAwayReason.SERVER_DRAINING
        with pytest.raises(StreamEnded):
            await chat.send("more")


async def test_a_chat_renews_its_credential_when_the_server_asks() -> None:
    renewed: list[str] = []

    async def play(requests: Any, context: Context) -> AsyncIterator[Event]:
        await anext(requests)
        yield ready()
        yield event("credential_expiring")
        renewed.append((await anext(requests)).refresh_credential.access_token)
        yield event("heartbeat")

    hour = timedelta(hours=1)
    mill = TokenMill(refresh_after=hour, lifetime=hour, now=lambda: datetime.now(UTC))
    script = Script(Chat=play, Login=mill.login, RefreshToken=mill.refresh)
    async with connected(script) as client:
        await client.sign_in("a@b.example", "right")
        async with client.chat() as chat:
            assert [kind_of(one) async for one in chat] == ["credential_expiring", "heartbeat"]
    assert renewed == ["access-2"]


async def test_leaving_a_chat_ends_its_stream_and_its_tasks() -> None:
    gone = asyncio.Event()

    async def play(requests: Any, context: Context) -> AsyncIterator[Event]:
        try:
            await anext(requests)
            yield ready()
            await asyncio.sleep(60)
        finally:
            gone.set()

    async def wait_for_event(chat: ChatSession) -> None:
        with pytest.raises(StreamEnded):
            await anext(chat)

    async with connected(Script(Chat=play)) as client:
        before = asyncio.all_tasks()
        async with client.chat() as chat:
            waiting = asyncio.create_task(wait_for_event(chat))
            await asyncio.sleep(0)
        await asyncio.wait_for(waiting, 5)
        await asyncio.wait_for(gone.wait(), 5)
        left = {task for task in asyncio.all_tasks() - before if "client" in repr(task)}
        assert left == set()
