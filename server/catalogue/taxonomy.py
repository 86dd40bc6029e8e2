"""Categories, actors and languages: what can be asked of them."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from server.catalogue.domain import (
    ACTOR_TYPE,
    CATEGORY_TYPE,
    LANGUAGE_TYPE,
    Actor,
    Category,
    Language,
)
from server.core.errors import ResourceNotFound
from server.core.paging import Page, PageRequest
from server.query.filters import Fields, Filter, OrderTerm, parse_filter, parse_order_by

T = TypeVar("T")


class TaxonomyRepository(Protocol):
    """What the taxonomy needs of a database. Each call is one read of its own."""

    async def list_categories(
        self, page: PageRequest, where: Filter | None, order: Sequence[OrderTerm]
    ) -> Page[Category]:
        """Return a page of the categories that meet the filter, in the order and by number."""
        ...

    async def category(self, category_id: int) -> Category | None:
        """Return one category."""
        ...

    async def list_actors(
        self, page: PageRequest, where: Filter | None, order: Sequence[OrderTerm]
    ) -> Page[Actor]:
        """Return a page of the actors that meet the filter, in the order and by number."""
        ...

    async def actor(self, actor_id: int) -> Actor | None:
        """Return one actor."""
        ...

    async def list_languages(self, page: PageRequest) -> Page[Language]:
        """Return languages by number."""
        ...

    async def language(self, language_id: int) -> Language | None:
        """Return one language."""
        ...


class Taxonomy:
    """What a caller may ask of categories, actors and languages."""

    def __init__(
        self, repository: TaxonomyRepository, category_fields: Fields, actor_fields: Fields
    ) -> None:
        self._repository = repository
        self._category_fields = category_fields
        self._actor_fields = actor_fields

    async def list_categories(
        self, page: PageRequest, *, where: str = "", order_by: str = ""
    ) -> Page[Category]:
        """Return a page of the categories that meet a filter (AIP-160) in an order (AIP-132).

        Raises:
            DomainError: FILTER_* or ORDER_BY_INVALID, with the position and what is allowed.
        """
        fields = self._category_fields
        condition, order = parse_filter(where, fields), parse_order_by(order_by, fields)
        return await self._repository.list_categories(page, condition, order)

    async def get_category(self, category_id: int) -> Category:
        """Return one category, or raise ResourceNotFound."""
        return _found(
            await self._repository.category(category_id), CATEGORY_TYPE, f"categories/{category_id}"
        )

    async def list_actors(
        self, page: PageRequest, *, where: str = "", order_by: str = ""
    ) -> Page[Actor]:
        """Return a page of the actors that meet a filter (AIP-160) in an order (AIP-132).

        Raises:
            DomainError: FILTER_* or ORDER_BY_INVALID, with the position and what is allowed.
        """
        fields = self._actor_fields
        condition, order = parse_filter(where, fields), parse_order_by(order_by, fields)
        return await self._repository.list_actors(page, condition, order)

    async def get_actor(self, actor_id: int) -> Actor:
        """Return one actor, or raise ResourceNotFound."""
        return _found(await self._repository.actor(actor_id), ACTOR_TYPE, f"actors/{actor_id}")

    async def list_languages(self, page: PageRequest) -> Page[Language]:
        """Return languages by number."""
        return await self._repository.list_languages(page)

    async def get_language(self, language_id: int) -> Language:
        """Return one language, or raise ResourceNotFound."""
        return _found(
            await self._repository.language(language_id), LANGUAGE_TYPE, f"languages/{language_id}"
        )


def _found(row: T | None, resource_type: str, name: str) -> T:
    if row is None:
        raise ResourceNotFound(resource_type, name)
    return row
