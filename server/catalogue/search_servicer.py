"""interview.catalogue.v1.CatalogueService.SearchFilms: map in, search, map out."""

from server.catalogue.film_search import FilmSearch, Ranking
from server.catalogue.requests import SearchFilms
from server.catalogue.search_mapping import matches_response
from server.generated.interview.catalogue.v1 import film_pb2, resources_pb2
from server.query.requests import arguments_of
from server.rpc.call import Call
from server.rpc.page_token import PageTokens
from server.rpc.validation import validated

_RANKINGS = {
    film_pb2.SEARCH_RANKING_UNSPECIFIED: Ranking.TEXT,
    film_pb2.SEARCH_RANKING_TEXT: Ranking.TEXT,
    film_pb2.SEARCH_RANKING_TEXT_AND_MEANING: Ranking.TEXT_AND_MEANING,
}


class SearchMethods:
    """The method of CatalogueService that searches films."""

    def __init__(self, search: FilmSearch, page_tokens: PageTokens) -> None:
        self._search = search
        self._page_tokens = page_tokens

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
                "ranking": request.ranking,
            },
        )
        arguments = arguments_of(request)
        page = self._page_tokens.page(
            call.method, arguments, command.page_token, size=command.page_size
        )
        found = await self._search.search_films(
            request.query,
            page,
            where=request.filter,
            ranking=_RANKINGS[request.ranking],
        )
        token = self._page_tokens.seal(call.method, arguments, found.next_after, page.time)
        full = request.view == resources_pb2.FILM_VIEW_FULL
        return matches_response(found.rows, token, full=full)
