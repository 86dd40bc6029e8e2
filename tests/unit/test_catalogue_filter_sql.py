"""A filter finds the same films in SQLite, in PostgreSQL, in memory and by plain reasoning."""

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from server.catalogue.film_columns import film_columns
from server.catalogue.film_filter import film_filter
from server.catalogue.film_values import film_meets
from server.catalogue.models import Film, Language
from server.database.engine import Database
from server.database.migrate import upgrade
from server.query.filter_sql import by_bytes, compile_filter
from tests.conftest import DIALECTS
from tests.support.amount import amount
from tests.support.film_conditions import Condition, conditions
from tests.support.films import FIELDS, FILMS, NOW, film_of, store_films


@dataclass(frozen=True)
class Catalogue:
    """A database with FILMS, asked from code that is not asynchronous."""

    runner: asyncio.Runner
    database: Database

    def matching(self, filter_text: str) -> list[int]:
        """Return the numbers of the films that meet the filter."""
        node = film_filter(filter_text, FIELDS, NOW)
        assert node is not None
        columns = film_columns(is_sqlite=self.database.is_sqlite)
        statement = select(Film.film_id).where(compile_filter(node, columns))
        rows = self.runner.run(self.database.read.all(statement.order_by(Film.film_id)))
        return [row.film_id for row in rows]


@pytest.fixture(scope="module", params=DIALECTS)
def catalogue(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Catalogue]:
    with asyncio.Runner() as runner:
        name = f"filters_{uuid.uuid4().hex}"
        if request.param == "sqlite":
            url = _sqlite_url(tmp_path_factory.mktemp(name))
        else:
            server = request.getfixturevalue("postgres_server")
            url = make_url(server).set(database=name)
            runner.run(_create_database(server, name))
        database = Database(url)
        try:
            runner.run(upgrade(url))
            runner.run(store_films(database))
            yield Catalogue(runner, database)
        finally:
            runner.run(database.close())
            if request.param == "postgresql":
                runner.run(_administer(server, f"DROP DATABASE {name}"))


def _sqlite_url(directory: Path) -> URL:
    return URL.create("sqlite+aiosqlite", database=str(directory / "films.db"))


async def _create_database(server: str, name: str) -> None:
    # A locale's own order of letters, where the server has any, shows who leans on it.
    locales = await _administer(
        server, "SELECT 1 FROM pg_collation WHERE collname = 'en-US-x-icu' LIMIT 1"
    )
    locale = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'" if locales else ""
    await _administer(server, f"CREATE DATABASE {name} {locale}")


async def _administer(server: str, statement: str) -> list[object]:
    engine = create_async_engine(server, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        result = await connection.execute(text(statement))
        rows: list[object] = [*result] if result.returns_rows else []
    await engine.dispose()
    return rows


@settings(
    deadline=None, max_examples=amount(200, 5_000), suppress_health_check=[HealthCheck.too_slow]
)
@given(condition=conditions)
def test_rows_are_those_that_the_filter_means(catalogue: Catalogue, condition: Condition) -> None:
    meant = [film.film_id for film in FILMS if condition.holds(film)]
    assert catalogue.matching(condition.text) == meant
    node = film_filter(condition.text, FIELDS, NOW)
    assert [film.film_id for film in FILMS if film_meets(node, film_of(film))] == meant


@pytest.mark.parametrize(
    ("filter_text", "titles"),
    [
        ('title = "Zulu"', {"Zulu"}),
        ('title = "*ulu"', {"Zulu", "zulu"}),
        ('title = "*a_b"', {"a_b"}),
        ('title = "*% W*"', {"100% Wolf"}),
        ('title = "100 W*"', {"100 Wolf"}),
        (r'title = "A\*B"', {"A*B"}),
        (r'title = "back\\*"', {"back\\slash"}),
        ('title = "\ud7ff*"', {"\ud7ff"}),
        ('title = "x\U0010ffff*"', {"x\U0010ffff"}),
        ('title = "\U0010ffff*"', set()),
        ('title > "zulu" title < "ß"', {"ÉLAN", "Émile"}),
        ('contains(title, "zuLU")', {"Zulu", "zulu", "ZULU"}),
        ('contains(title, "ÉLAN")', {"ÉLAN"}),
        ('contains(title, "a_b")', {"a_b"}),
        ('contains(title, "100%")', {"100% Wolf"}),
        (r'contains(title, "k\\S")', {"back\\slash"}),
        ('contains(title, "a*b")', {"A*B"}),
        ("in(title, 'It\\'s', \"'\")", {"It's"}),
    ],
)
def test_text_is_taken_as_it_stands(
    catalogue: Catalogue, filter_text: str, titles: set[str]
) -> None:
    found = catalogue.matching(filter_text)
    assert {film.title for film in FILMS if film.film_id in found} == titles


def test_not_keeps_rows_without_a_value(catalogue: Catalogue) -> None:
    unrated = [film.film_id for film in FILMS if film.rating is None]
    assert unrated
    assert set(unrated) <= set(catalogue.matching("NOT rating = PG"))
    assert not set(unrated) & set(catalogue.matching("rating != PG"))
    assert catalogue.matching("NOT rating:*") == unrated


def test_a_condition_holds_in_a_select_that_joins_the_same_tables(catalogue: Catalogue) -> None:
    node = film_filter('labels.language = "Italian"', FIELDS)
    assert node is not None
    statement = (
        select(Film.film_id)
        .join(Language, Language.language_id == Film.language_id)
        .where(compile_filter(node, film_columns(is_sqlite=catalogue.database.is_sqlite)))
        .order_by(Film.film_id)
    )
    rows = catalogue.runner.run(catalogue.database.read.all(statement))
    assert [row.film_id for row in rows] == [
        film.film_id for film in FILMS if film.language_id == 2
    ]


def test_a_word_longer_than_any_index_holds_finds_nothing(catalogue: Catalogue) -> None:
    assert catalogue.matching("東" * 2000) == []


def test_by_bytes_sorts_by_code_point(catalogue: Catalogue) -> None:
    statement = select(Film.title).order_by(by_bytes(Film.title), Film.film_id)
    rows = catalogue.runner.run(catalogue.database.read.all(statement))
    assert [row.title for row in rows] == sorted(film.title for film in FILMS)
