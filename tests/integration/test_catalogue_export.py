"""Exporting films: one state, batches by size, going on after a cut, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from server.catalogue.bulk_mapping import BATCH_BYTES
from server.catalogue.change_records import from_json
from server.catalogue.changes import ResourceKind
from server.catalogue.domain import Film
from server.catalogue.mapping import film_message
from server.catalogue.models import Film as FilmRow
from server.generated.interview.catalogue.v1 import film_bulk_pb2 as pb
from server.generated.interview.catalogue.v1 import resources_pb2
from server.generated.interview.catalogue.v1.change_pb2 import WatchCatalogueRequest
from server.generated.interview.catalogue.v1.film_changes_pb2 import (
    CreateFilmRequest,
    DeleteFilmRequest,
    UpdateFilmRequest,
)
from tests.support.auth import MovableClock
from tests.support.bulk_desk import (
    BULK,
    BulkDesk,
    config,
    cut_after,
    films_of,
    in_batches,
    logged,
)
from tests.support.film_desk import film
from tests.support.running import Running, running_server
from tests.support.statuses import check_call, check_row, refused

BASIC = resources_pb2.FILM_VIEW_BASIC
WRITERS = 20
LARGE = 60
"""Films of about 30 KiB each: some to a batch."""


@pytest.fixture(scope="module")
async def unhurried(
    shared_url: str, shared_folder: Path, movable: MovableClock
) -> AsyncIterator[Running]:
    """A server over the sample films and some large ones."""
    async with running_server(shared_url, shared_folder, clock=movable, **BULK) as running:
        desk = await BulkDesk.open(running)
        large = [film(title=f"LARGE {place}", description="ö" * 10_000) for place in range(LARGE)]
        await desk.imported(config(), in_batches(large, 20))
        yield running


@pytest.fixture
async def desk(unhurried: Running) -> BulkDesk:
    return await BulkDesk.open(unhurried)


def numbers(films: list[resources_pb2.Film]) -> list[int]:
    return [int(one.name.removeprefix("films/")) for one in films]


async def test_batches_are_by_size_and_the_last_says_so(desk: BulkDesk) -> None:
    batches = await desk.exported()
    films = films_of(batches)
    assert numbers(films) == sorted(set(numbers(films)))
    assert len(batches) > 4
    assert [batch.complete for batch in batches] == [False] * (len(batches) - 1) + [True]
    assert [bool(batch.watch_cursor) for batch in batches] == [batch.complete for batch in batches]
    assert {batch.snapshot_revision for batch in batches} == {batches[0].snapshot_revision}
    exported = 0
    for batch, following in zip(batches, [*batches[1:], None], strict=True):
        exported += len(batch.films)
        assert batch.exported_count == exported
        assert batch.films
        assert batch.resume_cursor
        assert batch.ByteSize() <= BATCH_BYTES
        if following is not None:  # not one more would have had its place
            assert batch.ByteSize() + following.films[0].ByteSize() > BATCH_BYTES - 4096


async def test_filter_view_and_deleted_films(desk: BulkDesk) -> None:
    every = await desk.all_films()
    deleted = numbers(await desk.all_films(show_deleted=True))
    gone = every[-1]
    await desk.DeleteFilm(DeleteFilmRequest(name=gone.name))
    assert numbers(await desk.all_films()) == numbers(every)[:-1]
    shown = await desk.all_films(show_deleted=True)
    assert numbers(shown) == deleted
    (found,) = (one for one in shown if one.name == gone.name)
    assert found.HasField("delete_time")
    chosen = await desk.all_films(filter='rating = "PG"')
    assert chosen
    assert numbers(chosen) == [
        number
        for number, one in zip(numbers(every), every, strict=True)
        if one.rating == resources_pb2.FILM_RATING_PG
    ]
    basic = await desk.all_films(view=BASIC)
    assert not any(one.description or one.actors for one in basic)
    nothing = await desk.exported(filter='title = "nothing at all"')
    assert [(len(batch.films), batch.complete) for batch in nothing] == [(0, True)]


@pytest.mark.parametrize("fields", [{}, {"filter": "length_minutes > 60"}], ids=["all", "filtered"])
async def test_a_cut_after_any_batch_loses_nothing(desk: BulkDesk, fields: Any) -> None:
    whole = await desk.exported(**fields)
    for cut in range(1, len(whole) + 1):
        first = await cut_after(desk.exporting(**fields), cut)
        assert len(first) == cut
        rest = await desk.exported(resume_cursor=first[-1].resume_cursor, **fields)
        assert films_of(first) + films_of(rest) == films_of(whole)
        assert rest[-1].complete
        assert rest[-1].exported_count == whole[-1].exported_count


async def test_changes_between_two_streams_are_left_to_a_watch(desk: BulkDesk) -> None:
    first = await cut_after(desk.exporting(), 1)
    changed = first[0].films[0]
    await desk.UpdateFilm(
        UpdateFilmRequest(film=resources_pb2.Film(name=changed.name, title="CHANGED MEANWHILE"))
    )
    rest = await desk.exported(resume_cursor=first[-1].resume_cursor)
    assert rest[0].snapshot_revision > first[0].snapshot_revision
    watch = desk.WatchCatalogue(WatchCatalogueRequest(start_cursor=rest[-1].watch_cursor))
    async for event in watch:
        if event.WhichOneof("event") == "change":
            assert event.change.resource_name == changed.name
            break
    watch.cancel()
    assert changed.title != "CHANGED MEANWHILE"
    assert changed.name not in {one.name for one in films_of(rest)}
    log = await logged(desk.running.app.database)
    since = [row for row in log if row.revision > first[0].snapshot_revision]
    assert f"films/{since[0].number}" == changed.name


async def test_a_cursor_is_bound_to_its_arguments(desk: BulkDesk, movable: MovableClock) -> None:
    (batch,) = await cut_after(desk.exporting(filter="length_minutes > 1"), 1)
    cursor = batch.resume_cursor
    for fields, named in (
        ({}, "filter"),
        ({"filter": "length_minutes > 1", "view": BASIC}, "view"),
        ({"filter": "length_minutes > 1", "show_deleted": True}, "show_deleted"),
    ):
        told = await _refused(desk, "CURSOR_INVALID", resume_cursor=cursor, **fields)
        assert f"another {named};" in told.message
    for wrong in ("x", cursor[:-4] + "AAAA", "A" * 400):
        await _refused(desk, "CURSOR_INVALID", resume_cursor=wrong, filter="length_minutes > 1")
    whole = await desk.exported(filter="length_minutes > 1")
    watch = whole[-1].watch_cursor
    await _refused(desk, "CURSOR_INVALID", resume_cursor=watch, filter="length_minutes > 1")
    movable.advance(seconds=72 * 3600 - 60)
    again = await BulkDesk.open(desk.running)
    assert await again.exported(resume_cursor=cursor, filter="length_minutes > 1")
    movable.advance(seconds=120)
    again = await BulkDesk.open(desk.running)
    await _refused(again, "CURSOR_EXPIRED", resume_cursor=cursor, filter="length_minutes > 1")


async def test_a_request_that_breaks_rules(desk: BulkDesk) -> None:
    told = await _refused(desk, "VALIDATION_FAILED", view=7, filter="x" * 3000)
    assert sorted(told.bad_fields) == ["filter", "view"]
    await _refused(desk, "FILTER_UNKNOWN_FIELD", filter="raiting = PG")


async def _refused(desk: BulkDesk, reason: str, **fields: Any) -> Any:
    async def first() -> None:
        async for _ in desk.exporting(**fields):
            return

    return await check_call(desk.running, first(), reason)


async def test_an_export_among_writers_is_exactly_one_state(desk: BulkDesk) -> None:
    stop = asyncio.Event()

    async def write(number: int) -> int:
        changes = 0
        while not stop.is_set():
            made = await desk.CreateFilm(CreateFilmRequest(film=film(title=f"W {number}")))
            named = resources_pb2.Film(name=made.name, title=f"W {number} again")
            await desk.UpdateFilm(UpdateFilmRequest(film=named))
            if changes % 3 == 0:
                await desk.DeleteFilm(DeleteFilmRequest(name=made.name))
            changes += 2
        return changes

    before = await desk.exported()
    writers = [asyncio.create_task(write(number)) for number in range(WRITERS)]
    exports = []
    for _ in range(3):
        await asyncio.sleep(0.3)
        exports.append([batch async for batch in _slowly(desk)])
    stop.set()
    assert sum(await asyncio.gather(*writers)) > WRITERS
    log = await logged(desk.running.app.database)
    for export in exports:
        expected = {one.name: one for one in films_of(before)}
        for row in log:
            if before[0].snapshot_revision < row.revision <= export[0].snapshot_revision:
                after = from_json(ResourceKind.FILM, row.resource)
                assert isinstance(after, Film)
                expected[f"films/{row.number}"] = film_message(after, full=True)
        alive = {name: one for name, one in expected.items() if not one.HasField("delete_time")}
        assert {one.name: one for one in films_of(export)} == alive
        assert export[0].snapshot_revision > before[0].snapshot_revision


async def _slowly(desk: BulkDesk) -> AsyncIterator[pb.ExportFilmsResponse]:
    async for batch in desk.exporting():
        await asyncio.sleep(0.02)
        yield batch


async def test_a_drain_ends_an_export_which_can_go_on(
    sample_database_url: str, tmp_path: Path
) -> None:
    async with running_server(sample_database_url, tmp_path, grace_seconds=0.2, **BULK) as running:
        desk = await BulkDesk.open(running)
        await _store_large(running)
        call = desk.exporting()
        first: list[pb.ExportFilmsResponse] = []
        reading = asyncio.create_task(_read_slowly(call, first))
        await asyncio.sleep(0.3)
        await running.app.stop(asyncio.Event())
        told = await refused(reading)
        check_row(told, "SERVER_DRAINING")
        assert not any(batch.complete for batch in first)
    async with running_server(sample_database_url, tmp_path, has_users=True, **BULK) as running:
        desk = await BulkDesk.open(running)
        rest = await desk.exported(resume_cursor=first[-1].resume_cursor)
        assert films_of(first) + films_of(rest) == await desk.all_films()


async def _read_slowly(call: Any, read: list[pb.ExportFilmsResponse]) -> None:
    async for batch in call:
        await asyncio.sleep(0.02)
        read.append(batch)  # what came before the end counts too


async def _store_large(running: Running) -> None:
    """Store more than the buffers between a server and its client take."""
    rows = [
        {
            "title": f"LARGE {number}",
            "description": "ö" * 10_000,
            "language_id": 1,
            "rental_rate": Decimal("1.00"),
            "replacement_cost": Decimal("1.00"),
        }
        for number in range(1_500)
    ]
    async with running.app.database.write() as write:
        for start in range(0, len(rows), 500):
            await write.execute(insert(FilmRow), rows[start : start + 500])
