"""By what films sort, and how: the database's columns and a film's values.

No expression here is NULL for any film, so that an index serves every order from any place; a
film without a value has one behind all values. The indexes idx_film_order_* of
migration 0005 hold these expressions, letter by letter.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ColumnElement, Integer, case, func, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from server.catalogue.domain import Film
from server.catalogue.models import RATINGS
from server.catalogue.models import Film as FilmRow
from server.query.filter_sql import by_bytes
from server.query.filter_types import OrderTerm
from server.query.keyset import KeysetOrder, OrderField, time_field

_FILM: Final = FilmRow.__table__.c
NO_YEAR: Final = 9999
NO_LENGTH: Final = 32768
NOT_RATED: Final = len(RATINGS)
NOT_DELETED: Final = datetime(9999, 12, 31, tzinfo=UTC)


class _never(FunctionElement[datetime]):  # noqa: N801  # reads as the SQL that it is
    """NOT_DELETED as text in the statement, in the form that the database keeps moments in."""

    name = "never"
    inherit_cache = True


@compiles(_never)
def _never_postgresql(_element: _never, _compiler: SQLCompiler, **_: Any) -> str:
    return f"'{NOT_DELETED:%Y-%m-%d %H:%M:%S+00}'"


@compiles(_never, "sqlite")
def _never_sqlite(_element: _never, _compiler: SQLCompiler, **_: Any) -> str:
    return f"'{NOT_DELETED:%Y-%m-%d %H:%M:%S.%f}'"


def _number(value: int) -> ColumnElement[int]:
    # As text in the statement: an index of an expression is found by the same text alone.
    return literal_column(str(value), Integer())


def _rated(rating: str) -> ColumnElement[bool]:
    return _FILM.rating == literal_column(f"'{rating}'")


RELEASE_YEAR: Final = func.coalesce(_FILM.release_year, _number(NO_YEAR), type_=Integer())
LENGTH: Final = func.coalesce(_FILM.length, _number(NO_LENGTH), type_=Integer())
RATING: Final[ColumnElement[Any]] = case(
    *((_rated(rating), _number(rank)) for rank, rating in enumerate(RATINGS)),
    else_=_number(NOT_RATED),
)
"""By age, as the enumeration stands, not by letters."""
CREATE_TIME: Final = func.coalesce(
    _FILM.create_time, _FILM.last_update, type_=_FILM.last_update.type
)
DELETE_TIME: Final = func.coalesce(_FILM.delete_time, _never(), type_=_FILM.last_update.type)


def rating_rank(rating: str) -> int:
    """Return where a rating stands among the others, from 0."""
    return RATINGS.index(rating)


def _rank(film: Film) -> int | None:
    return None if film.rating is None else rating_rank(film.rating)


_FIELDS: Mapping[str, OrderField[Film]] = {
    "name": OrderField(_FILM.film_id, lambda film: film.film_id),
    "title": OrderField(by_bytes(_FILM.title), lambda film: film.title),
    "release_year": OrderField(RELEASE_YEAR, lambda film: film.release_year, absent=NO_YEAR),
    "rental_duration_days": OrderField(_FILM.rental_duration, lambda film: film.rental_duration),
    "rental_rate": OrderField(_FILM.rental_rate, lambda film: film.rental_rate, str, Decimal),
    "length_minutes": OrderField(LENGTH, lambda film: film.length, absent=NO_LENGTH),
    "replacement_cost": OrderField(
        _FILM.replacement_cost, lambda film: film.replacement_cost, str, Decimal
    ),
    "rating": OrderField(RATING, _rank, absent=NOT_RATED),
    "create_time": time_field(CREATE_TIME, lambda film: film.create_time),
    "update_time": time_field(_FILM.last_update, lambda film: film.update_time),
    "delete_time": time_field(DELETE_TIME, lambda film: film.delete_time, absent=NOT_DELETED),
}


def film_order(terms: Sequence[OrderTerm]) -> KeysetOrder[Film]:
    """Return an order by some fields and then by number."""
    return KeysetOrder(_FIELDS, terms, last="name")
