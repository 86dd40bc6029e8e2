"""The methods of CatalogueService that answer categories, actors and languages."""

from server.catalogue.mapping import actor_message, category_message, language_message, number_of
from server.catalogue.taxonomy import Taxonomy
from server.catalogue.taxonomy_requests import GetActor, GetCategory, GetLanguage
from server.core.paging import PageRequest
from server.generated.interview.catalogue.v1 import resources_pb2, taxonomy_pb2
from server.query.requests import ListFiltered, ListRows, arguments_of
from server.rpc.call import Call
from server.rpc.page_token import PageTokens
from server.rpc.validation import validated


class TaxonomyMethods:
    """The methods of CatalogueService that answer categories, actors and languages."""

    def __init__(self, taxonomy: Taxonomy, page_tokens: PageTokens) -> None:
        self._taxonomy = taxonomy
        self._page_tokens = page_tokens

    async def GetCategory(
        self, request: taxonomy_pb2.GetCategoryRequest, call: Call
    ) -> resources_pb2.Category:
        """Answer one category."""
        validated(GetCategory, {"name": request.name})
        number = number_of(request.name, "categories") or 0
        return category_message(await self._taxonomy.get_category(number))

    async def ListCategories(
        self, request: taxonomy_pb2.ListCategoriesRequest, call: Call
    ) -> taxonomy_pb2.ListCategoriesResponse:
        """Answer a page of categories."""
        found = await self._taxonomy.list_categories(
            self._filtered(call, request), where=request.filter, order_by=request.order_by
        )
        return taxonomy_pb2.ListCategoriesResponse(
            categories=[category_message(category) for category in found.rows],
            next_page_token=self._page_tokens.seal(
                call.method, arguments_of(request), found.next_after
            ),
        )

    async def GetActor(
        self, request: taxonomy_pb2.GetActorRequest, call: Call
    ) -> resources_pb2.Actor:
        """Answer one actor."""
        validated(GetActor, {"name": request.name})
        number = number_of(request.name, "actors") or 0
        return actor_message(await self._taxonomy.get_actor(number))

    async def ListActors(
        self, request: taxonomy_pb2.ListActorsRequest, call: Call
    ) -> taxonomy_pb2.ListActorsResponse:
        """Answer a page of actors."""
        found = await self._taxonomy.list_actors(
            self._filtered(call, request), where=request.filter, order_by=request.order_by
        )
        return taxonomy_pb2.ListActorsResponse(
            actors=[actor_message(actor) for actor in found.rows],
            next_page_token=self._page_tokens.seal(
                call.method, arguments_of(request), found.next_after
            ),
        )

    async def GetLanguage(
        self, request: taxonomy_pb2.GetLanguageRequest, call: Call
    ) -> resources_pb2.Language:
        """Answer one language."""
        validated(GetLanguage, {"name": request.name})
        number = number_of(request.name, "languages") or 0
        return language_message(await self._taxonomy.get_language(number))

    async def ListLanguages(
        self, request: taxonomy_pb2.ListLanguagesRequest, call: Call
    ) -> taxonomy_pb2.ListLanguagesResponse:
        """Answer a page of languages."""
        command = validated(
            ListRows, {"page_size": request.page_size, "page_token": request.page_token}
        )
        after = self._page_tokens.open(call.method, {}, command.page_token)
        found = await self._taxonomy.list_languages(PageRequest(command.page_size, after))
        return taxonomy_pb2.ListLanguagesResponse(
            languages=[language_message(language) for language in found.rows],
            next_page_token=self._page_tokens.seal(call.method, {}, found.next_after),
        )

    def _filtered(
        self,
        call: Call,
        request: taxonomy_pb2.ListCategoriesRequest | taxonomy_pb2.ListActorsRequest,
    ) -> PageRequest:
        command = validated(
            ListFiltered,
            {
                "page_size": request.page_size,
                "page_token": request.page_token,
                "filter": request.filter,
                "order_by": request.order_by,
            },
        )
        after = self._page_tokens.open(call.method, arguments_of(request), command.page_token)
        return PageRequest(command.page_size, after)
