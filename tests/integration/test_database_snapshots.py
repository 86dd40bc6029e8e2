"""Snapshots of the database: one state, however long; nothing stays of one that was given up."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from server.database.engine import Database, DatabaseOptions

SIZE = 2
CANCELLATIONS = 200

_COUNT = text("SELECT count(*) FROM category")
_ADD = text("INSERT INTO category (category_id, name) VALUES (:number, 'Some')")
_LONG = text(
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 200000000)"
    " SELECT count(*) FROM n"
)
_OPEN = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND state <> 'idle' AND backend_type = 'client backend'"
)
# Fails where a reader still needs an old state.
_CHECKPOINT = text("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.fixture
async def small(database_url: str) -> AsyncIterator[Database]:
    """A database with few snapshots and little patience."""
    options = DatabaseOptions(snapshot_connections=SIZE, pool_timeout=timedelta(milliseconds=300))
    database = Database(database_url, options)
    yield database
    await database.close()


async def _add(database: Database, number: int) -> None:
    await database.transaction(lambda write: write.execute(_ADD, {"number": number}))


async def _count(database: Database) -> int:
    row = await database.read.first(_COUNT)
    assert row is not None
    return int(row[0])


async def _nothing_is_open(database: Database) -> bool:
    if any(pool.used for pool in database.pools):
        return False
    if not database.is_sqlite:
        return bool((await database.read.all(_OPEN))[0][0] == 0)
    return bool((await database.read.all(_CHECKPOINT))[0][0] == 0)


async def test_every_read_sees_the_state_of_the_first(small: Database) -> None:
    async with small.snapshot() as snapshot:
        first = await snapshot.first(_COUNT)
        for number in range(1, 6):
            await _add(small, number)
            assert await snapshot.first(_COUNT) == first == (0,)
        async with small.snapshot() as later:
            assert await later.first(_COUNT) == (5,)
        assert await snapshot.all(_COUNT) == [(0,)]
    assert await _count(small) == 5
    assert await _nothing_is_open(small)


async def test_writers_and_snapshots_do_not_wait_for_each_other(small: Database) -> None:
    async def write(start: int) -> None:
        for number in range(start, start + 10):
            await _add(small, number)

    async def read() -> list[int]:
        async with small.snapshot() as snapshot:
            seen = []
            for _ in range(10):
                row = await snapshot.first(_COUNT)
                assert row is not None
                seen.append(int(row[0]))
            return seen

    *_, one, other = await asyncio.gather(write(1), write(101), read(), read())
    assert len(set(one)) == len(set(other)) == 1
    assert await _count(small) == 20


async def test_one_more_than_there_may_be_waits_and_is_refused(small: Database) -> None:
    async with small.snapshot() as one, small.snapshot() as other:
        assert await one.first(_COUNT) == await other.first(_COUNT)
        with pytest.raises(PoolTimeout):
            async with small.snapshot() as third:
                await third.first(_COUNT)

        async def wait() -> object:
            async with small.snapshot() as waiting:
                return await waiting.first(_COUNT)

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0.05)
    assert await waiting == (0,)
    assert [pool.size for pool in small.pools if pool.name == "snapshot"] == [SIZE]


async def test_nothing_is_written_by_a_snapshot_of_postgresql(small: Database) -> None:
    if small.is_sqlite:
        async with small.snapshot() as snapshot:
            await snapshot.all(_COUNT)
        assert await _nothing_is_open(small)
        return
    with pytest.raises(DBAPIError, match="read-only"):
        async with small.snapshot() as snapshot:
            await snapshot.all(text("INSERT INTO category (name) VALUES ('No') RETURNING 1"))
    assert await _count(small) == 0


async def test_a_failing_block_leaves_nothing_open(small: Database) -> None:
    async def fail() -> None:
        async with small.snapshot() as snapshot:
            await snapshot.all(_COUNT)
            raise LookupError

    for _ in range(2 * SIZE):
        with pytest.raises(LookupError):
            await fail()
        with pytest.raises(DBAPIError):
            async with small.snapshot() as snapshot:
                await snapshot.all(text("SELECT nothing FROM nowhere"))
    assert await _nothing_is_open(small)


async def test_a_long_read_ends_with_its_caller(small: Database) -> None:
    async def read() -> None:
        async with small.snapshot() as snapshot:
            await snapshot.all(_LONG)

    reads = [asyncio.create_task(read()) for _ in range(SIZE)]
    await asyncio.sleep(0.2)
    for task in reads:
        task.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait(reads)
        while not await _nothing_is_open(small):
            await asyncio.sleep(0.02)


async def test_cancellations_at_any_moment_leak_nothing(small: Database) -> None:
    chance = random.Random(11)

    async def read() -> None:
        async with small.snapshot() as snapshot:
            for _ in range(3):
                await snapshot.all(_COUNT)

    for _ in range(CANCELLATIONS):
        reads = [asyncio.create_task(read()) for _ in range(3)]
        await asyncio.sleep(chance.random() * 0.008)
        for task in reads:
            task.cancel()
            if chance.random() < 0.3:
                await asyncio.sleep(0)
                task.cancel()  # a second one, while the first is at work
        await asyncio.gather(*reads, return_exceptions=True)
    async with asyncio.timeout(5):
        while not await _nothing_is_open(small):
            await asyncio.sleep(0.02)
    async with small.snapshot() as one, small.snapshot() as other:
        assert await one.first(_COUNT) == await other.first(_COUNT) == (0,)
