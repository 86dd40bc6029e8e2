"""What ends in one process ends in every other, and the streams that are open there with it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from server.generated.interview.agent.v1 import chat_pb2, resources_pb2
from tests.support.api_keys import Owner
from tests.support.chat_driver import (
    Chat,
    Problem,
    another_server,
    eventually,
    kind,
    kinds,
    reason_of,
)
from tests.support.fake_openai import FakeOpenAI, Pause, answer, running_fake_openai, words
from tests.support.revoked import Login, bar, end_sessions, how_it_ends, set_roles
from tests.support.running import Running, running_server

POLL = 0.2
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
WORKING = [*words("Once "), Pause(30)]


@pytest.fixture
async def model() -> AsyncIterator[FakeOpenAI]:
    async with running_fake_openai() as server:
        yield server


def settings_of(model: FakeOpenAI, poll: float) -> dict[str, Any]:
    return {
        "openai_base_url": model.base_url,
        "openai_api_key": "sk-test",
        "revocation_poll_seconds": poll,
    }


@pytest.fixture
async def here(
    sample_database_url: str, tmp_path: Path, model: FakeOpenAI
) -> AsyncIterator[Running]:
    """A server that looks often what changed elsewhere, on each kind of database."""
    async with running_server(sample_database_url, tmp_path, **settings_of(model, POLL)) as server:
        await server.app.agents_ready()
        yield server


@pytest.fixture
async def there(here: Running) -> AsyncIterator[Running]:
    """One more server over the same database."""
    async with another_server(here) as server:
        yield server


@pytest.fixture
async def alone(
    sqlite_templates: dict[str, Path], tmp_path: Path, model: FakeOpenAI
) -> AsyncIterator[Running]:
    """A server that does not look for what changed elsewhere while a test lasts."""
    file = tmp_path / "alone.db"
    file.write_bytes(sqlite_templates["sample"].read_bytes())
    url = f"sqlite+aiosqlite:///{file}"
    async with running_server(url, tmp_path, **settings_of(model, 10)) as server:
        await server.app.agents_ready()
        await asyncio.sleep(0.1)  # it has looked once
        yield server


async def opened(login: Login, server: Running) -> Chat:
    """Open a chat."""
    chat = Chat(server.channel, login.metadata)
    await chat.start()
    return chat


async def assert_ends_politely(chat: Chat, reason: str) -> None:
    """Hold that it says goodbye before its status."""
    events = await chat.rest()
    assert kind(events[-1]) == "go_away"
    assert events[-1].go_away.reason == chat_pb2.GO_AWAY_REASON_CREDENTIAL_EXPIRED
    assert kinds(events).count("go_away") == 1
    end = await chat.end()
    assert (end.code, end.reason) == (UNAUTHENTICATED, reason)


def told(end: Problem) -> tuple[grpc.StatusCode, str]:
    return end.code, end.reason


async def test_a_sign_out_is_known_elsewhere(
    here: Running, there: Running, model: FakeOpenAI
) -> None:
    """ASVS 7.4.1: calls, a chat and a turn of the session end within the poll, and no others."""
    mine, other = await Login.at(here), await Login.at(here)
    model.script(WORKING)
    chat, bystander = await opened(mine, there), await opened(other, there)
    turn = mine.run_turn(there)
    ending = asyncio.create_task(how_it_ends(turn))
    await eventually(lambda: model.open_streams == 1)
    assert await mine.refusal(there) == ""
    await mine.logout(here)
    async with asyncio.timeout(5):
        await assert_ends_politely(chat, "TOKEN_REVOKED")
        assert told(await ending) == (UNAUTHENTICATED, "TOKEN_REVOKED")
    assert await mine.refusal(there) == "TOKEN_REVOKED"
    await eventually(lambda: model.open_streams == 0, seconds=2)
    assert await other.refusal(there) == ""
    await bystander.ping()
    await bystander.expect("pong")
    await bystander.leave()


async def test_a_chat_that_was_ended_is_resumed_after_a_new_sign_in(
    here: Running, there: Running, model: FakeOpenAI
) -> None:
    """ASVS 7.4.1: its running turn ends too, and is stored as cancelled: nothing of it is lost."""
    mine = await Login.at(here)
    chat = await opened(mine, there)
    model.script(WORKING)
    await chat.say("Go")
    await chat.until("text_delta")
    await end_sessions(here)
    async with asyncio.timeout(5):
        await assert_ends_politely(chat, "TOKEN_REVOKED")
    again = Chat(here.channel, (await Login.at(here)).metadata)
    (*_, cancelled, _completed) = await again.resume(chat.seen[0].session_ready.session.name)
    assert cancelled.turn_cancelled.cause == resources_pb2.CANCEL_CAUSE_PRINCIPAL_REVOKED
    await again.leave()


async def test_a_user_who_is_barred_elsewhere(
    here: Running, there: Running, model: FakeOpenAI
) -> None:
    """ASVS 7.4.2: every session of the user ends, though none of them was ended by itself."""
    model.script(WORKING)
    first, second = await Login.at(here), await Login.at(there)
    chat = await opened(first, there)
    ending = asyncio.create_task(how_it_ends(second.run_turn(there)))
    await eventually(lambda: model.open_streams == 1)
    await bar(here)
    async with asyncio.timeout(5):
        await assert_ends_politely(chat, "TOKEN_REVOKED")
        assert told(await ending) == (UNAUTHENTICATED, "TOKEN_REVOKED")
    assert await first.refusal(there) == "TOKEN_REVOKED"


async def test_other_roles_are_taken_in_by_a_renewal(
    here: Running, there: Running, model: FakeOpenAI
) -> None:
    """ASVS 7.4, RFC 9700 2.2: the chat is warned, and goes on by a token with the new roles."""
    mine = await Login.at(here)
    chat = await opened(mine, there)
    await set_roles(here, "viewer", "customer")
    warning = await chat.expect("credential_expiring")
    left = warning.credential_expiring.expire_time.ToDatetime() - warning.emit_time.ToDatetime()
    assert timedelta(seconds=59) < left <= timedelta(seconds=60)
    assert await mine.refusal(there) == "TOKEN_EXPIRED"
    await chat.send("old", refresh_credential=refresh(mine.token))
    rejected = await chat.expect("frame_rejected")
    assert reason_of(rejected.frame_rejected.status) == "TOKEN_EXPIRED"
    new = await mine.refreshed(here)
    assert await new.refusal(there) == ""
    await chat.send("new", refresh_credential=refresh(new.token))
    await chat.expect("frame_accepted")
    model.script(answer("Still here"))
    assert kind((await chat.turn("Hi"))[-1]) == "turn_completed"
    await new.logout(here)
    async with asyncio.timeout(5):
        await assert_ends_politely(chat, "TOKEN_REVOKED")


def refresh(credential: str) -> chat_pb2.RefreshCredentialFrame:
    return chat_pb2.RefreshCredentialFrame(access_token=credential)


async def test_a_renewal_by_who_may_chat_no_more_ends_the_chat(
    here: Running, there: Running, model: FakeOpenAI
) -> None:
    """ASVS 8.3.2: a permission that was taken away ends the chat that needs it."""
    mine = await Login.at(here)
    chat = await opened(mine, there)
    model.script(WORKING)
    await chat.say("Go")
    await chat.until("text_delta")
    await set_roles(here)
    await chat.expect("credential_expiring")
    new = await mine.refreshed(here)
    await chat.send("new", refresh_credential=refresh(new.token))
    await chat.rest()
    end = await chat.end()
    assert told(end) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
    assert end.metadata["permission"] == "agent.chat"
    await set_roles(here, "viewer")
    again = Chat(here.channel, (await new.refreshed(here)).metadata)
    (*_, cancelled, _completed) = await again.resume(chat.seen[0].session_ready.session.name)
    assert cancelled.turn_cancelled.cause == resources_pb2.CANCEL_CAUSE_PRINCIPAL_REVOKED
    await again.leave()


async def test_a_sign_out_ends_what_is_open_in_its_own_process_at_once(
    alone: Running, model: FakeOpenAI
) -> None:
    """ASVS 7.4.1: without a look at the database."""
    model.script(WORKING, WORKING)
    mine = await Login.at(alone)
    chat = await opened(mine, alone)
    turn = asyncio.create_task(how_it_ends(mine.run_turn(alone)))
    question = asyncio.create_task(_asked(mine.ask(alone)))
    await eventually(lambda: model.open_streams == 2)
    await mine.logout(alone)
    async with asyncio.timeout(1):
        await assert_ends_politely(chat, "TOKEN_REVOKED")
        assert told(await turn) == (UNAUTHENTICATED, "TOKEN_REVOKED")
        assert told(await question) == (UNAUTHENTICATED, "TOKEN_REVOKED")
    assert await mine.refusal(alone) == "TOKEN_REVOKED"


async def _asked(call: Any) -> Problem:
    async def answers() -> AsyncIterator[Any]:
        yield await call

    return await how_it_ends(answers())


async def test_a_sign_out_everywhere_ends_the_chats_of_every_session(alone: Running) -> None:
    """ASVS 7.4.1, 7.5.2: users end all of their sessions, with the chats that are open."""
    first, second = await Login.at(alone), await Login.at(alone)
    chats = [await opened(login, alone) for login in (first, second)]
    await first.logout(alone, everywhere=True)
    async with asyncio.timeout(1):
        for chat in chats:
            await assert_ends_politely(chat, "TOKEN_REVOKED")


async def test_a_chat_goes_on_by_the_session_that_renewed_it(alone: Running) -> None:
    """ASVS 7.4.1: the first session may end: the stream is the second one's by then."""
    first, second = await Login.at(alone), await Login.at(alone)
    chat = await opened(first, alone)
    await chat.send("new", refresh_credential=refresh(second.token))
    await chat.expect("frame_accepted")
    await first.logout(alone)
    await chat.ping()
    await chat.expect("pong")
    await second.logout(alone)
    await assert_ends_politely(chat, "TOKEN_REVOKED")


async def test_a_token_that_was_revoked_renews_nothing(alone: Running) -> None:
    """ASVS 7.4.1: a renewal is checked as a call is."""
    first, second = await Login.at(alone), await Login.at(alone)
    chat = await opened(first, alone)
    await second.logout(alone)
    await chat.send("revoked", refresh_credential=refresh(second.token))
    rejected = await chat.expect("frame_rejected")
    assert reason_of(rejected.frame_rejected.status) == "TOKEN_REVOKED"
    await chat.ping()
    await chat.expect("pong")
    await chat.leave()


async def test_an_api_key_opens_and_renews_chats_until_it_is_deleted(alone: Running) -> None:
    """ASVS 7.4.1: a key has no end of its own; its deletion is one."""
    owner = await Owner.new(alone)
    first, second = await owner.create(), await owner.create()
    chat = Chat(alone.channel, (("x-api-key", first.secret),))
    ready = await chat.start()
    assert not ready.session_ready.HasField("credential_expire_time")
    await chat.send("key", refresh_credential=refresh(second.secret))
    await chat.expect("frame_accepted")
    await owner.delete(first.api_key.name)
    await chat.ping()
    await chat.expect("pong")
    await owner.delete(second.api_key.name)
    async with asyncio.timeout(1):
        await assert_ends_politely(chat, "TOKEN_REVOKED")
