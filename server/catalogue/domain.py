"""The film catalogue: its things, and what can be asked of it.

Row numbers are Pagila's; `films/17` on the wire is `film_id` 17 here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from server.catalogue.film_filter import film_filter
from server.core.clock import Clock
from server.core.errors import ResourceNotFound
from server.core.paging import Page, PageRequest
from server.query.filters import Fields, Filter, OrderTerm, parse_order_by

FILM_TYPE = "interview-api/Film"
CATEGORY_TYPE = "interview-api/Category"
ACTOR_TYPE = "interview-api/Actor"
LANGUAGE_TYPE = "interview-api/Language"


@dataclass(frozen=True, slots=True)
class Label:
    """A referenced row with the words a person reads: 3, "Animation"."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Film:
    """A film with its language, categories and actors, each in the order of its text.

    `length` is in minutes, `rental_duration` in days, money in US dollars.
    """

    film_id: int
    title: str
    description: str
    release_year: int | None
    language: Label
    original_language: Label | None
    rental_duration: int
    rental_rate: Decimal
    length: int | None
    replacement_cost: Decimal
    rating: str | None
    special_features: tuple[str, ...]
    streaming_available: bool
    categories: tuple[Label, ...]
    actors: tuple[Label, ...]
    create_time: datetime
    update_time: datetime
    revision: int
    delete_time: datetime | None = None
    purge_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Category:
    """A category and how many films that are not deleted are in it."""

    category_id: int
    name: str
    film_count: int
    update_time: datetime


@dataclass(frozen=True, slots=True)
class Actor:
    """An actor and in how many films that are not deleted they play."""

    actor_id: int
    given_name: str
    family_name: str
    film_count: int
    update_time: datetime


@dataclass(frozen=True, slots=True)
class Language:
    """A language that films are in."""

    language_id: int
    name: str
    update_time: datetime


@dataclass(frozen=True, slots=True)
class CatalogueNames:
    """The names a question may mention, so many of each kind at most, to recognise in free text."""

    titles: tuple[Label, ...]
    actors: tuple[Label, ...]
    categories: tuple[Label, ...]
    languages: tuple[Label, ...]


class CatalogueRepository(Protocol):
    """What the catalogue needs of a database. Each call is one read of its own."""

    async def films_by_number(self, film_ids: Sequence[int]) -> dict[int, Film]:
        """Return the films that exist, by number."""
        ...

    async def list_films(
        self,
        page: PageRequest,
        where: Filter | None,
        order: Sequence[OrderTerm],
        *,
        full: bool,
        show_deleted: bool,
    ) -> Page[Film]:
        """Return a page of the films that meet the filter, in the order and then by number.

        Deleted films are left out unless `show_deleted`. Without `full`, description and actors
        are left empty.
        """
        ...

    async def count_films(self, where: Filter | None, *, show_deleted: bool) -> int:
        """Return how many films meet the filter: if there is one, or they are shown with the
        deleted ones, 100 000 for that many and more."""
        ...

    async def list_categories(self, page: PageRequest) -> Page[Category]:
        """Return categories by number."""
        ...

    async def names(self) -> CatalogueNames:
        """Return titles and actors, so many of each at most, categories and languages."""
        ...


class Catalogue:
    """What a caller, a person's client or an agent's tool, may ask of the catalogue."""

    def __init__(self, repository: CatalogueRepository, fields: Fields, clock: Clock) -> None:
        self._repository = repository
        self._fields = fields
        self._clock = clock

    async def get_film(self, film_id: int) -> Film:
        """Return one film.

        Raises:
            ResourceNotFound: there is no such film.
        """
        films = await self._repository.films_by_number([film_id])
        if film_id not in films:
            raise ResourceNotFound(FILM_TYPE, f"films/{film_id}")
        return films[film_id]

    async def batch_get_films(self, film_ids: Sequence[int]) -> list[Film]:
        """Return the films in the order asked, all or none (AIP-231).

        Raises:
            ResourceNotFound: one of them does not exist; the first missing one is named.
        """
        films = await self._repository.films_by_number(film_ids)
        for film_id in film_ids:
            if film_id not in films:
                raise ResourceNotFound(FILM_TYPE, f"films/{film_id}")
        return [films[film_id] for film_id in film_ids]

    async def list_films(
        self,
        page: PageRequest,
        *,
        where: str = "",
        order_by: str = "",
        full: bool = True,
        count: bool = False,
        show_deleted: bool = False,
    ) -> Page[Film]:
        """Return a page of the films that meet a filter (AIP-160) in an order (AIP-132).

        now() in the filter is the time of the first page. Without `full`, description and
        actors are left empty.

        Raises:
            DomainError: FILTER_* or ORDER_BY_INVALID, with the position and what is allowed.
        """
        condition = film_filter(where, self._fields, page.time or self._clock())
        order = parse_order_by(order_by, self._fields)
        found = await self._repository.list_films(
            page, condition, order, full=full, show_deleted=show_deleted
        )
        if not count:
            return found
        total = await self._repository.count_films(condition, show_deleted=show_deleted)
        return replace(found, total_size=total)

    async def list_categories(self, page: PageRequest) -> Page[Category]:
        """Return categories by number."""
        return await self._repository.list_categories(page)

    async def names(self) -> CatalogueNames:
        """Return the names that a question may mention."""
        return await self._repository.names()
