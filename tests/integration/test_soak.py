"""Many calls, many of them given up at a random moment: nothing may be left behind."""

import asyncio
import gc
import random
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from sqlalchemy import text

from server.generated.interview.agent.v1 import agent_service_pb2_grpc, chat_pb2
from server.generated.interview.catalogue.v1 import catalogue_service_pb2_grpc, film_pb2
from tests.support.amount import amount
from tests.support.load import UNTHROTTLED
from tests.support.running import Running, running_server

CALLS = amount(300, 20_000)
TURNS = amount(30, 1_000)
TERMINAL = ("turn_completed", "turn_cancelled", "turn_failed")

pytestmark = [pytest.mark.long, pytest.mark.timeout(amount(120, 3_600))]


async def _quiet(running: Running) -> None:
    """Wait until no call runs any more."""
    async with asyncio.timeout(10):
        while running.app.running_calls:
            await asyncio.sleep(0.02)


async def test_calls_given_up_at_random_leave_the_server_whole(running: Running) -> None:
    stub = catalogue_service_pb2_grpc.CatalogueServiceStub(running.channel)
    metadata = await running.sign_in()
    chance = random.Random(1)
    outcomes: Counter[str] = Counter()

    async def one() -> None:
        request = film_pb2.ListFilmsRequest(page_size=50, order_by="title")
        call = stub.ListFilms(request, metadata=metadata, timeout=10)
        if chance.random() < 0.5:
            await asyncio.sleep(chance.random() * 0.05)
            call.cancel()
        try:
            outcomes[str(len((await call).films))] += 1
        except asyncio.CancelledError:
            outcomes["cancelled"] += 1

    for _ in range(CALLS // 10):
        await asyncio.gather(*(one() for _ in range(10)))
    await _quiet(running)
    assert sum(outcomes.values()) == CALLS // 10 * 10
    assert set(outcomes) <= {"50", "cancelled"}
    assert outcomes["50"] > CALLS // 4  # a test in which nothing was answered proves nothing
    for _ in range(20):  # every connection of the pool still works
        assert (await stub.ListFilms(film_pb2.ListFilmsRequest(), metadata=metadata)).films


@pytest.fixture
async def embedded(sqlite_templates: dict[str, Path], tmp_path: Path) -> AsyncIterator[Running]:
    """A server that lets one caller do as much as it likes."""
    file = tmp_path / "test.db"
    shutil.copy(sqlite_templates["sample"], file)
    url = f"sqlite+aiosqlite:///{file}"
    async with running_server(url, tmp_path, **UNTHROTTLED) as server:
        yield server


async def test_turns_cut_at_random_have_one_end_and_leave_no_task(embedded: Running) -> None:
    await embedded.app.agents_ready()
    stub = agent_service_pb2_grpc.AgentServiceStub(embedded.channel)
    metadata = await embedded.sign_in()
    chance = random.Random(2)
    gc.collect()
    before = len(asyncio.all_tasks())
    for _ in range(TURNS):
        call = stub.Chat(metadata=metadata)
        await call.write(chat_pb2.ChatRequest(start=chat_pb2.StartFrame()))
        message = chat_pb2.UserMessageFrame(turn_id=str(uuid4()), text="Films with dinosaurs?")
        await call.write(chat_pb2.ChatRequest(user_message=message))
        await asyncio.sleep(chance.random() * 0.15)
        call.cancel()
    await _quiet(embedded)
    async with asyncio.timeout(5):
        while len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.02)
    ends = await _ends(embedded)
    assert set(ends.values()) <= {1}
    assert len(ends) > TURNS // 4
    unfinished = await embedded.app.database.read.all(
        text("SELECT turn_id FROM chat_turn WHERE state IN ('queued', 'running')")
    )
    assert unfinished == []


async def _ends(running: Running) -> Counter[str]:
    """Count the terminal events of each turn in the log."""
    ends: Counter[str] = Counter()
    for row in await running.app.database.read.all(text("SELECT payload FROM chat_event")):
        event = chat_pb2.ChatResponse.FromString(row.payload)
        if event.WhichOneof("event") in TERMINAL:
            ends[event.turn_id] += 1
    return ends


async def test_memory_does_not_grow_with_calls(embedded: Running) -> None:
    stub = catalogue_service_pb2_grpc.CatalogueServiceStub(embedded.channel)
    metadata = await embedded.sign_in()
    request = film_pb2.GetFilmRequest(name="films/1")
    process = psutil.Process()

    async def calls(number: int) -> int:
        for _ in range(number // 20):
            await asyncio.gather(*(stub.GetFilm(request, metadata=metadata) for _ in range(20)))
            embedded.lines.clear()  # the test's own record of the log
        gc.collect()
        return int(process.memory_info().rss)

    warm = await calls(amount(1_000, 5_000))
    after = await calls(amount(2_000, 100_000))
    assert after - warm < 8 * 1024 * 1024
