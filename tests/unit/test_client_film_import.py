"""Imports through the client: every batch is stored once, however often the stream is cut."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from interview_client import (
    ImportProgress,
    InterviewClient,
    PermissionDenied,
    ResourceExists,
    TooManyStreams,
    Unavailable,
)
from interview_client.film_import import (
    BATCH_BYTES,
    ENVELOPE_BYTES,
    UNCONFIRMED,
    _bytes_in_batch,
)
from interview_client.messages import (
    Film,
    FilmImportState,
    ImportConflictPolicy,
    ImportFilmsBatch,
    ImportFilmsRequest,
    ImportMode,
)

from server.generated.interview.catalogue.v1 import film_bulk_pb2
from server.rpc.options import ServerOptions
from tests.support.scripted_server import Context, Script, connected, fail

FAIL = ImportConflictPolicy.FAIL
PER_BATCH = ImportMode.PER_BATCH


class Store:
    """Stores batches as the contract says; `cuts` end streams after so many new batches."""

    def __init__(self, *cuts: int) -> None:
        self.cuts = list(cuts)
        self.cut: tuple[Any, ...] = (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")
        self.batches: dict[int, list[str]] = {}
        self.received: list[int] = []
        self.sizes: dict[int, int] = {}
        self.configs: list[Any] = []
        self.held = asyncio.Event()
        self.held.set()
        self.state = film_bulk_pb2.FILM_IMPORT_STATE_RUNNING

    @property
    def titles(self) -> list[str]:
        """Return what is stored, in order."""
        return [title for number in sorted(self.batches) for title in self.batches[number]]

    def script(self) -> Script:
        """Return the server of this store."""
        return Script(ImportFilms=self.take, GetFilmImport=self.get)

    def film_import(self) -> film_bulk_pb2.FilmImport:
        """Return how far the import is."""
        return film_bulk_pb2.FilmImport(
            name=f"filmImports/{self.configs[0].import_id}" if self.configs else "",
            committed_batch_number=max(self.batches, default=0),
            created_count=len(self.titles),
            state=self.state,
        )

    async def get(self, request: Any, context: Context) -> Message:
        """Answer GetFilmImport."""
        if not self.batches:
            await fail(context, grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
        return self.film_import()

    async def take(self, requests: AsyncIterator[Any], context: Context) -> Message:
        """Answer ImportFilms."""
        left = self.cuts.pop(0) if self.cuts else -1
        async for request in requests:
            if request.HasField("config"):
                self.configs.append(request.config)
                continue
            batch = request.batch
            self.received.append(batch.batch_number)
            self.sizes[batch.batch_number] = request.ByteSize()
            await self.held.wait()
            if batch.batch_number in self.batches:
                continue
            if left == 0:
                await fail(context, *self.cut)
            left -= 1
            assert batch.batch_number == max(self.batches, default=0) + 1
            self.batches[batch.batch_number] = [film.title for film in batch.films]
        if left == 0:
            await fail(context, *self.cut)
        self.state = film_bulk_pb2.FILM_IMPORT_STATE_SUCCEEDED
        return film_bulk_pb2.ImportFilmsResponse(film_import=self.film_import())


def films(count: int) -> Iterator[Film]:
    """Yield so many films."""
    return (Film(title=str(number), language="languages/1") for number in range(count))


async def slowly(count: int) -> AsyncIterator[Film]:
    """Yield so many films, as a source does that waits for something itself."""
    for film in films(count):
        await asyncio.sleep(0)
        yield film


@pytest.mark.parametrize("cuts", [(), (3,), (0, 0, 2), (5, 1, 0, 4), (25,)])
@pytest.mark.parametrize("source", [films, slowly])
async def test_every_film_is_stored_once_and_in_order(cuts: Any, source: Any) -> None:
    store = Store(*cuts)
    async with connected(store.script()) as client:
        done = await client.catalogue.import_films(
            source(250), mode=PER_BATCH, conflict_policy=FAIL, batch_size=10
        )
    assert store.titles == [str(number) for number in range(250)]
    assert (done.created_count, done.state) == (250, FilmImportState.SUCCEEDED)
    assert len({config.import_id for config in store.configs}) == 1
    assert {(config.mode, config.conflict_policy) for config in store.configs} == {(2, 1)}
    assert len(store.configs) == len(cuts) + 1


async def test_batches_that_are_stored_are_not_sent_again() -> None:
    store = Store(4)
    async with connected(store.script()) as client:
        await client.catalogue.import_films(
            films(60), mode=PER_BATCH, conflict_policy=FAIL, batch_size=10
        )
    # The fifth came before the cut and again behind it, the sixth perhaps.
    assert store.received[:5] == [1, 2, 3, 4, 5]
    assert store.received[-2:] == [5, 6]
    assert sorted(set(store.received)) == [1, 2, 3, 4, 5, 6]
    assert all(store.received.count(number) == 1 for number in (1, 2, 3, 4))


async def test_an_import_of_an_earlier_process_goes_on() -> None:
    store = Store()
    store.batches = {1: ["0", "1"], 2: ["2", "3"]}
    seen: list[ImportProgress] = []
    async with connected(store.script()) as client:
        done = await client.catalogue.import_films(
            films(7),
            mode=PER_BATCH,
            conflict_policy=FAIL,
            import_id="0d1f6c1e-2b53-4a51-8f61-3f1f3f6f7c10",
            batch_size=2,
            on_progress=seen.append,
        )
    assert store.received == [3, 4]
    assert store.titles == [str(number) for number in range(7)]
    assert done.name == "filmImports/0d1f6c1e-2b53-4a51-8f61-3f1f3f6f7c10"
    assert [(p.batch_number, p.film_count) for p in seen] == [(1, 2), (2, 4), (3, 6), (4, 7)]
    assert seen[0].film_import is not None
    assert seen[0].film_import.committed_batch_number == 2


async def test_a_source_is_not_read_far_ahead_of_what_is_stored() -> None:
    store = Store()
    store.held.clear()
    read = 0

    def counted() -> Iterator[Film]:
        nonlocal read
        for film in films(300):
            read += 1
            yield film

    async with connected(store.script()) as client:
        work = asyncio.create_task(
            client.catalogue.import_films(
                counted(), mode=PER_BATCH, conflict_policy=FAIL, batch_size=10
            )
        )
        await asyncio.sleep(0.5)
        assert 0 < read <= UNCONFIRMED * 10
        store.held.set()
        await work
    assert read == 300
    assert len(store.titles) == 300


async def test_an_atomic_import_is_sent_again_as_a_whole() -> None:
    """Nothing of it is stored before its end, so nothing may be forgotten or waited for."""
    sent: list[list[int]] = []

    async def atomic(requests: AsyncIterator[Any], context: Context) -> Message:
        sent.append([])
        async for request in requests:
            if request.HasField("batch"):
                sent[-1].append(request.batch.batch_number)
        if len(sent) == 1:
            await fail(context, grpc.StatusCode.UNAVAILABLE)
        done = film_bulk_pb2.FilmImport(created_count=200)
        return film_bulk_pb2.ImportFilmsResponse(film_import=done)

    async def unknown(request: Any, context: Context) -> Message:
        return await fail(context, grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")

    async with connected(Script(ImportFilms=atomic, GetFilmImport=unknown)) as client:
        done = await client.catalogue.import_films(
            films(200), mode=ImportMode.ATOMIC, conflict_policy=FAIL, batch_size=10
        )
    assert done.created_count == 200
    assert sent == [list(range(1, 21))] * 2


async def test_a_film_that_cannot_be_taken_fails_with_what_became_of_the_others() -> None:
    store = Store(2)
    async with connected(store.script()) as client:
        failed = film_bulk_pb2.FilmImport(
            name="filmImports/x",
            committed_batch_number=2,
            state=film_bulk_pb2.FILM_IMPORT_STATE_FAILED,
            failed_count=1,
            failures=[film_bulk_pb2.ImportFailure(batch_number=3, index=7)],
        )
        store.cut = (grpc.StatusCode.ALREADY_EXISTS, "RESOURCE_EXISTS", failed)
        with pytest.raises(ResourceExists) as caught:
            await client.catalogue.import_films(
                films(90), mode=PER_BATCH, conflict_policy=FAIL, batch_size=10
            )
    told = caught.value.film_import
    assert told is not None
    assert (told.name, told.state, told.failed_count) == (
        "filmImports/x",
        FilmImportState.FAILED,
        1,
    )
    assert [(one.batch_number, one.index) for one in told.failures] == [(3, 7)]
    assert len(store.configs) == 1


async def test_a_source_that_fails_ends_the_import_with_its_own_error() -> None:
    def broken() -> Iterator[Film]:
        yield from films(25)
        raise LookupError("line 26")

    store = Store()
    async with connected(store.script()) as client:
        with pytest.raises(LookupError, match="line 26"):
            await client.catalogue.import_films(
                broken(), mode=PER_BATCH, conflict_policy=FAIL, batch_size=10
            )
    assert len(store.configs) == 1


@pytest.mark.parametrize(
    ("description", "count", "batches"),
    [
        ("x" * 9_999, 500, 7),
        ("é" * 10_000, 120, 4),
        ("x" * 1_000, 3, 1),
        ("x" * 100, 1_001, 3),
        # One alone is larger than a batch may be: the server tells what it makes of it.
        ("x" * (BATCH_BYTES + 1), 2, 2),
    ],
)
async def test_a_message_is_no_larger_than_the_server_takes(
    description: str, count: int, batches: int
) -> None:
    store = Store()
    long = (Film(title=str(n), description=description) for n in range(count))
    async with connected(store.script()) as client:
        await client.catalogue.import_films(long, mode=PER_BATCH, conflict_policy=FAIL)
    assert len(store.batches) == batches
    assert store.titles == [str(number) for number in range(count)]
    assert ServerOptions().max_receive_message_bytes > BATCH_BYTES
    for number, titles in store.batches.items():
        assert store.sizes[number] <= BATCH_BYTES or len(titles) == 1


@pytest.mark.parametrize("length", [0, 1, 90, 116, 117, 118, 119, 120, 130, 16_360, 16_383, 17_000])
async def test_a_message_is_as_large_as_was_counted(length: int) -> None:
    """Also where the length of a film takes one more byte itself."""
    film = Film(title="t", description="x" * length)
    counted = ENVELOPE_BYTES + 3 * _bytes_in_batch(film)
    for number in (1, 2**31 - 1):
        batch = ImportFilmsBatch(batch_number=number, films=[film] * 3)
        assert counted - ENVELOPE_BYTES < len(bytes(ImportFilmsRequest(batch=batch))) <= counted


async def test_a_full_batch_does_not_wait_for_the_next_film() -> None:
    store = Store()

    async def stuck() -> AsyncIterator[Film]:
        for film in films(10):
            yield film
        async with asyncio.timeout(5):
            while not store.batches:
                await asyncio.sleep(0.01)

    async with connected(store.script()) as client:
        await client.catalogue.import_films(
            stuck(), mode=PER_BATCH, conflict_policy=FAIL, batch_size=10
        )
    assert len(store.titles) == 10


async def test_patience_ends_and_tells_how_far_the_import_is() -> None:
    store = Store(2, *[0] * 50)
    async with connected(store.script()) as client:
        with pytest.raises(Unavailable) as caught:
            await client.catalogue.import_films(
                films(90), mode=PER_BATCH, conflict_policy=FAIL, batch_size=10, patience=0.3
            )
    assert caught.value.film_import is not None
    assert caught.value.film_import.committed_batch_number == 2


async def test_who_may_not_import_is_told_so_once() -> None:
    store = Store(0)
    store.cut = (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
    async with connected(store.script()) as client:
        with pytest.raises(PermissionDenied) as caught:
            await client.catalogue.import_films(films(10), mode=PER_BATCH, conflict_policy=FAIL)
    assert caught.value.film_import is None
    assert len(store.configs) == 1


FULL = (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS")


async def test_who_imports_already_is_told_so_after_a_moment() -> None:
    store = Store(*[0] * 50)
    store.cut = FULL
    async with connected(store.script()) as client:
        with pytest.raises(TooManyStreams):
            await client.catalogue.import_films(
                films(10), mode=PER_BATCH, conflict_policy=FAIL, patience=0.3
            )
    assert 1 < len(store.configs) < 10


@pytest.mark.parametrize("way", ["fails", "cancelled"])
async def test_the_next_import_waits_until_the_server_has_seen_the_end_of_the_last(
    way: str,
) -> None:
    """A caller may have one at a time; the server goes on for a moment when one is left."""
    store, running = Store(), list[Context]()

    async def one_at_a_time(requests: AsyncIterator[Any], context: Context) -> Message:
        if running:
            later = error_details_pb2.RetryInfo()
            later.retry_delay.seconds = 60
            await fail(context, *FULL, later)
        running.append(context)
        try:
            return await store.take(requests, context)
        finally:
            asyncio.get_running_loop().call_later(0.5, running.clear)

    async def endless() -> AsyncIterator[Film]:
        for film in films(25):
            yield film
        while not store.batches:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # until the test has seen it too
        if way == "fails":
            raise LookupError("line 26")
        await asyncio.sleep(30)

    script = Script(ImportFilms=one_at_a_time, GetFilmImport=store.get)
    async with connected(script) as client, asyncio.timeout(4):
        left = asyncio.create_task(
            client.catalogue.import_films(
                endless(), mode=PER_BATCH, conflict_policy=FAIL, batch_size=10
            )
        )
        while not store.batches:
            await asyncio.sleep(0.01)
        if way == "cancelled":
            left.cancel()
        await asyncio.wait([left])
        store.batches.clear()
        await client.catalogue.import_films(films(10), mode=PER_BATCH, conflict_policy=FAIL)
    assert store.titles == [str(number) for number in range(10)]
    assert script.count("ImportFilms") > 2


async def test_a_server_that_still_counts_the_stream_that_was_cut_is_waited_for() -> None:
    store = Store(0, 0, 0)
    ends = [(grpc.StatusCode.UNAVAILABLE,), FULL, FULL]

    async def take(requests: AsyncIterator[Any], context: Context) -> Message:
        store.cut = ends.pop(0) if ends else ()
        return await store.take(requests, context)

    script = Script(ImportFilms=take, GetFilmImport=store.get)
    async with connected(script) as client:
        await client.catalogue.import_films(films(10), mode=PER_BATCH, conflict_policy=FAIL)
    assert store.titles == [str(number) for number in range(10)]
    assert len(store.configs) == 4


async def test_a_server_that_is_not_there_is_told_at_once() -> None:
    async with InterviewClient("127.0.0.1:1") as client:
        with pytest.raises(Unavailable):
            await client.catalogue.import_films(films(10), mode=PER_BATCH, conflict_policy=FAIL)


@pytest.mark.parametrize("size", [0, 501])
async def test_batches_have_the_size_that_the_server_takes(size: int) -> None:
    async with InterviewClient("127.0.0.1:1") as client:
        with pytest.raises(ValueError, match="1 to 500"):
            await client.catalogue.import_films(
                films(1), mode=PER_BATCH, conflict_policy=FAIL, batch_size=size
            )
