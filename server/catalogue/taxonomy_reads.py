"""Categories, actors and languages in the database: one statement for each read."""

from collections.abc import Sequence
from typing import Final, TypeVar

from server.catalogue.domain import Actor, Category, Language
from server.catalogue.taxonomy_statements import ACTORS, CATEGORIES, LANGUAGES, Listing
from server.core.paging import Page, PageRequest, cut_page
from server.database.engine import Database
from server.query.filter_sql import compile_filter
from server.query.filter_types import Filter, OrderTerm

T = TypeVar("T")

_MAX_NUMBER: Final = 2**31 - 1
"""Row numbers are 32-bit integers; PostgreSQL refuses a greater parameter."""


class TaxonomyRows:
    """Reads the taxonomy. Implements TaxonomyRepository; nothing is cached."""

    def __init__(self, database: Database) -> None:
        self._read = database.read

    async def list_categories(
        self, page: PageRequest, where: Filter | None, order: Sequence[OrderTerm]
    ) -> Page[Category]:
        """Return a page of the categories that meet the filter, in the order and by number."""
        return await self._list(CATEGORIES, page, where, order)

    async def category(self, category_id: int) -> Category | None:
        """Return one category."""
        return await self._one(CATEGORIES, category_id)

    async def list_actors(
        self, page: PageRequest, where: Filter | None, order: Sequence[OrderTerm]
    ) -> Page[Actor]:
        """Return a page of the actors that meet the filter, in the order and by number."""
        return await self._list(ACTORS, page, where, order)

    async def actor(self, actor_id: int) -> Actor | None:
        """Return one actor."""
        return await self._one(ACTORS, actor_id)

    async def list_languages(self, page: PageRequest) -> Page[Language]:
        """Return languages by number."""
        return await self._list(LANGUAGES, page, None, ())

    async def language(self, language_id: int) -> Language | None:
        """Return one language."""
        return await self._one(LANGUAGES, language_id)

    async def _list(
        self,
        listing: Listing[T],
        page: PageRequest,
        where: Filter | None,
        order: Sequence[OrderTerm],
    ) -> Page[T]:
        ordering = listing.ordered(order)
        limit = page.size + 1
        if where is None and not order:
            # A statement that is always the same is compiled and prepared once.
            after = page.after[0] if page.after else 0
            rows = await self._read.all(listing.first, {"after": after, "limit": limit})
            return cut_page([listing.read(row) for row in rows], page, ordering.key)
        statement = listing.statement.order_by(*ordering.clauses())
        if where is not None:
            statement = statement.where(compile_filter(where, listing.columns))
        if page.after:
            statement = statement.where(ordering.after(page.after))
        rows = await self._read.all(statement.limit(limit))
        return cut_page([listing.read(row) for row in rows], page, ordering.key)

    async def _one(self, listing: Listing[T], number: int) -> T | None:
        if number > _MAX_NUMBER:
            return None
        row = await self._read.first(listing.one, {"number": number})
        return None if row is None else listing.read(row)
