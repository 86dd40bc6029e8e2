"""Films that are made up: the same for the same seed, whole, and with the tails of real ones."""

import asyncio
from collections import Counter

import pytest
from sqlalchemy import text

from benchmarks.generate import Catalogue, generate
from benchmarks.growth import exponent
from server.database.engine import Database

FILMS = 300


def _rows(catalogue: Catalogue, table: str) -> list[dict[str, object]]:
    return [row for batch in catalogue.batches() for row in batch[table]]


def test_a_seed_makes_the_same_films_again_and_another_seed_others() -> None:
    films = _rows(Catalogue(FILMS), "film")
    assert films == _rows(Catalogue(FILMS), "film")
    assert films != _rows(Catalogue(FILMS, seed=2), "film")
    assert [film["film_id"] for film in films] == list(range(1, FILMS + 1))


def test_values_may_be_missing_and_a_few_words_are_everywhere() -> None:
    catalogue = Catalogue(2_000)
    films = _rows(catalogue, "film")
    for column in ("description", "release_year", "length", "rating", "original_language_id"):
        missing = sum(1 for film in films if film[column] is None)
        assert 0 < missing < len(films), column
    texts = [str(film["description"]).lower() for film in films]
    frequent = sum(catalogue.words[0] in text for text in texts)
    later = sum(catalogue.words[5_000] in text for text in texts)
    assert frequent > len(films) / 3
    assert later < len(films) / 20


def test_actors_grow_with_the_films_and_names_are_shared_by_about_five() -> None:
    few, many = Catalogue(1_000), Catalogue(10_000)
    assert few.actors < many.actors
    names = Counter(str(film["description"]).split()[-1] for film in _rows(many, "film"))
    shared = [count for name, count in names.items() if name.startswith("qu")]
    assert 4 < sum(shared) / len(shared) < 6
    assert len({few.name(number) for number in range(few.names)}) == few.names


async def test_they_are_stored_indexed_and_counted(database: Database, database_url: str) -> None:
    # It runs a loop of its own, as its command does.
    await asyncio.to_thread(generate, database_url, FILMS)
    made = Catalogue(FILMS)
    for table, count in {
        "film": FILMS,
        "actor": made.actors,
        "film_actor": len(_rows(made, "film_actor")),
        "film_category": len(_rows(made, "film_category")),
    }.items():
        row = await database.read.first(text(f"SELECT count(*) FROM {table}"))
        assert row is not None
        assert row[0] == count, table
    row = await database.read.first(text("SELECT films FROM film_count WHERE kind = 'film'"))
    assert row is not None
    assert row[0] == FILMS


@pytest.mark.parametrize(
    ("costs", "power"), [([2, 2, 2], 0), ([1, 10, 100], 1), ([1, 100, 10_000], 2)]
)
def test_an_exponent_tells_how_costs_grow(costs: list[float], power: float) -> None:
    assert exponent([1_000, 10_000, 100_000], costs) == pytest.approx(power, abs=1e-9)
