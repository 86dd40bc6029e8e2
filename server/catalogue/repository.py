"""The catalogue in SQL: one statement and one round trip for each read."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    func,
    literal,
    select,
    union_all,
)

from server.catalogue.domain import CatalogueNames, Category, Film, Label
from server.catalogue.film_columns import film_columns
from server.catalogue.film_lists import FilmLists, count_statement
from server.catalogue.film_order import film_order
from server.catalogue.film_statements import (
    COUNT_FILMS,
    FILMS_BY_NUMBER,
    FIRST_FILMS,
    HERE,
    film_of,
)
from server.catalogue.models import Actor as ActorRow
from server.catalogue.models import Category as CategoryRow
from server.catalogue.models import Film as FilmRow
from server.catalogue.models import Language as LanguageRow
from server.catalogue.taxonomy_reads import TaxonomyRows
from server.core.paging import Page, PageRequest, cut_page
from server.database.engine import Database
from server.database.names import named
from server.query.filter_sql import compile_filter
from server.query.filter_types import Filter, OrderTerm

_FILM = FilmRow.__table__.c
_MAX_NUMBER = 2**31 - 1
"""Row numbers are 32-bit integers; PostgreSQL refuses a greater parameter."""

MAX_NAMES = 20_000
"""Titles, and names of actors, that can be recognised in free text: the first of so many."""

_NAMES = named(
    "names.list",
    union_all(
        select(
            select(
                literal("title").label("kind"),
                _FILM.film_id.label("number"),
                _FILM.title.label("text"),
            )
            .where(HERE)
            .order_by(_FILM.film_id)
            .limit(MAX_NAMES)
            .subquery("titles")
        ),
        select(
            select(
                literal("actor"), ActorRow.actor_id, ActorRow.first_name + " " + ActorRow.last_name
            )
            .order_by(ActorRow.actor_id)
            .limit(MAX_NAMES)
            .subquery("actors")
        ),
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
        self._lists = FilmLists(is_sqlite=database.is_sqlite)

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
        show_deleted: bool,
    ) -> Page[Film]:
        """Return a page of the films that meet the filter, in the order and then by number."""
        ordering = film_order(order)
        if where is None and not order and not page.skip and not show_deleted:
            after = page.after[0] if page.after else 0
            rows = await self._read.all(FIRST_FILMS[full], {"after": after, "limit": page.size + 1})
        else:
            statement = self._lists.page(
                page, self._condition(where), ordering, full=full, show_deleted=show_deleted
            )
            rows = await self._read.all(statement)
        return cut_page([film_of(row) for row in rows], page, ordering.key)

    async def count_films(self, where: Filter | None, *, show_deleted: bool) -> int:
        """Return how many films meet the filter, at most MAX_COUNT where they must be counted."""
        kept = where is None and not show_deleted
        counted = count_statement(self._condition(where), show_deleted=show_deleted)
        row = await self._read.first(COUNT_FILMS if kept else counted)
        return int(row[0]) if row is not None else 0

    def _condition(self, where: Filter | None) -> ColumnElement[bool] | None:
        return None if where is None else compile_filter(where, self._columns)

    async def list_categories(self, page: PageRequest) -> Page[Category]:
        """Return categories by number."""
        return await self._taxonomy.list_categories(page, None, ())

    async def names(self) -> CatalogueNames:
        """Return titles and actors, MAX_NAMES of each at most, categories and languages."""
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
