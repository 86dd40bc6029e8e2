"""Servers that the tests of one file share, where no test changes what another one sees."""

from collections.abc import AsyncIterator
from pathlib import Path
from shutil import copy

import pytest

from server.database.engine import Database
from tests.support.auth import MovableClock
from tests.support.databases import postgres_copy
from tests.support.fake_openai import FakeOpenAI, running_fake_openai
from tests.support.running import Running, running_server


@pytest.fixture(scope="module")
def movable() -> MovableClock:
    """The clock of the shared servers."""
    return MovableClock()


@pytest.fixture(scope="module", params=("sqlite", "postgresql"))
async def shared_url(
    request: pytest.FixtureRequest, sqlite_templates: dict[str, Path], shared_folder: Path
) -> AsyncIterator[str]:
    """A database of each kind with the sample films."""
    if request.param == "sqlite":
        copy(sqlite_templates["sample"], shared_folder / "test.db")
        yield f"sqlite+aiosqlite:///{shared_folder / 'test.db'}"
        return
    server: str = request.getfixturevalue("postgres_server")
    template: str = request.getfixturevalue("postgres_templates")["sample"]
    async with postgres_copy(server, template) as url:
        yield url


@pytest.fixture(scope="module")
async def shared_database(shared_url: str) -> AsyncIterator[Database]:
    """The same, opened."""
    database = Database(shared_url)
    yield database
    await database.close()


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared servers keep what they keep."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
async def shared(
    shared_url: str, shared_folder: Path, movable: MovableClock
) -> AsyncIterator[Running]:
    """A server over the sample films."""
    async with running_server(shared_url, shared_folder, clock=movable) as running:
        await running.app.agents_ready()
        yield running


@pytest.fixture(scope="module")
async def shared_model() -> AsyncIterator[FakeOpenAI]:
    """A model's server that answers as each test scripts it."""
    async with running_fake_openai() as server:
        yield server


@pytest.fixture
async def model(shared_model: FakeOpenAI) -> AsyncIterator[FakeOpenAI]:
    """The model of `modelled` for one test, which leaves no connection behind."""
    yield shared_model
    await shared_model.hang_up()


@pytest.fixture(scope="module")
async def modelled(
    shared_url: str, shared_folder: Path, shared_model: FakeOpenAI
) -> AsyncIterator[Running]:
    """A server over the sample films whose agents ask that model."""
    async with running_server(
        shared_url,
        shared_folder,
        openai_base_url=shared_model.base_url,
        openai_api_key="sk-ours-0123456789",
    ) as running:
        await running.app.agents_ready()
        yield running
