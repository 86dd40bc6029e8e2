"""Searches in SQL: one statement and one round trip for each read."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, bindparam, case, func, select

from server.catalogue.domain import Film
from server.catalogue.film_columns import film_columns
from server.catalogue.film_search import Found, Ranked
from server.catalogue.film_statements import FILMS_BY_NUMBER, film_of, select_films
from server.catalogue.models import Film as FilmRow
from server.catalogue.search_statements import MOST_POINTS, SearchStatements
from server.catalogue.snippets import Sought
from server.catalogue.typos import variants
from server.core.paging import Key, Page, PageRequest, cut_page
from server.database.dialect import in_list
from server.database.engine import Database
from server.database.names import named
from server.database.types import IntegerList
from server.query.filter_sql import by_bytes, compile_filter
from server.query.filter_types import Filter

_FILM = FilmRow.__table__.c
_AFTER_POINTS = bindparam("after_points", type_=Integer)
_AS_TITLE = bindparam("title", type_=_FILM.title.type)


class SqlSearch:
    """Reads the search index. Every method raises what the driver raises; nothing is cached."""

    def __init__(self, database: Database) -> None:
        self._read = database.read
        self._columns = film_columns(is_sqlite=database.is_sqlite)
        self._statements = SearchStatements(is_sqlite=database.is_sqlite)

    async def search(
        self, sought: Sequence[Sought], title: str, page: PageRequest, where: Filter | None
    ) -> Found:
        """Return films with any of the words: score descending, title, number."""
        most = MOST_POINTS * len(sought)
        # No film has more points than every word in its title gives, and one for the title
        # itself: the first page is the page after a row that could not be.
        after: Key = page.after or (most + 2, "", 0)
        points, after_title, number = after
        parameters = {
            **self._statements.of_hits(sought),
            "after_points": points,
            "after_title": after_title,
            "title": title,
            "after_number": number,
            "limit": page.size + 1,
        }
        rows = await self._read.all(self._films(where), parameters)
        cut = cut_page(rows, page, lambda row: (row.points, row.title, row.film_id))
        films = [(film_of(row), _score(row.points, most)) for row in cut.rows]
        return Found(Page(films, cut.next_after), rows[0].words if rows else 0)

    async def ranked(
        self, sought: Sequence[Sought], title: str, limit: int, where: Filter | None
    ) -> tuple[Sequence[Ranked], int]:
        """Return the first places of the same, and how many of the words any film has."""
        most = MOST_POINTS * len(sought)
        statement = named("films.search_ranked", self._page(where, after=False))
        parameters = {**self._statements.of_hits(sought), "title": title, "limit": limit}
        rows = await self._read.all(statement, parameters)
        ranked = [Ranked(row.film_id, row.title, _score(row.points, most)) for row in rows]
        return ranked, rows[0].words if rows else 0

    async def words_found(self, sought: Sequence[Sought]) -> set[int]:
        """Return the places of the words that any film has, deleted ones included."""
        parameters = self._statements.of_words(sought)
        rows = await self._read.all(self._statements.words_found, parameters)
        return {row.word for row in rows}

    async def similar(self, words: Sequence[str]) -> set[str]:
        """Return words of the index that may be one letter away from any of these."""
        forms = sorted({form for word in words for form in variants(word)})
        rows = await self._read.all(self._statements.similar, {"variants": forms})
        return {row.word for row in rows}

    async def titles(self, film_ids: Sequence[int], where: Filter | None) -> dict[int, str]:
        """Return the titles of those of the films that are there and meet the filter."""
        chosen = in_list(_FILM.film_id, bindparam("film_ids", type_=IntegerList))
        statement = select(_FILM.film_id, _FILM.title).where(chosen, _FILM.delete_time.is_(None))
        if where is not None:
            statement = statement.where(compile_filter(where, self._columns))
        rows = await self._read.all(named("films.titles", statement), {"film_ids": list(film_ids)})
        return {row.film_id: row.title for row in rows}

    async def films(self, film_ids: Sequence[int]) -> dict[int, Film]:
        """Return films by number."""
        rows = await self._read.all(FILMS_BY_NUMBER, {"film_ids": list(film_ids)})
        return {row.film_id: film_of(row) for row in rows}

    def _films(self, where: Filter | None) -> Select[Any]:
        # The page is cut before categories and actors are read: those of a page, not of every hit.
        page = self._page(where, after=True).subquery("page")
        return named(
            "films.search",
            select_films(full=True, extra=[page.c.points, page.c.words])
            .join(page, page.c.film_id == _FILM.film_id)
            .order_by(*_order(page.c.points, _FILM.title, _FILM.film_id)),
        )

    def _page(self, where: Filter | None, *, after: bool) -> Select[Any]:
        hits = self._statements.hits.cte("hits")
        scored = (
            select(hits.c.film_id, func.sum(hits.c.points, type_=Integer).label("points"))
            .group_by(hits.c.film_id)
            .subquery("scored")
        )
        words = select(func.count(hits.c.word.distinct())).scalar_subquery()
        # Among films that have every word in the title, the one that is called just so.
        exact = case((func.lower(by_bytes(_FILM.title)) == _AS_TITLE, 1), else_=0)
        points = scored.c.points + exact
        statement = (
            select(_FILM.film_id, _FILM.title, points.label("points"), words.label("words"))
            .select_from(scored.join(FilmRow.__table__, _FILM.film_id == scored.c.film_id))
            .where(_FILM.delete_time.is_(None))
            .order_by(*_order(points, _FILM.title, _FILM.film_id))
            .limit(bindparam("limit"))
        )
        if where is not None:
            statement = statement.where(compile_filter(where, self._columns))
        if not after:
            return statement
        # The first condition follows from the second, and leaves fewer films to look up.
        return statement.where(scored.c.points <= _AFTER_POINTS, _behind(points))


def _score(points: int, most: int) -> float:
    return min(1.0, points / most)


def _order(points: ColumnElement[int], title: Any, number: Any) -> Sequence[Any]:
    return points.desc(), by_bytes(title), number


def _behind(points: ColumnElement[int]) -> Any:
    """Return the condition of films behind the one that the last page ended with."""
    title = by_bytes(_FILM.title)
    after_title = bindparam("after_title", type_=_FILM.title.type)
    after_number = bindparam("after_number", type_=Integer)
    further = (title > after_title) | ((title == after_title) & (_FILM.film_id > after_number))
    return (points < _AFTER_POINTS) | ((points == _AFTER_POINTS) & further)
