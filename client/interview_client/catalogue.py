"""The film catalogue: reading films, and all of its parts together."""
# ruff: noqa: ASYNC109  # a timeout here is the call's deadline, which the server is told

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from itertools import islice

from .calls import Calls
from .catalogue_calls import CatalogueCalls
from .film_changes import FilmChanges
from .film_export import FilmExports
from .film_import import FilmImports
from .generated.interview.catalogue.v1 import (
    BatchGetFilmsRequest,
    Film,
    FilmMatch,
    FilmView,
    GetFilmRequest,
    ListFilmsRequest,
    SearchFilmsRequest,
    SearchRanking,
)
from .generated.methods import CatalogueService as Methods
from .names import Name, resource_name
from .paging import Page, PageIterator
from .taxonomy import Taxonomy
from .taxonomy_changes import TaxonomyChanges
from .watch import Changes

BATCH = 1000
"""Most films that the server answers in one call."""
AHEAD = 4
"""How many such calls are made at a time."""


class Films(CatalogueCalls):
    """Reads films."""

    def __init__(self, calls: Calls) -> None:
        super().__init__(calls)
        stub = self._stub
        self._get_film = calls.unary(stub.get_film, Methods.GET_FILM)
        self._batch_get_films = calls.unary(stub.batch_get_films, Methods.BATCH_GET_FILMS)
        self._list_films = calls.unary(stub.list_films, Methods.LIST_FILMS)
        self._search_films = calls.unary(stub.search_films, Methods.SEARCH_FILMS)

    async def get_film(
        self,
        film: Name,
        *,
        view: FilmView = FilmView.UNSPECIFIED,
        if_none_match: str = "",
        timeout: float | None = None,
    ) -> Film:
        """Return one film. Raises NotFound.

        With the etag of a film that has not changed as `if_none_match`, only its name and etag
        are set.
        """
        name = resource_name("films", film)
        request = GetFilmRequest(name=name, view=view, if_none_match=if_none_match)
        return await self._get_film(request, timeout)

    async def batch_get_films(
        self,
        films: Iterable[Name],
        *,
        view: FilmView = FilmView.UNSPECIFIED,
        timeout: float | None = None,
    ) -> list[Film]:
        """Return any number of films in the order of their names. Raises NotFound if one is not.

        Calls are for 1 000 films each; `timeout` is for each of them.
        """
        return [film async for film in self.get_films(films, view=view, timeout=timeout)]

    async def get_films(
        self,
        films: Iterable[Name],
        *,
        view: FilmView = FilmView.UNSPECIFIED,
        timeout: float | None = None,
    ) -> AsyncGenerator[Film, None]:
        """Yield any number of films in the order of their names, as they arrive.

        At most 4 000 are asked for ahead of what was yielded. Raises NotFound.
        """
        names = iter([resource_name("films", film) for film in films])
        calls: deque[asyncio.Task[list[Film]]] = deque()

        def ask() -> None:
            if chunk := list(islice(names, BATCH)):
                calls.append(asyncio.create_task(self._get_chunk(chunk, view, timeout)))

        try:
            for _ in range(AHEAD):
                ask()
            while calls:
                found = await calls[0]
                calls.popleft()
                ask()
                for film in found:
                    yield film
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    async def _get_chunk(
        self, names: list[str], view: FilmView, timeout: float | None
    ) -> list[Film]:
        request = BatchGetFilmsRequest(names=names, view=view)
        return (await self._batch_get_films(request, timeout)).films

    def list_films(  # noqa: PLR0913  # the fields of the request, by keyword
        self,
        *,
        filter: str = "",  # noqa: A002  # the field's name in the API
        order_by: str = "",
        page_size: int = 0,
        page_token: str = "",
        show_deleted: bool = False,
        view: FilmView = FilmView.UNSPECIFIED,
        skip: int = 0,
        return_total_size: bool = False,
        timeout: float | None = None,
    ) -> PageIterator[Film]:
        """Return the films that meet the filter, in order; `timeout` is for each page."""

        async def fetch(token: str) -> Page[Film]:
            request = ListFilmsRequest(
                page_size=page_size,
                page_token=token,
                filter=filter,
                order_by=order_by,
                show_deleted=show_deleted,
                view=view,
                skip=skip,
                return_total_size=return_total_size,
            )
            response = await self._list_films(request, timeout)
            total = response.total_size if return_total_size else None
            return Page(response.films, response.next_page_token, total)

        return PageIterator(fetch, page_token)

    def search_films(
        self,
        query: str,
        *,
        filter: str = "",  # noqa: A002  # the field's name in the API
        page_size: int = 0,
        page_token: str = "",
        view: FilmView = FilmView.UNSPECIFIED,
        ranking: SearchRanking = SearchRanking.UNSPECIFIED,
        timeout: float | None = None,
    ) -> PageIterator[FilmMatch]:
        """Return films with the query's words, best match first; `timeout` is for each page.

        Raises RankingUnavailable where the server cannot rank like that.
        """

        async def fetch(token: str) -> Page[FilmMatch]:
            request = SearchFilmsRequest(
                query=query,
                filter=filter,
                page_size=page_size,
                page_token=token,
                view=view,
                ranking=ranking,
            )
            response = await self._search_films(request, timeout)
            return Page(response.matches, response.next_page_token)

        return PageIterator(fetch, page_token)


class Catalogue(Films, FilmChanges, FilmExports, FilmImports, Taxonomy, TaxonomyChanges, Changes):
    """Calls of the catalogue. Each raises InterviewError; `timeout` is in seconds.

    Things are named by number or by resource name: 17 and "films/17" are the same film. A page
    has at most `page_size` items (0: the server's default), which bounds the answer's size, not
    how many items an iteration yields.
    """
