"""Categories, actors and languages."""
# ruff: noqa: ASYNC109  # a timeout here is the call's deadline, which the server is told

from .calls import Calls
from .catalogue_calls import CatalogueCalls
from .generated.interview.catalogue.v1 import (
    Actor,
    Category,
    GetActorRequest,
    GetCategoryRequest,
    GetLanguageRequest,
    Language,
    ListActorsRequest,
    ListCategoriesRequest,
    ListLanguagesRequest,
)
from .generated.methods import CatalogueService as Methods
from .names import Name, resource_name
from .paging import Page, PageIterator


class Taxonomy(CatalogueCalls):
    """Reads categories, actors and languages."""

    def __init__(self, calls: Calls) -> None:
        super().__init__(calls)
        stub = self._stub
        self._get_category = calls.unary(stub.get_category, Methods.GET_CATEGORY)
        self._list_categories = calls.unary(stub.list_categories, Methods.LIST_CATEGORIES)
        self._get_actor = calls.unary(stub.get_actor, Methods.GET_ACTOR)
        self._list_actors = calls.unary(stub.list_actors, Methods.LIST_ACTORS)
        self._get_language = calls.unary(stub.get_language, Methods.GET_LANGUAGE)
        self._list_languages = calls.unary(stub.list_languages, Methods.LIST_LANGUAGES)

    async def get_category(self, category: Name, *, timeout: float | None = None) -> Category:
        """Return one category. Raises NotFound."""
        request = GetCategoryRequest(name=resource_name("categories", category))
        return await self._get_category(request, timeout)

    def list_categories(
        self,
        *,
        filter: str = "",  # noqa: A002  # the field's name in the API
        order_by: str = "",
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> PageIterator[Category]:
        """Return the categories that meet the filter, in order; `timeout` is for each page."""

        async def fetch(token: str) -> Page[Category]:
            request = ListCategoriesRequest(
                page_size=page_size, page_token=token, filter=filter, order_by=order_by
            )
            response = await self._list_categories(request, timeout)
            return Page(response.categories, response.next_page_token)

        return PageIterator(fetch, page_token)

    async def get_actor(self, actor: Name, *, timeout: float | None = None) -> Actor:
        """Return one actor. Raises NotFound."""
        return await self._get_actor(GetActorRequest(name=resource_name("actors", actor)), timeout)

    def list_actors(
        self,
        *,
        filter: str = "",  # noqa: A002  # the field's name in the API
        order_by: str = "",
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> PageIterator[Actor]:
        """Return the actors that meet the filter, in order; `timeout` is for each page."""

        async def fetch(token: str) -> Page[Actor]:
            request = ListActorsRequest(
                page_size=page_size, page_token=token, filter=filter, order_by=order_by
            )
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
