"""PostgreSQL goes away in every way while calls run, and comes back."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import asyncpg
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy import text
from sqlalchemy.engine import make_url

from server.generated.interview.agent.v1 import agent_service_pb2, agent_service_pb2_grpc
from server.generated.interview.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from server.generated.interview.catalogue.v1 import catalogue_service_pb2_grpc, film_pb2
from tests.support.databases import execute, migrated, named, plain, postgres_copy, run_apart
from tests.support.load import UNTHROTTLED, Caller, Load, error_details, load
from tests.support.postgres import PostgresServer, PostgresUnavailable, own_postgres
from tests.support.proxy import Proxy, running_proxy
from tests.support.running import PASSWORD, VIEWER, Running, running_server

SHORT = 0.7
"""Deadline of the impatient callers, in seconds."""
COMMAND = 4.0
"""What a statement may take."""
BUDGET_MS = 15_000
"""More than any call takes, wide of what a busy machine adds."""
CATALOGUE = "interview.catalogue.v1.CatalogueService"
FOLLOWING = ("", "readiness", CATALOGUE)
ALLOWED = {
    (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE", True),
    (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", False),
}
IMPATIENT = {"get soon", "list soon"}
CLIENT_GAVE_UP = (grpc.StatusCode.DEADLINE_EXCEEDED, "", False)

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A server of these tests' own, with the sample films in the database `sample`."""
    try:
        with own_postgres() as server:
            run_apart(execute(server.url, "CREATE DATABASE sample TEMPLATE template0"))
            run_apart(migrated(named(server.url, "sample"), sample=True))
            yield server
    except PostgresUnavailable as reason:
        if os.environ.get("CI"):
            pytest.fail(f"PostgreSQL must run in CI: {reason}")
        pytest.skip(f"needs a PostgreSQL of its own: {reason}")


@dataclass
class Scene:
    """A server whose database can be taken away."""

    running: Running
    postgres: PostgresServer
    proxy: Proxy
    database: str
    """The database's URL, past the proxy."""


@pytest.fixture
async def scene(postgres: PostgresServer, tmp_path: Path) -> AsyncIterator[Scene]:
    """A server over the sample films that reaches PostgreSQL through a proxy."""
    async with postgres_copy(postgres.url, "sample") as url, running_proxy(postgres.port) as proxy:
        through = make_url(url).set(port=proxy.port).render_as_string(hide_password=False)
        async with running_server(through, tmp_path, **UNTHROTTLED) as running:
            await running.app.agents_ready()
            yield Scene(running, postgres, proxy, url)


async def _callers(running: Running) -> dict[str, Caller]:
    """Readers, with a deadline and without; one who signs in; one who asks an agent."""
    metadata = await running.sign_in()
    films = catalogue_service_pb2_grpc.CatalogueServiceStub(running.channel)
    auth = auth_service_pb2_grpc.AuthServiceStub(running.channel)
    agents = agent_service_pb2_grpc.AgentServiceStub(running.channel)
    one, many = film_pb2.GetFilmRequest(name="films/1"), film_pb2.ListFilmsRequest(page_size=20)
    login = auth_service_pb2.LoginRequest(email=VIEWER, password=PASSWORD)
    ask = agent_service_pb2.AskRequest(question="Which films are about dinosaurs?")
    return {
        "get": lambda: films.GetFilm(one, metadata=metadata),
        "get soon": lambda: films.GetFilm(one, metadata=metadata, timeout=SHORT),
        "list": lambda: films.ListFilms(many, metadata=metadata),
        "list soon": lambda: films.ListFilms(many, metadata=metadata, timeout=SHORT),
        "login": lambda: auth.Login(login),
        "ask": lambda: agents.Ask(ask, metadata=metadata),
    }


@asynccontextmanager
async def _health(running: Running) -> AsyncIterator[Counter[tuple[str, bool]]]:
    """Count how often each name was found serving or not."""
    stub = health_pb2_grpc.HealthStub(running.channel)  # type: ignore[no-untyped-call]
    seen = Counter[tuple[str, bool]]()

    async def look() -> None:
        while True:
            for name in (*FOLLOWING, "liveness"):
                answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
                seen[name, answer.status == health_pb2.HealthCheckResponse.SERVING] += 1
            await asyncio.sleep(0.05)

    looking = asyncio.create_task(look())
    try:
        yield seen
    finally:
        looking.cancel()
        await asyncio.wait({looking})


async def _until(seen: Counter[tuple[str, bool]], *, serving: bool) -> None:
    """Wait until each name that follows the database is found so."""
    before = Counter(seen)
    async with asyncio.timeout(15):
        while not all(seen[name, serving] > before[name, serving] for name in FOLLOWING):
            await asyncio.sleep(0.05)


async def _fault(scene: Scene, fault: str, seen: Counter[tuple[str, bool]]) -> None:
    """Take the database away and give it back."""
    match fault:
        case "restarted":
            await asyncio.to_thread(scene.postgres.stop)
            await asyncio.to_thread(scene.postgres.start)
        case "killed":
            scene.postgres.kill()
            await asyncio.to_thread(scene.postgres.start)
        case "reset":
            scene.proxy.reset()
        case "refused":
            await asyncio.to_thread(scene.postgres.stop)
            await _until(seen, serving=False)
            await asyncio.to_thread(scene.postgres.start)
        case "frozen":
            scene.postgres.freeze()
            await asyncio.gather(_until(seen, serving=False), asyncio.sleep(COMMAND + 1))
            scene.postgres.thaw()
        case "parted":
            scene.proxy.part()
            await asyncio.gather(_until(seen, serving=False), asyncio.sleep(COMMAND + 1))
            scene.proxy.heal()


@pytest.mark.parametrize("fault", ["restarted", "killed", "reset", "refused", "frozen", "parted"])
async def test_callers_are_told_in_time_and_served_again(scene: Scene, fault: str) -> None:
    callers = await _callers(scene.running)
    async with _health(scene.running) as seen, load(callers) as record:
        await record.answered(*callers, since=monotonic())
        await _fault(scene, fault, seen)
        back = monotonic()
        first = await record.answered(*callers, since=back)
        await _until(seen, serving=True)
        settled = monotonic()
        await record.answered(*callers, since=settled)
    assert first - back < 5  # 0.1 to 0.3 where nothing else runs
    assert [call for call in record.since(settled) if not call.ok] == []
    assert seen["liveness", False] == 0
    _check_errors(record, fault)
    assert all(line["duration_ms"] < BUDGET_MS for line in scene.running.access_lines())
    await _check_pools(scene)


def _check_errors(record: Load, fault: str) -> None:
    """Only what may be repeated was lost, and callers were told so."""
    for call in record.errors:
        told = (call.code, call.reason, call.retry)
        assert told in ALLOWED or (told == CLIENT_GAVE_UP and call.caller in IMPATIENT), call
    if fault == "reset":  # new connections work: a read that meets a dead one is repeated
        assert {call.caller for call in record.errors if call.reason} <= {"login", "ask"}
    else:
        assert {call.caller for call in record.errors} >= IMPATIENT
    if fault in {"frozen", "parted"}:  # a caller without a deadline is not kept for ever
        assert any(call.reason == "DEADLINE_EXCEEDED" for call in record.errors)


async def _check_pools(scene: Scene) -> None:
    """No connection is out, and PostgreSQL has no transaction that nobody will end."""
    assert not any(pool.used for pool in scene.running.app.database.pools)
    # A connection that is being opened just now asks for the version in a transaction.
    end = monotonic() + 3
    while (transactions := await _open_transactions(scene.database)) and monotonic() < end:
        await asyncio.sleep(0.05)
    assert transactions == []


async def _open_transactions(url: str) -> list[str]:
    connection = await asyncpg.connect(plain(url))
    try:
        rows = await connection.fetch(
            "SELECT query FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND state <> 'idle'"
        )
    finally:
        await connection.close()
    return [row["query"] for row in rows]


@pytest.mark.parametrize("fault", ["restarted", "killed", "reset"])
async def test_reads_do_not_notice_that_every_connection_is_dead(scene: Scene, fault: str) -> None:
    stub = catalogue_service_pb2_grpc.CatalogueServiceStub(scene.running.channel)
    metadata = await scene.running.sign_in()

    async def reads() -> list[str]:
        request = film_pb2.GetFilmRequest(name="films/1")
        calls = (stub.GetFilm(request, metadata=metadata) for _ in range(40))
        return [film.name for film in await asyncio.gather(*calls)]

    for _ in range(3):
        assert await reads() == ["films/1"] * 40
        await _fault(scene, fault, Counter())
        assert await reads() == ["films/1"] * 40


async def test_a_call_does_not_wait_to_hang_up(scene: Scene) -> None:
    stub = catalogue_service_pb2_grpc.CatalogueServiceStub(scene.running.channel)
    metadata = await scene.running.sign_in()
    request = film_pb2.GetFilmRequest(name="films/1")
    for _ in range(3):
        await stub.GetFilm(request, metadata=metadata)
        scene.proxy.part()
        call = stub.GetFilm(request, metadata=metadata, timeout=0.3)
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        while scene.running.app.running_calls:
            await asyncio.sleep(0.01)
        scene.proxy.heal()
    lines = scene.running.access_lines()
    spans = [line["duration_ms"] for line in lines if line["code"] == "DEADLINE_EXCEEDED"]
    assert len(spans) == 3
    # 800 by our own bound; SQLAlchemy's makes it 2300 at least, so the quickest one tells.
    assert min(spans) < 2_200


async def test_a_database_that_cannot_be_reached_is_told_from_one_that_is_slow(
    scene: Scene,
) -> None:
    stub = catalogue_service_pb2_grpc.CatalogueServiceStub(scene.running.channel)
    metadata = await scene.running.sign_in()
    scene.proxy.reset()
    scene.proxy.part()
    with pytest.raises(grpc.aio.AioRpcError) as away:
        await stub.GetFilm(film_pb2.GetFilmRequest(name="films/1"), metadata=metadata)
    info, retry = error_details(away.value)
    assert (away.value.code(), info.reason, retry is not None) in ALLOWED
    assert info.reason == "DEPENDENCY_UNAVAILABLE"
    scene.proxy.heal()
    await stub.GetFilm(film_pb2.GetFilmRequest(name="films/1"), metadata=metadata)


async def test_a_change_whose_answer_is_lost_is_made_once(scene: Scene) -> None:
    stub = auth_service_pb2_grpc.AuthServiceStub(scene.running.channel)
    sessions = text("SELECT count(*) FROM login_session")
    login = auth_service_pb2.LoginRequest(email=VIEWER, password=PASSWORD)
    await stub.Login(login)
    for made in range(2, 5):
        scene.proxy.lose_answer_to(b"COMMIT;")
        with pytest.raises(grpc.aio.AioRpcError) as lost:
            await stub.Login(login)
        info, retry = error_details(lost.value)
        assert (lost.value.code(), info.reason) == (
            grpc.StatusCode.UNAVAILABLE,
            "DEPENDENCY_UNAVAILABLE",
        )
        assert retry is not None
        assert await scene.running.app.database.read.first(sessions) == (made,)


async def test_a_full_pool_turns_callers_away_and_is_no_outage(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    async with (
        postgres_copy(postgres.url, "sample") as url,
        running_server(
            url,
            tmp_path,
            database_read_connections=1,
            database_write_connections=1,
            **UNTHROTTLED,
        ) as running,
    ):
        callers = await _callers(running)
        del callers["ask"]
        callers |= {f"{name} too": call for name, call in callers.items()}
        rival = await asyncpg.connect(plain(url))
        await rival.execute("BEGIN; LOCK TABLE film, app_user IN ACCESS EXCLUSIVE MODE")
        async with _health(running) as seen, load(callers) as record:
            await asyncio.sleep(COMMAND + 1)  # time for health to be misled
            await rival.close()
            await record.answered(*callers, since=monotonic())
    assert not any(seen[name, False] for name in (*FOLLOWING, "liveness"))
    shed = [call for call in record.errors if call.code is grpc.StatusCode.RESOURCE_EXHAUSTED]
    assert {call.caller.removesuffix(" too") for call in shed} >= {"get", "list", "login"}
    assert {(call.reason, call.bucket, call.retry) for call in shed} == {
        ("RATE_LIMITED", "database", True)
    }
    assert {call.code for call in record.errors} - {grpc.StatusCode.DEADLINE_EXCEEDED} == {
        grpc.StatusCode.RESOURCE_EXHAUSTED
    }
