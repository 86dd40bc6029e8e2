"""What the API tells of Pagila is what Pagila's own SQL says, to the last cent."""

import ast
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from google.type.money_pb2 import Money
from sqlalchemy.engine import make_url

from server.catalogue.commands import adopt, import_pagila
from server.generated.interview.catalogue.v1 import film_pb2
from server.generated.interview.catalogue.v1 import resources_pb2 as resources
from server.generated.interview.catalogue.v1 import taxonomy_pb2 as pb
from tests.support.caller import Caller
from tests.support.databases import postgres_copy
from tests.support.film_desk import check_log
from tests.support.pagila import REAL_DUMP, REAL_SCHEMA, connect, needs_real_pagila, restore
from tests.support.running import running_server
from tests.support.statuses import refused
from tests.support.taxonomy_desk import TaxonomyDesk

_ROOT: Final = Path(__file__).parents[2]
_WAYS: Final = ("imported into SQLite", "imported into PostgreSQL", "restored and adopted")
_QUERIES: Final = {
    "categories": "SELECT c.category_id, c.name, count(f.film_id) FROM category c"
    " LEFT JOIN film_category f ON f.category_id = c.category_id GROUP BY c.category_id, c.name",
    "actors": "SELECT a.actor_id, a.first_name, a.last_name, count(f.film_id) FROM actor a"
    " LEFT JOIN film_actor f ON f.actor_id = a.actor_id"
    " GROUP BY a.actor_id, a.first_name, a.last_name",
    "languages": "SELECT language_id, rtrim(name) FROM language",
    "films": "SELECT f.film_id, f.title, f.description, f.release_year::int, rtrim(l.name),"
    " rtrim(o.name), f.rental_duration::int, f.rental_rate::text, f.length::int,"
    " f.replacement_cost::text, f.rating::text, f.special_features, f.last_update"
    " FROM film f JOIN language l ON l.language_id = f.language_id"
    " LEFT JOIN language o ON o.language_id = f.original_language_id",
    "film_list": "SELECT fid, title, description, category, price::text, length::int,"
    " rating::text, actors FROM film_list",
    "nicer_but_slower_film_list": "SELECT fid, title, description, category, price::text,"
    " length::int, rating::text, actors FROM nicer_but_slower_film_list",
}
"""What is asked of Pagila, as it was restored and with nothing of ours in it."""

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Pagila:
    """A PostgreSQL database with the real Pagila, and what it answered as it was restored."""

    url: str
    told: dict[str, list[Row]]

    @asynccontextmanager
    async def adopted(self) -> AsyncIterator[str]:
        """Yield the URL of a copy that was adopted."""
        async with postgres_copy(self.url, make_url(self.url).database or "") as url:
            assert await adopt(url, out=io.StringIO(), err=io.StringIO()) == 0
            yield url


@dataclass(frozen=True)
class Api:
    """Everything that a server answers of its catalogue."""

    films: Sequence[resources.Film]
    total_size: int
    categories: Sequence[resources.Category]
    actors: Sequence[resources.Actor]
    languages: Sequence[resources.Language]


@pytest.fixture(scope="module")
async def pagila(postgres_server: str) -> AsyncIterator[Pagila]:
    """The real Pagila, restored once."""
    async with postgres_copy(postgres_server, "template0") as url:
        await restore(url, REAL_SCHEMA, REAL_DUMP)
        connection = await connect(url)
        try:
            told = {
                name: [tuple(row) for row in await connection.fetch(query)]
                for name, query in _QUERIES.items()
            }
        finally:
            await connection.close()
        yield Pagila(url, told)


@pytest.fixture(scope="module", params=_WAYS)
async def api(request: pytest.FixtureRequest, shared_folder: Path) -> AsyncIterator[Api]:
    """What a server answers over the real Pagila, by each way into a database."""
    folder = shared_folder / str(_WAYS.index(request.param))
    folder.mkdir()
    if request.param == _WAYS[2]:
        async with request.getfixturevalue("pagila").adopted() as url:
            yield await _read(url, folder)
    elif request.param == _WAYS[0]:
        yield await _imported(f"sqlite+aiosqlite:///{folder / 'test.db'}", folder)
    else:
        async with postgres_copy(request.getfixturevalue("postgres_server"), "template0") as url:
            yield await _imported(url, folder)


async def _imported(url: str, folder: Path) -> Api:
    assert await import_pagila(url, REAL_DUMP, out=io.StringIO(), err=io.StringIO()) == 0
    return await _read(url, folder)


async def _read(url: str, folder: Path) -> Api:
    async with running_server(url, folder) as running:
        viewer = await Caller.signed_in(running)
        listed = film_pb2.ListFilmsRequest(
            page_size=1000, view=resources.FILM_VIEW_FULL, return_total_size=True
        )
        films = await viewer.ListFilms(listed)
        categories = await viewer.ListCategories(pb.ListCategoriesRequest(page_size=1000))
        actors = await viewer.ListActors(pb.ListActorsRequest(page_size=1000))
        languages = await viewer.ListLanguages(pb.ListLanguagesRequest(page_size=1000))
        assert not any(answer.next_page_token for answer in (films, categories, actors, languages))
        return Api(
            films.films,
            films.total_size,
            categories.categories,
            actors.actors,
            languages.languages,
        )


def _number(name: str) -> int:
    return int(name.split("/")[1])


def _text(amount: Money) -> str:
    """Write an amount as PostgreSQL writes a NUMERIC with two places, by whole numbers alone."""
    cents, rest = divmod(amount.nanos, 10_000_000)
    assert (amount.currency_code, rest) == ("USD", 0)
    assert 0 <= cents < 100
    return f"{amount.units}.{cents:02d}"


def _rating(film: resources.Film) -> str | None:
    name = resources.FilmRating.Name(film.rating).removeprefix("FILM_RATING_")
    return None if name == "UNSPECIFIED" else name.replace("_", "-")


def _length(film: resources.Film) -> int | None:
    return film.length_minutes if film.HasField("length_minutes") else None


def _features(film: resources.Film) -> list[str]:
    names = [
        resources.SpecialFeature.Name(feature).removeprefix("SPECIAL_FEATURE_")
        for feature in film.special_features
    ]
    return [name.lower().replace("_", " ") for name in names]


@needs_real_pagila
def test_films_of_categories_and_actors_are_counted_alike(pagila: Pagila, api: Api) -> None:
    assert sorted(
        (_number(row.name), row.display_name, row.film_count) for row in api.categories
    ) == sorted(pagila.told["categories"])
    assert sorted(
        (_number(row.name), row.given_name, row.family_name, row.film_count) for row in api.actors
    ) == sorted(pagila.told["actors"])
    assert sum(row.film_count for row in api.categories) > 1000


@needs_real_pagila
def test_languages_are_alike(pagila: Pagila, api: Api) -> None:
    languages = [(_number(row.name), row.display_name) for row in api.languages]
    assert languages == sorted(pagila.told["languages"])


@needs_real_pagila
def test_every_column_of_a_film_is_alike(pagila: Pagila, api: Api) -> None:
    told = [
        (
            _number(film.name),
            film.title,
            film.description,
            film.release_year,
            film.labels.language,
            film.labels.original_language or None,
            film.rental_duration_days,
            _text(film.rental_rate),
            _length(film),
            _text(film.replacement_cost),
            _rating(film),
            _features(film),
            film.update_time.ToDatetime(),
        )
        for film in api.films
    ]
    expected = [
        (*row[:11], [name.lower() for name in row[11] or ()], row[12].replace(tzinfo=None))
        for row in sorted(pagila.told["films"])
    ]
    assert told == expected
    assert api.total_size == len(expected) == 1000


@needs_real_pagila
def test_the_view_film_list_is_alike(pagila: Pagila, api: Api) -> None:
    """One row for each film and category, with its actors in no order."""
    told = [
        (*row, sorted(film.labels.actors)) for film in api.films for row in _rows_of_a_list(film)
    ]
    expected = [(*row[:7], sorted(row[7].split(", "))) for row in pagila.told["film_list"]]
    assert _sorted(told) == _sorted(expected)
    assert len(told) > 1000


@needs_real_pagila
def test_the_view_with_nicer_names_is_alike(pagila: Pagila, api: Api) -> None:
    """Its actors are written as `PenelopeGuiness`."""
    names = {
        actor.name: _nicer(actor.given_name) + _nicer(actor.family_name) for actor in api.actors
    }
    told = [
        (*row, sorted(names[name] for name in film.actors))
        for film in api.films
        for row in _rows_of_a_list(film)
    ]
    expected = [
        (*row[:7], sorted(row[7].split(", "))) for row in pagila.told["nicer_but_slower_film_list"]
    ]
    assert _sorted(told) == _sorted(expected)


def _rows_of_a_list(film: resources.Film) -> list[Row]:
    if not film.actors:
        return []  # the views join the actors
    return [
        (
            _number(film.name),
            film.title,
            film.description,
            category,
            _text(film.rental_rate),
            _length(film),
            _rating(film),
        )
        for category in film.labels.categories
    ]


def _nicer(name: str) -> str:
    return name[:1].upper() + name[1:].lower()


def _sorted(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row[0], row[3]))


@needs_real_pagila
def test_amounts_are_exact(pagila: Pagila, api: Api) -> None:
    """Sums too: what whole numbers add up to is what NUMERIC adds up to."""
    for place, field in ((7, "rental_rate"), (9, "replacement_cost")):
        expected = sum((Decimal(row[place]) for row in pagila.told["films"]), Decimal(0))
        amounts = [getattr(film, field) for film in api.films]
        cents = sum(amount.units * 100 + amount.nanos // 10_000_000 for amount in amounts)
        assert Decimal(cents).scaleb(-2) == expected
        assert len({_text(amount) for amount in amounts}) > 2


@needs_real_pagila
async def test_categories_and_actors_of_an_adopted_pagila_are_changed(
    pagila: Pagila, tmp_path: Path
) -> None:
    """Its triggers set times and its sequences have names of their own."""
    async with pagila.adopted() as url, running_server(url, tmp_path) as running:
        await _change_all(await TaxonomyDesk.open(running))
        await check_log(running.app.database)


async def _change_all(desk: TaxonomyDesk) -> None:
    made = await desk.create_category("Brand new")
    assert made.name == "categories/17"
    renamed = await desk.update_category(made.name, display_name="Newer", etag=made.etag)
    assert renamed == await desk.get_category(made.name)
    assert renamed.etag != made.etag
    told = await refused(desk.update_category(made.name, display_name="x", etag=made.etag))
    assert told.metadata["changed_fields"] == "display_name"
    told = await refused(desk.create_category("Action"))
    assert told.metadata["resource_name"] == "categories/1"
    actor = await desk.get_actor("actors/107")
    assert actor.film_count > 20
    listed = film_pb2.ListFilmsRequest(filter='actors:"actors/107"', page_size=1000)
    films = (await desk.ListFilms(listed)).films
    told = await refused(desk.delete_actor(actor.name))
    assert told.metadata == {"child_type": "Film", "child_count": str(len(films))}
    before = await desk.revision()
    await desk.delete_actor(actor.name, etag=actor.etag, force=True)
    assert await desk.revision() == before + len(films) + 1
    changed = [await desk.get(film.name) for film in films]
    assert all(actor.name not in film.actors for film in changed)
    assert [film.revision for film in changed] == list(range(before + 1, before + len(films) + 1))


_MONEY: Final = frozenset(
    {"Money", "money", "rental_rate", "replacement_cost", "nanos", "units", "Decimal", "cents"}
)
_SOURCES: Final = (
    *sorted((_ROOT / "server/catalogue").glob("*.py")),
    _ROOT / "server/database/types.py",
    *sorted(
        file
        for file in (_ROOT / "client/interview_client").rglob("*.py")
        if "generated" not in file.parts
    ),
)


def _inexact_money(source: str) -> list[str]:
    """Return the functions and statements that speak of money and of binary fractions."""
    found = []
    for statement in _smallest(ast.parse(source)):
        nodes = list(ast.walk(statement))
        words = {node.id for node in nodes if isinstance(node, ast.Name)}
        words |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        words |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        words |= {node.arg for node in nodes if isinstance(node, ast.keyword) and node.arg}
        constants = [node.value for node in nodes if isinstance(node, ast.Constant)]
        words |= {value for value in constants if isinstance(value, str)}
        inexact = "float" in words or any(isinstance(value, float) for value in constants)
        if inexact and words & _MONEY:
            found.append(ast.unparse(statement))
    return found


def _smallest(node: ast.AST) -> list[ast.stmt]:
    """Return functions, and statements outside of functions, class bodies taken apart."""
    statements: list[ast.stmt] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            statements += _smallest(child)
        elif isinstance(child, ast.stmt):
            statements.append(child)
    return statements


@pytest.mark.parametrize("file", _SOURCES, ids=lambda file: str(file.relative_to(_ROOT)))
def test_no_binary_fraction_comes_near_money(file: Path) -> None:
    assert _inexact_money(file.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "def f(amount):\n    return float(amount.units)",
        "def f(rental_rate: float) -> None: ...",
        "class C:\n    rental_rate: float",
        "RATE = Money(units=4, nanos=int(0.99 * 10**9))",
        "def f(film):\n    return film['rental_rate'] * 1.0",
    ],
)
def test_a_binary_fraction_near_money_would_be_seen(source: str) -> None:
    assert len(_inexact_money(source)) == 1
