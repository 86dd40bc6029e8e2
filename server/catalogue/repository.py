"""The catalogue in SQL: one statement and one round trip for each read."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    Integer,
    Row,
    Select,
    bindparam,
    column,
    func,
    literal,
    select,
    text,
    union_all,
)

from server.catalogue.domain import (
    Actor,
    CatalogueNames,
    Category,
    Film,
    FilmMatch,
    Label,
    Language,
)
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
from server.catalogue.models import FilmActor, FilmCategory
from server.catalogue.models import Language as LanguageRow
from server.core.paging import Key, Page, PageRequest, cut_page
from server.database.dialect import SEARCH_HITS
from server.database.engine import Database
from server.database.names import named
from server.database.types import TextList
from server.query.filter_sql import by_bytes, compile_filter
from server.query.filter_types import Filter, OrderTerm

T = TypeVar("T")

_FILM = FilmRow.__table__.c
_MAX_NUMBER = 2**31 - 1
"""Row numbers are 32-bit integers; PostgreSQL refuses a greater parameter."""
_POINTS_PER_TERM = 3
"""What a term in the title counts; one in the description alone counts 2."""

_CATEGORIES = select(
    CategoryRow.category_id.label("number"),
    CategoryRow.name,
    CategoryRow.last_update,
    select(func.count())
    .where(FilmCategory.category_id == CategoryRow.category_id)
    .scalar_subquery()
    .label("film_count"),
)
_ACTORS = select(
    ActorRow.actor_id.label("number"),
    ActorRow.first_name,
    ActorRow.last_name,
    ActorRow.last_update,
    select(func.count())
    .where(FilmActor.actor_id == ActorRow.actor_id)
    .scalar_subquery()
    .label("film_count"),
)
_LANGUAGES = select(
    LanguageRow.language_id.label("number"),
    func.rtrim(LanguageRow.name).label("name"),
    LanguageRow.last_update,
)


def _page_of(name: str, statement: Select[Any], number: Any) -> Select[Any]:
    page = statement.where(number > bindparam("after")).order_by(number).limit(bindparam("limit"))
    return named(name, page)


def _one_of(name: str, statement: Select[Any], number: Any) -> Select[Any]:
    return named(name, statement.where(number == bindparam("number")))


_LIST_CATEGORIES = _page_of("categories.list", _CATEGORIES, CategoryRow.category_id)
_ONE_CATEGORY = _one_of("categories.get", _CATEGORIES, CategoryRow.category_id)
_LIST_ACTORS = _page_of("actors.list", _ACTORS, ActorRow.actor_id)
_ONE_ACTOR = _one_of("actors.get", _ACTORS, ActorRow.actor_id)
_LIST_LANGUAGES = _page_of("languages.list", _LANGUAGES, LanguageRow.language_id)
_ONE_LANGUAGE = _one_of("languages.get", _LANGUAGES, LanguageRow.language_id)

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
        return await self._list(_LIST_CATEGORIES, page, _category)

    async def category(self, category_id: int) -> Category | None:
        """Return one category."""
        return await self._one(_ONE_CATEGORY, category_id, _category)

    async def list_actors(self, page: PageRequest) -> Page[Actor]:
        """Return actors by number."""
        return await self._list(_LIST_ACTORS, page, _actor)

    async def actor(self, actor_id: int) -> Actor | None:
        """Return one actor."""
        return await self._one(_ONE_ACTOR, actor_id, _actor)

    async def list_languages(self, page: PageRequest) -> Page[Language]:
        """Return languages by number."""
        return await self._list(_LIST_LANGUAGES, page, _language)

    async def language(self, language_id: int) -> Language | None:
        """Return one language."""
        return await self._one(_ONE_LANGUAGE, language_id, _language)

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

    async def _list(
        self, statement: Select[Any], page: PageRequest, read: Callable[[Row[Any]], T]
    ) -> Page[T]:
        after = page.after[0] if page.after else -1
        rows = await self._read.all(statement, {"after": after, "limit": page.size + 1})
        found = cut_page(rows, page, lambda row: (row.number,))
        return Page([read(row) for row in found.rows], found.next_after)

    async def _one(
        self, statement: Select[Any], number: int, read: Callable[[Row[Any]], T]
    ) -> T | None:
        if number > _MAX_NUMBER:
            return None
        row = await self._read.first(statement, {"number": number})
        return None if row is None else read(row)


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


def _category(row: Row[Any]) -> Category:
    return Category(row.number, row.name, row.film_count, row.last_update)


def _actor(row: Row[Any]) -> Actor:
    return Actor(row.number, row.first_name, row.last_name, row.film_count, row.last_update)


def _language(row: Row[Any]) -> Language:
    return Language(row.number, row.name, row.last_update)
