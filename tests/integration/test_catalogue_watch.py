"""WatchCatalogue: what it tells, by kind and filter, from a snapshot or a cursor on."""

import asyncio
from itertools import groupby
from typing import Any

import pytest

from server.generated.interview.catalogue.v1 import change_pb2 as pb
from server.generated.interview.catalogue.v1 import film_pb2, taxonomy_pb2
from server.generated.interview.catalogue.v1 import resources_pb2 as resources
from tests.support.running import ADMIN, Running
from tests.support.watch_desk import WatchDesk

FILM, CATEGORY, ACTOR, LANGUAGE = (
    pb.RESOURCE_KIND_FILM,
    pb.RESOURCE_KIND_CATEGORY,
    pb.RESOURCE_KIND_ACTOR,
    pb.RESOURCE_KIND_LANGUAGE,
)


@pytest.fixture
async def desk(shared: Running) -> WatchDesk:
    """An administrator who watches."""
    return WatchDesk(shared, await shared.sign_in(ADMIN))


async def _new_category(desk: WatchDesk, name: str) -> Any:
    category = resources.Category(display_name=name)
    return await desk.CreateCategory(taxonomy_pb2.CreateCategoryRequest(category=category))


async def test_a_watch_tells_what_changes_from_now_on(desk: WatchDesk) -> None:
    before = await desk.create(title="BEFORE THE WATCH")
    async with desk.watch(include_previous=True) as watch:
        call = desk.create(title="A WATCHED FILM", description="d", actors=["actors/1"])
        made = await call
        created = await watch.change()
        assert created.change_type == pb.CHANGE_TYPE_CREATED
        assert created.resource_kind == FILM
        assert created.resource_name == made.name
        assert created.resource.film == made
        assert not created.HasField("previous")
        assert not created.changed_fields.paths
        assert created.principal.startswith("users/")
        assert created.request_id == dict(await call.trailing_metadata())["x-request-id"]
        changed = await desk.update(made.name, title="RENAMED", length_minutes=90)
        updated = await watch.change()
        assert updated.change_type == pb.CHANGE_TYPE_UPDATED
        assert updated.resource.film == changed
        assert updated.previous.film == made
        assert sorted(updated.changed_fields.paths) == ["length_minutes", "title"]
        assert updated.revision == changed.revision
        deleted = await desk.delete(made.name)
        gone = await watch.change()
        assert (gone.change_type, gone.resource.film) == (pb.CHANGE_TYPE_DELETED, deleted)
        back = await desk.undelete(made.name)
        again = await watch.change()
        assert (again.change_type, again.resource.film) == (pb.CHANGE_TYPE_UNDELETED, back)
        told = [created, updated, gone, again]
        assert [change.revision for change in told] == list(
            range(created.revision, created.revision + 4)
        )
        assert before.name not in {message.change.resource_name for message in watch.told}


async def test_previous_comes_only_where_it_was_asked_for(desk: WatchDesk) -> None:
    made = await desk.create(title="PLAIN")
    async with desk.watch() as watch:
        await desk.update(made.name, title="PLAINER")
        change = await watch.change()
        assert not change.HasField("previous")
        assert list(change.changed_fields.paths) == ["title"]


async def test_a_watch_of_some_kinds_passes_the_others_over(desk: WatchDesk) -> None:
    async with desk.watch(resource_kinds=[CATEGORY], interval=1) as watch:
        film = await desk.create(title="NO CATEGORY")
        category = await _new_category(desk, "Watched category")
        change = await watch.change()
        assert change.resource.category == category
        assert change.revision > film.revision
        await desk.DeleteCategory(taxonomy_pb2.DeleteCategoryRequest(name=category.name))
        gone = await watch.change()
        assert gone.change_type == pb.CHANGE_TYPE_DELETED
        assert not gone.HasField("resource")


async def test_a_filter_tells_films_that_meet_it_and_that_leave_it(desk: WatchDesk) -> None:
    condition = "length_minutes >= 100 AND title = FILTERED*"
    async with desk.watch(film_filter=condition) as watch:
        other = await desk.create(title="FILTERED SHORT", length_minutes=50)
        met = await desk.create(title="FILTERED LONG", length_minutes=120)
        first = await watch.change()
        assert (first.resource_name, first.left_filter) == (met.name, False)
        await desk.update(other.name, title="FILTERED SHORTER")
        await desk.update(other.name, length_minutes=100)
        enters = await watch.change()
        assert (enters.resource_name, enters.left_filter) == (other.name, False)
        await desk.update(met.name, length_minutes=99)
        leaves = await watch.change()
        assert (leaves.resource_name, leaves.left_filter) == (met.name, True)
        assert leaves.resource.film.length_minutes == 99
        await desk.update(met.name, title="FILTERED NO MORE")
        await desk.delete(other.name)
        deleted = await watch.change()
        assert (deleted.change_type, deleted.left_filter) == (pb.CHANGE_TYPE_DELETED, False)
        assert deleted.resource_name == other.name


async def test_the_film_filter_does_not_touch_other_kinds(desk: WatchDesk) -> None:
    async with desk.watch(film_filter='title = "NOBODY"') as watch:
        await desk.create(title="SOMEBODY")
        category = await _new_category(desk, "Beside the filter")
        assert (await watch.change()).resource_name == category.name


async def test_checkpoints_carry_the_cursor_over_what_is_passed_over(desk: WatchDesk) -> None:
    async with desk.watch(film_filter='title = "NOBODY"', interval=1) as watch:
        made = await desk.create(title="PASSED OVER")
        while (await watch.next()).checkpoint.revision < made.revision:
            pass
        cursor = watch.cursor
    async with desk.watch(start_cursor=cursor) as watch:
        behind = await desk.create(title="BEHIND THE CHECKPOINT")
        assert (await watch.change()).resource_name == behind.name


async def test_checkpoints_come_while_nothing_changes(desk: WatchDesk) -> None:
    loop = asyncio.get_running_loop()
    async with desk.watch(interval=1) as watch:
        started = loop.time()
        for _ in range(2):
            message = await watch.next()
            assert message.HasField("checkpoint")
            assert message.cursor
        assert 1.5 < loop.time() - started < 5


async def test_a_cut_watch_goes_on_where_it_was(desk: WatchDesk) -> None:
    async with desk.watch() as watch:
        await desk.create(title="FIRST")
        await watch.change()
        cursor = watch.cursor
    missed = [await desk.create(title=f"MISSED {number}") for number in range(3)]
    async with desk.watch(start_cursor=cursor) as watch:
        names = [change.resource_name for change in await watch.changes(3)]
        assert names == [film.name for film in missed]
        message = await watch.next()
        assert message.checkpoint.revision == missed[-1].revision
        live = await desk.create(title="LIVE AGAIN")
        assert (await watch.change()).resource.film == live


async def test_a_snapshot_is_everything_and_changes_follow_without_a_gap(desk: WatchDesk) -> None:
    async def keep_writing() -> list[Any]:
        return [await desk.create(title=f"MEANWHILE {number}") for number in range(10)]

    writing = asyncio.create_task(keep_writing())
    async with desk.watch(include_snapshot=True) as watch:
        found, end = await watch.snapshot()
        written = await writing
        kinds = [kind for kind, _ in groupby(item.WhichOneof("resource") for item in found)]
        assert kinds == ["language", "category", "actor", "film"]
        assert end.item_count == len(found)
        later = [film for film in written if film.revision > end.revision]
        assert [c.resource.film for c in await watch.changes(len(later))] == later
        films = {item.film.name: item.film for item in found if item.HasField("film")}
    listed = await _listed(desk, "")
    assert {**films, **{film.name: film for film in later}} == listed
    assert not films.keys() & {film.name for film in later}


async def test_a_snapshot_is_of_what_was_asked_for(desk: WatchDesk) -> None:
    condition = "rating = R AND length_minutes > 100"
    gone = await desk.create(title="GONE", rating=resources.FILM_RATING_R, length_minutes=101)
    await desk.delete(gone.name)
    fields = {"resource_kinds": [FILM, LANGUAGE], "film_filter": condition}
    async with desk.watch(include_snapshot=True, **fields) as watch:
        found, end = await watch.snapshot()
        cursor = watch.cursor
    films = {item.film.name: item.film for item in found if item.HasField("film")}
    languages = [item for item in found if item.HasField("language")]
    assert languages
    assert len(films) + len(languages) == end.item_count
    assert films
    assert films == await _listed(desk, condition)
    async with desk.watch(start_cursor=cursor, **fields) as watch:
        made = await desk.create(title="IN", rating=resources.FILM_RATING_R, length_minutes=101)
        assert (await watch.change()).resource.film == made


async def _listed(desk: WatchDesk, condition: str) -> dict[str, Any]:
    """Return the films that meet the condition, as a list has them."""
    found: dict[str, Any] = {}
    token = ""
    while True:
        page = await desk.ListFilms(
            film_pb2.ListFilmsRequest(
                page_size=1000,
                page_token=token,
                filter=condition,
                view=resources.FILM_VIEW_FULL,
            )
        )
        found |= {film.name: film for film in page.films}
        token = page.next_page_token
        if not token:
            return found
