"""interview.catalogue.v1.CatalogueService: map in, ask the catalogue, map out."""

from collections.abc import Mapping

from server.catalogue.domain import Catalogue
from server.catalogue.etags import film_etag
from server.catalogue.mapping import (
    actor_message,
    category_message,
    fill_film,
    film_message,
    films_response,
    language_message,
    matches_response,
    number_of,
)
from server.catalogue.requests import (
    BatchGetFilms,
    GetActor,
    GetCategory,
    GetFilm,
    GetLanguage,
    ListFilms,
    SearchFilms,
)
from server.core.paging import Key, PageRequest
from server.generated.interview.catalogue.v1 import film_pb2, resources_pb2, taxonomy_pb2
from server.query.requests import ListRows, arguments_of
from server.rpc.call import Call
from server.rpc.page_token import PageTokens
from server.rpc.validation import validated

ListRequest = (
    taxonomy_pb2.ListCategoriesRequest
    | taxonomy_pb2.ListActorsRequest
    | taxonomy_pb2.ListLanguagesRequest
)
BASIC = resources_pb2.FILM_VIEW_BASIC
FULL = resources_pb2.FILM_VIEW_FULL


class ReadMethods:
    """The methods of CatalogueService that answer films, categories, actors and languages."""

    def __init__(self, catalogue: Catalogue, page_tokens: PageTokens) -> None:
        self._catalogue = catalogue
        self._page_tokens = page_tokens

    async def GetFilm(self, request: film_pb2.GetFilmRequest, call: Call) -> resources_pb2.Film:
        """Answer one film, or only its name and etag where the client has that state."""
        validated(GetFilm, {"name": request.name, "view": request.view})
        film = await self._catalogue.get_film(number_of(request.name, "films") or 0)
        if request.if_none_match and request.if_none_match == film_etag(film):
            return resources_pb2.Film(name=request.name, etag=request.if_none_match)
        return film_message(film, full=request.view != BASIC)

    async def BatchGetFilms(
        self, request: film_pb2.BatchGetFilmsRequest, call: Call
    ) -> film_pb2.BatchGetFilmsResponse:
        """Answer films in the order asked, all or none."""
        validated(BatchGetFilms, {"names": list(request.names), "view": request.view})
        films = await self._catalogue.batch_get_films(
            [number_of(name, "films") or 0 for name in request.names]
        )
        full = request.view != BASIC
        answer = film_pb2.BatchGetFilmsResponse()
        for film in films:
            fill_film(answer.films.add(), film, full=full)
        return answer

    async def ListFilms(
        self, request: film_pb2.ListFilmsRequest, call: Call
    ) -> film_pb2.ListFilmsResponse:
        """Answer a page of films."""
        command = validated(
            ListFilms,
            {
                "page_size": request.page_size,
                "page_token": request.page_token,
                "filter": request.filter,
                "order_by": request.order_by,
                "view": request.view,
                "skip": request.skip,
            },
        )
        arguments = arguments_of(request)
        page = self._page(call, arguments, command, skip=request.skip)
        full = request.view == FULL
        found = await self._catalogue.list_films(
            page,
            where=request.filter,
            order_by=request.order_by,
            full=full,
            count=request.return_total_size,
        )
        token = self._page_tokens.seal(call.method, arguments, found.next_after)
        return films_response(found.rows, token, found.total_size or 0, full=full)

    async def SearchFilms(
        self, request: film_pb2.SearchFilmsRequest, call: Call
    ) -> film_pb2.SearchFilmsResponse:
        """Answer films by words, best first."""
        command = validated(
            SearchFilms,
            {
                "query": request.query,
                "page_size": request.page_size,
                "page_token": request.page_token,
                "filter": request.filter,
                "view": request.view,
            },
        )
        arguments = arguments_of(request)
        full = request.view == FULL
        found = await self._catalogue.search_films(
            request.query, self._page(call, arguments, command), where=request.filter, full=full
        )
        token = self._page_tokens.seal(call.method, arguments, found.next_after)
        return matches_response(found.rows, token, full=full)

    async def GetCategory(
        self, request: taxonomy_pb2.GetCategoryRequest, call: Call
    ) -> resources_pb2.Category:
        """Answer one category."""
        validated(GetCategory, {"name": request.name})
        number = number_of(request.name, "categories") or 0
        return category_message(await self._catalogue.get_category(number))

    async def ListCategories(
        self, request: taxonomy_pb2.ListCategoriesRequest, call: Call
    ) -> taxonomy_pb2.ListCategoriesResponse:
        """Answer a page of categories."""
        found = await self._catalogue.list_categories(self._rows(call, request))
        return taxonomy_pb2.ListCategoriesResponse(
            categories=[category_message(category) for category in found.rows],
            next_page_token=self._page_tokens.seal(call.method, {}, found.next_after),
        )

    async def GetActor(
        self, request: taxonomy_pb2.GetActorRequest, call: Call
    ) -> resources_pb2.Actor:
        """Answer one actor."""
        validated(GetActor, {"name": request.name})
        number = number_of(request.name, "actors") or 0
        return actor_message(await self._catalogue.get_actor(number))

    async def ListActors(
        self, request: taxonomy_pb2.ListActorsRequest, call: Call
    ) -> taxonomy_pb2.ListActorsResponse:
        """Answer a page of actors."""
        found = await self._catalogue.list_actors(self._rows(call, request))
        return taxonomy_pb2.ListActorsResponse(
            actors=[actor_message(actor) for actor in found.rows],
            next_page_token=self._page_tokens.seal(call.method, {}, found.next_after),
        )

    async def GetLanguage(
        self, request: taxonomy_pb2.GetLanguageRequest, call: Call
    ) -> resources_pb2.Language:
        """Answer one language."""
        validated(GetLanguage, {"name": request.name})
        number = number_of(request.name, "languages") or 0
        return language_message(await self._catalogue.get_language(number))

    async def ListLanguages(
        self, request: taxonomy_pb2.ListLanguagesRequest, call: Call
    ) -> taxonomy_pb2.ListLanguagesResponse:
        """Answer a page of languages."""
        found = await self._catalogue.list_languages(self._rows(call, request))
        return taxonomy_pb2.ListLanguagesResponse(
            languages=[language_message(language) for language in found.rows],
            next_page_token=self._page_tokens.seal(call.method, {}, found.next_after),
        )

    def _rows(self, call: Call, request: ListRequest) -> PageRequest:
        command = validated(
            ListRows, {"page_size": request.page_size, "page_token": request.page_token}
        )
        return self._page(call, {}, command)

    def _page(
        self, call: Call, arguments: Mapping[str, object], command: ListRows, *, skip: int = 0
    ) -> PageRequest:
        """Return the page asked for; `skip` counts from the first page alone."""
        after: Key | None = self._page_tokens.open(call.method, arguments, command.page_token)
        return PageRequest(command.page_size, after, 0 if after else skip)
