"""Films whose deletion can be taken back no more are deleted for good, on both databases."""

from datetime import timedelta
from typing import Any

from sqlalchemy import insert, text

from server.catalogue.change_log import ChangeLog
from server.catalogue.change_signal import ChangeSignal
from server.catalogue.changes import Author, ChangeType
from server.catalogue.film_purge import FILMS_AT_ONCE, FilmPurge
from server.catalogue.film_rules import Draft, FilmFields
from server.catalogue.film_store import FilmStore
from server.catalogue.models import Language
from server.catalogue.numbers import Numbers
from server.database.engine import Database
from tests.support.auth import MovableClock
from tests.support.film_desk import (
    FilmDesk,
    changes_of,
    check_log,
    number_of,
    plant_copy,
)
from tests.support.running import Running
from tests.support.statuses import check_row, refused
from tests.support.user_desk import plant_shop

DAY = 86_400
LEFT = (
    "SELECT (SELECT count(*) FROM film_fts WHERE {key} = :n)"
    " + (SELECT count(*) FROM film_actor WHERE film_id = :n)"
    " + (SELECT count(*) FROM film_category WHERE film_id = :n)"
)


def _purge(database: Database, clock: MovableClock) -> FilmPurge:
    sqlite = database.is_sqlite
    log, numbers = ChangeLog(clock, is_sqlite=sqlite), Numbers(is_sqlite=sqlite)
    store = FilmStore(log, numbers, clock, is_sqlite=sqlite)
    return FilmPurge(database, store, ChangeSignal())


async def _left(database: Database, name: str) -> int:
    statement = LEFT.format(key="rowid" if database.is_sqlite else "film_id")
    row = await database.read.first(text(statement), {"n": number_of(name)})
    assert row is not None
    return int(row[0])


async def test_a_film_goes_when_its_time_is_over(shared: Running, movable: MovableClock) -> None:
    """AIP-164."""
    database, desk = shared.app.database, await FilmDesk.open(shared)
    purge = _purge(database, movable)
    films = [await desk.create(categories=["categories/1"], actors=["actors/1"]) for _ in range(4)]
    alive, gone, copied, undeleted = [film.name for film in films]
    await plant_shop(shared)
    await plant_copy(database, copied)
    for name in (gone, copied, undeleted):
        await desk.delete(name, force=True)
    await desk.undelete(undeleted)
    movable.advance(seconds=30 * DAY - 1)
    desk = await FilmDesk.open(shared)
    assert await purge.purge(movable.now, 500) == 0
    movable.advance(seconds=1)
    assert await purge.purge(movable.now, 500) == 1
    assert await purge.purge(movable.now, 500) == 0
    check_row(await refused(desk.get(gone)), "RESOURCE_NOT_FOUND")
    check_row(await refused(desk.undelete(gone)), "RESOURCE_NOT_FOUND")
    assert await _left(database, gone) == 0
    assert await _left(database, alive) == 3
    for name in (alive, copied, undeleted):
        await desk.get(name)
    *_, last = await changes_of(database, gone)
    assert (last.change_type, last.principal, last.request_id) == ("purged", "", "")
    assert (last.resource, last.changed_fields) == (None, "")
    await check_log(database)
    assert not (await desk.undelete(copied)).HasField("delete_time")


async def test_the_number_of_a_film_that_is_gone_is_not_given_again(
    shared: Running, movable: MovableClock
) -> None:
    """AIP-122: a name is of one film for ever."""
    desk = await FilmDesk.open(shared)
    last = await desk.create()
    await desk.delete(last.name)
    movable.advance(seconds=30 * DAY)
    assert await _purge(shared.app.database, movable).purge(movable.now, 500) == 1
    desk = await FilmDesk.open(shared)
    assert number_of((await desk.create()).name) > number_of(last.name)


async def test_many_go_a_few_at_a_time(database: Database) -> None:
    clock = MovableClock()
    purge = _purge(database, clock)
    await _plant_deleted(database, clock, FILMS_AT_ONCE + 7)
    assert await purge.purge(clock.now, 500) == 0
    clock.advance(days=31)
    assert await purge.purge(clock.now, 5) == 5
    assert await purge.purge(clock.now, 500) == FILMS_AT_ONCE + 2
    row = await database.read.first(text("SELECT count(*) FROM film"))
    assert row is not None
    assert row[0] == 0
    await check_log(database)


async def _plant_deleted(database: Database, clock: MovableClock, count: int) -> None:
    sqlite = database.is_sqlite
    log, numbers = ChangeLog(clock, is_sqlite=sqlite), Numbers(is_sqlite=sqlite)
    store = FilmStore(log, numbers, clock, is_sqlite=sqlite)
    values: dict[str, Any] = {"delete_time": clock.now, "purge_time": clock.now + timedelta(30)}
    drafts = [
        Draft(FilmFields(f"FILM {number}", 1), ChangeType.CREATED, **values)
        for number in range(count)
    ]
    async with database.write() as write:
        await write.execute(insert(Language).values(language_id=1, name="English"))
        await store.hold(write)
        await store.put(write, drafts, Author())
