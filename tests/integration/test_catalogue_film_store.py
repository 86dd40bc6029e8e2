"""Many films stored at once, and films of a database that Pagila was restored into."""

import io
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import CursorResult, Executable

from server.catalogue.change_log import ChangeLog
from server.catalogue.changes import Author, ChangeType
from server.catalogue.commands import adopt
from server.catalogue.domain import Film
from server.catalogue.film_rules import Draft, FilmFields, draft_of, fields_of
from server.catalogue.film_store import FilmStore
from server.catalogue.numbers import Numbers
from server.core.telemetry import Silent
from server.database.engine import Database, Parameters, WriteSession
from tests.support.auth import MovableClock
from tests.support.film_desk import FilmDesk, changes_of, check_log
from tests.support.pagila import SMALL_DUMP, SMALL_SCHEMA, restore
from tests.support.running import running_server

AUTHOR = Author("users/1", "a request")


@pytest.fixture
async def sample(sample_database_url: str) -> AsyncIterator[Database]:
    database = Database(sample_database_url)
    yield database
    await database.close()


def store_of(database: Database) -> FilmStore:
    sqlite, clock = database.is_sqlite, MovableClock()
    log = ChangeLog(clock, is_sqlite=sqlite)
    return FilmStore(log, Numbers(is_sqlite=sqlite), clock, is_sqlite=sqlite)


async def put(database: Database, *drafts: Draft) -> list[Film]:
    store = store_of(database)
    async with database.write() as write:
        await store.hold(write)
        return await store.put(write, drafts, AUTHOR)


def new(title: str, film_id: int | None = None, **fields: Any) -> Draft:
    draft = draft_of(None, FilmFields(title, 1, **fields), film_id)
    assert draft is not None
    return draft


def changed(film: Film, **fields: Any) -> Draft:
    draft = draft_of(film, FilmFields(**{**_values(film), **fields}))
    assert draft is not None
    return draft


def _values(film: Film) -> dict[str, Any]:
    fields = fields_of(film)
    return {name: getattr(fields, name) for name in FilmFields.__slots__}


async def test_new_and_changed_films_go_together(sample: Database) -> None:
    first, second, third = await put(
        sample, new("A", categories=(1,)), new("B", actors=(1, 2)), new("C")
    )
    moment = MovableClock().now
    gone = Draft(
        fields_of(third),
        ChangeType.DELETED,
        third,
        delete_time=moment,
        purge_time=moment + timedelta(days=30),
    )
    (deleted,) = await put(sample, gone)
    films = await put(
        sample,
        changed(second, title="B2", actors=(2, 3)),
        new("D", categories=(2, 1), actors=(4,)),
        changed(deleted, title="C2"),
        changed(first, categories=()),
        new("E", film_id=9_000_000),
        new("F"),
    )
    assert [film.title for film in films] == ["B2", "D", "C2", "A", "E", "F"]
    assert [film.revision - films[0].revision for film in films] == list(range(6))
    assert [label.number for label in films[0].actors] == [2, 3]
    assert films[2].delete_time is None
    assert films[3].categories == ()
    rows = await changes_of(sample)
    assert [row.change_type for row in rows[-6:]] == [
        "updated",
        "created",
        "undeleted",
        "updated",
        "created",
        "created",
    ]
    assert {(row.principal, row.request_id) for row in rows} == {("users/1", "a request")}
    assert await check_log(sample) == 10


async def test_a_number_that_was_chosen_is_not_given_again(sample: Database) -> None:
    (one,) = await put(sample, new("A"))
    films = await put(sample, new("B"), new("C", one.film_id + 2), new("D"), new("E", 50_000))
    (last,) = await put(sample, new("F"))
    numbers = [one.film_id, *(film.film_id for film in films), last.film_id]
    assert len(set(numbers)) == 6
    assert (films[1].film_id, films[3].film_id) == (one.film_id + 2, 50_000)
    assert last.film_id > 50_000
    chosen = await put(sample, new("G", 60_000))
    async with sample.write() as write:
        store = store_of(sample)
        await store.hold(write)
        await store.remove(write, chosen, AUTHOR)
    assert (await put(sample, new("H")))[0].film_id > 60_000


async def test_what_changes_nothing_is_no_draft(sample: Database) -> None:
    (film,) = await put(sample, new("A", categories=(1, 2), special_features=("Trailers",)))
    assert draft_of(film, fields_of(film)) is None
    turned = FilmFields(**{**_values(film), "categories": (2, 1)})
    assert draft_of(film, turned) is None
    assert await put(sample) == []


async def test_what_is_missing_is_told_for_each_film(sample: Database) -> None:
    store = store_of(sample)
    wanted = [
        FilmFields("A", 1, categories=(1, 77)),
        FilmFields("B", 99, original_language=98, actors=(2**31 - 1, 1)),
        FilmFields("C", 1),
    ]
    async with sample.write() as write:
        references = await store.references(write, wanted)
    told = [
        [(missing.field, missing.name) for missing in references.missing(fields)]
        for fields in wanted
    ]
    assert told == [
        [("categories[1]", "categories/77")],
        [
            ("language", "languages/99"),
            ("original_language", "languages/98"),
            ("actors[0]", "actors/2147483647"),
        ],
        [],
    ]


class _Counting(WriteSession):
    """A transaction that counts its statements."""

    statements = 0

    async def execute(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> CursorResult[Any]:
        self.statements += 1
        return await super().execute(statement, parameters)


async def test_many_films_take_no_more_statements_than_two(sample: Database) -> None:
    async def statements(films: int) -> int:
        store = store_of(sample)
        drafts = [new(f"FILM {n}", categories=(1, 2), actors=(1,)) for n in range(films)]
        async with sample.write() as write:
            counting = _Counting(write.connection, Silent())
            await store.hold(counting)
            await store.references(counting, [draft.fields for draft in drafts])
            made = await store.put(counting, drafts, AUTHOR)
            await store.put(
                counting, [changed(film, title="X", actors=()) for film in made], AUTHOR
            )
        return counting.statements

    assert await statements(2) >= await statements(200)
    await check_log(sample)


async def test_films_of_a_restored_pagila_are_changed(postgresql_url: str, tmp_path: Path) -> None:
    """Its triggers set the time of a change: what is answered and logged is what is there."""
    await restore(postgresql_url, SMALL_SCHEMA, SMALL_DUMP)
    assert await adopt(postgresql_url, out=io.StringIO(), err=io.StringIO()) == 0
    async with running_server(postgresql_url, tmp_path) as running:
        desk, database = await FilmDesk.open(running), running.app.database
        before = await desk.get("films/1")
        updated = await desk.update("films/1", title="CHANGED", categories=["categories/1"])
        assert updated == await desk.get("films/1")
        assert updated.create_time == before.create_time
        assert updated.update_time.ToDatetime() > before.update_time.ToDatetime()
        made = await desk.create(rating=1, special_features=[1], actors=["actors/1"])
        assert made == await desk.get(made.name)
        gone = await desk.delete(made.name)
        assert gone == await desk.get(made.name)
        assert await desk.undelete(made.name) == await desk.get(made.name)
        assert await check_log(database) == 4
