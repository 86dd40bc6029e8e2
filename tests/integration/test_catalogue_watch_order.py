"""Watches under many writers at once: each sees every change once, in the order of commits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.amount import amount
from tests.support.chat_driver import another_server
from tests.support.running import ADMIN, Running, running_server
from tests.support.user_desk import settled
from tests.support.watch_desk import WatchDesk, logged, watching

WRITERS = 20
WATCHERS = 6


@pytest.fixture(params=["one process", "two processes"])
async def servers(
    request: pytest.FixtureRequest, sample_database_url: str, tmp_path: Path
) -> AsyncIterator[tuple[Running, Running]]:
    """Where is written and where is watched: on one database, and each other's process."""
    options: dict[str, Any] = {"max_running_writes": WRITERS, "write_rate": 0, "watch_rate": 0}
    async with AsyncExitStack() as stack:
        server = running_server(sample_database_url, tmp_path, **options)
        writing = await stack.enter_async_context(server)
        watched = writing
        if request.param == "two processes":
            watched = await stack.enter_async_context(another_server(writing))
        yield writing, watched


async def _write(desk: WatchDesk, random: Random, rounds: int) -> None:
    for _ in range(rounds):
        made = await settled(lambda: desk.create(title=f"FILM {random.random()}"))
        name = (await made).name
        for _ in range(random.randrange(3)):
            title = f"FILM {random.random()}"
            await (await settled(lambda: desk.update(name, title=title)))  # noqa: B023  # awaited
        await (await settled(lambda: desk.delete(name)))  # noqa: B023  # awaited


async def _follow(
    running: Running, metadata: Any, cursor: str, random: Random, done: asyncio.Future[int]
) -> list[int]:
    """Watch from a cursor, be cut at random and go on; return the revisions that came."""
    await asyncio.sleep(random.random() / 2)
    found: list[int] = []
    while True:
        async with watching(running, metadata, start_cursor=cursor) as watch:
            for _ in range(random.randrange(1, 60)):
                message = await watch.next()
                cursor = message.cursor
                if message.HasField("change"):
                    found.append(message.change.revision)
                reached = message.change.revision or message.checkpoint.revision
                if done.done() and reached >= done.result():
                    return found


async def test_every_watcher_sees_every_change_once_in_order(
    servers: tuple[Running, Running],
) -> None:
    writing, watched = servers
    seed = 20260301
    desk = WatchDesk(writing, await writing.sign_in(ADMIN))
    metadata = await watched.sign_in(ADMIN)
    async with desk.watch() as first:
        cursor, start = first.cursor, first.told[0].checkpoint.revision
    done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as tasks:
        follows = [
            tasks.create_task(_follow(watched, metadata, cursor, Random(seed + number), done))
            for number in range(WATCHERS)
        ]
        async with asyncio.TaskGroup() as writers:
            for number in range(WRITERS):
                writers.create_task(_write(desk, Random(number), amount(2, 25)))
        written = await logged(writing.app.database)
        # One more, so that each watcher has something to come to an end by.
        last = await desk.create(title="THE END")
        done.set_result(last.revision)
    everything = list(range(start + 1, last.revision + 1))
    assert len(written) >= 2 * WRITERS * amount(2, 25)
    assert [revision for revision in written if revision > start] == everything[:-1]
    for follow in follows:
        assert follow.result() == everything


async def test_what_was_acknowledged_comes_before_what_follows(
    servers: tuple[Running, Running],
) -> None:
    """A watch that is opened after an answer does not tell that change, and tells the next."""
    writing, watched = servers
    desk = WatchDesk(writing, await writing.sign_in(ADMIN))
    watcher = WatchDesk(watched, await watched.sign_in(ADMIN))
    for round_ in range(amount(3, 100)):
        before = await desk.create(title=f"BEFORE {round_}")
        async with watcher.watch() as watch:
            assert watch.told[0].checkpoint.revision == before.revision
            after = await desk.create(title=f"AFTER {round_}")
            assert (await watch.change()).resource.film == after
