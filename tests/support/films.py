"""Forty films that tell one filter from another, in memory and in a database."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from sqlalchemy import Table, insert

from server.catalogue.domain import Film as DomainFilm
from server.catalogue.domain import Label
from server.catalogue.indexing import reindex
from server.catalogue.models import Actor, Category, Film, FilmActor, FilmCategory, Language
from server.catalogue.search import index_terms
from server.database.engine import Database
from server.query.filters import FieldKind, Fields, FieldSpec

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LANGUAGES = {1: "English", 2: "Italian", 3: "Français"}
CATEGORIES = {1: "Action", 2: "Animation", 3: "Sci-Fi", 4: "100% _new_"}
ACTORS = {1: ("PENELOPE", "GUINESS"), 2: ("Nick", "Wahlberg"), 3: ("ÉMILE", "O'Hara")}
RATINGS = {"G": "G", "PG": "PG", "PG_13": "PG-13", "R": "R", "NC_17": "NC-17"}
FEATURES = {
    "TRAILERS": "Trailers",
    "COMMENTARIES": "Commentaries",
    "DELETED_SCENES": "Deleted Scenes",
    "BEHIND_THE_SCENES": "Behind the Scenes",
}
TITLES = (
    *("ACADEMY DINOSAUR", "ace goldfinger", "Ace Goldfinger", "DINOSAURS", "dino", "İstanbul"),
    *("ÉLAN", "élan", "Émile", "ß", "SS", "x", "X", "Zulu", "zulu", "ZULU", "東京", "  spaces  "),
    *("100% Wolf", "100 Wolf", "a_b", "aXb", "A*B", "back\\slash", '"Quoted"', "It's"),
    *("\ud7ff", "\ue000", "x\U0010ffff", "\U0001f600 smile"),
)
_WORDS = ("epic", "drama", "of", "a", "Dinosaur", "who", "must", "Fight", "robots", "in", "Cafés")


@dataclass(frozen=True)
class FilmRow:
    """A row of `film`, and the numbers that its link rows hold."""

    film_id: int
    title: str
    description: str | None
    release_year: int | None
    language_id: int
    original_language_id: int | None
    rental_duration: int
    rental_rate: Decimal
    length: int | None
    replacement_cost: Decimal
    rating: str | None
    special_features: list[str] | None
    streaming_available: bool
    create_time: datetime | None
    last_update: datetime
    delete_time: datetime | None
    categories: list[int]
    actors: list[int]


def _film(film_id: int, chance: random.Random) -> FilmRow:
    moments = [NOW - timedelta(hours=hours, microseconds=hours % 2) for hours in range(0, 240, 24)]
    return FilmRow(
        film_id=film_id,
        title=TITLES[film_id % len(TITLES)],
        description=chance.choice([None, "", " ".join(chance.choices(_WORDS, k=4))]),
        release_year=chance.choice([None, 1999, 2005, 2006]),
        language_id=chance.choice(list(LANGUAGES)),
        original_language_id=chance.choice([None, *LANGUAGES]),
        rental_duration=chance.randint(3, 7),
        rental_rate=Decimal(chance.choice(["0.99", "2.99", "3.00", "4.99"])),
        length=chance.choice([None, 46, 90, 185]),
        replacement_cost=Decimal(chance.choice(["9.99", "20.99", "29.90"])),
        rating=chance.choice([None, *RATINGS.values()]),
        special_features=chance.choice([None, chance.sample([*FEATURES.values()], k=2), []]),
        streaming_available=chance.random() < 0.5,
        create_time=chance.choice([None, *moments]),
        last_update=chance.choice(moments),
        delete_time=chance.choice([None, *moments]),
        categories=chance.sample([*CATEGORIES], k=chance.randint(0, 3)),
        actors=chance.sample([*ACTORS], k=chance.randint(0, 2)),
    )


_CHANCE = random.Random(17)
FILMS: Sequence[FilmRow] = [_film(number, _CHANCE) for number in range(1, 41)]

_sorted = partial(FieldSpec, filterable=True, sortable=True)
_RATING = tuple(RATINGS)
FIELDS: Fields = {
    "name": _sorted(FieldKind.RESOURCE_NAME, prefix="films/"),
    "title": _sorted(FieldKind.STRING, text_searchable=True),
    "description": FieldSpec(FieldKind.STRING, text_searchable=True),
    "release_year": _sorted(FieldKind.YEAR),
    "language": FieldSpec(FieldKind.RESOURCE_NAME, filterable=True, prefix="languages/"),
    "original_language": FieldSpec(FieldKind.RESOURCE_NAME, filterable=True, prefix="languages/"),
    "rental_duration_days": _sorted(FieldKind.NUMBER),
    "rental_rate": _sorted(FieldKind.MONEY),
    "length_minutes": _sorted(FieldKind.NUMBER),
    "replacement_cost": _sorted(FieldKind.MONEY),
    "rating": _sorted(FieldKind.ENUM, enum_values=_RATING, prefix="FILM_RATING_"),
    "special_features": FieldSpec(
        FieldKind.ENUM,
        filterable=True,
        enum_values=tuple(FEATURES),
        repeated=True,
        prefix="SPECIAL_FEATURE_",
    ),
    "streaming_available": FieldSpec(FieldKind.BOOLEAN, filterable=True),
    "categories": FieldSpec(
        FieldKind.RESOURCE_NAME, filterable=True, repeated=True, prefix="categories/"
    ),
    "actors": FieldSpec(FieldKind.RESOURCE_NAME, filterable=True, repeated=True, prefix="actors/"),
    "labels.language": FieldSpec(FieldKind.STRING, filterable=True),
    "labels.original_language": FieldSpec(FieldKind.STRING, filterable=True),
    "labels.categories": FieldSpec(FieldKind.STRING, filterable=True, repeated=True),
    "labels.actors": FieldSpec(FieldKind.STRING, filterable=True, repeated=True),
    "create_time": _sorted(FieldKind.TIMESTAMP),
    "update_time": _sorted(FieldKind.TIMESTAMP),
    "delete_time": _sorted(FieldKind.TIMESTAMP),
}

VALUES: Mapping[str, Callable[[FilmRow], Sequence[Any]]] = {
    "name": lambda film: [film.film_id],
    "title": lambda film: [film.title],
    "release_year": lambda film: _present(film.release_year),
    "language": lambda film: [film.language_id],
    "original_language": lambda film: _present(film.original_language_id),
    "rental_duration_days": lambda film: [film.rental_duration],
    "rental_rate": lambda film: [film.rental_rate],
    "length_minutes": lambda film: _present(film.length),
    "replacement_cost": lambda film: [film.replacement_cost],
    "rating": lambda film: _present(film.rating),
    "special_features": lambda film: film.special_features or [],
    "streaming_available": lambda film: [film.streaming_available],
    "categories": lambda film: film.categories,
    "actors": lambda film: film.actors,
    "labels.language": lambda film: [LANGUAGES[film.language_id]],
    "labels.original_language": lambda film: [
        LANGUAGES[number] for number in _present(film.original_language_id)
    ],
    "labels.categories": lambda film: [CATEGORIES[number] for number in film.categories],
    "labels.actors": lambda film: [" ".join(ACTORS[number]) for number in film.actors],
    "create_time": lambda film: [film.create_time or film.last_update],
    "update_time": lambda film: [film.last_update],
    "delete_time": lambda film: _present(film.delete_time),
}
"""The values, none to several, that each field of a film has."""


def _present(value: Any) -> list[Any]:
    return [] if value is None else [value]


def terms_of(film: FilmRow) -> set[str]:
    """Return the terms that a search can find the film by."""
    names = [*(CATEGORIES[number] for number in film.categories)]
    names += [" ".join(ACTORS[number]) for number in film.actors]
    texts = (film.title, film.description or "", *names)
    return {term for text in texts for term in index_terms(text)}


def film_of(row: FilmRow) -> DomainFilm:
    """Return the film as the catalogue reads it from this row."""
    original = row.original_language_id
    return DomainFilm(
        film_id=row.film_id,
        title=row.title,
        description=row.description or "",
        release_year=row.release_year,
        language=Label(row.language_id, LANGUAGES[row.language_id]),
        original_language=None if original is None else Label(original, LANGUAGES[original]),
        rental_duration=row.rental_duration,
        rental_rate=row.rental_rate,
        length=row.length,
        replacement_cost=row.replacement_cost,
        rating=row.rating,
        special_features=tuple(row.special_features or ()),
        streaming_available=row.streaming_available,
        categories=tuple(Label(number, CATEGORIES[number]) for number in sorted(row.categories)),
        actors=tuple(Label(number, " ".join(ACTORS[number])) for number in sorted(row.actors)),
        create_time=row.create_time or row.last_update,
        update_time=row.last_update,
        revision=1,
        delete_time=row.delete_time,
    )


async def store_films(database: Database) -> None:
    """Put FILMS and what they refer to into an empty catalogue, with its search index."""
    columns = set(Film.__table__.columns.keys())
    rows: dict[type[Any], list[dict[str, Any]]] = {
        Language: [{"language_id": number, "name": name} for number, name in LANGUAGES.items()],
        Category: [{"category_id": number, "name": name} for number, name in CATEGORIES.items()],
        Actor: [
            {"actor_id": number, "first_name": first, "last_name": last}
            for number, (first, last) in ACTORS.items()
        ],
        Film: [
            {key: value for key, value in asdict(film).items() if key in columns} for film in FILMS
        ],
        FilmCategory: _links("category_id", lambda film: film.categories),
        FilmActor: _links("actor_id", lambda film: film.actors),
    }
    async with database.write() as write:
        for model, values in rows.items():
            table: Table = model.__table__
            await write.execute(insert(table), values)
        await reindex(write, is_sqlite=database.is_sqlite)


def _links(column: str, numbers: Callable[[FilmRow], list[int]]) -> list[dict[str, Any]]:
    return [{"film_id": film.film_id, column: number} for film in FILMS for number in numbers(film)]
