"""Sign-in, and tokens that are renewed once, in time and without loss."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from interview_client import (
    InterviewClient,
    LoginFailed,
    MemoryTokenStore,
    RefreshTokenReused,
    TokenExpired,
    TokenRevoked,
    Tokens,
    Unauthenticated,
    Unavailable,
)

from server.generated.interview.catalogue.v1 import resources_pb2
from tests.support.scripted_server import (
    Context,
    Script,
    TokenMill,
    bearer_of,
    connected,
    fail,
    failing,
    in_turn,
    ready,
    serving,
)


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def mill(clock: Clock) -> TokenMill:
    return TokenMill(refresh_after=timedelta(minutes=10), lifetime=timedelta(minutes=15), now=clock)


async def film(request: Any, context: Context) -> Message:
    return resources_pb2.Film(name=request.name)


def script_of(mill: TokenMill, **answers: Any) -> Script:
    standard = {"Login": mill.login, "RefreshToken": mill.refresh, "Logout": mill.logout}
    return Script(**{**standard, "GetFilm": film, **answers})


async def _sign_in(client: InterviewClient) -> None:
    user = await client.sign_in("a@b.example", "right", device_label="test")
    assert user.name == "users/1"


async def test_calls_before_sign_in_carry_no_token_and_after_it_the_new_one(
    mill: TokenMill, clock: Clock
) -> None:
    async def chat(requests: Any, context: Context) -> Any:
        await anext(requests)
        yield ready()

    async def run_turn(request: Any, context: Context) -> Any:
        yield ready()

    script = script_of(mill, Chat=chat, RunTurn=run_turn)
    async with connected(script, clock=clock) as client:
        await client.catalogue.get_film(1)
        await _sign_in(client)
        await client.catalogue.get_film(2)
        async with client.chat():
            pass
        assert [event.session_ready is not None async for event in client.run_turn("hi")] == [True]
    tokens = {name: [token for _, token in calls] for name, calls in script.calls.items()}
    assert tokens == {
        "GetFilm": ["", "access-1"],
        "Login": [""],
        "Chat": ["access-1"],
        "RunTurn": ["access-1"],
    }


async def test_a_wrong_password_leaves_nobody_signed_in(mill: TokenMill, clock: Clock) -> None:
    store = MemoryTokenStore()
    async with connected(script_of(mill), token_store=store, clock=clock) as client:
        with pytest.raises(LoginFailed):
            await client.sign_in("a@b.example", "wrong")
    assert await store.load() is None


async def test_twenty_calls_at_once_renew_the_token_once(mill: TokenMill, clock: Clock) -> None:
    script = script_of(mill)
    async with connected(script, clock=clock) as client:
        await _sign_in(client)
        clock.advance(599)
        await client.catalogue.get_film(1)
        assert script.count("RefreshToken") == 0
        clock.advance(1)
        films = await asyncio.gather(*(client.catalogue.get_film(n) for n in range(1, 21)))
    assert [one.name for one in films] == [f"films/{n}" for n in range(1, 21)]
    assert script.count("RefreshToken") == 1
    assert [token for _, token in script.calls["GetFilm"]][1:] == ["access-2"] * 20


async def test_a_token_that_the_server_finds_expired_is_renewed_and_the_call_repeated(
    mill: TokenMill, clock: Clock
) -> None:
    async def strict(request: Any, context: Context) -> Message:
        if bearer_of(context) == "access-1":
            await fail(context, grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")
        return await film(request, context)

    script = script_of(mill, GetFilm=strict)
    async with connected(script, clock=clock) as client:
        await _sign_in(client)
        films = await asyncio.gather(*(client.catalogue.get_film(n) for n in range(1, 6)))
    assert len(films) == 5
    assert script.count("RefreshToken") == 1


async def test_a_token_that_stays_expired_ends_in_an_error_not_in_a_circle(
    mill: TokenMill, clock: Clock
) -> None:
    script = script_of(mill, GetFilm=failing(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED"))
    async with connected(script, clock=clock) as client:
        await _sign_in(client)
        with pytest.raises(TokenExpired):
            await client.catalogue.get_film(1)
    assert script.count("GetFilm") == 2


async def test_a_caller_that_gives_up_does_not_lose_the_new_tokens(
    mill: TokenMill, clock: Clock
) -> None:
    asked = asyncio.Event()
    go_on = asyncio.Event()

    async def slow(request: Any, context: Context) -> Message:
        answer = await mill.refresh(request, context)
        asked.set()
        await go_on.wait()
        return answer

    script = script_of(mill, RefreshToken=slow)
    async with connected(script, clock=clock) as client:
        await _sign_in(client)
        clock.advance(600)
        impatient = asyncio.create_task(client.catalogue.get_film(1))
        await asked.wait()
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        go_on.set()
        await client.catalogue.get_film(2)
    assert mill.used == ["refresh-1"]
    assert [token for _, token in script.calls["GetFilm"]] == ["access-2"]


async def test_a_refresh_that_fails_for_now_leaves_the_old_token_in_use_while_it_lasts(
    mill: TokenMill, clock: Clock
) -> None:
    script = script_of(
        mill, RefreshToken=failing(grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
    )
    async with connected(script, clock=clock) as client:
        await _sign_in(client)
        clock.advance(600)
        await client.catalogue.get_film(1)
        clock.advance(300)
        with pytest.raises(Unavailable):
            await client.catalogue.get_film(1)
    assert [token for _, token in script.calls["GetFilm"]] == ["access-1"]


async def test_a_stolen_refresh_token_ends_the_login_session_here_too(
    mill: TokenMill, clock: Clock
) -> None:
    store = MemoryTokenStore()
    async with connected(script_of(mill), token_store=store, clock=clock) as client:
        await _sign_in(client)
        mill.pair()  # somebody else used our refresh token
        clock.advance(600)
        with pytest.raises(RefreshTokenReused):
            await client.catalogue.get_film(1)
        assert await store.load() is None
        await client.catalogue.get_film(1)


async def test_signing_out_forgets_the_tokens_even_if_the_server_cannot_be_told(
    mill: TokenMill, clock: Clock
) -> None:
    store = MemoryTokenStore()
    away = failing(grpc.StatusCode.INTERNAL)
    script = script_of(mill, Logout=in_turn(mill.logout, away))
    async with connected(script, token_store=store, clock=clock) as client:
        await client.sign_out()
        assert script.count("Logout") == 0
        await _sign_in(client)
        await client.sign_out(all_sessions=True)
        request, token = script.calls["Logout"][0]
        assert (request.all_sessions, token) == (True, "access-1")
        assert await store.load() is None
        await _sign_in(client)
        with pytest.raises(Exception, match="INTERNAL"):
            await client.sign_out()
    assert await store.load() is None


async def test_signing_out_of_a_session_that_is_over_is_no_error(
    mill: TokenMill, clock: Clock
) -> None:
    over = failing(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_REVOKED")
    async with connected(script_of(mill, Logout=over), clock=clock) as client:
        await _sign_in(client)
        await client.sign_out()


async def test_another_client_goes_on_with_kept_tokens(mill: TokenMill, clock: Clock) -> None:
    store = MemoryTokenStore()
    async with connected(script_of(mill), token_store=store, clock=clock) as client:
        await _sign_in(client)
    kept = await store.load()
    assert kept is not None
    again = MemoryTokenStore(Tokens.from_json(kept.to_json()))
    script = script_of(mill)
    async with connected(script, token_store=again, clock=clock) as client:
        await client.catalogue.get_film(1)
    assert script.calls["GetFilm"][0][1] == "access-1"


def test_tokens_hide_their_secrets_and_refuse_broken_json() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    tokens = Tokens("secret-a", "secret-r", now, now)
    assert "secret" not in repr(tokens)
    assert Tokens.from_json(tokens.to_json()) == tokens
    for text in ("", "[]", "{}", '{"access_token": "a"}', '{"access_expire_time": 1}'):
        with pytest.raises(ValueError, match=r"."):
            Tokens.from_json(text)


async def test_a_refresh_whose_answer_was_lost_is_repeated_as_it_was(
    mill: TokenMill, clock: Clock
) -> None:
    """RFC 9700 4.14.2: a used refresh token that comes again is a theft, unless it is a repeat."""
    script = Script(Login=mill.login, GetFilm=film)
    lost = failing(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    script.answers["RefreshToken"] = in_turn(lost, mill.refresh, mill.refresh)
    async with connected(script, clock=clock) as client:
        await client.sign_in("a@b.example", "right")
        clock.advance(700)
        await client.catalogue.get_film(1)  # the old token is good for a while
        await client.catalogue.get_film(1)
        clock.advance(700)
        await client.catalogue.get_film(1)
    first, repeat, later = (request for request, _ in script.calls["RefreshToken"])
    assert first.request_id != ""
    assert (repeat.refresh_token, repeat.request_id) == (first.refresh_token, first.request_id)
    assert later.refresh_token != first.refresh_token
    assert later.request_id != first.request_id


async def test_a_token_whose_key_is_gone_is_renewed(mill: TokenMill, clock: Clock) -> None:
    refused = failing(grpc.StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID")
    script = Script(Login=mill.login, RefreshToken=mill.refresh, GetFilm=in_turn(refused, film))
    async with connected(script, clock=clock) as client:
        await client.sign_in("a@b.example", "right")
        assert (await client.catalogue.get_film(1)).name == "films/1"
    assert script.count("RefreshToken") == 1


async def test_a_session_that_was_revoked_is_not_renewed(mill: TokenMill, clock: Clock) -> None:
    revoked = failing(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_REVOKED")
    script = Script(Login=mill.login, RefreshToken=mill.refresh, GetFilm=revoked)
    async with connected(script, clock=clock) as client:
        await client.sign_in("a@b.example", "right")
        with pytest.raises(TokenRevoked):
            await client.catalogue.get_film(1)
    assert script.count("RefreshToken") == 0


async def test_an_api_key_is_sent_with_every_call_and_never_renewed() -> None:
    refused = failing(grpc.StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID")
    script = Script(GetFilm=in_turn(film, refused))
    async with serving(script) as target, InterviewClient(target, api_key="ik_secret") as client:
        await client.catalogue.get_film(1)
        with pytest.raises(Unauthenticated):
            await client.catalogue.get_film(2)
        with pytest.raises(RuntimeError, match="calls with an API key"):
            await client.sign_in("a@b.example", "right")
    assert script.count("Login") == 0
    assert [token for _, token in script.calls["GetFilm"]] == ["ik_secret", "ik_secret"]
