"""Changes through the client: their request_id, when they are repeated, masks, and merging."""

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any
from uuid import UUID

import grpc
import pytest
from google.protobuf import empty_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from interview_client import (
    EtagMismatch,
    InterviewError,
    NotFound,
    ResourceInUse,
    ServerDraining,
    ValidationFailed,
)
from interview_client.film_changes import SETTABLE
from interview_client.messages import Actor, Category, Film, FilmRating, Money, SearchRanking

from server.generated.interview.catalogue.v1 import film_pb2, resources_pb2
from tests.support.scripted_server import (
    Context,
    Script,
    answering,
    connected,
    fail,
    failing,
    in_turn,
    info,
)

STORED = answering(resources_pb2.Film(name="films/1", title="Tremors", etag='"1"'))
AWAY = failing(grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")


def retry(seconds: float) -> Message:
    """Return the detail that says when to come back."""
    detail: Message = error_details_pb2.RetryInfo(
        retry_delay=Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))
    )
    return detail


@pytest.mark.parametrize(
    "trouble",
    [
        AWAY,
        failing(grpc.StatusCode.CANCELLED),
        failing(grpc.StatusCode.ABORTED, "REQUEST_ID_IN_FLIGHT", retry(0.05)),
        failing(grpc.StatusCode.ABORTED, "TRANSACTION_CONFLICT"),
    ],
)
async def test_a_change_is_repeated_under_the_same_request_id(trouble: Any) -> None:
    script = Script(CreateFilm=in_turn(trouble, trouble, STORED))
    async with connected(script) as client:
        film = await client.catalogue.create_film(Film(title="Tremors", language="languages/1"))
    assert film.name == "films/1"
    named = [request.request_id for request, _ in script.calls["CreateFilm"]]
    assert len(named) == 3
    assert len(set(named)) == 1
    assert str(UUID(named[0])) == named[0]


async def test_a_change_is_not_repeated_for_ever_nor_beyond_its_deadline() -> None:
    script = Script(UpdateFilm=AWAY, DeleteFilm=failing(grpc.StatusCode.UNAVAILABLE, "", retry(1)))
    async with connected(script) as client:
        with pytest.raises(ServerDraining):
            await client.catalogue.update_film(Film(name="films/1"))
        begun = monotonic()
        with pytest.raises(InterviewError):
            await client.catalogue.delete_film(1, timeout=0.5)
        assert monotonic() - begun < 0.5
    assert script.count("UpdateFilm") == 4
    assert script.count("DeleteFilm") == 1


async def test_what_is_wrong_is_not_repeated() -> None:
    script = Script(CreateFilm=failing(grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED"))
    async with connected(script) as client:
        with pytest.raises(ValidationFailed):
            await client.catalogue.create_film(Film())
    assert script.count("CreateFilm") == 1


async def test_every_change_has_its_own_name_unless_given_one() -> None:
    given = "0d1f6c1e-2b53-4a51-8f61-3f1f3f6f7c10"
    script = Script(
        **dict.fromkeys(("CreateFilm", "UpdateFilm", "DeleteFilm", "UndeleteFilm"), STORED),
        CreateCategory=answering(resources_pb2.Category()),
        UpdateCategory=answering(resources_pb2.Category()),
        DeleteCategory=answering(empty_pb2.Empty()),
        CreateActor=answering(resources_pb2.Actor()),
        UpdateActor=answering(resources_pb2.Actor()),
        DeleteActor=answering(empty_pb2.Empty()),
    )
    async with connected(script) as client:
        calls = client.catalogue
        await calls.create_film(Film(), request_id=given)
        await calls.update_film(Film(name="films/1"))
        await calls.delete_film(1)
        await calls.undelete_film(1)
        await calls.create_category(Category())
        await calls.update_category(Category())
        await calls.delete_category(1)
        await calls.create_actor(Actor())
        await calls.update_actor(Actor())
        await calls.delete_actor(1)
    named = [calls[0][0].request_id for calls in script.calls.values()]
    assert named[0] == given
    assert len({str(UUID(name)) for name in named}) == 10


async def test_requests_carry_what_the_caller_said() -> None:
    script = Script(
        UpdateFilm=STORED,
        DeleteFilm=STORED,
        UndeleteFilm=STORED,
        DeleteActor=answering(empty_pb2.Empty()),
        UpdateCategory=answering(resources_pb2.Category()),
        SearchFilms=answering(film_pb2.SearchFilmsResponse()),
        ListFilms=answering(film_pb2.ListFilmsResponse()),
    )
    async with connected(script) as client:
        calls = client.catalogue
        await calls.update_film(Film(name="films/1", title="T", etag='"1"'), fields=["title"])
        await calls.update_film(Film(name="films/1"), validate_only=True)
        await calls.delete_film("films/1", etag='"1"', force=True, allow_missing=True)
        await calls.undelete_film(1, etag='"2"')
        await calls.delete_actor(3, force=True)
        await calls.update_category(Category(name="categories/1"), ["display_name"])
        ranking = SearchRanking.TEXT_AND_MEANING
        assert [match async for match in calls.search_films("x", ranking=ranking)] == []
        assert [film async for film in calls.list_films(show_deleted=True)] == []
    (update, _), (empty, _) = script.calls["UpdateFilm"]
    assert (update.film.etag, list(update.update_mask.paths)) == ('"1"', ["title"])
    assert (empty.HasField("update_mask"), empty.validate_only) == (False, True)
    ((delete, _),) = script.calls["DeleteFilm"]
    assert (delete.name, delete.etag, delete.force, delete.allow_missing) == (
        "films/1",
        '"1"',
        True,
        True,
    )
    assert script.calls["UndeleteFilm"][0][0].etag == '"2"'
    assert (script.calls["DeleteActor"][0][0].name, script.calls["DeleteActor"][0][0].force) == (
        "actors/3",
        True,
    )
    assert list(script.calls["UpdateCategory"][0][0].update_mask.paths) == ["display_name"]
    assert script.calls["SearchFilms"][0][0].ranking == 2
    assert script.calls["ListFilms"][0][0].show_deleted


class Shelf:
    """One film with etags, which somebody else changes before every update, a few times."""

    def __init__(self, others: int) -> None:
        self.film = resources_pb2.Film(name="films/1", title="A", release_year=1990, etag='"1"')
        self.others = others
        self.masks: list[Sequence[str]] = []

    async def get(self, request: Any, context: Context) -> Message:
        """Answer GetFilm."""
        return self.film

    async def update(self, request: Any, context: Context) -> Message:
        """Answer UpdateFilm."""
        if self.others:
            self.others -= 1
            self.film.description += "."
            self.film.etag = f'"{len(self.film.description) + 1}"'
        if request.film.etag != self.film.etag:
            what = info("ETAG_MISMATCH", current_etag=self.film.etag, changed_fields="description")
            await fail(context, grpc.StatusCode.ABORTED, "", what)
        self.masks.append(list(request.update_mask.paths))
        for path in request.update_mask.paths:
            setattr(self.film, path, getattr(request.film, path))
        return self.film


def _better(film: Film) -> None:
    film.title += "!"
    film.release_year = None if film.release_year is None else film.release_year + 1


async def test_an_edit_meets_the_film_as_somebody_else_has_left_it() -> None:
    shelf = Shelf(others=2)
    async with connected(Script(GetFilm=shelf.get, UpdateFilm=shelf.update)) as client:
        film = await client.catalogue.edit_film(1, _better)
    assert (film.title, film.release_year, film.description) == ("A!", 1991, "..")
    assert shelf.masks == [["title", "release_year"]]


async def test_an_edit_that_is_always_too_late_gives_up() -> None:
    shelf = Shelf(others=99)
    script = Script(GetFilm=shelf.get, UpdateFilm=shelf.update)
    async with connected(script) as client:
        with pytest.raises(EtagMismatch) as caught:
            await client.catalogue.edit_film(1, _better, attempts=3)
    assert script.count("UpdateFilm") == 3
    assert caught.value.current_etag == '"4"'
    assert caught.value.changed_fields == ("description",)
    assert shelf.film.title == "A"


async def test_an_edit_that_changes_nothing_stores_nothing() -> None:
    shelf = Shelf(others=0)
    script = Script(GetFilm=shelf.get, UpdateFilm=shelf.update)
    async with connected(script) as client:
        film = await client.catalogue.edit_film("films/1", lambda _: None)
    assert (film.title, script.count("UpdateFilm")) == ("A", 0)


def test_every_field_that_callers_set_is_compared() -> None:
    only_the_servers = {"name", "labels", "create_time", "update_time", "delete_time"}
    only_the_servers |= {"purge_time", "revision", "etag"}
    fields = {field.name for field in resources_pb2.Film.DESCRIPTOR.fields}
    assert set(SETTABLE) == fields - only_the_servers


async def test_any_number_of_films_is_got_in_order_a_thousand_at_a_time() -> None:
    under_way = most = 0

    async def batch(request: Any, context: Context) -> Message:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        # The first ones take the longest.
        await asyncio.sleep(0.1 if request.names[0] == "films/1" else 0.01)
        under_way -= 1
        films = [resources_pb2.Film(name=name) for name in request.names]
        return film_pb2.BatchGetFilmsResponse(films=films)

    script = Script(BatchGetFilms=batch)
    wanted = list(range(1, 6_501))
    async with connected(script) as client:
        films = await client.catalogue.batch_get_films(wanted)
        assert await client.catalogue.batch_get_films([]) == []
    assert [film.name for film in films] == [f"films/{number}" for number in wanted]
    sizes = [len(request.names) for request, _ in script.calls["BatchGetFilms"]]
    assert sorted(sizes) == [500] + [1000] * 6
    assert 1 < most <= 4


async def test_one_film_that_is_missing_fails_the_batch_and_ends_the_other_calls() -> None:
    ended: list[str] = []

    async def batch(request: Any, context: Context) -> Message:
        if request.names[0] == "films/1":
            await fail(context, grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
        try:
            await asyncio.sleep(30)
        finally:
            ended.append(request.names[0])
        return film_pb2.BatchGetFilmsResponse()

    async with connected(Script(BatchGetFilms=batch)) as client:
        with pytest.raises(NotFound):
            await client.catalogue.batch_get_films(range(1, 2_001))
        async with asyncio.timeout(5):
            while not ended:
                await asyncio.sleep(0.01)
    assert ended == ["films/1001"]


async def test_what_is_in_the_way_is_told() -> None:
    what = info("RESOURCE_IN_USE", child_type="interview.rentals.v1/Copy", child_count="8")
    script = Script(DeleteFilm=failing(grpc.StatusCode.FAILED_PRECONDITION, "", what))
    async with connected(script) as client:
        with pytest.raises(ResourceInUse) as caught:
            await client.catalogue.delete_film(1)
    assert (caught.value.child_type, caught.value.child_count) == ("interview.rentals.v1/Copy", 8)


async def test_money_and_enums_are_sent_as_they_are() -> None:
    script = Script(CreateFilm=STORED)
    film = Film(rental_rate=Money("USD", 2, 990_000_000), rating=FilmRating.NC_17)
    async with connected(script) as client:
        await client.catalogue.create_film(film)
    sent = script.calls["CreateFilm"][0][0].film
    assert (sent.rental_rate.units, sent.rental_rate.nanos, sent.rating) == (2, 990_000_000, 5)
