"""The catalogue through the client: names, pages, and messages of two libraries that agree."""

from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from interview_client import InterviewError, NotFound
from interview_client.messages import FilmRating, FilmView, SpecialFeature

from server.generated.interview.catalogue.v1 import (
    change_pb2,
    film_pb2,
    resources_pb2,
    taxonomy_pb2,
)
from tests.support.scripted_server import Context, Script, answering, connected, fail

TITLES = ["Alien", "Brazil", "Casablanca", "Dune", "Erin Brockovich"]


async def list_films(request: Any, context: Context) -> Message:
    """Answer pages; the token is the number of the first film."""
    start = int(request.page_token or 0)
    size = request.page_size or 50
    end = start + size
    return film_pb2.ListFilmsResponse(
        films=[
            resources_pb2.Film(name=f"films/{start + n + 1}", title=title)
            for n, title in enumerate(TITLES[start:end])
        ],
        next_page_token=str(end) if end < len(TITLES) else "",
        total_size=len(TITLES) if request.return_total_size else 0,
    )


async def test_iterating_fetches_page_after_page_with_the_same_arguments() -> None:
    script = Script(ListFilms=list_films)
    async with connected(script) as client:
        films = client.catalogue.list_films(
            filter="rating = PG", order_by="title", page_size=2, view=FilmView.FULL
        )
        titles = [film.title async for film in films]
    assert titles == TITLES
    requests = [request for request, _ in script.calls["ListFilms"]]
    assert [request.page_token for request in requests] == ["", "2", "4"]
    same = {(r.filter, r.order_by, r.page_size, r.view) for r in requests}
    assert same == {("rating = PG", "title", 2, 2)}


async def test_pages_are_fetched_only_when_asked_for() -> None:
    script = Script(ListFilms=list_films)
    async with connected(script) as client:
        films = client.catalogue.list_films(page_size=2, return_total_size=True)
        assert script.count("ListFilms") == 0
        async for page in films.pages():
            assert [film.title for film in page.items] == TITLES[:2]
            assert (page.next_page_token, page.total_size) == ("2", 5)
            break
        assert script.count("ListFilms") == 1
        rest = client.catalogue.list_films(page_size=2, page_token="2")
        assert [film.title async for film in rest] == TITLES[2:]
        sizes = [page.total_size async for page in rest.pages()]
        assert sizes == [None, None]


async def test_an_empty_page_in_the_middle_is_not_the_end() -> None:
    async def sparse(request: Any, context: Context) -> Message:
        if not request.page_token:
            return film_pb2.SearchFilmsResponse(next_page_token="more")
        film = resources_pb2.Film(name="films/1")
        return film_pb2.SearchFilmsResponse(matches=[film_pb2.FilmMatch(film=film, score=0.5)])

    script = Script(SearchFilms=sparse)
    async with connected(script) as client:
        matches = [match async for match in client.catalogue.search_films("dinosaur")]
    assert [(match.film.name, match.score) for match in matches if match.film] == [("films/1", 0.5)]
    assert {request.query for request, _ in script.calls["SearchFilms"]} == {"dinosaur"}


async def test_a_page_that_fails_raises_in_the_middle_of_the_loop() -> None:
    async def broken(request: Any, context: Context) -> Message:
        if request.page_token:
            await fail(context, grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_EXPIRED")
        return await list_films(request, context)

    async with connected(Script(ListFilms=broken)) as client:
        films = aiter(client.catalogue.list_films(page_size=2))
        assert [(await anext(films)).title, (await anext(films)).title] == TITLES[:2]
        with pytest.raises(InterviewError) as caught:
            await anext(films)
    assert caught.value.reason == "PAGE_TOKEN_EXPIRED"


async def test_things_are_named_by_number_or_by_resource_name() -> None:
    async def echo(request: Any, context: Context) -> Message:
        return resources_pb2.Film(name=request.name)

    async def category(request: Any, context: Context) -> Message:
        return resources_pb2.Category(name=request.name)

    async def batch(request: Any, context: Context) -> Message:
        films = [resources_pb2.Film(name=name) for name in request.names]
        return film_pb2.BatchGetFilmsResponse(films=films)

    script = Script(GetFilm=echo, GetCategory=category, BatchGetFilms=batch)
    async with connected(script) as client:
        for name in (17, "17", "films/17"):
            assert (await client.catalogue.get_film(name)).name == "films/17"
        assert (await client.catalogue.get_category(3)).name == "categories/3"
        films = await client.catalogue.batch_get_films([3, "films/1"], view=FilmView.BASIC)
    assert [film.name for film in films] == ["films/3", "films/1"]
    assert script.calls["BatchGetFilms"][0][0].view == 1


async def test_every_list_of_the_taxonomy_is_iterated() -> None:
    script = Script(
        ListCategories=answering(
            taxonomy_pb2.ListCategoriesResponse(
                categories=[resources_pb2.Category(name="categories/1", display_name="Action")]
            )
        ),
        ListActors=answering(
            taxonomy_pb2.ListActorsResponse(
                actors=[resources_pb2.Actor(name="actors/1", family_name="Bacon")]
            )
        ),
        ListLanguages=answering(
            taxonomy_pb2.ListLanguagesResponse(
                languages=[resources_pb2.Language(name="languages/1", display_name="English")]
            )
        ),
        GetActor=answering(resources_pb2.Actor(name="actors/1")),
        GetLanguage=answering(resources_pb2.Language(name="languages/1")),
    )
    async with connected(script) as client:
        catalogue = client.catalogue
        assert [c.display_name async for c in catalogue.list_categories()] == ["Action"]
        assert [a.family_name async for a in catalogue.list_actors()] == ["Bacon"]
        assert [x.display_name async for x in catalogue.list_languages()] == ["English"]
        assert (await catalogue.get_actor(1)).name == "actors/1"
        assert (await catalogue.get_language(1)).name == "languages/1"
    assert script.calls["GetActor"][0][0].name == "actors/1"
    assert script.calls["GetLanguage"][0][0].name == "languages/1"


async def test_every_kind_of_field_survives_the_way_from_the_server() -> None:
    film = resources_pb2.Film(
        name="films/1",
        release_year=0,
        length_minutes=96,
        rating=resources_pb2.FILM_RATING_PG_13,
        special_features=[
            resources_pb2.SPECIAL_FEATURE_TRAILERS,
            resources_pb2.SPECIAL_FEATURE_DELETED_SCENES,
        ],
        streaming_available=True,
        revision=2**53 + 1,
        labels=resources_pb2.FilmLabels(language="Français", categories=["Horror", "Comedy"]),
    )
    film.rental_rate.currency_code = "USD"
    film.rental_rate.units = 2
    film.rental_rate.nanos = 990_000_000
    film.update_time.FromDatetime(datetime(2026, 2, 28, 12, 30, 0, 250_000, tzinfo=UTC))
    async with connected(Script(GetFilm=answering(film))) as client:
        got = await client.catalogue.get_film(1)
    assert (got.release_year, got.length_minutes) == (0, 96)
    assert got.rating is FilmRating.PG_13
    assert got.special_features == [SpecialFeature.TRAILERS, SpecialFeature.DELETED_SCENES]
    assert (got.streaming_available, got.revision) == (True, 2**53 + 1)
    assert got.labels is not None
    assert (got.labels.language, got.labels.categories) == ("Français", ["Horror", "Comedy"])
    assert got.rental_rate is not None
    assert (got.rental_rate.units, got.rental_rate.nanos) == (2, 990_000_000)
    assert got.update_time == datetime(2026, 2, 28, 12, 30, 0, 250_000, tzinfo=UTC)
    assert got.replacement_cost is None
    assert resources_pb2.Film.FromString(bytes(got)) == film


async def test_an_enum_value_of_a_newer_server_is_kept_as_its_number() -> None:
    newer = resources_pb2.Film.FromString(bytes([11 << 3, 77]))
    async with connected(Script(GetFilm=answering(newer))) as client:
        got = await client.catalogue.get_film(1)
    assert got.rating == 77
    assert got.rating not in set(FilmRating)


async def test_a_film_that_is_not_there() -> None:
    async def absent(request: Any, context: Context) -> Message:
        return await fail(context, grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")

    async with connected(Script(GetFilm=absent)) as client:
        with pytest.raises(NotFound):
            await client.catalogue.get_film(404)


async def test_changes_are_listed_page_by_page() -> None:
    async def page(request: Any, context: Context) -> Message:
        number = int(request.page_token or 1)
        made = change_pb2.Change(revision=number)
        token = str(number + 1) if number < 3 else ""
        return change_pb2.ListChangesResponse(changes=[made], next_page_token=token)

    script = Script(ListChanges=page)
    async with connected(script) as client:
        found = client.catalogue.list_changes(
            filter="revision > 0", order_by="revision", page_size=1, include_previous=True
        )
        assert [made.revision async for made in found] == [1, 2, 3]
    request = script.calls["ListChanges"][0][0]
    assert (request.filter, request.order_by, request.page_size, request.include_previous) == (
        "revision > 0",
        "revision",
        1,
        True,
    )
