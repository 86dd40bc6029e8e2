"""Imports whose streams are cut, meet each other, or break the protocol: every film once."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
from sqlalchemy import select, text, update

from server.audit.models import AuditEvent
from server.catalogue.models import FilmImport as ImportRow
from server.core.clock import utc_now
from server.generated.interview.catalogue.v1 import film_bulk_pb2 as pb
from server.generated.interview.catalogue.v1 import resources_pb2
from tests.support.amount import amount
from tests.support.bulk_desk import BULK, BulkDesk, config, counted, frames, indexed, logged
from tests.support.film_desk import film
from tests.support.running import Running, running_server
from tests.support.statuses import check_row, refused
from tests.support.user_desk import settled

ATOMIC = pb.IMPORT_MODE_ATOMIC
BEST_EFFORT = pb.IMPORT_MODE_BEST_EFFORT
PER_BATCH = pb.IMPORT_MODE_PER_BATCH
SUCCEEDED = pb.FILM_IMPORT_STATE_SUCCEEDED
INTERRUPTED = pb.FILM_IMPORT_STATE_INTERRUPTED
RUNNING = pb.FILM_IMPORT_STATE_RUNNING
KILLS = amount(12, 300)
BATCHES, FILMS = 8, 5


@pytest.fixture(scope="module")
async def unhurried(shared_url: str, shared_folder: Path) -> AsyncIterator[Running]:
    """A server over the sample films; each test here adds films of its own."""
    async with running_server(shared_url, shared_folder, **BULK) as running:
        yield running


@pytest.fixture
async def desk(unhurried: Running) -> BulkDesk:
    await quiet(unhurried)
    return await BulkDesk.open(unhurried)


async def quiet(running: Running) -> None:
    """Wait until no call runs: a caller has one stream of imports at a time."""
    async with asyncio.timeout(10):
        while running.app.running_calls:
            await asyncio.sleep(0.005)


def batches(word: str) -> list[Sequence[resources_pb2.Film]]:
    return [
        [film(title=f"{word} {batch}/{place}") for place in range(FILMS)]
        for batch in range(BATCHES)
    ]


async def titles(desk: BulkDesk, word: str) -> list[str]:
    found = await desk.all_films(filter=f'title = "{word} *"')
    return sorted(one.title for one in found)


def wanted(word: str, number: int = BATCHES) -> list[str]:
    return sorted(one.title for batch in batches(word)[:number] for one in batch)


async def ended(desk: BulkDesk, first: pb.ImportFilmsConfig) -> pb.FilmImport:
    """Wait until no stream of an import runs."""
    async with asyncio.timeout(10):
        while (found := await desk.state(first)).state == RUNNING:
            await asyncio.sleep(0.01)
    await quiet(desk.running)
    return found


async def reached(desk: BulkDesk, first: pb.ImportFilmsConfig, number: int) -> None:
    """Wait until a batch is stored."""
    async with asyncio.timeout(10):
        while (row := await _row(desk, first)) is None or row.committed_batch < number:
            await asyncio.sleep(0.005)


@pytest.mark.long
@pytest.mark.timeout(amount(120, 1_800))
@pytest.mark.parametrize("mode", [PER_BATCH, BEST_EFFORT, ATOMIC])
async def test_a_client_that_is_killed_anywhere_goes_on(desk: BulkDesk, mode: Any) -> None:
    chance = random.Random(mode)
    word = f"KILL{mode}"
    first = config(mode=mode)
    log = len(await logged(desk.running.app.database))
    for _ in range(KILLS):
        committed = 0
        if mode != ATOMIC and (known := await _known(desk, first)) is not None:
            assert known.state == INTERRUPTED
            committed = known.committed_batch_number
        behind = batches(word)[committed : committed + 2]  # never all of them
        if committed + 2 >= BATCHES:
            break
        call = desk.stream()
        await _killed(call, frames(first, behind, committed + 1), chance)
        if await _known(desk, first) is not None:
            found = await ended(desk, first)
            assert found.state == INTERRUPTED, found
            assert await titles(desk, word) == wanted(word, found.committed_batch_number)
    call = await settled(lambda: desk.send(first, batches(word)))
    done = (await call).film_import
    assert (done.state, done.created_count) == (SUCCEEDED, BATCHES * FILMS)
    assert done.committed_batch_number == BATCHES
    assert await titles(desk, word) == wanted(word)
    database = desk.running.app.database
    assert len(await logged(database)) - log == BATCHES * FILMS
    assert await counted(database) == await indexed(database) == len(await desk.all_films())


async def _known(desk: BulkDesk, first: pb.ImportFilmsConfig) -> pb.FilmImport | None:
    try:
        return await ended(desk, first)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:  # cut before the config came
            await quiet(desk.running)
            return None
        raise


async def _killed(call: Any, requests: Any, chance: random.Random) -> None:
    """Send some messages and cancel the call, without ever ending this side."""
    for request in requests:
        try:
            await call.write(request)
        except asyncio.InvalidStateError:  # the stream before is not over yet
            return
        if chance.random() < 0.3:
            break
        await asyncio.sleep(chance.random() * 0.03)
    await asyncio.sleep(chance.random() * 0.03)
    call.cancel()


@pytest.mark.parametrize("how", ["channel", "cancel"])
async def test_a_cut_never_looks_like_the_end(desk: BulkDesk, how: str) -> None:
    """An atomic import whose connection goes stores nothing."""
    for _ in range(amount(5, 200)):
        first = config(mode=ATOMIC)
        async with grpc.aio.insecure_channel(desk.running.target) as channel:
            stream: Any = channel.stream_unary(
                "/interview.catalogue.v1.CatalogueService/ImportFilms",
                request_serializer=pb.ImportFilmsRequest.SerializeToString,
            )
            call = stream(metadata=desk.metadata)
            for request in frames(first, batches("CUT")[:2]):
                await call.write(request)
            while await _row(desk, first) is None:
                await asyncio.sleep(0.002)
            if how == "cancel":
                call.cancel()
        assert (await ended(desk, first)).state == INTERRUPTED
    assert await titles(desk, "CUT") == []


async def _row(desk: BulkDesk, first: pb.ImportFilmsConfig) -> Any:
    database = desk.running.app.database
    rows = await database.read.all(select(ImportRow.__table__))
    return next((row for row in rows if str(row.import_id) == first.import_id), None)


async def test_every_batch_can_be_sent_again(desk: BulkDesk) -> None:
    first = config()
    call = desk.stream()
    sent = list(frames(first, batches("TWICE")))
    for request in [*sent[:4], *sent[1:4], *sent[2:6], *sent[1:]]:
        await call.write(request)
    await call.done_writing()
    done = (await call).film_import
    assert (done.state, done.created_count) == (SUCCEEDED, BATCHES * FILMS)
    assert await titles(desk, "TWICE") == wanted("TWICE")


async def test_a_second_stream_takes_over(desk: BulkDesk) -> None:
    first = config()
    word = "TAKEN"
    one = desk.stream()
    sent = list(frames(first, batches(word)))
    for request in sent[:3]:
        await one.write(request)
    await reached(desk, first, 2)
    # As if by another server: here a caller has one stream at a time.
    async with desk.running.app.database.write() as write:
        await write.execute(
            update(ImportRow).where(ImportRow.state == "running").values(stream_id=uuid4())
        )
    await one.write(sent[3])
    told = await refused(one)
    check_row(told, "WRONG_STATE")
    assert told.by_kind["FilmImport"].committed_batch_number == 2
    assert (await desk.state(first)).state == RUNNING  # the other one's
    done = await desk.imported(first, batches(word))
    assert (done.state, done.created_count) == (SUCCEEDED, BATCHES * FILMS)
    assert await titles(desk, word) == wanted(word)


async def test_two_servers_at_the_same_import(
    desk: BulkDesk, shared_url: str, tmp_path: Path
) -> None:
    async with running_server(shared_url, tmp_path, has_users=True, **BULK) as second:
        rival = BulkDesk(second, await second.sign_in("admin@example.com"))
        for turn in range(amount(3, 60)):
            word, first = f"RACE{turn}", config()
            calls = [desk.send(first, batches(word)), rival.send(first, batches(word))]
            ends = await asyncio.gather(*calls, return_exceptions=True)
            if all(isinstance(end, grpc.aio.AioRpcError) for end in ends):
                ends.append(await desk.send(first, batches(word)))
            done = [end.film_import for end in ends if isinstance(end, pb.ImportFilmsResponse)]
            assert done
            assert {one.created_count for one in done} == {BATCHES * FILMS}
            assert await titles(desk, word) == wanted(word)


async def test_a_server_that_stops_between_batches(
    sample_database_url: str, tmp_path: Path
) -> None:
    first, word = config(), "STOP"
    async with running_server(sample_database_url, tmp_path, grace_seconds=0.2, **BULK) as running:
        desk = await BulkDesk.open(running)
        call = desk.stream()
        for request in frames(first, batches(word)[:3]):
            await call.write(request)
        await reached(desk, first, 3)
        await running.app.stop(asyncio.Event())
        check_row(await refused(call), "SERVER_DRAINING")
    async with running_server(sample_database_url, tmp_path, has_users=True, **BULK) as running:
        desk = await BulkDesk.open(running)
        found = await desk.state(first)
        assert (found.state, found.committed_batch_number) == (INTERRUPTED, 3)
        done = await desk.imported(first, batches(word)[3:], 4)
        assert (done.state, done.created_count) == (SUCCEEDED, BATCHES * FILMS)
        assert await titles(desk, word) == wanted(word)


async def test_an_import_whose_server_died_runs_no_more(desk: BulkDesk) -> None:
    first = config()
    await desk.imported(first, [])
    for minutes, state in ((1, RUNNING), (10, INTERRUPTED)):
        moment = utc_now() - timedelta(minutes=minutes)
        async with desk.running.app.database.write() as write:
            await write.execute(
                update(ImportRow)
                .where(ImportRow.import_id == UUID(first.import_id))
                .values(state="running", update_time=moment)
            )
        assert (await desk.state(first)).state == state
    assert (await desk.imported(first, [])).state == SUCCEEDED


async def test_a_client_that_says_nothing_loses_its_stream(
    desk: BulkDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_bulk(desk.running), "_idle", timedelta(seconds=0.3))
    first = config()
    call = desk.stream()
    for request in frames(first, batches("IDLE")[:1]):
        await call.write(request)
    told = await refused(call)
    check_row(told, "DEADLINE_EXCEEDED")
    assert told.by_kind["FilmImport"].state == INTERRUPTED
    found = await desk.state(first)
    assert (found.state, found.committed_batch_number) == (INTERRUPTED, 1)


def _bulk(running: Running) -> Any:
    parts = running.app._catalogue  # a minute is too long for a test
    return next(one for one in parts.servicers if hasattr(one, "_idle"))


async def test_the_audit_trail_has_each_import_once(desk: BulkDesk) -> None:
    first = config()
    await desk.imported(first, batches("AUDIT"))
    rows = await desk.running.app.database.read.all(
        select(AuditEvent.outcome).where(AuditEvent.target == f"filmImports/{first.import_id}")
    )
    assert [row.outcome for row in rows] == ["OK"]


async def test_old_imports_are_deleted(desk: BulkDesk) -> None:
    first, young = config(), config()
    await desk.imported(first, [])
    await desk.imported(young, [])
    parts: Any = desk.running.app._catalogue  # deleted every hour by itself
    writes = parts._import_writes
    row = await _row(desk, first)
    assert row is not None
    await writes.forget(row.update_time, 500)
    assert await _row(desk, first) is None
    assert await _row(desk, young) is not None


async def test_times_and_counts_are_of_all_streams(desk: BulkDesk) -> None:
    first = config(mode=BEST_EFFORT)
    bad = [film(title="")]
    call = desk.stream()
    for request in frames(first, [*batches("TIMES")[:2], bad]):
        await call.write(request)
    await reached(desk, first, 3)
    call.cancel()
    found = await ended(desk, first)
    done = await desk.imported(first, [*batches("TIMES")[2:4], bad], 4)
    assert (done.created_count, done.failed_count) == (4 * FILMS, 2)
    assert [failure.batch_number for failure in done.failures] == [3, 6]
    assert done.create_time == found.create_time
    assert done.update_time.ToDatetime() > found.update_time.ToDatetime()
    elapsed = done.update_time.ToDatetime() - done.create_time.ToDatetime()
    assert done.elapsed.ToTimedelta() == elapsed > timedelta(0)


async def test_nothing_is_left_in_the_database(desk: BulkDesk) -> None:
    rows = await desk.running.app.database.read.all(
        text("SELECT count(*) FROM film_import WHERE state = 'running'")
    )
    assert rows[0][0] == 0
    assert not any(pool.used for pool in desk.running.app.database.pools)
