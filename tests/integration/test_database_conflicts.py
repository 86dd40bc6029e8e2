"""Transactions that meet: repeated whole where the database undid them, and told where not."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from server.database.engine import Database, DatabaseOptions, WriteSession
from server.generated.interview.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from tests.support.databases import execute, named, plain, postgres_copy
from tests.support.load import error_details
from tests.support.running import PASSWORD, VIEWER, Running, running_server

_LOGIN = auth_service_pb2.LoginRequest(email=VIEWER, password=PASSWORD)
_SESSIONS = text("SELECT count(*) FROM login_session")
# Each insertion takes a number, also one that is undone: so many tries there were.
_COUNTED_FAILURES = """
    CREATE SEQUENCE tries;
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('tries') <= {failures} THEN
            RAISE EXCEPTION 'as if by another transaction' USING ERRCODE = '{state}';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER fail BEFORE INSERT ON refresh_token FOR EACH ROW EXECUTE FUNCTION fail();
"""
_TRIES = text("SELECT last_value FROM tries")


@pytest.fixture
async def postgres_url(
    postgres_server: str, postgres_templates: dict[str, str]
) -> AsyncIterator[str]:
    """A migrated database on PostgreSQL."""
    async with postgres_copy(postgres_server, postgres_templates["migrated"]) as url:
        yield url


@pytest.fixture
async def served(postgres_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    """A server over it."""
    async with running_server(postgres_url, tmp_path) as running:
        yield running


def _auth(running: Running) -> Any:
    return auth_service_pb2_grpc.AuthServiceStub(running.channel)


@asynccontextmanager
async def _rival(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Another program's connection, inside a transaction that is not the deadlock's victim."""
    connection = await asyncpg.connect(plain(url))
    try:
        await connection.execute("SET deadlock_timeout = '60s'")
        await connection.execute("BEGIN")
        yield connection
    finally:
        await connection.close()


async def _blocked(running: Running) -> None:
    """Wait until the server waits for somebody's lock."""
    waiting = text(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'interview-server' AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(10):
        while not await running.app.database.read.first(waiting):
            await asyncio.sleep(0.01)


async def _refused(call: Any) -> tuple[grpc.StatusCode, str, bool]:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    info, retry = error_details(refusal.value)
    return refusal.value.code(), info.reason, retry is not None


async def test_a_refresh_that_was_a_deadlocks_victim_is_done_again(
    served: Running, postgres_url: str
) -> None:
    stub = _auth(served)
    tokens = (await stub.Login(_LOGIN)).tokens
    async with _rival(postgres_url) as rival:
        # The refresh takes the token and then waits for the session; the rival the other way.
        await rival.execute("SELECT * FROM login_session FOR UPDATE")
        refresh = stub.RefreshToken(
            auth_service_pb2.RefreshTokenRequest(refresh_token=tokens.refresh_token)
        )
        await _blocked(served)
        await rival.execute("SELECT * FROM refresh_token FOR UPDATE", timeout=20)
        await rival.execute("COMMIT")
        assert (await refresh).tokens.refresh_token != tokens.refresh_token


async def test_a_login_that_could_not_be_serialized_is_done_again(
    postgres_url: str, tmp_path: Path
) -> None:
    name = make_url(postgres_url).database
    stricter = f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'"
    await execute(named(postgres_url, "postgres"), stricter)
    async with running_server(postgres_url, tmp_path) as running, _rival(postgres_url) as rival:
        await rival.execute("UPDATE app_user SET display_name = 'renamed'")
        login = _auth(running).Login(_LOGIN)
        await _blocked(running)
        await rival.execute("COMMIT")
        assert (await login).tokens.access_token
        assert await running.app.database.read.first(_SESSIONS) == (1,)


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_a_transaction_is_tried_three_times_in_all(
    served: Running, postgres_url: str, state: str
) -> None:
    await execute(postgres_url, _COUNTED_FAILURES.format(failures=5, state=state))
    aborted = (grpc.StatusCode.ABORTED, "TRANSACTION_CONFLICT", True)
    assert await _refused(_auth(served).Login(_LOGIN)) == aborted
    assert await served.app.database.read.first(_TRIES) == (3,)
    assert (await _auth(served).Login(_LOGIN)).tokens.access_token  # the sixth
    assert await served.app.database.read.first(_TRIES) == (6,)
    assert await served.app.database.read.first(_SESSIONS) == (1,)


@pytest.mark.parametrize("state", ["XX000", "40003", "57014", "08006"])
async def test_no_other_error_is_tried_again(
    served: Running, postgres_url: str, state: str
) -> None:
    await execute(postgres_url, _COUNTED_FAILURES.format(failures=1, state=state))
    await _refused(_auth(served).Login(_LOGIN))
    assert await served.app.database.read.first(_TRIES) == (1,)
    assert await served.app.database.read.first(_SESSIONS) == (0,)


def _locked(running: Running) -> sqlite3.Connection:
    """Another program that holds SQLite's one lock for writers."""
    file = running.app.database.url.database
    assert file is not None
    rival = sqlite3.connect(file, isolation_level=None)
    rival.execute("BEGIN IMMEDIATE")
    return rival


async def test_a_login_outlasts_another_program_that_writes_the_file(embedded: Running) -> None:
    with closing(_locked(embedded)) as rival:
        login = _auth(embedded).Login(_LOGIN)
        asyncio.get_running_loop().call_later(2, rival.execute, "COMMIT")  # later than one try
        assert (await login).tokens.access_token


async def test_a_file_that_stays_locked_is_a_conflict(embedded: Running) -> None:
    with closing(_locked(embedded)):
        aborted = (grpc.StatusCode.ABORTED, "TRANSACTION_CONFLICT", True)
        assert await _refused(_auth(embedded).Login(_LOGIN)) == aborted
        # Who cannot wait so long is not made to.
        expired = (grpc.StatusCode.DEADLINE_EXCEEDED, "", False)
        assert await _refused(_auth(embedded).Login(_LOGIN, timeout=0.3)) == expired
    assert (await _auth(embedded).Login(_LOGIN)).tokens.access_token


async def test_pauses_grow_and_are_left_to_chance(tmp_path: Path) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    chances = iter((0.5, 1.0))
    options = DatabaseOptions(lock_timeout=DatabaseOptions().lock_timeout / 100)
    database = Database(
        f"sqlite+aiosqlite:///{tmp_path / 'x.db'}",
        options,
        chance=lambda: next(chances),
        sleep=pause,
    )
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as rival:
        rival.execute("PRAGMA journal_mode = WAL")
        rival.execute("BEGIN IMMEDIATE")
        with pytest.raises(DBAPIError, match="locked"):
            await database.transaction(lambda write: write.execute(text("SELECT 1")))
    await database.close()
    assert pauses == [0.025, 0.1]


async def test_no_update_is_lost_between_two_processes(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'x.db'}"
    databases = [Database(url), Database(url)]

    async def add_one(write: WriteSession) -> None:
        row = await write.first(text("SELECT n FROM counter"))
        assert row is not None
        await write.execute(text("UPDATE counter SET n = :n"), {"n": row.n + 1})

    async with databases[0].write() as write:
        await write.execute(text("CREATE TABLE counter AS SELECT 0 AS n"))
    await asyncio.gather(*(each.transaction(add_one) for each in databases * 50))
    assert await databases[0].read.first(text("SELECT n FROM counter")) == (100,)
    for database in databases:
        await database.close()
