"""Orders of a film list, and where a page of it starts (keyset, never OFFSET).

Each field of an order stands behind a flag for "has no value", so that films without one
come last in ascending and first in descending order on both databases; the film's number
ends every order. Rows that do not change come exactly once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, case, cast, func, or_

from server.catalogue.domain import Film
from server.catalogue.filter_sql import by_bytes
from server.catalogue.filter_types import OrderTerm
from server.catalogue.models import RATINGS
from server.catalogue.models import Film as FilmRow
from server.core.paging import Key

KeyValue = str | int | None


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class _Field:
    """How a field sorts in SQL, its value in a film, and that value in a page token."""

    expression: ColumnElement[Any]
    value: Callable[[Film], Any]
    to_key: Callable[[Any], KeyValue] = _same
    from_key: Callable[[Any], Any] = _same
    nullable: bool = False


_FILM = FilmRow.__table__.c
# By age, as the enumeration stands, not by letters.
_RATING = case(
    {rating: number for number, rating in enumerate(RATINGS)}, value=cast(_FILM.rating, Text)
)


def _rating_number(film: Film) -> int | None:
    return None if film.rating is None else RATINGS.index(film.rating)


_FIELDS: Mapping[str, _Field] = {
    "name": _Field(_FILM.film_id, lambda film: film.film_id),
    "title": _Field(by_bytes(_FILM.title), lambda film: film.title),
    "release_year": _Field(_FILM.release_year, lambda film: film.release_year, nullable=True),
    "rental_duration_days": _Field(_FILM.rental_duration, lambda film: film.rental_duration),
    "rental_rate": _Field(_FILM.rental_rate, lambda film: film.rental_rate, str, Decimal),
    "length_minutes": _Field(_FILM.length, lambda film: film.length, nullable=True),
    "replacement_cost": _Field(
        _FILM.replacement_cost, lambda film: film.replacement_cost, str, Decimal
    ),
    "rating": _Field(_RATING, _rating_number, nullable=True),
    "create_time": _Field(
        func.coalesce(_FILM.create_time, _FILM.last_update),
        lambda film: film.create_time,
        datetime.isoformat,
        datetime.fromisoformat,
    ),
    "update_time": _Field(
        _FILM.last_update,
        lambda film: film.update_time,
        datetime.isoformat,
        datetime.fromisoformat,
    ),
}
SORTABLE = frozenset(_FIELDS)


@dataclass(frozen=True, slots=True)
class _Column:
    """One column of the ORDER BY, and its value for the row before the page."""

    expression: ColumnElement[Any]
    descending: bool
    after: Any = None


class FilmOrder:
    """An order by some fields and then by number."""

    def __init__(self, terms: Sequence[OrderTerm]) -> None:
        named = [(_FIELDS[term.field], term.descending) for term in terms]
        self._terms = [*named, (_FIELDS["name"], False)]

    def clauses(self) -> list[ColumnElement[Any]]:
        """Return what stands behind ORDER BY."""
        return [
            column.expression.desc() if column.descending else column.expression.asc()
            for column in self._columns(None)
        ]

    def key(self, film: Film) -> Key:
        """Return where a page after this film starts."""
        values = [(field, field.value(film)) for field, _ in self._terms]
        return tuple(None if value is None else field.to_key(value) for field, value in values)

    def after(self, key: Key) -> ColumnElement[bool]:
        """Return the condition of rows behind the key: greater in the first column that differs."""
        columns = self._columns(key)
        alternatives = []
        for position, column in enumerate(columns):
            if column.after is None:
                continue  # no value: the flag before it decides alone
            equal = [
                earlier.expression == earlier.after
                for earlier in columns[:position]
                if earlier.after is not None
            ]
            found = column.expression
            beyond = found < column.after if column.descending else found > column.after
            alternatives.append(and_(*equal, beyond))
        return or_(*alternatives)

    def _columns(self, key: Key | None) -> list[_Column]:
        columns: list[_Column] = []
        for position, (field, descending) in enumerate(self._terms):
            stored = None if key is None else key[position]
            value = None if stored is None else field.from_key(stored)
            if field.nullable:
                flag = case((field.expression.is_(None), 1), else_=0)
                columns.append(_Column(flag, descending, int(stored is None)))
            columns.append(_Column(field.expression, descending, value))
        return columns
