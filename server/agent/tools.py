"""Read-only catalogue tools for agents.

What a tool returns goes to a language model: it is data in named fields, small, and free of
anything that a reader of the catalogue may not see.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

import orjson
import structlog
from pydantic import BaseModel

from server.agent.engine import SourceRef, Tool, ToolError, ToolResult
from server.agent.tool_arguments import (
    ORDER_BY,
    GetFilmArguments,
    ListFilmsArguments,
    NoArguments,
    SearchFilmsArguments,
    parameters_schema,
    validated,
)
from server.catalogue.domain import Category, Film, Label
from server.catalogue.film_search import FilmMatch
from server.core.errors import DomainError
from server.core.paging import Page, PageRequest

A = TypeVar("A", bound=BaseModel)

MAX_RESULT_BYTES = 16 * 1024
TOOL_FAILED = "the tool failed; the reason has been logged"

_MAX_DESCRIPTION = 300
_MAX_ACTORS_IN_LIST = 8
_MAX_ACTORS = 60
_MAX_CATEGORIES = 100

log = structlog.get_logger(__name__)


class FilmCatalogue(Protocol):
    """The part of `server.catalogue.domain.Catalogue` that the tools call."""

    async def get_film(self, film_id: int) -> Film:
        """Return one film, or raise ResourceNotFound."""
        ...

    async def list_films(
        self, page: PageRequest, *, where: str = "", order_by: str = "", count: bool = False
    ) -> Page[Film]:
        """Return a page of the films that meet a filter, in an order."""
        ...

    async def list_categories(self, page: PageRequest) -> Page[Category]:
        """Return categories."""
        ...


class FilmSearches(Protocol):
    """The part of `server.catalogue.film_search.FilmSearch` that the tools call."""

    async def search_films(
        self, query: str, page: PageRequest, *, where: str = ""
    ) -> Page[FilmMatch]:
        """Return films that have the query's words, best first."""
        ...


class CatalogueTool(Generic[A]):
    """A tool that checks its arguments and answers in words when something is wrong."""

    permission = "films.read"

    def __init__(
        self,
        name: str,
        description: str,
        arguments: type[A],
        answer: Callable[[A], Awaitable[ToolResult]],
    ) -> None:
        self.name = name
        self.description = description
        self.parameters: Mapping[str, object] = parameters_schema(arguments)
        self._arguments = arguments
        self._answer = answer

    async def __call__(self, arguments: Mapping[str, object]) -> ToolResult:
        """Run, or raise ToolError with a sentence that is safe to show."""
        checked = validated(self._arguments, self.name, arguments)
        try:
            return await self._answer(checked)
        except ToolError:
            raise
        except DomainError as error:
            raise ToolError(error.message) from error
        except Exception as error:
            log.exception("tool_failed", tool=self.name)
            raise ToolError(TOOL_FAILED) from error


def catalogue_tools(catalogue: FilmCatalogue, search: FilmSearches) -> tuple[Tool, ...]:
    """Return the tools over a catalogue."""
    films = _FilmAnswers(catalogue, search)
    return (
        CatalogueTool(
            "search_films",
            "Find films by words of their titles, descriptions, categories and actors, best first.",
            SearchFilmsArguments,
            films.search,
        ),
        CatalogueTool(
            "get_film",
            "Get everything about one film: description, all actors, categories, language.",
            GetFilmArguments,
            films.get,
        ),
        CatalogueTool(
            "list_films",
            "List films that meet conditions, in an order, and say how many there are in all.",
            ListFilmsArguments,
            films.list,
        ),
        CatalogueTool(
            "list_categories",
            "List every category with the number of its films.",
            NoArguments,
            films.categories,
        ),
    )


class _FilmAnswers:
    """What each tool answers."""

    def __init__(self, catalogue: FilmCatalogue, search: FilmSearches) -> None:
        self._catalogue = catalogue
        self._search = search

    async def search(self, asked: SearchFilmsArguments) -> ToolResult:
        page = await self._search.search_films(
            asked.query, PageRequest(size=asked.limit), where=asked.where()
        )
        found = [match.film for match in page.rows]
        return _film_list(found, {"more": page.next_after is not None})

    async def get(self, asked: GetFilmArguments) -> ToolResult:
        film = await self._film(asked.film)
        row = film_row(film, max_actors=_MAX_ACTORS)
        return ToolResult({"film": row}, f"Read {film.title}", (_source(film),))

    async def list(self, asked: ListFilmsArguments) -> ToolResult:
        page = await self._catalogue.list_films(
            PageRequest(size=asked.limit),
            where=asked.where(),
            order_by=ORDER_BY[asked.sort],
            count=True,
        )
        return _film_list(page.rows, {"total": page.total_size or len(page.rows)})

    async def categories(self, _: NoArguments) -> ToolResult:
        page = await self._catalogue.list_categories(PageRequest(size=_MAX_CATEGORIES))
        rows = [
            {"name": f"categories/{row.category_id}", "category": row.name, "films": row.film_count}
            for row in page.rows
        ]
        sources = [SourceRef(f"categories/{row.category_id}", row.name) for row in page.rows]
        return ToolResult({"categories": rows}, f"Found {len(rows)} categories", sources)

    async def _film(self, name: str) -> Film:
        number = name.removeprefix("films/").strip()
        if number.isascii() and number.isdigit() and len(number) <= 9:
            return await self._catalogue.get_film(int(number))
        page = await self._search.search_films(name, PageRequest(size=10))
        titled = [m.film for m in page.rows if m.film.title.casefold() == name.casefold()]
        if titled:
            return titled[0]
        near = ", ".join(f"{m.film.title} (films/{m.film.film_id})" for m in page.rows[:5])
        hint = f"near: {near}" if near else "search_films may find it"
        raise ToolError(f"no film has exactly this title; {hint}")


def film_row(film: Film, max_actors: int) -> dict[str, object]:
    """Return a film as JSON-ready fields; what is not known is left out."""
    row: dict[str, object] = {"name": f"films/{film.film_id}", "title": film.title}
    optional = {
        "year": film.release_year,
        "rating": film.rating and film.rating.replace("_", "-"),
        "minutes": film.length,
    }
    row |= {key: value for key, value in optional.items() if value is not None}
    row["language"] = film.language.text.strip()
    row["categories"] = _texts(film.categories, 8)
    row["actors"] = _texts(film.actors, max_actors)
    if len(film.actors) > max_actors:
        row["more_actors"] = len(film.actors) - max_actors
    if film.description:
        row["description"] = _shortened(film.description)
    return row


def _film_list(films: Sequence[Film], about: Mapping[str, object]) -> ToolResult:
    rows = [film_row(film, max_actors=_MAX_ACTORS_IN_LIST) for film in films]
    data: dict[str, object] = {**about, "films": rows}
    while rows and len(orjson.dumps(data)) > MAX_RESULT_BYTES:
        rows.pop()
        data["more"] = True
    total = about.get("total", len(films))
    summary = f"Found {total} film{'' if total == 1 else 's'}"
    return ToolResult(data, summary, [_source(film) for film in films[: len(rows)]])


def _source(film: Film) -> SourceRef:
    return SourceRef(f"films/{film.film_id}", film.title)


def _texts(labels: Sequence[Label], at_most: int) -> list[str]:
    return [label.text.strip() for label in labels[:at_most]]


def _shortened(text: str) -> str:
    if len(text) <= _MAX_DESCRIPTION:
        return text
    return text[: _MAX_DESCRIPTION - 1].rstrip() + "\u2026"
