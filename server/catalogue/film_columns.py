"""Where the fields of a film are found in the database, for filters."""

from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Text,
    cast,
    column,
    false,
    func,
    select,
    table,
)
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR

from server.catalogue.film_order import (
    CREATE_TIME,
    DELETE_TIME,
    LENGTH,
    RATING,
    RELEASE_YEAR,
    rating_rank,
)
from server.catalogue.models import (
    RATINGS,
    SPECIAL_FEATURES,
    Actor,
    Category,
    Film,
    FilmActor,
    FilmCategory,
    Language,
)
from server.catalogue.search import MAX_TERM_BYTES
from server.query.filter_sql import ElementColumn, FilterColumns, RelatedColumn, ScalarColumn
from server.query.filter_types import Value

_STORED_ENUMS = {
    text.upper().replace("-", "_").replace(" ", "_"): text for text in (*RATINGS, *SPECIAL_FEATURES)
}
"""Pagila's words by our short names: PG_13 is stored as "PG-13"."""

_FILM = Film.__table__.c


def film_columns(*, is_sqlite: bool) -> FilterColumns:
    """Return the columns for conditions on a SELECT from `film`, under its own name."""
    return FilterColumns(
        fields={
            "name": ScalarColumn(_FILM.film_id),
            "title": ScalarColumn(_FILM.title),
            "release_year": ScalarColumn(_FILM.release_year, indexed=ScalarColumn(RELEASE_YEAR)),
            "language": ScalarColumn(_FILM.language_id),
            "original_language": ScalarColumn(_FILM.original_language_id),
            "rental_duration_days": ScalarColumn(_FILM.rental_duration),
            "rental_rate": ScalarColumn(_FILM.rental_rate),
            "length_minutes": ScalarColumn(_FILM.length, indexed=ScalarColumn(LENGTH)),
            "replacement_cost": ScalarColumn(_FILM.replacement_cost),
            "rating": ScalarColumn(_FILM.rating, _stored_enum, ScalarColumn(RATING, _rank)),
            "special_features": _special_features(is_sqlite=is_sqlite),
            "streaming_available": ScalarColumn(_FILM.streaming_available),
            "create_time": ScalarColumn(CREATE_TIME),
            "update_time": ScalarColumn(_FILM.last_update),
            "delete_time": ScalarColumn(_FILM.delete_time, indexed=ScalarColumn(DELETE_TIME)),
            "labels.language": _language_label(_FILM.language_id),
            "labels.original_language": _language_label(_FILM.original_language_id),
            **_category_columns(),
            **_actor_columns(),
        },
        has_term=_has_term_sqlite if is_sqlite else _has_term_postgresql,
    )


# Every other table goes by an alias: were it part of the outer SELECT under the same name,
# the inner one would be taken for a reference to it.


def _language_label(language_id: ColumnElement[Any]) -> RelatedColumn:
    language = Language.__table__.alias()
    name = func.rtrim(language.c.name, type_=Text())
    return RelatedColumn(name, language, language.c.language_id, language_id)


def _category_columns() -> dict[str, RelatedColumn]:
    link, category = FilmCategory.__table__.alias(), Category.__table__.alias()
    named = link.join(category, category.c.category_id == link.c.category_id)
    return {
        "categories": RelatedColumn(link.c.category_id, link, link.c.film_id, _FILM.film_id),
        "labels.categories": RelatedColumn(category.c.name, named, link.c.film_id, _FILM.film_id),
    }


def _actor_columns() -> dict[str, RelatedColumn]:
    link, actor = FilmActor.__table__.alias(), Actor.__table__.alias()
    named = link.join(actor, actor.c.actor_id == link.c.actor_id)
    full_name = actor.c.first_name + " " + actor.c.last_name
    return {
        "actors": RelatedColumn(link.c.actor_id, link, link.c.film_id, _FILM.film_id),
        "labels.actors": RelatedColumn(full_name, named, link.c.film_id, _FILM.film_id),
    }


def _special_features(*, is_sqlite: bool) -> ElementColumn:
    element = column("value", Text())
    features: FromClause
    if is_sqlite:
        features = func.json_each(_FILM.special_features).table_valued(element)
    else:
        features = func.unnest(_FILM.special_features).table_valued(element).render_derived()
    return ElementColumn(features.c.value, features, _stored_enum)


def _stored_enum(value: Value) -> Value:
    return _STORED_ENUMS[str(value)]


def _rank(value: Value) -> Value:
    return rating_rank(_STORED_ENUMS[str(value)])


def _has_term_sqlite(term: str) -> ColumnElement[bool]:
    index = table("film_fts", column("rowid"), column("film_fts"))
    match = index.c.film_fts.bool_op("MATCH")(f'"{term}"')
    return _FILM.film_id.in_(select(index.c.rowid).where(match))


def _has_term_postgresql(term: str) -> ColumnElement[bool]:
    if len(term.encode()) > MAX_TERM_BYTES:  # is in no index, and an error in a query
        return false()
    index = table("film_fts", column("film_id"), column("words", TSVECTOR))
    # The term is a stem already: a cast takes it as it is, to_tsquery would stem it again.
    query = cast(f"'{term}'", TSQUERY)
    return _FILM.film_id.in_(select(index.c.film_id).where(index.c.words.bool_op("@@")(query)))
