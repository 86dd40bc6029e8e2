"""Calls that end early take their statements, their threads and their model calls with them."""

import asyncio
import gc
import logging
import random
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import pytest
from sqlalchemy import literal, select, text

from server.database.engine import Database, WriteSession
from server.generated.interview.agent.v1 import agent_service_pb2, agent_service_pb2_grpc, chat_pb2
from server.generated.interview.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from server.generated.interview.catalogue.v1 import catalogue_service_pb2_grpc, film_pb2
from server.log import tells_of_trouble
from tests.support.amount import amount
from tests.support.databases import plain, postgres_copy
from tests.support.fake_openai import FakeOpenAI, Pause, running_fake_openai, words
from tests.support.load import UNTHROTTLED
from tests.support.running import PASSWORD, VIEWER, Running, running_server

CALLS = amount(300, 5_000)

_BUSY = text(
    "SELECT query FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = 'interview-server' AND pid <> pg_backend_pid() AND state <> 'idle'"
)
_CONNECTIONS = (
    "SELECT state, query FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = 'interview-server'"
)
# Some minutes of work, none of which waits for anything.
_ENDLESS = text(
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 200000000)"
    " SELECT count(*) FROM n"
)


@pytest.fixture
async def served(
    postgres_server: str, postgres_templates: dict[str, str], tmp_path: Path
) -> AsyncIterator[Running]:
    """A server over the sample films on PostgreSQL."""
    async with (
        postgres_copy(postgres_server, postgres_templates["sample"]) as url,
        running_server(url, tmp_path) as running,
    ):
        yield running


@asynccontextmanager
async def _locked_films(running: Running) -> AsyncIterator[None]:
    """Let every statement about films wait."""
    url = running.app.database.url.render_as_string(hide_password=False)
    rival = await asyncpg.connect(plain(url))
    try:
        await rival.execute("BEGIN; LOCK TABLE film IN ACCESS EXCLUSIVE MODE")
        yield
    finally:
        await rival.close()


async def _statements(database: Database) -> list[str]:
    return [row.query for row in await database.read.all(_BUSY)]


async def _eventually(what: str, holds: Callable[[], Any], seconds: float = 10) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not await holds():
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(f"still not so after {seconds} s: {what}")


async def _pools_whole(database: Database) -> None:
    async def whole() -> bool:
        return not any(pool.used for pool in database.pools)

    await _eventually("every connection is back", whole)


@pytest.mark.parametrize("how", ["deadline", "cancel"])
async def test_no_statement_outlives_its_call(served: Running, how: str) -> None:
    database = served.app.database
    stub = catalogue_service_pb2_grpc.CatalogueServiceStub(served.channel)
    metadata = await served.sign_in()
    request = film_pb2.GetFilmRequest(name="films/1")
    async with _locked_films(served):
        timeout = 1.5 if how == "deadline" else None
        calls = [stub.GetFilm(request, metadata=metadata, timeout=timeout) for _ in range(6)]

        waiting = 0
        while waiting < len(calls) and not any(call.done() for call in calls):
            waiting = max(waiting, len(await _statements(database)))
        assert waiting
        if how == "cancel":
            for call in calls:
                call.cancel()
        ends = await asyncio.gather(*(call.code() for call in calls))
        ended = monotonic()

        async def over() -> bool:
            return not await _statements(database)

        await _eventually("no statement runs", over)
        # Far from the 4 s after which they would have been given up by themselves.
        assert monotonic() - ended < 2
    expected = grpc.StatusCode.DEADLINE_EXCEEDED if how == "deadline" else grpc.StatusCode.CANCELLED
    assert set(ends) == {expected}
    await _pools_whole(database)
    assert (await stub.GetFilm(request, metadata=metadata)).name == "films/1"


async def test_a_read_of_sqlite_leaves_its_thread_when_its_caller_goes(embedded: Running) -> None:
    database = embedded.app.database
    for _ in range(3):
        reads = [asyncio.create_task(database.read.all(_ENDLESS)) for _ in range(4)]
        await asyncio.sleep(0.1)  # two run, two wait for a thread
        for read in reads:
            read.cancel()
        await asyncio.wait(reads)
        async with asyncio.timeout(20):
            assert await database.read.first(select(literal(1))) == (1,)
    await _pools_whole(database)


async def test_a_change_of_sqlite_that_is_given_up_leaves_no_lock(embedded: Running) -> None:
    database, chance, ends = embedded.app.database, random.Random(3), []
    rename = text("UPDATE category SET name = name RETURNING category_id, name")
    many = [{"category_id": number, "name": "x"} for number in range(10_000, 10_200)]

    async def work(write: WriteSession) -> None:
        for _ in range(20):
            await write.all(rename)
            await write.execute(text("INSERT INTO category VALUES (:category_id, :name, 0)"), many)
            await write.execute(text("DELETE FROM category WHERE category_id >= 10000"))

    for _ in range(amount(20, 500)):
        change = asyncio.create_task(database.transaction(work))
        await asyncio.sleep(chance.random() * 0.02)
        change.cancel()
        # What the task ended with refers to its statement as long as somebody keeps it.
        ends.append((await asyncio.gather(change, return_exceptions=True))[0])
        started = monotonic()
        await database.transaction(lambda write: write.all(rename))
        assert monotonic() - started < 2  # and not what a lock is waited for
    assert any(isinstance(end, asyncio.CancelledError) for end in ends)
    await _pools_whole(database)


@pytest.fixture
async def model() -> AsyncIterator[FakeOpenAI]:
    """A language model that says a word and then nothing more."""
    async with running_fake_openai() as fake:
        fake.script_with(lambda _request: [*words("One "), Pause(60)])
        yield fake


@pytest.mark.parametrize("method", ["Ask", "RunTurn"])
async def test_a_deadline_reaches_the_model(
    sqlite_templates: dict[str, Path], tmp_path: Path, model: FakeOpenAI, method: str
) -> None:
    shutil.copy(sqlite_templates["sample"], tmp_path / "test.db")
    url = f"sqlite+aiosqlite:///{tmp_path / 'test.db'}"
    async with running_server(
        url, tmp_path, openai_base_url=model.base_url, openai_api_key="sk-for-a-fake"
    ) as running:
        await running.app.agents_ready()
        stub = agent_service_pb2_grpc.AgentServiceStub(running.channel)
        metadata = await running.sign_in()
        started = monotonic()
        if method == "Ask":
            ask = agent_service_pb2.AskRequest(question="Which films?")
            code = await stub.Ask(ask, metadata=metadata, timeout=3).code()
        else:
            message = chat_pb2.UserMessageFrame(turn_id=str(uuid4()), text="Which films?")
            turn = agent_service_pb2.RunTurnRequest(user_message=message)
            code = await stub.RunTurn(turn, metadata=metadata, timeout=3).code()
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert 2.9 < monotonic() - started < 15  # the turn itself may take 60 s

        async def closed() -> bool:
            return model.open_streams == 0 and running.app.running_calls == 0

        await _eventually("the model's stream is closed", closed)
        assert (len(model.requests), model.aborted_streams) == (1, 1)
        states = await running.app.database.read.all(text("SELECT state FROM chat_turn"))
        assert [row.state for row in states] == ["cancelled"]


async def test_a_stop_closes_the_database_behind_the_last_call(
    postgres_server: str, postgres_templates: dict[str, str], tmp_path: Path, model: FakeOpenAI
) -> None:
    async with (
        postgres_copy(postgres_server, postgres_templates["sample"]) as url,
        running_server(
            url,
            tmp_path,
            openai_base_url=model.base_url,
            openai_api_key="sk-for-a-fake",
            grace_seconds=0.5,
        ) as running,
    ):
        await running.app.agents_ready()
        calls = _calls(running, await running.sign_in())
        asks = [calls["ask"]() for _ in range(3)]

        async def asked() -> bool:
            return model.open_streams == 3

        async def blocked() -> bool:
            return len(await _statements(running.app.database)) == 3

        await _eventually("turns run", asked)
        async with _locked_films(running):
            reads = [calls["get"]() for _ in range(3)]
            await _eventually("statements run", blocked)
            await running.app.stop(asyncio.Event())
            ends = await asyncio.gather(*(call.code() for call in (*asks, *reads)))
        assert set(ends) == {grpc.StatusCode.UNAVAILABLE}
        rest = await asyncpg.connect(plain(url))
        states = await rest.fetch("SELECT state FROM chat_turn")
        ours = await rest.fetch(_CONNECTIONS)
        await rest.close()
    # Cut turns stored their end while there still was a database, and nobody opened it again.
    assert [row["state"] for row in states] == ["cancelled"] * 3
    assert ours == []


@pytest.fixture
async def unthrottled(sample_database_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    """A server over the sample films, on each kind of database, that lets callers call."""
    async with running_server(sample_database_url, tmp_path, **UNTHROTTLED) as running:
        yield running


@pytest.mark.long
@pytest.mark.timeout(amount(120, 1_800))
async def test_calls_given_up_at_random_leak_no_connection(
    unthrottled: Running, caplog: pytest.LogCaptureFixture
) -> None:
    await unthrottled.app.agents_ready()
    metadata = await unthrottled.sign_in()
    database = unthrottled.app.database
    calls = _calls(unthrottled, metadata)
    chance, ends = random.Random(5), Counter[str]()

    async def one(name: str) -> None:
        call = calls[name]()
        if chance.random() < 0.7:
            await asyncio.sleep(chance.random() * 0.05)
            call.cancel()
        try:
            await call
        except asyncio.CancelledError:
            ends["cancelled"] += 1
        else:
            ends["answered"] += 1

    names = [chance.choice(list(calls)) for _ in range(CALLS)]
    for start in range(0, CALLS, 10):
        await asyncio.gather(*(one(name) for name in names[start : start + 10]))

    async def over() -> bool:
        return unthrottled.app.running_calls == 0

    await _eventually("no call runs", over)
    assert ends["cancelled"] > CALLS // 4
    assert ends["answered"] > CALLS // 5
    await _pools_whole(database)
    if not database.is_sqlite:
        assert await _statements(database) == []
    for name, call in calls.items():
        for _ in range(10):  # more often than a pool has connections
            assert await call(), name
    gc.collect()  # a future that nobody asked tells of its error when it is collected
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.getMessage() for record in errors if tells_of_trouble(record)] == []


def _calls(running: Running, metadata: Any) -> dict[str, Callable[[], Any]]:
    films = catalogue_service_pb2_grpc.CatalogueServiceStub(running.channel)
    auth = auth_service_pb2_grpc.AuthServiceStub(running.channel)
    agents = agent_service_pb2_grpc.AgentServiceStub(running.channel)
    one, many = film_pb2.GetFilmRequest(name="films/1"), film_pb2.ListFilmsRequest(page_size=50)
    login = auth_service_pb2.LoginRequest(email=VIEWER, password=PASSWORD)
    ask = agent_service_pb2.AskRequest(question="Which films are about dinosaurs?")
    return {
        "get": lambda: films.GetFilm(one, metadata=metadata),
        "list": lambda: films.ListFilms(many, metadata=metadata),
        "login": lambda: auth.Login(login),
        "ask": lambda: agents.Ask(ask, metadata=metadata),
    }
