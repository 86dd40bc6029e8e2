"""Single reads: one round trip each, and a pool that survives cancelled and dead connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import bindparam, literal, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from server.database.engine import Database, DatabaseOptions

_ONE = select(literal(1) + bindparam("more"))
_SLOW = {
    "postgresql": text("SELECT pg_sleep(0.5)"),
    "sqlite": text(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 1000000)"
        " SELECT count(*) FROM n"
    ),
}


@asynccontextmanager
async def _recording_proxy(port: int) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Pass bytes to and from the port; yield the proxy's port and what clients sent."""
    sent: list[bytes] = []

    async def copy(
        source: asyncio.StreamReader, target: asyncio.StreamWriter, record: list[bytes]
    ) -> None:
        while data := await source.read(65536):
            record.append(data)
            target.write(data)
        target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, server_writer, sent), copy(server_reader, writer, []))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as proxy:
        yield proxy.sockets[0].getsockname()[1], sent


def _kinds(data: bytes) -> str:
    """Return the types of PostgreSQL's frontend messages: a letter and a length of 4 bytes."""
    kinds, place = "", 0
    while place < len(data):
        kinds += chr(data[place])
        place += 1 + int.from_bytes(data[place + 1 : place + 5], "big")
    return kinds


async def test_a_read_on_postgresql_is_one_round_trip(postgresql_url: str) -> None:
    url = make_url(postgresql_url)
    assert url.port is not None
    async with _recording_proxy(url.port) as (port, sent):
        database = Database(url.set(port=port))
        await database.read.all(_ONE, {"more": 0})
        sent.clear()
        for number in range(3):
            assert await database.read.first(_ONE, {"more": number}) == (1 + number,)
        await database.close()
    # Bind, Execute, Sync; no Query with BEGIN or ROLLBACK, nothing when it goes back.
    assert [_kinds(data) for data in sent][:3] == ["BES", "BES", "BES"]
    assert _kinds(b"".join(sent)) == "BESBESBES" + "X"


async def test_cancelled_reads_leave_the_pool_whole(database_url: str) -> None:
    database = Database(database_url, DatabaseOptions(read_connections=2))
    slow = _SLOW[database.url.get_backend_name()]
    for _ in range(3):
        reads = [asyncio.create_task(database.read.all(slow)) for _ in range(2)]
        await asyncio.sleep(0.05)
        for read in reads:
            read.cancel()
        ends = await asyncio.gather(*reads, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
    answers = await asyncio.gather(*(database.read.first(_ONE, {"more": 1}) for _ in range(8)))
    assert answers == [(2,)] * 8
    await database.close()


async def test_a_failed_statement_leaves_the_pool_whole(database: Database) -> None:
    for _ in range(20):
        with pytest.raises(DBAPIError):
            await database.read.all(text("SELECT nothing FROM nowhere"))
    assert await database.read.first(_ONE, {"more": 1}) == (2,)


async def test_a_dead_connection_is_replaced(postgresql_url: str) -> None:
    database = Database(postgresql_url, DatabaseOptions(read_connections=1))
    number = text("SELECT pg_backend_pid()")
    before = await database.read.first(number)
    assert before is not None
    async with database.write() as write:
        await write.execute(text("SELECT pg_terminate_backend(:pid, 2000)"), {"pid": before[0]})
    after = await database.read.first(number)
    assert after is not None
    assert after != before
    await database.close()
