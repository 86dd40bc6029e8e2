"""What a caller is told when the database does not do as it should: one test per row."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from server.agent.models import ChatSession
from server.database.engine import Database
from server.generated.interview.agent.v1 import agent_service_pb2
from server.generated.interview.auth.v1 import auth_service_pb2
from server.generated.interview.catalogue.v1 import film_pb2
from tests.support.caller import Caller
from tests.support.databases import execute, plain, postgres_copy
from tests.support.proxy import running_proxy
from tests.support.running import PASSWORD, VIEWER, Running, running_server
from tests.support.statuses import Told, check_call, row

SECRET = "postgresql://admin:hunter2@db.internal/films"
LOGIN = auth_service_pb2.LoginRequest(email=VIEWER, password=PASSWORD)
FILM = film_pb2.GetFilmRequest(name="films/1")

# A trigger whose error has the SQLSTATE of the row, and a text to hide.
FAULT = f"""
CREATE OR REPLACE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '{SECRET}' USING ERRCODE = TG_ARGV[0]; END $$;
CREATE OR REPLACE TRIGGER fault BEFORE INSERT ON login_session
FOR EACH ROW EXECUTE FUNCTION fault('%s')
"""


@pytest.fixture
async def postgres_url(
    postgres_server: str, postgres_templates: dict[str, str]
) -> AsyncIterator[str]:
    """A PostgreSQL database with the sample films."""
    async with postgres_copy(postgres_server, postgres_templates["sample"]) as url:
        yield url


@pytest.fixture
async def on_postgres(postgres_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    """A server over it."""
    async with running_server(postgres_url, tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
async def faulty(
    postgres_server: str,
    postgres_templates: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Running, str]]:
    """One server and its database for all rows that leave nothing behind."""
    folder = tmp_path_factory.mktemp("faulty")
    async with (
        postgres_copy(postgres_server, postgres_templates["migrated"]) as url,
        running_server(url, folder) as server,
    ):
        yield server, url


@asynccontextmanager
async def _locked(url: str) -> AsyncIterator[None]:
    """Hold the table of films, so that whoever reads it waits."""
    connection = await asyncpg.connect(plain(url))
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE film IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


def _told_nothing(told: Told) -> None:
    for word in ("hunter2", "db.internal", "login_session", "film", "SELECT", "asyncpg", ".py"):
        assert word not in f"{told.message}{told.by_kind}"


@pytest.mark.parametrize(
    ("reason", "sqlstate"),
    [
        row("TRANSACTION_CONFLICT", "serialization failure", "40001"),
        row("TRANSACTION_CONFLICT", "deadlock", "40P01"),
        row("DEADLINE_EXCEEDED", "statement cancelled", "57014"),
        row("DEADLINE_EXCEEDED", "lock not available", "55P03"),
        row("DEPENDENCY_UNAVAILABLE", "administrator shutdown", "57P01"),
        row("DEPENDENCY_UNAVAILABLE", "cannot connect now", "57P03"),
        row("DEPENDENCY_UNAVAILABLE", "too many connections", "53300"),
        row("DEPENDENCY_UNAVAILABLE", "disk full", "53100"),
        row("DEPENDENCY_UNAVAILABLE", "connection failure", "08006"),
        row("VALIDATION_FAILED", "number out of range", "22003"),
        row("VALIDATION_FAILED", "NUL in text", "22021"),
        row("INTERNAL", "undefined table", "42P01"),
        row("INTERNAL", "check violation", "23514"),
        row("INTERNAL", "raised by somebody", "P0001"),
    ],
)
async def test_sqlstate(faulty: tuple[Running, str], reason: str, sqlstate: str) -> None:
    server, url = faulty
    await execute(url, FAULT % sqlstate)
    _told_nothing(await check_call(server, Caller(server).Login(LOGIN), reason))


async def test_a_statement_that_somebody_cancels(on_postgres: Running, postgres_url: str) -> None:
    caller = await Caller.signed_in(on_postgres)
    async with _locked(postgres_url):
        call = asyncio.ensure_future(
            check_call(on_postgres, caller.GetFilm(FILM), "DEADLINE_EXCEEDED")
        )
        cancel = (
            "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        connection = await asyncpg.connect(plain(postgres_url))
        while not await connection.fetchval(cancel):
            await asyncio.sleep(0.02)
        await connection.close()
        await call


async def test_a_statement_that_takes_too_long(on_postgres: Running, postgres_url: str) -> None:
    caller = await Caller.signed_in(on_postgres)
    async with _locked(postgres_url):
        await check_call(on_postgres, caller.GetFilm(FILM), "DEADLINE_EXCEEDED")


async def test_all_connections_at_work(running: Running) -> None:
    database = running.app.database
    (size,) = (pool.size for pool in database.pools if pool.name == "write")
    async with AsyncExitStack() as stack:
        for _ in range(size):
            await stack.enter_async_context(database.write())
        told = await check_call(running, Caller(running).Login(LOGIN), "RATE_LIMITED")
    assert told.metadata["bucket"] == "database"
    assert (await Caller(running).Login(LOGIN)).tokens.access_token


async def test_too_many_passwords_at_once(sample_database_url: str, tmp_path: Path) -> None:
    async with running_server(sample_database_url, tmp_path, password_cost=10) as server:
        calls = [Caller(server).Login(LOGIN) for _ in range(40)]
        ends = await asyncio.gather(*calls, return_exceptions=True)
        late = [call for call, end in zip(calls, ends, strict=True) if isinstance(end, Exception)]
        assert late
        for call in late:
            await check_call(server, call, "RATE_LIMITED")


async def test_a_file_that_another_program_has_locked(embedded: Running) -> None:
    file = make_url(embedded.app.settings.database_url).database
    with closing(sqlite3.connect(str(file), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        told = await check_call(embedded, Caller(embedded).Login(LOGIN), "TRANSACTION_CONFLICT")
    _told_nothing(told)
    assert (await Caller(embedded).Login(LOGIN)).tokens.access_token


async def test_a_database_that_takes_no_connections(
    on_postgres: Running, postgres_url: str, postgres_server: str
) -> None:
    caller = await Caller.signed_in(on_postgres)
    name = make_url(postgres_url).database
    await execute(postgres_server, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    await execute(
        postgres_server,
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
    )
    for call in (caller.GetFilm(FILM), caller.Login(LOGIN)):
        told = await check_call(on_postgres, call, "DEPENDENCY_UNAVAILABLE")
        assert told.metadata == {"dependency": "database"}
        _told_nothing(told)


async def test_a_port_at_which_nobody_listens(postgres_url: str, tmp_path: Path) -> None:
    port = make_url(postgres_url).port
    assert port is not None
    async with running_proxy(port) as proxy:
        through = make_url(postgres_url).set(port=proxy.port)
        url = through.render_as_string(hide_password=False)
        async with running_server(url, tmp_path) as server:
            caller = await Caller.signed_in(server)
            await proxy.stop()
            for call in (caller.GetFilm(FILM), caller.Login(LOGIN)):
                told = await check_call(server, call, "DEPENDENCY_UNAVAILABLE")
                assert told.metadata == {"dependency": "database"}


async def test_a_table_that_is_gone(running: Running) -> None:
    caller = await Caller.signed_in(running)
    async with running.app.database.write() as write:
        await write.execute(text("ALTER TABLE film RENAME TO gone"))
    told = await check_call(running, caller.GetFilm(FILM), "INTERNAL")
    _told_nothing(told)
    failures = [line.kwargs for line in running.lines if line.kwargs["event"] == "call failed"]
    assert [line["request_id"] for line in failures] == [told.request_id]


async def test_a_row_that_is_broken(running: Running) -> None:
    await running.app.agents_ready()
    caller = await Caller.signed_in(running)
    answer = await caller.Ask(agent_service_pb2.AskRequest(question="Which films are there?"))
    async with running.app.database.write() as write:
        await write.execute(update(ChatSession).values(config=b"{"))
    again = agent_service_pb2.AskRequest(question="And now?", session=answer.session)
    await check_call(running, caller.Ask(again), "INTERNAL")


async def test_an_error_of_the_database_repeats_no_parameter(database: Database) -> None:
    statement = text("SELECT * FROM nowhere WHERE value = :value")
    with pytest.raises(DBAPIError) as reading:
        await database.read.all(statement, {"value": "planted"})
    with pytest.raises(DBAPIError) as writing:
        async with database.write() as write:
            await write.execute(statement, {"value": "planted"})
    assert "planted" not in str(reading.value) + str(writing.value)
