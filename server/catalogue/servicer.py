"""interview.catalogue.v1.CatalogueService: map in, ask the catalogue, map out."""

from server.catalogue.domain import Catalogue
from server.catalogue.etags import film_etag
from server.catalogue.mapping import (
    fill_film,
    film_message,
    films_response,
    number_of,
)
from server.catalogue.requests import BatchGetFilms, GetFilm, ListFilms
from server.generated.interview.catalogue.v1 import film_pb2, resources_pb2
from server.query.requests import arguments_of
from server.rpc.call import Call
from server.rpc.page_token import PageTokens
from server.rpc.validation import validated

BASIC = resources_pb2.FILM_VIEW_BASIC
FULL = resources_pb2.FILM_VIEW_FULL


class ReadMethods:
    """The methods of CatalogueService that answer films."""

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
        page = self._page_tokens.page(
            call.method, arguments, command.page_token, size=command.page_size, skip=request.skip
        )
        full = request.view == FULL
        found = await self._catalogue.list_films(
            page,
            where=request.filter,
            order_by=request.order_by,
            full=full,
            count=request.return_total_size,
            show_deleted=request.show_deleted,
        )
        token = self._page_tokens.seal(call.method, arguments, found.next_after, page.time)
        return films_response(found.rows, token, found.total_size or 0, full=full)
