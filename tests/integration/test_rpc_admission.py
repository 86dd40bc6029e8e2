"""A server that has more to do than it can: what its callers meet, class by class."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from interview_client import InterviewClient, RateLimited

from server.generated.interview.agent.v1 import agent_service_pb2
from server.generated.interview.auth.v1 import auth_service_pb2
from server.generated.interview.catalogue.v1 import film_pb2
from server.rpc.policy import CallClass
from tests.support.caller import Caller
from tests.support.chat_driver import Chat, eventually, kind, problem_of
from tests.support.databases import plain, postgres_copy
from tests.support.running import ADMIN, PASSWORD, VIEWER, Running, running_server
from tests.support.statuses import check_call, told_in

GET_FILM = "/interview.catalogue.v1.CatalogueService/GetFilm"
FILM = film_pb2.GetFilmRequest(name="films/1")
LOGIN = auth_service_pb2.LoginRequest(email=VIEWER, password=PASSWORD)
WRONG = auth_service_pb2.LoginRequest(email=VIEWER, password="not the password at all")
ME = auth_service_pb2.GetCurrentPrincipalRequest()
UNLIMITED: dict[str, Any] = {"read_rate": 0, "login_rate": 0, "agent_rate": 0}


@pytest.fixture
async def postgres_url(
    postgres_server: str, postgres_templates: dict[str, str]
) -> AsyncIterator[str]:
    """A PostgreSQL database with the sample films."""
    async with postgres_copy(postgres_server, postgres_templates["sample"]) as url:
        yield url


@asynccontextmanager
async def _films_locked(url: str) -> AsyncIterator[None]:
    """Let every read of a film wait."""
    connection = await asyncpg.connect(plain(url))
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE film IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


def _state(server: Running, call_class: CallClass) -> tuple[int, int]:
    """Return how many calls of a class run and wait."""
    admission = server.app.admission
    return admission.running(call_class), admission.waiting(call_class)


def _idle(server: Running) -> Callable[[], bool]:
    classes = [one for one in CallClass if one is not CallClass.PROBE]
    return lambda: all(_state(server, one) == (0, 0) for one in classes)


def _film(server: Running, metadata: Any, seconds: float = 4.0) -> Any:
    """Begin a read with a deadline."""
    call: Any = server.channel.unary_unary(GET_FILM)
    return call(FILM.SerializeToString(), metadata=metadata, timeout=seconds)


async def _ends(calls: list[Any]) -> Counter[str]:
    """Wait for calls and count them by the reason that they ended with; OK for an answer."""
    ends: Counter[str] = Counter()
    for end in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(end, grpc.aio.AioRpcError):
            ends[problem_of(end).reason or end.code().name] += 1
        else:
            assert isinstance(end, Message | bytes), end
            ends["OK"] += 1
    return ends


@asynccontextmanager
async def _watched(server: Running) -> AsyncIterator[list[float]]:
    """Ask for the health all the time; keep the seconds of each answer."""
    stub = health_pb2_grpc.HealthStub(server.channel)  # type: ignore[no-untyped-call]
    took: list[float] = []

    async def look() -> None:
        while True:
            begun = monotonic()
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=30)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            took.append(monotonic() - begun)
            await asyncio.sleep(0.01)

    looking = asyncio.create_task(look())
    try:
        yield took
    finally:
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking


async def test_reads_beyond_the_places_are_refused_in_time_and_health_goes_on_answering(
    postgres_url: str, tmp_path: Path
) -> None:
    async with running_server(
        postgres_url, tmp_path, max_running_reads=3, max_concurrent_streams=1000, **UNLIMITED
    ) as server:
        viewer = await server.sign_in()
        async with _watched(server) as health, _films_locked(postgres_url):
            running = [_film(server, viewer, 20) for _ in range(3)]
            await eventually(lambda: _state(server, CallClass.READ) == (3, 0))
            begun = monotonic()
            flood = await _ends([_film(server, viewer) for _ in range(300)])
            assert flood == {"RATE_LIMITED": 300}
            assert monotonic() - begun < 4.0, "a tenth of their time was enough for the refusals"
            assert _state(server, CallClass.READ) == (3, 0)
        assert await _ends(running) == {"OK": 3}
        assert len(health) > 3
        assert max(health) < 4
        await eventually(_idle(server))
        await check_film(server, viewer)


async def check_film(server: Running, metadata: Any) -> None:
    """Read a film as if nothing had been."""
    assert film_pb2.GetFilmRequest.FromString(await _film(server, metadata))


async def test_refusal_tells_the_limit_and_when_to_come_back(
    postgres_url: str, tmp_path: Path
) -> None:
    async with running_server(postgres_url, tmp_path, max_running_reads=1, **UNLIMITED) as server:
        caller = await Caller.signed_in(server)
        async with _films_locked(postgres_url):
            first = caller.GetFilm(FILM)
            await eventually(lambda: _state(server, CallClass.READ) == (1, 0))
            told = await check_call(server, caller.GetFilm(FILM), "RATE_LIMITED")
        await first
    assert told.metadata == {"bucket": "read", "limit": "1"}
    (violation,) = told.by_kind["QuotaFailure"].violations
    assert (violation.subject, violation.description) == ("server", "read: 1 calls at a time")
    delay = told.by_kind["RetryInfo"].retry_delay.ToTimedelta().total_seconds()
    assert 0.5 <= delay <= 1.5


async def test_reads_that_are_given_up_leave_no_place_taken(
    postgres_url: str, tmp_path: Path
) -> None:
    """Some are cancelled while they wait for a place, some while they wait for the database."""
    async with running_server(postgres_url, tmp_path, max_running_reads=2, **UNLIMITED) as server:
        viewer = await server.sign_in()
        async with _films_locked(postgres_url):
            for _ in range(5):
                calls = [_film(server, viewer, 20) for _ in range(6)]
                await eventually(lambda: _state(server, CallClass.READ) == (2, 4))
                for call in calls:
                    call.cancel()
                await asyncio.gather(*calls, return_exceptions=True)
                await eventually(_idle(server))
        await check_film(server, viewer)


async def test_reads_whose_deadline_comes_leave_no_place_taken(
    postgres_url: str, tmp_path: Path
) -> None:
    async with running_server(postgres_url, tmp_path, max_running_reads=2, **UNLIMITED) as server:
        viewer = await server.sign_in()
        async with _films_locked(postgres_url):
            ends = await _ends([_film(server, viewer, 0.4) for _ in range(8)])
            await eventually(_idle(server))
        assert ends["DEADLINE_EXCEEDED"] == 2
        assert ends["RATE_LIMITED"] == 6
        await check_film(server, viewer)


async def test_call_without_its_message_holds_no_place(embedded_one: Running) -> None:
    server = embedded_one
    viewer = await server.sign_in()
    silent: list[Any] = []
    for _ in range(10):
        method: Any = server.channel.stream_unary(GET_FILM)
        call = method(metadata=viewer, timeout=20)
        silent.append(call)
    await eventually(lambda: server.app.running_calls == 10)
    assert _state(server, CallClass.READ) == (0, 0)
    await check_film(server, viewer)
    for call in silent:
        call.cancel()
    await eventually(lambda: server.app.running_calls == 0)


@pytest.fixture
async def embedded_one(sqlite_templates: dict[str, Path], tmp_path: Path) -> AsyncIterator[Running]:
    """A server with one place for reads."""
    async with _embedded(sqlite_templates, tmp_path, max_running_reads=1) as server:
        yield server


@asynccontextmanager
async def _embedded(
    templates: dict[str, Path], folder: Path, **settings: Any
) -> AsyncIterator[Running]:
    file = folder / "films.db"
    file.write_bytes(templates["sample"].read_bytes())
    async with running_server(f"sqlite+aiosqlite:///{file}", folder, **settings) as server:
        yield server


async def test_burst_of_a_patient_backend_is_answered_whole(embedded_one: Running) -> None:
    viewer = await embedded_one.sign_in()
    assert await _ends([_film(embedded_one, viewer, 10) for _ in range(60)]) == {"OK": 60}


async def test_flood_of_sign_ins_leaves_reads_alone(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    async with _embedded(
        sqlite_templates, tmp_path, password_cost=10, max_waiting_logins=4, **UNLIMITED
    ) as server:
        stranger, viewer = Caller(server), await Caller.signed_in(server)
        reads: list[Any] = []
        async with _watched(server) as health:
            flood = [asyncio.ensure_future(stranger.Login(WRONG)) for _ in range(60)]
            while not all(login.done() for login in flood):
                assert _state(server, CallClass.LOGIN) <= (2, 4)
                reads.append(await viewer.GetFilm(FILM))
            ends = await _ends(flood)
        assert ends["LOGIN_FAILED"] >= 6
        assert ends["RATE_LIMITED"] > 20
        assert ends.total() == 60
        assert len(reads) > 5
        assert health
        assert (await stranger.Login(LOGIN)).tokens.access_token


async def test_attempts_to_sign_in_that_are_given_up_leave_no_hash_behind(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    async with _embedded(sqlite_templates, tmp_path, password_cost=10, **UNLIMITED) as server:
        stranger = Caller(server)
        for _ in range(4):
            calls = [stranger.Login(WRONG) for _ in range(8)]
            await eventually(lambda: _state(server, CallClass.LOGIN) == (2, 6))
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            await eventually(_idle(server))
        assert (await stranger.Login(LOGIN)).tokens.access_token


async def test_caller_is_limited_by_what_its_calls_cost_and_nobody_else_with_it(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    async with _embedded(sqlite_templates, tmp_path, read_rate=0.01, read_burst=3) as server:
        viewer, admin = await Caller.signed_in(server), await Caller.signed_in(server, ADMIN)
        for _ in range(3):
            await viewer.GetFilm(FILM)
        told = await check_call(server, viewer.GetFilm(FILM), "RATE_LIMITED")
        assert told.metadata["bucket"] == "read"
        assert told.metadata["limit"] == "0.01"
        assert told.metadata["reset_time"].endswith("Z")
        (violation,) = told.by_kind["QuotaFailure"].violations
        assert violation.subject.startswith("user:users/")
        await check_call(server, viewer.GetCurrentPrincipal(ME), "RATE_LIMITED")
        await admin.GetFilm(FILM)
        async with _watched(server) as health:
            await asyncio.sleep(0.1)
        assert health


async def test_signing_in_is_limited_by_address_and_calls_are_not(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    async with _embedded(sqlite_templates, tmp_path, login_rate=0.01, login_burst=20) as server:
        viewer, stranger = await Caller.signed_in(server), Caller(server)
        await check_call(server, stranger.Login(WRONG), "LOGIN_FAILED")
        told = await check_call(server, stranger.Login(LOGIN), "RATE_LIMITED")
        assert told.metadata["bucket"] == "login"
        (violation,) = told.by_kind["QuotaFailure"].violations
        assert violation.subject == "ip:127.0.0.1"
        await viewer.GetFilm(FILM)


async def test_stranger_is_told_to_sign_in_before_anything_of_limits(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    async with _embedded(sqlite_templates, tmp_path, read_rate=0.01, read_burst=1) as server:
        for _ in range(3):
            await check_call(server, Caller(server).GetFilm(FILM), "CREDENTIAL_MISSING")


async def test_sixth_chat_of_a_user_is_refused_until_one_has_ended(embedded: Running) -> None:
    await embedded.app.agents_ready()
    viewer, admin = await embedded.sign_in(), await embedded.sign_in(ADMIN)
    chats = [Chat(embedded.channel, viewer) for _ in range(5)]
    for chat in chats:
        await chat.start()
    sixth = Chat(embedded.channel, viewer)
    assert await sixth.read() is None
    told = await sixth.end()
    assert (told.code, told.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "TOO_MANY_STREAMS",
    )
    assert told.metadata == {"method": "/interview.agent.v1.AgentService/Chat", "limit": "5"}
    assert told.retry_delay is not None
    other = Chat(embedded.channel, admin)
    await other.start()
    await chats[0].leave()
    await eventually(lambda: _state(embedded, CallClass.CHAT) == (5, 0))
    again = Chat(embedded.channel, viewer)
    await again.start()
    for chat in (*chats[1:], other, again):
        await chat.leave()
    await eventually(_idle(embedded))


async def test_chats_of_all_users_have_their_places_too(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    async with _embedded(sqlite_templates, tmp_path, max_chats=1) as server:
        await server.app.agents_ready()
        viewer = await Caller.signed_in(server)
        chat = Chat(server.channel, await server.sign_in())
        await chat.start()
        ask = agent_service_pb2.AskRequest(question="Which films are about dinosaurs?")
        told = await check_call(server, viewer.Ask(ask), "RATE_LIMITED")
        assert told.metadata == {"bucket": "chat", "limit": "1"}
        assert (await viewer.GetFilm(FILM)).name == "films/1"
        await chat.leave()
        await eventually(_idle(server))
        assert (await viewer.Ask(ask)).answer


async def test_turn_beyond_the_rate_is_rejected_and_the_stream_goes_on(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    async with _embedded(sqlite_templates, tmp_path, agent_rate=0.01, agent_burst=10) as server:
        await server.app.agents_ready()
        chat = Chat(server.channel, await server.sign_in())
        await chat.start()
        assert kind((await chat.turn("Which films are about dinosaurs?"))[-1]) == "turn_completed"
        await chat.say("And which of them are for children?", frame_id="second")
        rejected = await chat.expect("frame_rejected")
        told = told_in(grpc.StatusCode.RESOURCE_EXHAUSTED, rejected.frame_rejected.status)
        assert rejected.in_reply_to == "second"
        assert told.reason == "RATE_LIMITED"
        assert told.metadata["bucket"] == "agent"
        assert told.by_kind["RetryInfo"].retry_delay.ToTimedelta().total_seconds() > 100
        await chat.ping()
        await chat.expect("pong")
        await chat.half_close()
        await chat.rest()
        assert (await chat.end()).code is grpc.StatusCode.OK


async def test_client_is_told_by_class_when_to_come_back_and_does_not_repeat_by_itself(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    async with (
        _embedded(sqlite_templates, tmp_path, read_rate=0.01, read_burst=1) as server,
        InterviewClient(server.target) as client,
    ):
        await client.sign_in(VIEWER, PASSWORD)
        await client.catalogue.get_film(1)
        with pytest.raises(RateLimited) as caught:
            await client.catalogue.get_film(1)
        assert caught.value.metadata["bucket"] == "read"
        assert caught.value.retry_delay is not None
        assert caught.value.retry_delay.total_seconds() >= 90
        await asyncio.sleep(0.3)
        calls = [line["code"] for line in server.access_lines() if line["method"] == GET_FILM]
        assert calls == ["OK", "RESOURCE_EXHAUSTED"]
