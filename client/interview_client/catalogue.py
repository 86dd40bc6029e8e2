"""The film catalogue: films, categories, actors, languages."""
# ruff: noqa: ASYNC109  # a timeout here is the call's deadline, which the server is told

from collections.abc import Sequence

from .calls import Calls
from .generated.interview.catalogue.v1 import (
    Actor,
    BatchGetFilmsRequest,
    Category,
    Film,
    FilmMatch,
    FilmView,
    GetActorRequest,
    GetCategoryRequest,
    GetFilmRequest,
    GetLanguageRequest,
    Language,
    ListActorsRequest,
    ListCategoriesRequest,
    ListFilmsRequest,
    ListLanguagesRequest,
    SearchFilmsRequest,
)
from .generated.interview.catalogue.v1.catalogue_service_stub import CatalogueServiceStub
from .generated.methods import CatalogueService as Methods
from .names import Name, resource_name
from .paging import Page, PageIterator


class Catalogue:
    """Calls of the catalogue. Each raises InterviewError; `timeout` is in seconds.

    A page has at most `page_size` items (0: the server's default), which bounds the answer's
    size, not how many items an iteration yields.
    """

    def __init__(self, calls: Calls) -> None:
        stub = CatalogueServiceStub(calls.channel)
        self._get_film = calls.unary(stub.get_film, Methods.GET_FILM)
        self._batch_get_films = calls.unary(stub.batch_get_films, Methods.BATCH_GET_FILMS)
        self._list_films = calls.unary(stub.list_films, Methods.LIST_FILMS)
        self._search_films = calls.unary(stub.search_films, Methods.SEARCH_FILMS)
        self._get_category = calls.unary(stub.get_category, Methods.GET_CATEGORY)
        self._list_categories = calls.unary(stub.list_categories, Methods.LIST_CATEGORIES)
        self._get_actor = calls.unary(stub.get_actor, Methods.GET_ACTOR)
        self._list_actors = calls.unary(stub.list_actors, Methods.LIST_ACTORS)
        self._get_language = calls.unary(stub.get_language, Methods.GET_LANGUAGE)
        self._list_languages = calls.unary(stub.list_languages, Methods.LIST_LANGUAGES)

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
        films: Sequence[Name],
        *,
        view: FilmView = FilmView.UNSPECIFIED,
        timeout: float | None = None,
    ) -> list[Film]:
        """Return 1 to 1 000 films in the order of their names. Raises NotFound if one is not."""
        names = [resource_name("films", film) for film in films]
        response = await self._batch_get_films(
            BatchGetFilmsRequest(names=names, view=view), timeout
        )
        return response.films

    def list_films(  # the fields of the request, by keyword
        self,
        *,
        filter: str = "",  # noqa: A002  # the field's name in the API
        order_by: str = "",
        page_size: int = 0,
        page_token: str = "",
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
        timeout: float | None = None,
    ) -> PageIterator[FilmMatch]:
        """Return films with the query's words, best match first; `timeout` is for each page."""

        async def fetch(token: str) -> Page[FilmMatch]:
            request = SearchFilmsRequest(
                query=query, filter=filter, page_size=page_size, page_token=token, view=view
            )
            response = await self._search_films(request, timeout)
            return Page(response.matches, response.next_page_token)

        return PageIterator(fetch, page_token)

    async def get_category(self, category: Name, *, timeout: float | None = None) -> Category:
        """Return one category. Raises NotFound."""
        request = GetCategoryRequest(name=resource_name("categories", category))
        return await self._get_category(request, timeout)

    def list_categories(
        self,
        *,
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> PageIterator[Category]:
        """Return the categories; `timeout` is for each page."""

        async def fetch(token: str) -> Page[Category]:
            request = ListCategoriesRequest(page_size=page_size, page_token=token)
            response = await self._list_categories(request, timeout)
            return Page(response.categories, response.next_page_token)

        return PageIterator(fetch, page_token)

    async def get_actor(self, actor: Name, *, timeout: float | None = None) -> Actor:
        """Return one actor. Raises NotFound."""
        return await self._get_actor(GetActorRequest(name=resource_name("actors", actor)), timeout)

    def list_actors(
        self,
        *,
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> PageIterator[Actor]:
        """Return the actors; `timeout` is for each page."""

        async def fetch(token: str) -> Page[Actor]:
            request = ListActorsRequest(page_size=page_size, page_token=token)
            response = await self._list_actors(request, timeout)
            return Page(response.actors, response.next_page_token)

        return PageIterator(fetch, page_token)

    async def get_language(self, language: Name, *, timeout: float | None = None) -> Language:
        """Return one language. Raises NotFound."""
        request = GetLanguageRequest(name=resource_name("languages", language))
        return await self._get_language(request, timeout)

    def list_languages(
        self, *, page_size: int = 0, page_token: str = "", timeout: float | None = None
    ) -> PageIterator[Language]:
        """Return the languages; `timeout` is for each page."""

        async def fetch(token: str) -> Page[Language]:
            request = ListLanguagesRequest(page_size=page_size, page_token=token)
            response = await self._list_languages(request, timeout)
            return Page(response.languages, response.next_page_token)

        return PageIterator(fetch, page_token)
