"""Databases and servers for tests: fresh ones, real ones.

PostgreSQL comes from TEST_POSTGRES_URL or from the embedded wheel. Where neither works the
tests that need it are skipped with the reason, in CI they fail.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy.engine import make_url

from server.database.engine import Database
from tests.support.databases import execute, migrated, named, postgres_copy, run_apart
from tests.support.postgres import PostgresUnavailable, running_postgres
from tests.support.running import Running, running_server

DIALECTS = ("sqlite", "postgresql")
TASKS_END_SECONDS = 5.0


@pytest.fixture(autouse=True)
async def no_task_left_behind() -> AsyncIterator[None]:
    """Fail a test that leaves a task behind: it would go on working beside the next tests."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=TASKS_END_SECONDS)
    assert not left, f"left behind: {left}"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server's maintenance database."""
    if given := os.environ.get("TEST_POSTGRES_URL"):
        yield _with_driver(given)
        return
    try:
        with running_postgres() as url:
            yield url
    except PostgresUnavailable as reason:
        if os.environ.get("CI"):
            pytest.fail(f"PostgreSQL must run in CI: {reason}")
        pytest.skip(f"no PostgreSQL: {reason}")


@pytest.fixture
async def postgresql_url(postgres_server: str) -> AsyncIterator[str]:
    """A fresh, empty PostgreSQL database, dropped afterwards."""
    async with postgres_copy(postgres_server, "template0") as url:
        yield url


@pytest.fixture(params=DIALECTS)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty, unmigrated database of each kind."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'test.db'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture(scope="session")
def sqlite_templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A migrated SQLite file, and one with the sample films."""
    folder = tmp_path_factory.mktemp("templates")
    files = {"migrated": folder / "migrated.db", "sample": folder / "sample.db"}
    run_apart(migrated(f"sqlite+aiosqlite:///{files['migrated']}", sample=False))
    run_apart(migrated(f"sqlite+aiosqlite:///{files['sample']}", sample=True))
    return files


@pytest.fixture(scope="session")
def postgres_templates(postgres_server: str) -> Iterator[dict[str, str]]:
    """Names of a migrated PostgreSQL database, and of one with the sample films."""
    names = {kind: f"template_{kind}_{uuid4().hex[:12]}" for kind in ("migrated", "sample")}
    for kind, name in names.items():
        run_apart(execute(postgres_server, f"CREATE DATABASE {name} TEMPLATE template0"))
        run_apart(migrated(named(postgres_server, name), sample=kind == "sample"))
    yield names
    for name in names.values():
        run_apart(execute(postgres_server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(params=DIALECTS)
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """A migrated database of each kind, without films."""
    async for url in _copy(request, "migrated", tmp_path):
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A migrated database of each kind, opened."""
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture(params=DIALECTS)
async def sample_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """A database of each kind with the sample films."""
    async for url in _copy(request, "sample", tmp_path):
        yield url


@pytest.fixture
async def running(sample_database_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    """A server over the sample films, on each kind of database."""
    async with running_server(sample_database_url, tmp_path) as server:
        yield server


@pytest.fixture
async def embedded(sqlite_templates: dict[str, Path], tmp_path: Path) -> AsyncIterator[Running]:
    """A server over the sample films on SQLite, where the database makes no difference."""
    file = tmp_path / "test.db"
    shutil.copy(sqlite_templates["sample"], file)
    async with running_server(f"sqlite+aiosqlite:///{file}", tmp_path) as server:
        yield server


async def _copy(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> AsyncIterator[str]:
    if request.param == "sqlite":
        file = tmp_path / "test.db"
        shutil.copy(request.getfixturevalue("sqlite_templates")[kind], file)
        yield f"sqlite+aiosqlite:///{file}"
        return
    server: str = request.getfixturevalue("postgres_server")
    template: str = request.getfixturevalue("postgres_templates")[kind]
    async with postgres_copy(server, template) as url:
        yield url


def _with_driver(url: str) -> str:
    return make_url(url).set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)
