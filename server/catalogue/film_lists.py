"""Pages and counts of films in SQL, whatever their filter and order."""

from typing import Any, Final

from sqlalchemy import ColumnElement, CompoundSelect, Select, func, literal, select, union_all

from server.catalogue.domain import Film
from server.catalogue.film_statements import HERE, select_films
from server.catalogue.models import Film as FilmRow
from server.core.paging import Key, PageRequest
from server.database.names import named
from server.query.keyset import KeysetOrder

MAX_COUNT: Final = 100_000
"""Counting stops here: to count a million films that meet a filter takes too long."""

_FILM: Final = FilmRow.__table__


class FilmLists:
    """Makes the statements of one kind of database."""

    def __init__(self, *, is_sqlite: bool) -> None:
        self._is_sqlite = is_sqlite

    def page(
        self,
        page: PageRequest,
        condition: ColumnElement[bool] | None,
        ordering: KeysetOrder[Film],
        *,
        full: bool,
        show_deleted: bool,
    ) -> Select[Any]:
        """Return the SELECT of a page and one row more, which `film_of` reads."""
        statement = named("films.list", select_films(full=full))
        if page.after is None:
            statement = _narrowed(statement, condition, show_deleted=show_deleted)
        elif self._is_sqlite:
            films = _narrowed(select(_FILM.c.film_id), condition, show_deleted=show_deleted)
            behind = _nearest(films, ordering, page.after, page.size + 1)
            statement = statement.where(_FILM.c.film_id.in_(behind))
        else:
            statement = _narrowed(statement, condition, show_deleted=show_deleted)
            statement = statement.where(ordering.after(page.after))
        statement = statement.order_by(*ordering.clauses()).limit(page.size + 1)
        return statement if page.after else statement.offset(page.skip or None)


def count_statement(condition: ColumnElement[bool] | None, *, show_deleted: bool) -> Select[Any]:
    """Return the SELECT of how many films there are, or MAX_COUNT where there are more."""
    films = _narrowed(select(literal(1)).select_from(_FILM), condition, show_deleted=show_deleted)
    counted = films.limit(MAX_COUNT).subquery("counted")
    return named("films.count", select(func.count()).select_from(counted))


def _narrowed(
    statement: Select[Any], condition: ColumnElement[bool] | None, *, show_deleted: bool
) -> Select[Any]:
    if not show_deleted:
        statement = statement.where(HERE)
    return statement if condition is None else statement.where(condition)


def _nearest(
    films: Select[Any], ordering: KeysetOrder[Film], after: Key, limit: int
) -> CompoundSelect[int]:
    """Return the numbers of the first films behind the key, and of some more.

    SQLite finds its way into an index by one expression at most, and would read from there on
    every film that is equal in it: for a rating, a fifth of them. So each stretch behind the
    key is read on its own.
    """
    parts = [
        films.where(stretch.condition).order_by(*stretch.order).limit(limit).subquery()
        for stretch in ordering.stretches(after)
    ]
    return union_all(*(select(part.c.film_id) for part in parts))
