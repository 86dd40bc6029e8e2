"""Notifications of PostgreSQL: heard at once, and again after the connection was lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from sqlalchemy import text

from server.database.engine import Database
from server.database.notifications import Notifications
from tests.support.chat_driver import eventually
from tests.support.running import capturing_log

LISTENERS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'interview-server listening'"


class Ear:
    """What listens, and how often it heard something."""

    def __init__(self, database: Database, **options: Any) -> None:
        self.heard = 0
        log, self.lines = capturing_log()
        self.notifications = Notifications(
            database, "test_channel", self._note, log=log, chance=lambda: 0.0, **options
        )

    def _note(self) -> None:
        self.heard += 1


@asynccontextmanager
async def _listening(database: Database, **options: Any) -> AsyncIterator[Ear]:
    ear = Ear(database, **options)
    task = asyncio.create_task(ear.notifications.run())
    try:
        yield ear
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def database(postgresql_url: str) -> AsyncIterator[Database]:
    """An empty database."""
    found = Database(postgresql_url)
    yield found
    await found.close()


async def _run(database: Database, statement: str) -> Any:
    async with database.write() as write:
        result = await write.execute(text(statement))
        return result.all() if result.returns_rows else ()


async def test_what_is_told_is_heard(database: Database) -> None:
    async with _listening(database) as ear:
        await eventually(lambda: ear.heard == 1)  # of what was before
        await _run(database, "NOTIFY test_channel")
        await eventually(lambda: ear.heard == 2)
    assert await _run(database, LISTENERS) == []


async def test_a_lost_connection_is_opened_again(database: Database) -> None:
    async with _listening(database) as ear:
        await eventually(lambda: ear.heard == 1)
        for round_ in range(2):
            ((process,),) = await _run(database, LISTENERS)
            await _run(database, f"SELECT pg_terminate_backend({process})")
            await eventually(lambda: ear.heard == 2 * round_ + 2)  # noqa: B023  # at once
            await _run(database, "NOTIFY test_channel")
            await eventually(lambda: ear.heard == 2 * round_ + 3)  # noqa: B023  # at once
    warnings = [line.kwargs["event"] for line in ear.lines]
    assert warnings == ["notifications lost"] * 2


async def test_a_silent_connection_is_tried(database: Database) -> None:
    """The server closes it in the middle of nothing: the next try finds that out."""
    async with _listening(database, probe_seconds=0.05) as ear:
        await eventually(lambda: ear.heard == 1)
        await asyncio.sleep(0.3)
        assert ear.heard == 1
        await _run(database, "NOTIFY test_channel")
        await eventually(lambda: ear.heard == 2)
