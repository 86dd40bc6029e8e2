"""Loading the sample catalogue."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import func, insert, select, text

from server.catalogue.models import Actor, Category, Film, FilmActor, FilmCategory, Language
from server.catalogue.sample import SampleFilm, read_sample_films
from server.catalogue.sample_loader import load_sample
from server.database.engine import Database
from tests.support.pagila import SMALL_DUMP
from tests.support.pagila_import import films_indexed_under, pagila_content, run_import

NOW = datetime(2026, 5, 1, 10, 30, tzinfo=UTC)
HARBOUR = SampleFilm(
    title="The Quiet Harbour",
    year=1988,
    rating=None,
    minutes=101,
    language="Portuguese",
    actors=(("Ana", "Lima"), ("Rui", "Costa")),
    categories=("Drama", "Foreign"),
    description="A pilot guides one last ship into a harbour that no map shows.",
)
KITES = SampleFilm(
    title="Kites Over Ålesund",
    year=2009,
    rating="PG",
    minutes=94,
    language="English",
    actors=(("Ana", "Lima"), ("Bo", "Dahl")),
    categories=("Drama",),
    description="Two sisters race kites across the fjord.",
)


def _clock() -> datetime:
    return NOW


async def _column(database: Database, statement: str) -> list[object]:
    return [row[0] for row in await database.read.all(text(statement))]


async def test_films_arrive_with_all_they_refer_to(database: Database) -> None:
    assert await load_sample(database, [HARBOUR, KITES], _clock) == 2
    first, second = await database.read.all(select(*Film.__table__.columns).order_by(Film.film_id))
    assert (first.title, first.release_year, first.length) == ("The Quiet Harbour", 1988, 101)
    assert (first.rating, second.rating) == (None, "PG")
    assert (first.create_time, first.last_update) == (NOW, NOW)
    assert (first.rental_rate, first.replacement_cost) == (Decimal("4.99"), Decimal("19.99"))
    assert (first.rental_duration, first.revision, first.description) == (3, 1, HARBOUR.description)
    names = (
        select(Film.title, Language.name, Category.name, Actor.first_name, Actor.last_name)
        .join(Language, Language.language_id == Film.language_id)
        .join(FilmCategory, FilmCategory.film_id == Film.film_id)
        .join(Category, Category.category_id == FilmCategory.category_id)
        .join(FilmActor, FilmActor.film_id == Film.film_id)
        .join(Actor, Actor.actor_id == FilmActor.actor_id)
    )
    assert {tuple(row) for row in await database.read.all(names)} == {
        (film.title, film.language, category, *actor)
        for film in (HARBOUR, KITES)
        for category in film.categories
        for actor in film.actors
    }
    actors = await database.read.first(select(func.count()).select_from(Actor))
    assert actors is not None
    assert actors[0] == 3


async def test_sample_films_are_found_by_their_words(database: Database, database_url: str) -> None:
    await load_sample(database, [HARBOUR, KITES], _clock)
    assert await films_indexed_under(database_url, "harbours") == [1]
    assert await films_indexed_under(database_url, "alesund sister") == [2]
    assert await films_indexed_under(database_url, "kite") == [2]


async def test_a_catalogue_with_a_film_is_left_alone(database: Database, database_url: str) -> None:
    assert await load_sample(database, [HARBOUR], _clock) == 1
    before = await pagila_content(database_url)
    assert await load_sample(database, [HARBOUR, KITES], _clock) == 0
    assert await pagila_content(database_url) == before


async def test_names_that_are_there_are_used_and_keys_count_on(database: Database) -> None:
    async with database.write() as write:
        await write.execute(insert(Category).values(category_id=5, name="Foreign"))
        await write.execute(insert(Language).values(language_id=3, name="English"))
    await load_sample(database, [HARBOUR, KITES], _clock)
    categories = "SELECT name FROM category ORDER BY category_id"
    assert await _column(database, categories) == ["Foreign", "Drama"]
    assert await _column(database, "SELECT language_id FROM film ORDER BY film_id") == [4, 3]
    async with database.write() as write:
        new = await write.execute(insert(Category).values(name="Music"))
        assert new.inserted_primary_key == (7,)
        film = await write.execute(
            insert(Film).values(
                title="X", language_id=3, rental_rate=Decimal(1), replacement_cost=Decimal(1)
            )
        )
        assert film.inserted_primary_key == (3,)


async def test_one_bad_film_and_nothing_is_loaded(database: Database) -> None:
    bad = replace(KITES, year=1800)
    with pytest.raises(Exception, match="release_year"):
        await load_sample(database, [HARBOUR, bad], _clock)
    for table in ("film", "actor", "category", "language", "film_fts"):
        assert await _column(database, f"SELECT count(*) FROM {table}") == [0]


async def test_two_starts_at_once_load_it_once(database: Database) -> None:
    other = Database(database.url)
    try:
        loaded = await asyncio.gather(
            load_sample(database, [HARBOUR, KITES], _clock),
            load_sample(other, [HARBOUR, KITES], _clock),
        )
    finally:
        await other.close()
    assert sorted(loaded) == [0, 2]
    assert await _column(database, "SELECT count(*) FROM film") == [2]


async def test_the_films_that_ship_are_loaded_whole(database: Database) -> None:
    films = read_sample_films()
    assert await load_sample(database, films, _clock) == len(films) >= 250
    assert await _column(database, "SELECT count(*) FROM film_fts") == [len(films)]
    links = sum(len(set(film.actors)) for film in films)
    assert await _column(database, "SELECT count(*) FROM film_actor") == [links]


async def test_pagila_is_not_imported_over_the_sample(
    database: Database, database_url: str
) -> None:
    await load_sample(database, [HARBOUR, KITES], _clock)
    before = await pagila_content(database_url)
    code, out, err = await run_import(database_url, SMALL_DUMP)
    assert (code, out) == (1, "")
    assert "actor 1 is in the database already with another first_name, last_name" in err
    assert "import into an empty database" in err
    assert await pagila_content(database_url) == before
