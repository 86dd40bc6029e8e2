"""By what films sort, and how: the database's columns and a film's values."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from sqlalchemy import Text, case, cast, func

from server.catalogue.domain import Film
from server.catalogue.models import RATINGS
from server.catalogue.models import Film as FilmRow
from server.query.filter_sql import by_bytes
from server.query.filter_types import OrderTerm
from server.query.keyset import KeysetOrder, OrderField, time_field

_FILM = FilmRow.__table__.c
# By age, as the enumeration stands, not by letters.
_RATING = case(
    {rating: number for number, rating in enumerate(RATINGS)}, value=cast(_FILM.rating, Text)
)


def _rating_number(film: Film) -> int | None:
    return None if film.rating is None else RATINGS.index(film.rating)


_FIELDS: Mapping[str, OrderField[Film]] = {
    "name": OrderField(_FILM.film_id, lambda film: film.film_id),
    "title": OrderField(by_bytes(_FILM.title), lambda film: film.title),
    "release_year": OrderField(_FILM.release_year, lambda film: film.release_year, nullable=True),
    "rental_duration_days": OrderField(_FILM.rental_duration, lambda film: film.rental_duration),
    "rental_rate": OrderField(_FILM.rental_rate, lambda film: film.rental_rate, str, Decimal),
    "length_minutes": OrderField(_FILM.length, lambda film: film.length, nullable=True),
    "replacement_cost": OrderField(
        _FILM.replacement_cost, lambda film: film.replacement_cost, str, Decimal
    ),
    "rating": OrderField(_RATING, _rating_number, nullable=True),
    "create_time": time_field(
        func.coalesce(_FILM.create_time, _FILM.last_update), lambda film: film.create_time
    ),
    "update_time": time_field(_FILM.last_update, lambda film: film.update_time),
}


def film_order(terms: Sequence[OrderTerm]) -> KeysetOrder[Film]:
    """Return an order by some fields and then by number."""
    return KeysetOrder(_FIELDS, terms, last="name")
