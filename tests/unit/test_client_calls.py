"""Retries, deadlines and what a call is worth repeating for."""

import asyncio
import json
from time import monotonic
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from interview_client import (
    Cancelled,
    DeadlineExceeded,
    InterviewClient,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
)
from interview_client.channel import service_config

from server.generated.interview.catalogue.v1 import resources_pb2
from tests.support.scripted_server import (
    Context,
    Script,
    answering,
    asked,
    connected,
    failing,
    in_turn,
)

FILM = answering(resources_pb2.Film(name="films/1", title="Tremors"))
AWAY = failing(grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")
CUT = failing(grpc.StatusCode.CANCELLED)


@pytest.mark.parametrize("trouble", [AWAY, CUT])
async def test_a_read_is_repeated_until_the_server_is_back(trouble: Any) -> None:
    script = Script(GetFilm=in_turn(trouble, trouble, FILM))
    async with connected(script) as client:
        film = await client.catalogue.get_film(1)
    assert film.title == "Tremors"
    assert script.count("GetFilm") == 3


async def test_a_read_is_not_repeated_for_ever() -> None:
    script = Script(GetFilm=AWAY)
    async with connected(script) as client:
        with pytest.raises(Unavailable) as caught:
            await client.catalogue.get_film(1)
    assert caught.value.reason == "SERVER_DRAINING"
    assert script.count("GetFilm") == 4


async def test_a_read_is_repeated_when_the_server_says_so_and_not_before() -> None:
    tried: list[float] = []

    async def away_once(request: Any, context: Context) -> Message:
        tried.append(monotonic())
        if len(tried) == 1:
            # Later than any pause of the client's own would be.
            context.set_trailing_metadata((("grpc-retry-pushback-ms", "700"),))
            await context.abort(grpc.StatusCode.UNAVAILABLE, "in a moment")
        return resources_pb2.Film(name="films/1")

    async with connected(Script(GetFilm=away_once)) as client:
        await client.catalogue.get_film(1)
    first, second = tried
    assert second - first >= 0.69


@pytest.mark.parametrize("pushback", [(), (("grpc-retry-pushback-ms", "1"),)])
async def test_a_call_that_met_a_limit_is_never_repeated_by_itself(pushback: Any) -> None:
    """Not even where the server says when: to come back is more load, which the caller decides."""
    tried: list[float] = []

    async def full(request: Any, context: Context) -> Message:
        tried.append(monotonic())
        context.set_trailing_metadata(pushback)
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")

    async with connected(Script(GetFilm=full)) as client:
        with pytest.raises(ResourceExhausted):
            await client.catalogue.get_film(1)
        await asyncio.sleep(0.3)
    assert len(tried) == 1


@pytest.mark.parametrize(("trouble", "error"), [(AWAY, Unavailable), (CUT, Cancelled)])
async def test_a_call_that_changes_something_is_made_once(trouble: Any, error: Any) -> None:
    script = Script(Ask=in_turn(trouble, answering(asked("too late"))))
    async with connected(script) as client:
        with pytest.raises(error):
            await client.ask("Which films have dinosaurs?")
    assert script.count("Ask") == 1


async def test_a_read_that_a_stopping_server_cuts_counts_as_unavailable() -> None:
    async with connected(Script(GetFilm=CUT)) as client:
        with pytest.raises(Unavailable) as caught:
            await client.catalogue.get_film(1)
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE


async def test_other_failures_are_not_repeated() -> None:
    script = Script(GetFilm=failing(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"))
    async with connected(script) as client:
        with pytest.raises(Exception, match="RESOURCE_NOT_FOUND"):
            await client.catalogue.get_film(1)
        with pytest.raises(Unimplemented):
            await client.catalogue.get_actor(1)
    assert script.count("GetFilm") == 1
    assert script.count("GetActor") == 1


async def test_every_call_has_the_deadline_of_its_method_unless_given_another() -> None:
    seen: list[float | None] = []

    async def answer(request: Any, context: Context) -> Message:
        seen.append(context.time_remaining())
        return resources_pb2.Film(name="films/1")

    async def ask(request: Any, context: Context) -> Message:
        seen.append(context.time_remaining())
        return asked("42")

    async with connected(Script(GetFilm=answer, Ask=ask)) as client:
        await client.catalogue.get_film(1)
        await client.catalogue.get_film(1, timeout=2)
        await client.ask("How long?")
        await client.ask("How long?", timeout=120)
    given = [5, 2, 60, 120]
    for remaining, limit in zip(seen, given, strict=True):
        assert remaining is not None
        # The deadline travels in coarse units: the server sees up to a second more.
        assert abs(remaining - limit) < 1.5


async def test_a_silent_server_ends_in_a_typed_error() -> None:
    async def sleep(request: Any, context: Context) -> Message:
        await asyncio.sleep(30)
        return resources_pb2.Film()

    async with connected(Script(GetFilm=sleep)) as client:
        with pytest.raises(DeadlineExceeded):
            await client.catalogue.get_film(1, timeout=0.2)


async def test_a_server_that_is_not_there_is_unavailable_and_says_so() -> None:
    async with InterviewClient("127.0.0.1:1") as client:
        with pytest.raises(Unavailable) as caught:
            await client.catalogue.get_film(1)
    assert caught.value.reason == ""
    assert "127.0.0.1" in caught.value.message


def test_the_service_config_repeats_exactly_what_is_safe() -> None:
    config = json.loads(service_config())
    repeated = {
        name["method"]
        for entry in config["methodConfig"]
        if "retryPolicy" in entry
        for name in entry["name"]
    }
    assert {"GetFilm", "ListFilms", "SearchFilms", "Logout", "RefreshToken"} <= repeated
    assert repeated.isdisjoint({"Login", "CreateUser", "CreateApiKey", "Ask", "RunTurn", "Chat"})
    assert "healthCheckConfig" not in config
    watched = json.loads(service_config(""))
    assert watched["healthCheckConfig"] == {"serviceName": ""}
