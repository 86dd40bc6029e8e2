"""What a caller is told about its own request: one test per row, on both databases."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import ColumnElement, select, update

from server.auth.models import AppUser, AppUserRole
from server.generated.interview.agent.v1 import agent_service_pb2, chat_pb2
from server.generated.interview.auth.v1 import auth_service_pb2
from server.generated.interview.catalogue.v1 import film_pb2, resources_pb2
from tests.support.auth import MovableClock
from tests.support.caller import Caller
from tests.support.chat_driver import Chat
from tests.support.running import ADMIN, PASSWORD, VIEWER, Running, running_server
from tests.support.statuses import check_call, refused, row

Prepare = Callable[[Caller], Awaitable[Any]]
"""Returns the call that must fail."""

GET_FILM = "/interview.catalogue.v1.CatalogueService/GetFilm"
PROTECTED = [
    GET_FILM,
    "/interview.auth.v1.AuthService/Logout",
    "/interview.agent.v1.AgentService/Ask",
    "/interview.agent.v1.AgentService/Chat",
]
NO_SESSION = "sessions/00000000-0000-4000-8000-000000000000"
FULL = resources_pb2.FILM_VIEW_FULL


def _films(**fields: Any) -> Prepare:
    async def call(caller: Caller) -> Any:
        return caller.ListFilms(film_pb2.ListFilmsRequest(**fields))

    return call


def _film(name: str) -> Prepare:
    async def call(caller: Caller) -> Any:
        return caller.GetFilm(film_pb2.GetFilmRequest(name=name))

    return call


def _bytes(message: bytes, path: str = GET_FILM) -> Prepare:
    async def call(caller: Caller) -> Any:
        return caller.raw(path, message)

    return call


def _ask(**fields: Any) -> Prepare:
    async def call(caller: Caller) -> Any:
        return caller.Ask(agent_service_pb2.AskRequest(**fields))

    return call


def _login(email: str = VIEWER, password: str = PASSWORD, **fields: Any) -> Prepare:
    async def call(caller: Caller) -> Any:
        request = auth_service_pb2.LoginRequest(email=email, password=password, **fields)
        return caller.Login(request)

    return call


async def _token_of_other_arguments(caller: Caller) -> Any:
    page = await caller.ListFilms(film_pb2.ListFilmsRequest(page_size=1))
    request = film_pb2.ListFilmsRequest(page_token=page.next_page_token, filter="rating = PG")
    return caller.ListFilms(request)


def _many_comparisons(number: int) -> str:
    return " OR ".join(["release_year = 2000"] * number)


def _refresh(token: str) -> Prepare:
    async def call(caller: Caller) -> Any:
        return caller.RefreshToken(auth_service_pb2.RefreshTokenRequest(refresh_token=token))

    return call


async def _used_refresh_token(caller: Caller) -> Any:
    login = await (await _login()(caller))
    request = auth_service_pb2.RefreshTokenRequest(refresh_token=login.tokens.refresh_token)
    await caller.RefreshToken(request)
    return caller.RefreshToken(request)


async def _refresh_token_of_ended_session(caller: Caller) -> Any:
    login = await (await _login()(caller))
    owner = Caller(caller.running, (("authorization", f"Bearer {login.tokens.access_token}"),))
    await owner.Logout(auth_service_pb2.LogoutRequest())
    refresh_token = login.tokens.refresh_token
    return owner.RefreshToken(auth_service_pb2.RefreshTokenRequest(refresh_token=refresh_token))


async def _signed_out(caller: Caller) -> Any:
    await caller.Logout(auth_service_pb2.LogoutRequest())
    return caller.GetCurrentPrincipal(auth_service_pb2.GetCurrentPrincipalRequest())


ROWS = [
    row("VALIDATION_FAILED", "bytes that are no protobuf", _bytes(b"\xff\xff")),
    row("VALIDATION_FAILED", "text that is not UTF-8", _bytes(b"\x0a\x02\xff\xfe")),
    row("VALIDATION_FAILED", "a name of another form", _film("films/x")),
    row("VALIDATION_FAILED", "a number of 400 digits", _film("films/" + "9" * 400)),
    row("VALIDATION_FAILED", "a page size below zero", _films(page_size=-1)),
    row("VALIDATION_FAILED", "an unknown value of an enum", _films(view=77)),
    row("VALIDATION_FAILED", "NUL in a question", _ask(question="a\0b")),
    row("VALIDATION_FAILED", "NUL in an address", _login("a\0@example.com")),
    row("VALIDATION_FAILED", "NUL in a label", _login(device_label="a\0b")),
    row("FILTER_SYNTAX", "NUL in a filter", _films(filter='title = "a\0b"')),
    row("FILTER_SYNTAX", "a filter that ends too soon", _films(filter="title = ")),
    row("FILTER_UNKNOWN_FIELD", "a misspelt field", _films(filter="raiting = PG")),
    row("FILTER_TYPE_MISMATCH", "a word for a number", _films(filter="length_minutes = x")),
    row("FILTER_TYPE_MISMATCH", "no year", _films(filter="release_year = " + "9" * 30)),
    row("FILTER_TOO_COMPLEX", "33 comparisons", _films(filter=_many_comparisons(33))),
    row("ORDER_BY_INVALID", "an order by no field", _films(order_by="colour")),
    row("PAGE_TOKEN_INVALID", "a page token that is none", _films(page_token="next please")),
    row("PAGE_TOKEN_MISMATCH", "a token of other arguments", _token_of_other_arguments),
    row("LOGIN_FAILED", "a wrong password", _login(password="not this one, not this one")),
    row("LOGIN_FAILED", "an unknown user", _login("nobody@example.com")),
    row("LOGIN_FAILED", "a password of 1000 bytes", _login(password="p" * 1000)),
    row("CREDENTIAL_INVALID", "a refresh token that is none", _refresh("rt_" + "x" * 43)),
    row("TOKEN_REVOKED", "an access token after the sign-out", _signed_out),
    row("TOKEN_REVOKED", "a refresh token after the sign-out", _refresh_token_of_ended_session),
    row("REFRESH_TOKEN_REUSED", "a refresh token used twice", _used_refresh_token),
    row("RESOURCE_NOT_FOUND", "no such film", _film("films/999999")),
    row("RESOURCE_NOT_FOUND", "a number above every column's", _film("films/9999999999")),
    row("RESOURCE_NOT_FOUND", "no such session", _ask(question="why", session=NO_SESSION)),
    row("METHOD_UNKNOWN", "no such method", _bytes(b"", GET_FILM + "s")),
    row("METHOD_UNKNOWN", "no such service", _bytes(b"", "/nobody.v1.Nobody/Nothing")),
]


@pytest.mark.parametrize(("reason", "prepare"), ROWS)
async def test_row(shared: Running, reason: str, prepare: Prepare) -> None:
    caller = await Caller.signed_in(shared)
    told = await check_call(shared, await prepare(caller), reason)
    if reason == "VALIDATION_FAILED":
        assert told.metadata["violation_count"] == str(len(told.bad_fields)) == "1"


@pytest.mark.parametrize(
    ("reason", "value"),
    [
        row("CREDENTIAL_MISSING", "none", ""),
        row("CREDENTIAL_INVALID", "another scheme", "Basic dXNlcjpwYXNz"),
        row("CREDENTIAL_INVALID", "no token", "Bearer "),
        row("CREDENTIAL_INVALID", "no JWT", "Bearer nonsense"),
        row("CREDENTIAL_INVALID", "a JWT of somebody", "Bearer eyJhbGciOiJub25lIn0.e30."),
    ],
)
@pytest.mark.parametrize("path", PROTECTED)
async def test_credential(shared: Running, reason: str, value: str, path: str) -> None:
    stranger = Caller(shared, (("authorization", value),) if value else ())
    # What else is wrong with the call is not said to a stranger.
    await check_call(shared, stranger.raw(path, b"\xff"), reason)


async def test_a_token_expires(shared: Running, movable: MovableClock) -> None:
    caller = await Caller.signed_in(shared)
    movable.advance(minutes=16)
    told = await check_call(shared, await _film("films/1")(caller), "TOKEN_EXPIRED")
    assert datetime.fromisoformat(told.metadata["expired_at"]) < movable()


async def test_a_page_token_expires(shared: Running, movable: MovableClock) -> None:
    caller = await Caller.signed_in(shared)
    page = await caller.ListFilms(film_pb2.ListFilmsRequest(page_size=1))
    movable.advance(hours=73)
    late = await Caller.signed_in(shared)
    request = film_pb2.ListFilmsRequest(page_token=page.next_page_token)
    await check_call(shared, late.ListFilms(request), "PAGE_TOKEN_EXPIRED")


async def test_all_bad_fields_are_told_at_once(shared: Running) -> None:
    caller = await Caller.signed_in(shared)
    call = _ask(session="sessions/1", question=" ", request_id="x")
    told = await check_call(shared, await call(caller), "VALIDATION_FAILED")
    assert told.bad_fields == ["session", "question", "request_id"]
    assert told.metadata["violation_count"] == "3"


async def test_a_user_without_the_permission_is_told_which(shared: Running) -> None:
    await shared.app.users.create_user(email := f"{uuid4().hex}@example.com", PASSWORD, ["viewer"])
    async with shared.app.database.write() as write:
        await write.execute(update(AppUserRole).where(_has(email)).values(role="ghost"))
    powerless = await Caller.signed_in(shared, email)
    for call, permission in ((_film("films/1"), "films.read"), (_ask(question="a"), "agent.chat")):
        told = await check_call(shared, await call(powerless), "PERMISSION_DENIED")
        assert told.metadata["permission"] == permission
        assert told.metadata["subject"].startswith("users/")


async def test_what_is_anothers_is_absent(shared: Running) -> None:
    owner, other = await Caller.signed_in(shared), await Caller.signed_in(shared, ADMIN)
    answer = await owner.Ask(agent_service_pb2.AskRequest(question="Which films are there?"))
    foreign = await check_call(
        shared, await _ask(question="a", session=answer.session)(other), "RESOURCE_NOT_FOUND"
    )
    absent = await refused(await _ask(question="a", session=NO_SESSION)(other))
    assert foreign.message.replace(answer.session, NO_SESSION) == absent.message


async def test_an_id_that_is_taken_is_told_with_the_resource(shared: Running) -> None:
    taken = str(uuid4())
    for email in (VIEWER, ADMIN):
        chat = Chat(shared.channel, await shared.sign_in(email))
        await chat.send(start=chat_pb2.StartFrame(session_id=taken))
        if email == VIEWER:
            await chat.expect("session_ready")
        await chat.half_close()
        await chat.rest()
    told = await check_call(shared, chat.call.read(), "RESOURCE_EXISTS")
    assert told.by_kind["ResourceInfo"].resource_name == f"sessions/{taken}"


async def test_an_answer_above_the_limit_is_told(sample_database_url: str, tmp_path: Path) -> None:
    async with running_server(
        sample_database_url, tmp_path, max_send_message_bytes=65_536
    ) as server:
        caller = await Caller.signed_in(server)
        call = caller.ListFilms(film_pb2.ListFilmsRequest(page_size=1000, view=FULL))
        await check_call(server, call, "ANSWER_TOO_LARGE")


def _has(email: str) -> ColumnElement[bool]:
    user = select(AppUser.user_id).where(AppUser.email == email).scalar_subquery()
    return AppUserRole.user_id == user
