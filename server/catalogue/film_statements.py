"""How films are read: the SELECT of one film with its language, categories and actors.

Categories and actors come as JSON from subqueries, so that a film is one row and a page of
films one statement. Without `full`, description and actors are left out.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, Text, bindparam, cast, func, null, select

from server.catalogue.domain import Film, Label
from server.catalogue.models import Actor, Category, FilmActor, FilmCategory, FilmCount, Language
from server.catalogue.models import Film as FilmRow
from server.database.dialect import in_list, json_rows
from server.database.names import named
from server.database.types import IntegerList

_FILM = FilmRow.__table__
_LANGUAGE = Language.__table__.alias("film_language")
_ORIGINAL = Language.__table__.alias("original_language")


def _categories() -> ColumnElement[Any]:
    link, category = FilmCategory.__table__, Category.__table__
    rows = (
        select(category.c.category_id, category.c.name)
        .join(link, link.c.category_id == category.c.category_id)
        .where(link.c.film_id == _FILM.c.film_id)
        .order_by(category.c.category_id)
        .correlate(_FILM)
        .subquery("film_categories")
    )
    return select(json_rows(rows.c.category_id, rows.c.name)).scalar_subquery()


def _actors() -> ColumnElement[Any]:
    link, actor = FilmActor.__table__, Actor.__table__
    rows = (
        select(actor.c.actor_id, actor.c.first_name, actor.c.last_name)
        .join(link, link.c.actor_id == actor.c.actor_id)
        .where(link.c.film_id == _FILM.c.film_id)
        .order_by(actor.c.actor_id)
        .correlate(_FILM)
        .subquery("film_actors")
    )
    return select(json_rows(rows.c.actor_id, rows.c.first_name, rows.c.last_name)).scalar_subquery()


def select_films(*, full: bool, extra: Sequence[ColumnElement[Any]] = ()) -> Select[Any]:
    """Return the SELECT that `film_of` reads by position, from `film` under its own name."""
    film = _FILM.c
    return (
        select(
            film.film_id,
            film.title,
            (film.description if full else cast(null(), Text)).label("description"),
            film.release_year,
            film.language_id,
            func.rtrim(_LANGUAGE.c.name).label("language"),
            film.original_language_id,
            func.rtrim(_ORIGINAL.c.name).label("original_language"),
            film.rental_duration,
            film.rental_rate,
            film.length,
            film.replacement_cost,
            film.rating,
            film.special_features,
            film.streaming_available,
            film.create_time,
            film.last_update,
            film.revision,
            _categories().label("categories"),
            (_actors() if full else cast(null(), Text)).label("actors"),
            film.delete_time,
            film.purge_time,
            *extra,
        )
        .join(_LANGUAGE, _LANGUAGE.c.language_id == film.language_id)
        .outerjoin(_ORIGINAL, _ORIGINAL.c.language_id == film.original_language_id)
    )


FILMS_BY_NUMBER = named(
    "films.get",
    select_films(full=True).where(
        in_list(_FILM.c.film_id, bindparam("film_ids", type_=IntegerList))
    ),
)
HERE = _FILM.c.delete_time.is_(None)
"""The film is not deleted."""
FIRST_FILMS = {
    full: named(
        "films.list",
        select_films(full=full)
        .where(HERE, _FILM.c.film_id > bindparam("after"))
        .order_by(_FILM.c.film_id)
        .limit(bindparam("limit")),
    )
    for full in (True, False)
}
"""Films that are not deleted by number, the list without filter and order."""

_COUNT = FilmCount.__table__.c
COUNT_FILMS = named(
    "films.count", select(_COUNT.films).where(_COUNT.kind == "film", _COUNT.number == 0)
)
"""How many films are not deleted: no row for none."""


def film_of(row: Sequence[Any]) -> Film:
    """Read one row of `select_films`."""
    # By position: reading each column by its name costs more than all the rest.
    (film_id, title, description, year, language_id, language, original_id, original,
     rental_duration, rental_rate, length, replacement_cost, rating, features, streaming,
     created, updated, revision, categories, actors, deleted, purge, *_) = row  # fmt: skip
    return Film(
        film_id=film_id,
        title=title,
        description=description or "",
        release_year=year,
        language=Label(language_id, language),
        original_language=Label(original_id, original) if original_id else None,
        rental_duration=rental_duration,
        rental_rate=rental_rate,
        length=length,
        replacement_cost=replacement_cost,
        rating=rating,
        special_features=tuple(features or ()),
        streaming_available=streaming,
        categories=tuple([Label(number, name) for number, name in _rows(categories)]),
        actors=tuple(
            [Label(number, f"{given} {family}") for number, given, family in _rows(actors)]
        ),
        create_time=created or updated,
        update_time=updated,
        revision=revision,
        delete_time=deleted,
        purge_time=purge,
    )


def _rows(json: str | None) -> list[list[Any]]:
    return orjson.loads(json) if json else []
