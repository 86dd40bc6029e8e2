"""CatalogueService through a real server, on both databases."""

from decimal import Decimal
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from server.generated.interview.catalogue.v1 import (
    catalogue_service_pb2_grpc,
    film_changes_pb2,
    film_pb2,
    resources_pb2,
    taxonomy_pb2,
)
from tests.support.running import ADMIN, Running

FULL = resources_pb2.FILM_VIEW_FULL
BASIC = resources_pb2.FILM_VIEW_BASIC
_C = grpc.StatusCode


class Caller:
    """A signed-in viewer."""

    def __init__(self, running: Running, metadata: Any) -> None:
        self.stub = catalogue_service_pb2_grpc.CatalogueServiceStub(running.channel)
        self._metadata = metadata

    async def call(self, method: str, request: Any) -> Any:
        return await getattr(self.stub, method)(request, metadata=self._metadata, timeout=10)

    async def refusal(self, method: str, request: Any) -> tuple[grpc.StatusCode, Any, list[str]]:
        """Return code, ErrorInfo and the fields that were refused."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(method, request)
        trailers = dict(caught.value.trailing_metadata() or ())
        status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        for detail in status.details:
            detail.Unpack(info)
            detail.Unpack(bad)
        return caught.value.code(), info, [violation.field for violation in bad.field_violations]

    async def violations(self, method: str, request: Any) -> dict[str, str]:
        """Return what was refused, by field."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(method, request)
        trailers = dict(caught.value.trailing_metadata() or ())
        status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
        bad = error_details_pb2.BadRequest()
        for detail in status.details:
            detail.Unpack(bad)
        return {found.field: found.description for found in bad.field_violations}

    async def titles(self, **fields: Any) -> list[str]:
        """Return the titles of every page of a list."""
        found: list[str] = []
        token = ""
        while True:
            request = film_pb2.ListFilmsRequest(page_token=token, **fields)
            answer = await self.call("ListFilms", request)
            found += [film.title for film in answer.films]
            token = answer.next_page_token
            if not token:
                return found

    async def found(self, query: str, page_size: int = 50) -> list[tuple[str, float]]:
        """Return titles and scores of every page of a search."""
        found: list[tuple[str, float]] = []
        token = ""
        while True:
            request = film_pb2.SearchFilmsRequest(
                query=query, page_size=page_size, page_token=token
            )
            answer = await self.call("SearchFilms", request)
            found += [(match.film.title, match.score) for match in answer.matches]
            token = answer.next_page_token
            if not token:
                return found


@pytest.fixture
async def viewer(running: Running) -> Caller:
    return Caller(running, await running.sign_in())


@pytest.fixture
async def local(embedded: Running) -> Caller:
    return Caller(embedded, await embedded.sign_in())


async def _named(viewer: Caller, title: str) -> resources_pb2.Film:
    answer = await viewer.call(
        "ListFilms", film_pb2.ListFilmsRequest(filter=f'title = "{title}"', view=FULL)
    )
    assert len(answer.films) == 1
    film: resources_pb2.Film = answer.films[0]
    return film


async def test_a_film_is_whole(viewer: Caller) -> None:
    listed = await _named(viewer, "Jurassic Park")
    film = await viewer.call("GetFilm", film_pb2.GetFilmRequest(name=listed.name))
    assert film == listed
    assert (film.release_year, film.length_minutes) == (1993, 127)
    assert film.rating == resources_pb2.FILM_RATING_PG_13
    assert (film.rental_rate.currency_code, film.rental_rate.units) == ("USD", 4)
    assert Decimal(film.rental_rate.nanos) / 10**9 == Decimal("0.99")
    assert "Sam Neill" in film.labels.actors
    assert film.labels.language == "English"
    assert len(film.actors) == len(film.labels.actors) >= 2
    assert len(film.categories) == len(film.labels.categories) >= 1
    assert film.description
    assert film.etag.startswith('"')
    assert film.update_time.seconds > 0


async def test_the_basic_view_leaves_out_description_and_actors(viewer: Caller) -> None:
    listed = await _named(viewer, "Jurassic Park")
    request = film_pb2.GetFilmRequest(name=listed.name, view=BASIC)
    film = await viewer.call("GetFilm", request)
    assert (film.description, list(film.actors), list(film.labels.actors)) == ("", [], [])
    assert list(film.categories) == list(listed.categories)


async def test_a_film_that_the_client_has_is_not_sent_again(viewer: Caller) -> None:
    film = await viewer.call("GetFilm", film_pb2.GetFilmRequest(name="films/1"))
    request = film_pb2.GetFilmRequest(name="films/1", if_none_match=film.etag)
    again = await viewer.call("GetFilm", request)
    assert again == resources_pb2.Film(name="films/1", etag=film.etag)


@pytest.mark.parametrize("name", ["films/999999", "films/2147483648", "films/9999999999"])
async def test_an_unknown_film_is_not_found(viewer: Caller, name: str) -> None:
    code, info, _ = await viewer.refusal("GetFilm", film_pb2.GetFilmRequest(name=name))
    assert (code, info.reason) == (_C.NOT_FOUND, "RESOURCE_NOT_FOUND")
    assert info.metadata["resource_name"] == name


@pytest.mark.parametrize(
    "name", ["", "films/0", "films/-1", "films/x", "actors/1", "films/1/x", "films/01", "1"]
)
async def test_a_name_of_another_form_is_refused(local: Caller, name: str) -> None:
    code, info, fields = await local.refusal("GetFilm", film_pb2.GetFilmRequest(name=name))
    assert (code, info.reason, fields) == (_C.INVALID_ARGUMENT, "VALIDATION_FAILED", ["name"])


async def test_a_batch_comes_in_the_order_asked(viewer: Caller) -> None:
    names = ["films/7", "films/2", "films/7", "films/5"]
    answer = await viewer.call("BatchGetFilms", film_pb2.BatchGetFilmsRequest(names=names))
    assert [film.name for film in answer.films] == names


async def test_a_batch_is_all_or_nothing(viewer: Caller) -> None:
    request = film_pb2.BatchGetFilmsRequest(names=["films/1", "films/999999"])
    code, info, _ = await viewer.refusal("BatchGetFilms", request)
    assert (code, info.metadata["resource_name"]) == (_C.NOT_FOUND, "films/999999")


async def test_every_bad_name_of_a_batch_is_told(local: Caller) -> None:
    request = film_pb2.BatchGetFilmsRequest(names=["films/1", "x", "films/2", "y"])
    _, _, fields = await local.refusal("BatchGetFilms", request)
    assert fields == ["names[1]", "names[3]"]
    _, _, fields = await local.refusal("BatchGetFilms", film_pb2.BatchGetFilmsRequest())
    assert fields == ["names"]


async def test_pages_hold_every_film_once_in_order(viewer: Caller) -> None:
    by_number = await viewer.titles(page_size=97)
    assert len(by_number) == len(set(by_number)) or len(by_number) > 250
    answer = await viewer.call(
        "ListFilms", film_pb2.ListFilmsRequest(page_size=1, return_total_size=True)
    )
    assert answer.total_size == len(by_number)
    by_title = await viewer.titles(page_size=61, order_by="title")
    assert by_title == sorted(by_number, key=str.encode)
    assert await viewer.titles(page_size=1000, order_by="title") == by_title


@pytest.mark.parametrize(
    "order_by", ["release_year desc, title", "rating, length_minutes desc", "rental_rate, name"]
)
async def test_pages_of_any_order_join_to_the_whole(viewer: Caller, order_by: str) -> None:
    fields = {"order_by": order_by, "filter": "release_year >= 1990"}
    assert await viewer.titles(page_size=37, **fields) == await viewer.titles(
        page_size=1000, **fields
    )


async def test_films_without_a_rating_come_last_and_desc_first(viewer: Caller) -> None:
    def rated(film: resources_pb2.Film) -> bool:
        return film.rating != resources_pb2.FILM_RATING_UNSPECIFIED

    for order_by, first in (("rating", True), ("rating desc", False)):
        answer = await viewer.call(
            "ListFilms", film_pb2.ListFilmsRequest(page_size=1000, order_by=order_by)
        )
        kinds = [rated(film) for film in answer.films]
        assert kinds == sorted(kinds, reverse=first)
        assert {True, False} == set(kinds)


async def test_a_page_token_belongs_to_its_arguments_and_method(viewer: Caller) -> None:
    first = await viewer.call("ListFilms", film_pb2.ListFilmsRequest(page_size=2))
    token = first.next_page_token
    request = film_pb2.ListFilmsRequest(page_token=token, filter="rating = PG", order_by="title")
    code, info, _ = await viewer.refusal("ListFilms", request)
    assert (code, info.reason) == (_C.INVALID_ARGUMENT, "PAGE_TOKEN_MISMATCH")
    assert info.metadata["changed_fields"] == "filter,order_by"
    for method, other in (
        ("ListActors", taxonomy_pb2.ListActorsRequest(page_token=token)),
        ("ListFilms", film_pb2.ListFilmsRequest(page_token=token[:-2] + "AA")),
        ("ListFilms", film_pb2.ListFilmsRequest(page_token="not a token")),
    ):
        code, info, _ = await viewer.refusal(method, other)
        assert (code, info.reason) == (_C.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")


async def test_page_sizes_are_bounded(local: Caller) -> None:
    code, _, fields = await local.refusal("ListFilms", film_pb2.ListFilmsRequest(page_size=-1))
    assert (code, fields) == (_C.INVALID_ARGUMENT, ["page_size"])
    assert len((await local.call("ListFilms", film_pb2.ListFilmsRequest())).films) == 50
    many = await local.call("ListFilms", film_pb2.ListFilmsRequest(page_size=2**31 - 1))
    assert 250 < len(many.films) <= 1000


async def test_every_wrong_field_is_told_at_once(local: Caller) -> None:
    request = film_pb2.ListFilmsRequest(
        page_size=-1, skip=-1, filter="x" * 2049, order_by="y" * 257, page_token="z" * 2049
    )
    _, info, fields = await local.refusal("ListFilms", request)
    assert sorted(fields) == ["filter", "order_by", "page_size", "page_token", "skip"]
    assert info.metadata["violation_count"] == "5"


@pytest.mark.parametrize("number", [3, -1])
async def test_an_unknown_value_of_an_enum_is_answered_with_its_names(
    local: Caller, number: Any
) -> None:
    view = "must be FILM_VIEW_BASIC or FILM_VIEW_FULL (or unspecified)"
    ranking = "must be SEARCH_RANKING_TEXT or SEARCH_RANKING_TEXT_AND_MEANING (or unspecified)"
    names = ["films/1"]
    for method, request, expected in (
        ("GetFilm", film_pb2.GetFilmRequest(name="films/1", view=number), {"view": view}),
        ("BatchGetFilms", film_pb2.BatchGetFilmsRequest(names=names, view=number), {"view": view}),
        ("ListFilms", film_pb2.ListFilmsRequest(view=number), {"view": view}),
        (
            "SearchFilms",
            film_pb2.SearchFilmsRequest(query="x", view=number, ranking=number),
            {"view": view, "ranking": ranking},
        ),
    ):
        assert await local.violations(method, request) == expected


async def test_an_unknown_rating_or_feature_is_answered_with_those_that_are(
    embedded: Running,
) -> None:
    admin = Caller(embedded, await embedded.sign_in(ADMIN))
    features: Any = [0, 9]
    rating: Any = 9
    film = resources_pb2.Film(title="x", rating=rating, special_features=features)
    refused = await admin.violations("CreateFilm", film_changes_pb2.CreateFilmRequest(film=film))
    known = (
        "must be one of SPECIAL_FEATURE_TRAILERS, SPECIAL_FEATURE_COMMENTARIES,"
        " SPECIAL_FEATURE_DELETED_SCENES, SPECIAL_FEATURE_BEHIND_THE_SCENES"
    )
    assert refused["film.special_features[0]"] == refused["film.special_features[1]"] == known
    assert refused["film.rating"] == (
        "must be one of FILM_RATING_G, FILM_RATING_PG, FILM_RATING_PG_13, FILM_RATING_R,"
        " FILM_RATING_NC_17 (or unspecified)"
    )


async def test_a_keyword_in_lower_case_is_refused_where_it_stands(local: Caller) -> None:
    request = film_pb2.ListFilmsRequest(filter='title = "Alien" or title = "Jaws"')
    code, info, fields = await local.refusal("ListFilms", request)
    assert (code, info.reason, fields) == (_C.INVALID_ARGUMENT, "FILTER_SYNTAX", ["filter"])
    assert (info.metadata["position"], info.metadata["token"]) == ("16", "or")
    assert await local.violations("ListFilms", request) == {
        "filter": 'at position 16: write OR in capitals, or "or" in quotes to look for the word'
    }


async def test_skip_leaves_out_films_of_the_first_page(viewer: Caller) -> None:
    whole = await viewer.titles(page_size=1000)
    assert await viewer.titles(page_size=100, skip=5) == whole[5:]


async def test_filters_reach_the_database(viewer: Caller) -> None:
    titles = await viewer.titles(filter='contains(labels.actors, "sam neill")', page_size=1000)
    assert "Jurassic Park" in titles
    assert len(titles) < 20


async def test_an_unknown_field_is_named_with_what_was_meant(local: Caller) -> None:
    request = film_pb2.ListFilmsRequest(filter="raiting = PG")
    code, info, fields = await local.refusal("ListFilms", request)
    assert (code, info.reason, fields) == (
        _C.INVALID_ARGUMENT,
        "FILTER_UNKNOWN_FIELD",
        ["filter"],
    )
    assert (info.metadata["did_you_mean"], info.metadata["position"]) == ("rating", "0")


async def test_an_order_by_an_unknown_field_is_refused(local: Caller) -> None:
    request = film_pb2.ListFilmsRequest(order_by="titel")
    code, info, _ = await local.refusal("ListFilms", request)
    assert (code, info.reason) == (_C.INVALID_ARGUMENT, "ORDER_BY_INVALID")
    assert info.metadata["did_you_mean"] == "title"


async def test_a_search_puts_titles_first_and_finds_word_forms(viewer: Caller) -> None:
    found = await viewer.found("DINOSAURS!")
    titles = [title for title, _ in found]
    assert titles[:2] == ["Dinosaur", "The Good Dinosaur"]
    assert "Jurassic Park" in titles
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 1.0
    assert await viewer.found("DINOSAURS!", page_size=2) == found


async def test_a_search_knows_no_accents_case_or_apostrophes(viewer: Caller) -> None:
    assert (await viewer.found("amelie"))[0][0] == "Amélie"
    assert (await viewer.found("AMÉLIE"))[0][0] == "Amélie"


async def test_more_words_found_come_before_fewer(viewer: Caller) -> None:
    found = await viewer.found("the jurassic park")
    assert found[0] == ("Jurassic Park", 1.0)
    assert all(score < 1.0 for title, score in found if "Jurassic Park" not in title)


@pytest.mark.parametrize("query", ["'; DROP TABLE film; --", '"', "NEAR(a b)", "title:x*", "%_\\"])
async def test_a_query_is_words_and_nothing_else(viewer: Caller, query: str) -> None:
    try:
        await viewer.found(query)
    except grpc.aio.AioRpcError as error:
        assert error.code() is _C.INVALID_ARGUMENT  # noqa: PT017  # holds no word at all
    assert len(await viewer.titles(page_size=1000)) > 250


async def test_an_empty_query_is_refused(local: Caller) -> None:
    code, _, fields = await local.refusal("SearchFilms", film_pb2.SearchFilmsRequest())
    assert (code, fields) == (_C.INVALID_ARGUMENT, ["query"])


async def test_categories_actors_and_languages(viewer: Caller) -> None:
    categories = await viewer.call("ListCategories", taxonomy_pb2.ListCategoriesRequest())
    horror = next(c for c in categories.categories if c.display_name == "Horror")
    answer = await viewer.call("GetCategory", taxonomy_pb2.GetCategoryRequest(name=horror.name))
    assert answer == horror
    films = await viewer.titles(filter=f'categories:"{horror.name}"', page_size=1000)
    assert horror.film_count == len(films) > 5
    actors = await viewer.call("ListActors", taxonomy_pb2.ListActorsRequest(page_size=3))
    assert [actor.name for actor in actors.actors] == ["actors/1", "actors/2", "actors/3"]
    rest = taxonomy_pb2.ListActorsRequest(page_size=1, page_token=actors.next_page_token)
    assert (await viewer.call("ListActors", rest)).actors[0].name == "actors/4"
    actor = await viewer.call("GetActor", taxonomy_pb2.GetActorRequest(name="actors/1"))
    assert actor == actors.actors[0]
    assert actor.film_count >= 1
    languages = await viewer.call("ListLanguages", taxonomy_pb2.ListLanguagesRequest())
    english = next(x for x in languages.languages if x.display_name == "English")
    request = taxonomy_pb2.GetLanguageRequest(name=english.name)
    assert await viewer.call("GetLanguage", request) == english


@pytest.mark.parametrize(
    ("method", "request_message"),
    [
        ("GetCategory", taxonomy_pb2.GetCategoryRequest(name="categories/99999")),
        ("GetActor", taxonomy_pb2.GetActorRequest(name="actors/9999999999")),
        ("GetLanguage", taxonomy_pb2.GetLanguageRequest(name="languages/99999")),
    ],
)
async def test_what_is_not_there_is_not_found(
    viewer: Caller, method: str, request_message: Any
) -> None:
    code, info, _ = await viewer.refusal(method, request_message)
    assert (code, info.reason) == (_C.NOT_FOUND, "RESOURCE_NOT_FOUND")
