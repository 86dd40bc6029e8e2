"""The catalogue in SQL: one statement and one round trip for each read."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Integer,
    Select,
    bindparam,
    column,
    func,
    literal,
    select,
    text,
    union_all,
)

from server.catalogue.domain import CatalogueNames, Category, Film, FilmMatch, Label
from server.catalogue.film_columns import film_columns
from server.catalogue.film_order import film_order
from server.catalogue.film_statements import (
    COUNT_FILMS,
    FILMS_BY_NUMBER,
    FIRST_FILMS,
    film_of,
    select_films,
)
from server.catalogue.models import Actor as ActorRow
from server.catalogue.models import Category as CategoryRow
from server.catalogue.models import Film as FilmRow
from server.catalogue.models import Language as LanguageRow
from server.catalogue.taxonomy_reads import TaxonomyRows
from server.core.paging import Key, Page, PageRequest, cut_page
from server.database.dialect import SEARCH_HITS
from server.database.engine import Database
from server.database.names import named
from server.database.types import TextList
from server.query.filter_sql import by_bytes, compile_filter
from server.query.filter_types import Filter, OrderTerm

_FILM = FilmRow.__table__.c
_MAX_NUMBER = 2**31 - 1
"""Row numbers are 32-bit integers; PostgreSQL refuses a greater parameter."""
_POINTS_PER_TERM = 3
"""What a term in the title counts; one in the description alone counts 2."""

_NAMES = named(
    "names.list",
    union_all(
        select(
            literal("title").label("kind"),
            _FILM.film_id.label("number"),
            _FILM.title.label("text"),
        ),
        select(literal("actor"), ActorRow.actor_id, ActorRow.first_name + " " + ActorRow.last_name),
        select(literal("category"), CategoryRow.category_id, CategoryRow.name),
        select(literal("language"), LanguageRow.language_id, func.rtrim(LanguageRow.name)),
    ),
)


class SqlCatalogue:
    """Reads the catalogue. Every method raises what the driver raises; nothing is cached."""

    def __init__(self, database: Database) -> None:
        self._read = database.read
        self._taxonomy = TaxonomyRows(database)
        self._columns = film_columns(is_sqlite=database.is_sqlite)
        self._search = {full: _search(database, full=full) for full in (True, False)}

    async def films_by_number(self, film_ids: Sequence[int]) -> dict[int, Film]:
        """Return the films that exist, by number."""
        possible = [film_id for film_id in film_ids if film_id <= _MAX_NUMBER]
        rows = await self._read.all(FILMS_BY_NUMBER, {"film_ids": possible})
        return {row.film_id: film_of(row) for row in rows}

    async def list_films(
        self,
        page: PageRequest,
        where: Filter | None,
        order: Sequence[OrderTerm],
        *,
        full: bool,
    ) -> Page[Film]:
        """Return a page of the films that meet the filter, in the order and then by number."""
        ordering = film_order(order)
        if where is None and not order and not page.skip:
            after = page.after[0] if page.after else 0
            rows = await self._read.all(FIRST_FILMS[full], {"after": after, "limit": page.size + 1})
            return cut_page([film_of(row) for row in rows], page, ordering.key)
        statement = named("films.list", select_films(full=full).order_by(*ordering.clauses()))
        if where is not None:
            statement = statement.where(compile_filter(where, self._columns))
        if page.after:
            statement = statement.where(ordering.after(page.after))
        rows = await self._read.all(statement.limit(page.size + 1).offset(page.skip or None))
        return cut_page([film_of(row) for row in rows], page, ordering.key)

    async def count_films(self, where: Filter | None) -> int:
        """Return how many films meet the filter."""
        statement = COUNT_FILMS
        if where is not None:
            statement = statement.where(compile_filter(where, self._columns))
        row = await self._read.first(statement)
        return int(row[0]) if row is not None else 0

    async def search_films(
        self, terms: Sequence[str], page: PageRequest, where: Filter | None, *, full: bool
    ) -> Page[FilmMatch]:
        """Return films with any of the terms: score descending, title, number."""
        statement = self._search[full]
        if where is not None:
            statement = statement.where(compile_filter(where, self._columns))
        # No film has more points than every term in its title gives: the first page is the
        # page after a row that could not be.
        after: Key = page.after or (_POINTS_PER_TERM * len(terms) + 1, "", 0)
        points, title, number = after
        rows = await self._read.all(
            statement,
            {
                "terms": list(terms),
                "after_points": points,
                "after_title": title,
                "after_number": number,
                "limit": page.size + 1,
            },
        )
        most = _POINTS_PER_TERM * len(terms)
        matches = [(row[-1], FilmMatch(film_of(row), row[-1] / most)) for row in rows]
        found = cut_page(
            matches, page, lambda match: (match[0], match[1].film.title, match[1].film.film_id)
        )
        return Page([match for _, match in found.rows], found.next_after)

    async def list_categories(self, page: PageRequest) -> Page[Category]:
        """Return categories by number."""
        return await self._taxonomy.list_categories(page, None, ())

    async def names(self) -> CatalogueNames:
        """Return every title, actor, category and language."""
        found: dict[str, list[Label]] = {"title": [], "actor": [], "category": [], "language": []}
        rows: Sequence[Sequence[Any]] = await self._read.all(_NAMES)
        for kind, number, name in rows:
            found[kind].append(Label(number, name))
        return CatalogueNames(
            titles=tuple(found["title"]),
            actors=tuple(found["actor"]),
            categories=tuple(found["category"]),
            languages=tuple(found["language"]),
        )


def _search(database: Database, *, full: bool) -> Select[Any]:
    hits = (
        text(SEARCH_HITS["sqlite" if database.is_sqlite else "postgresql"])
        .bindparams(bindparam("terms", type_=TextList))
        .columns(column("film_id", Integer), column("term"), column("weight", Integer))
        .subquery("hits")
    )
    scored = (
        select(hits.c.film_id, func.sum(hits.c.weight).label("points"))
        .group_by(hits.c.film_id)
        .subquery("scored")
    )
    title = by_bytes(_FILM.title)
    points, after_points = scored.c.points, bindparam("after_points", type_=Integer)
    after_title = bindparam("after_title", type_=_FILM.title.type)
    behind = (points < after_points) | (
        (points == after_points)
        & (
            (title > after_title)
            | ((title == after_title) & (_FILM.film_id > bindparam("after_number")))
        )
    )
    return named(
        "films.search",
        select_films(full=full, extra=[points.label("points")])
        .join(scored, scored.c.film_id == _FILM.film_id)
        .where(behind)
        .order_by(points.desc(), title, _FILM.film_id)
        .limit(bindparam("limit")),
    )
