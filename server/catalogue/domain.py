"""The film catalogue: its things, and what can be asked of it.

Row numbers are Pagila's; `films/17` on the wire is `film_id` 17 here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from server.catalogue.film_filter import film_filter
from server.catalogue.search import search_terms
from server.core.clock import Clock
from server.core.errors import FieldViolation, ResourceNotFound, ValidationFailed
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
class FilmMatch:
    """A film that a search found.

    `score` is above 0 and at most 1: the mean over the query's words of 1 for a word in the
    title, 2/3 for one in the description alone, 0 for a word that is in neither.
    """

    film: Film
    score: float


@dataclass(frozen=True, slots=True)
class CatalogueNames:
    """Every name a question may mention, for recognising them in free text."""

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
    ) -> Page[Film]:
        """Return a page of the films that meet the filter, in the order and then by number.

        Without `full`, description and actors are left empty.
        """
        ...

    async def count_films(self, where: Filter | None) -> int:
        """Return how many films meet the filter."""
        ...

    async def search_films(
        self, terms: Sequence[str], page: PageRequest, where: Filter | None, *, full: bool
    ) -> Page[FilmMatch]:
        """Return films with any of the terms: score descending, title, number."""
        ...

    async def list_categories(self, page: PageRequest) -> Page[Category]:
        """Return categories by number."""
        ...

    async def names(self) -> CatalogueNames:
        """Return every title, actor, category and language."""
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
    ) -> Page[Film]:
        """Return a page of the films that meet a filter (AIP-160) in an order (AIP-132).

        Without `full`, description and actors are left empty.

        Raises:
            DomainError: FILTER_* or ORDER_BY_INVALID, with the position and what is allowed.
        """
        condition = film_filter(where, self._fields, self._clock())
        order = parse_order_by(order_by, self._fields)
        found = await self._repository.list_films(page, condition, order, full=full)
        if not count:
            return found
        return replace(found, total_size=await self._repository.count_films(condition))

    async def search_films(
        self, query: str, page: PageRequest, *, where: str = "", full: bool = True
    ) -> Page[FilmMatch]:
        """Return films whose title or description has any of the query's words, best first.

        Raises:
            ValidationFailed: the query holds no word at all.
        """
        terms = search_terms(query)
        if not terms:
            raise ValidationFailed([FieldViolation("query", "must hold at least one word")])
        condition = film_filter(where, self._fields, self._clock())
        return await self._repository.search_films(terms, page, condition, full=full)

    async def list_categories(self, page: PageRequest) -> Page[Category]:
        """Return categories by number."""
        return await self._repository.list_categories(page)

    async def names(self) -> CatalogueNames:
        """Return every name that a question may mention."""
        return await self._repository.names()
