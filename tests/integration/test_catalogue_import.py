"""Importing films: what becomes of each, how conflicts and failures end, on both databases."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from server.generated.interview.catalogue.v1 import film_bulk_pb2 as pb
from server.generated.interview.catalogue.v1 import film_pb2, resources_pb2
from server.generated.interview.catalogue.v1.film_changes_pb2 import DeleteFilmRequest
from tests.support.bulk_desk import (
    BULK,
    BulkDesk,
    config,
    counted,
    emptied,
    in_batches,
    indexed,
    logged,
    settable,
)
from tests.support.film_desk import dollars, film
from tests.support.running import PASSWORD, Running, running_server
from tests.support.statuses import check_call, refused

BEST_EFFORT = pb.IMPORT_MODE_BEST_EFFORT
ATOMIC = pb.IMPORT_MODE_ATOMIC
SKIP = pb.IMPORT_CONFLICT_POLICY_SKIP
UPDATE = pb.IMPORT_CONFLICT_POLICY_UPDATE
SUCCEEDED = pb.FILM_IMPORT_STATE_SUCCEEDED
FAILED = pb.FILM_IMPORT_STATE_FAILED
FULL = resources_pb2.FILM_VIEW_FULL


@pytest.fixture(scope="module")
async def unhurried(shared_url: str, shared_folder: Path) -> AsyncIterator[Running]:
    """A server over the sample films; each test here adds films and takes none away for good."""
    async with running_server(shared_url, shared_folder, **BULK) as running:
        yield running


@pytest.fixture
async def desk(unhurried: Running) -> BulkDesk:
    return await BulkDesk.open(unhurried)


def films(number: int, **fields: Any) -> list[resources_pb2.Film]:
    return [film(title=f"NEW {place}", **fields) for place in range(number)]


async def get(desk: BulkDesk, name: str) -> resources_pb2.Film:
    found: resources_pb2.Film = await desk.GetFilm(film_pb2.GetFilmRequest(name=name, view=FULL))
    return found


def counts(done: pb.FilmImport) -> tuple[int, int, int, int]:
    return done.created_count, done.updated_count, done.skipped_count, done.failed_count


def attached(told: Any) -> pb.FilmImport:
    found: pb.FilmImport = told.by_kind["FilmImport"]
    return found


async def test_an_export_is_the_same_after_its_import(desk: BulkDesk) -> None:
    database = desk.running.app.database
    before = await desk.all_films()
    assert before
    await emptied(database)
    assert await desk.all_films() == []
    first = config()
    done = await desk.imported(first, in_batches(before, 7))
    assert done.state == SUCCEEDED
    assert counts(done) == (len(before), 0, 0, 0)
    assert done.committed_batch_number == -(-len(before) // 7)
    assert done == await desk.state(first)
    after = await desk.all_films()
    assert list(map(settable, after)) == list(map(settable, before))
    assert await counted(database) == await indexed(database) == len(before)
    revisions = [row.revision for row in await logged(database)]
    assert revisions == list(range(revisions[0], revisions[0] + len(before)))
    assert {row.change_type for row in await logged(database)} == {"created"}
    # A film without a name gets a number that none of these has.
    made = await desk.imported(config(), [films(1)])
    assert made.created_count == 1
    assert len({one.name for one in await desk.all_films()}) == len(before) + 1


async def test_films_without_names_get_new_ones_and_defaults(desk: BulkDesk) -> None:
    before = {one.name for one in await desk.all_films()}
    done = await desk.imported(config(), [films(3), films(2, rental_rate=dollars(1, 5))])
    assert counts(done) == (5, 0, 0, 0)
    new = [one for one in await desk.all_films() if one.name not in before]
    assert len(new) == 5
    assert [one.rental_rate for one in new] == [dollars(4, 99)] * 3 + [dollars(1, 5)] * 2
    assert {one.rental_duration_days for one in new} == {3}


@pytest.mark.parametrize("policy", [pb.IMPORT_CONFLICT_POLICY_FAIL, SKIP, UPDATE])
async def test_a_film_that_is_there(desk: BulkDesk, policy: Any) -> None:
    one, other = (await desk.all_films())[:2]
    batch = [
        film(name=one.name, title="OTHER"),
        settable(other),
        film(name=f"films/{10_000 * policy}"),
    ]
    first = config(conflict_policy=policy, mode=BEST_EFFORT)
    done = await desk.imported(first, [batch])
    assert done.state == SUCCEEDED
    if policy == UPDATE:
        assert counts(done) == (1, 1, 1, 0)
        changed = await get(desk, one.name)
        expected = film(name=one.name, title="OTHER", rental_duration_days=3)
        expected.rental_rate.CopyFrom(dollars(4, 99))
        expected.replacement_cost.CopyFrom(dollars(19, 99))
        assert settable(changed) == expected  # what was not sent is as for a new film
    else:
        assert counts(done) == ((1, 0, 2, 0) if policy == SKIP else (1, 0, 0, 2))
        assert await get(desk, one.name) == one
    assert (await get(desk, other.name)) == other
    if done.failures:
        assert [failure.index for failure in done.failures] == [0, 1]
        assert {failure.status.code for failure in done.failures} == {6}


async def test_updating_undeletes(desk: BulkDesk) -> None:
    one = (await desk.all_films())[0]
    await desk.DeleteFilm(DeleteFilmRequest(name=one.name))
    first = config(conflict_policy=SKIP)
    assert counts(await desk.imported(first, [[one]])) == (0, 0, 1, 0)
    assert (await get(desk, one.name)).HasField("delete_time")
    first = config(conflict_policy=UPDATE)
    assert counts(await desk.imported(first, [[one]])) == (0, 1, 0, 0)
    back = await get(desk, one.name)
    assert not back.HasField("delete_time")
    assert settable(back) == settable(one)
    assert (await logged(desk.running.app.database))[-1].change_type == "undeleted"


async def test_a_name_twice_in_a_batch_meets_the_first(desk: BulkDesk) -> None:
    twice = [film(name="films/5000", title="A"), *films(1), film(name="films/5000", title="B")]
    done = await desk.imported(config(mode=BEST_EFFORT), [twice])
    assert counts(done) == (2, 0, 0, 1)
    assert [(f.batch_number, f.index) for f in done.failures] == [(1, 2)]
    assert (await get(desk, "films/5000")).title == "A"
    done = await desk.imported(config(conflict_policy=UPDATE), [twice])
    assert counts(done) == (1, 1, 1, 0)
    assert (await get(desk, "films/5000")).title == "B"


BAD: Sequence[tuple[resources_pb2.Film, str, str]] = (
    (film(title=""), "VALIDATION_FAILED", "batch.films[1].title"),
    (film(name="films/0"), "VALIDATION_FAILED", "batch.films[1].name"),
    (film(name="films/2000000001"), "VALIDATION_FAILED", "batch.films[1].name"),
    (film(language="languages/99"), "REFERENCE_NOT_FOUND", "batch.films[1].language"),
    (film(categories=["categories/9999"]), "REFERENCE_NOT_FOUND", "batch.films[1].categories[0]"),
)


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad[2])
async def test_a_bad_film_fails_its_batch_and_can_be_mended(desk: BulkDesk, bad: Any) -> None:
    before = len(await desk.all_films())
    first = config()
    one, reason, path = bad
    told = await check_call(
        desk.running, desk.send(first, [films(2), [*films(1), one], films(2)]), reason
    )
    assert told.bad_fields == [path]
    assert counts(attached(told)) == (2, 0, 0, 1)
    assert attached(told).state == FAILED
    assert await desk.state(first) == attached(told)
    assert len(await desk.all_films()) == before + 2
    done = await desk.imported(first, [films(2), films(2)], 2)
    assert counts(done) == (6, 0, 0, 0)
    assert not done.failures
    assert len(await desk.all_films()) == before + 6


async def test_best_effort_counts_what_it_leaves_out(desk: BulkDesk) -> None:
    bad = [film(title=""), film(language="languages/99")] * 30
    done = await desk.imported(config(mode=BEST_EFFORT), [[*films(2), *bad], bad, films(1)])
    assert done.state == SUCCEEDED
    assert counts(done) == (3, 0, 0, 120)
    assert [(f.batch_number, f.index) for f in done.failures] == [
        *((1, place) for place in range(2, 62)),
        *((2, place) for place in range(40)),
    ]


async def test_an_atomic_import_is_all_or_nothing(desk: BulkDesk) -> None:
    before = len(await desk.all_films())
    first = config(mode=ATOMIC)
    batches = [films(3), [film(title=""), *films(1)], [film(title="")]]
    told = await check_call(desk.running, desk.send(first, batches), "VALIDATION_FAILED")
    assert (attached(told).state, counts(attached(told))) == (FAILED, (0, 0, 0, 2))
    assert attached(told).committed_batch_number == 0
    assert len(await desk.all_films()) == before
    done = await desk.imported(first, [films(3), films(4)])
    assert (done.state, counts(done)) == (SUCCEEDED, (7, 0, 0, 0))
    assert done.committed_batch_number == 2
    assert len(await desk.all_films()) == before + 7


async def test_an_atomic_import_is_refused_where_it_is_too_large(desk: BulkDesk) -> None:
    before = len(await desk.all_films())
    first = config(mode=ATOMIC)
    told = await refused(desk.send(first, [films(500)] * 21))
    assert told.reason == "VALIDATION_FAILED"
    assert "10000 films" in told.message
    assert attached(told).state == pb.FILM_IMPORT_STATE_INTERRUPTED
    assert len(await desk.all_films()) == before


@pytest.mark.parametrize("mode", [ATOMIC, pb.IMPORT_MODE_PER_BATCH, BEST_EFFORT])
async def test_only_checking_changes_nothing(desk: BulkDesk, mode: Any) -> None:
    before = await desk.all_films()
    log = len(await logged(desk.running.app.database))
    first = config(mode=mode, validate_only=True)
    named = [film(name="films/6000"), film(name="films/6001")]
    done = await desk.imported(first, [films(3), named])
    assert (done.state, counts(done)) == (SUCCEEDED, (5, 0, 0, 0))
    call = desk.send(first, [named, [*films(1), named[0], before[0]]])
    if mode == BEST_EFFORT:
        assert counts((await call).film_import) == (3, 0, 0, 2)
    else:
        told = await check_call(desk.running, call, "RESOURCE_EXISTS")
        expected = (0, 0, 0, 2) if mode == ATOMIC else (2, 0, 0, 2)
        assert (attached(told).state, counts(attached(told))) == (FAILED, expected)
    assert await desk.all_films() == before
    assert len(await logged(desk.running.app.database)) == log
    request = pb.GetFilmImportRequest(name=f"filmImports/{first.import_id}")
    await check_call(desk.running, desk.GetFilmImport(request), "RESOURCE_NOT_FOUND")


async def test_a_finished_import_answers_the_same_again(desk: BulkDesk) -> None:
    first = config(mode=BEST_EFFORT)
    batches = [films(2), [film(title="")]]
    done = await desk.imported(first, batches)
    total = len(await desk.all_films())
    assert await desk.imported(first, batches) == done
    assert await desk.imported(first, []) == done
    assert len(await desk.all_films()) == total


async def test_an_import_without_batches_is_done(desk: BulkDesk) -> None:
    done = await desk.imported(config(), [])
    assert (done.state, done.committed_batch_number) == (SUCCEEDED, 0)
    done = await desk.imported(config(mode=ATOMIC), [])
    assert (done.state, done.committed_batch_number) == (SUCCEEDED, 0)


async def test_nobody_sees_the_imports_of_others(desk: BulkDesk) -> None:
    await desk.running.app.users.create_user("other@example.com", PASSWORD, ["admin"])
    other = await BulkDesk.open(desk.running, "other@example.com")
    first = config()
    await desk.imported(first, [films(1)])
    request = pb.GetFilmImportRequest(name=f"filmImports/{first.import_id}")
    await check_call(desk.running, other.GetFilmImport(request), "RESOURCE_NOT_FOUND")
    await check_call(desk.running, other.send(first, [films(1)]), "RESOURCE_NOT_FOUND")
    unknown = pb.GetFilmImportRequest(name=f"filmImports/{uuid4()}")
    await check_call(desk.running, desk.GetFilmImport(unknown), "RESOURCE_NOT_FOUND")
