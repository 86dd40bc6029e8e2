"""Exports through the client: all films, each once, however often the stream is cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from interview_client import (
    InterviewClient,
    InterviewError,
    InvalidArgument,
    PermissionDenied,
    RateLimited,
    StreamEnded,
    TooManyStreams,
    Unavailable,
)
from interview_client.calls import anonymous
from interview_client.messages import FilmView
from interview_client.resumption import Resumption

from server.generated.interview.auth.v1 import auth_service_pb2
from server.generated.interview.catalogue.v1 import film_bulk_pb2, resources_pb2
from tests.support.scripted_server import Context, Script, bearer_of, connected, fail

COUNT = 10
BATCH = 3


class Shelf:
    """Ten films in batches of three; the stream that follows a cut ends as the test says."""

    def __init__(self, *cuts: tuple[int, Any]) -> None:
        self.cuts = list(cuts)
        """After how many batches a stream is cut, and by what."""
        self.cursors: list[str] = []

    async def export(self, request: Any, context: Context) -> AsyncIterator[Message]:
        """Answer ExportFilms; a cursor is the number of the last film."""
        self.cursors.append(request.resume_cursor)
        number = int(request.resume_cursor or 0)
        left, cut = self.cuts.pop(0) if self.cuts else (99, None)
        while True:
            if left == 0:
                if cut is not None:
                    await fail(context, *cut)
                return
            left -= 1
            films = [
                resources_pb2.Film(name=f"films/{n}")
                for n in range(number + 1, min(number + BATCH, COUNT) + 1)
            ]
            number += len(films)
            complete = number == COUNT
            yield film_bulk_pb2.ExportFilmsResponse(
                films=films,
                resume_cursor=str(number),
                complete=complete,
                watch_cursor="w" if complete else "",
                exported_count=number,
                snapshot_revision=len(self.cursors),
            )
            if complete:
                return


ALL = [f"films/{number}" for number in range(1, COUNT + 1)]


@pytest.mark.parametrize(
    "cuts",
    [
        (),
        ((1, (grpc.StatusCode.UNAVAILABLE,)),),
        ((2, (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")), (1, (grpc.StatusCode.INTERNAL,))),
        ((1, (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")),),
        ((1, (grpc.StatusCode.CANCELLED,)), (0, (grpc.StatusCode.CANCELLED,))),
        ((1, (grpc.StatusCode.RESOURCE_EXHAUSTED, "SLOW_CONSUMER")),),
        (
            (1, (grpc.StatusCode.UNAVAILABLE,)),
            (0, (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS")),
        ),
        # A proxy that ends the stream as if that were all.
        ((1, None),),
    ],
)
async def test_every_film_comes_once_whatever_cuts_the_stream(cuts: Any) -> None:
    shelf = Shelf(*cuts)
    async with connected(Script(ExportFilms=shelf.export)) as client:
        export = client.catalogue.export_films(filter="rating = PG", view=FilmView.BASIC)
        names = [film.name async for film in export]
    assert names == ALL
    assert (export.exported_count, export.watch_cursor, export.resume_cursor) == (10, "w", "10")
    assert export.snapshot_revision == len(shelf.cursors)
    assert len(shelf.cursors) > len(cuts)


async def test_the_arguments_stay_the_same_when_the_stream_goes_on() -> None:
    shelf = Shelf((2, (grpc.StatusCode.UNAVAILABLE,)))
    script = Script(ExportFilms=shelf.export)
    async with connected(script) as client:
        export = client.catalogue.export_films(filter="x", show_deleted=True, view=FilmView.FULL)
        assert len([film async for film in export]) == COUNT
    sent = [request for request, _ in script.calls["ExportFilms"]]
    assert {(r.filter, r.show_deleted, r.view) for r in sent} == {("x", True, 2)}
    assert shelf.cursors == ["", "6"]


async def test_an_export_goes_on_beyond_its_process() -> None:
    shelf = Shelf()
    async with connected(Script(ExportFilms=shelf.export)) as client:
        async with client.catalogue.export_films() as export:
            first = [(await anext(export)).name for _ in range(4)]
        rest = client.catalogue.export_films(resume_cursor=export.resume_cursor)
        names = [film.name async for film in rest]
    # Of the batch that was begun, everything comes again.
    assert (first, names) == (ALL[:4], ALL[3:])


async def test_who_leaves_early_ends_the_stream() -> None:
    ended = []

    async def endless(request: Any, context: Context) -> AsyncIterator[Message]:
        films = [resources_pb2.Film(name="films/1")]
        try:
            while True:
                yield film_bulk_pb2.ExportFilmsResponse(films=films, resume_cursor="1")
                await asyncio.sleep(0.01)
        finally:
            ended.append(True)

    async with connected(Script(ExportFilms=endless)) as client:
        async with client.catalogue.export_films() as export:
            assert (await anext(export)).name == "films/1"
        with pytest.raises(StopAsyncIteration):
            await anext(export)
        async with asyncio.timeout(5):
            while not ended:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        ((grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"), PermissionDenied),
        ((grpc.StatusCode.INVALID_ARGUMENT, "CURSOR_INVALID"), InvalidArgument),
    ],
)
async def test_what_is_refused_is_not_asked_again(failure: Any, kind: type[InterviewError]) -> None:
    for batches in (0, 1):
        shelf = Shelf((batches, failure))
        async with connected(Script(ExportFilms=shelf.export)) as client:
            with pytest.raises(kind):
                assert [film async for film in client.catalogue.export_films()]
        assert len(shelf.cursors) == 1


async def test_a_server_that_is_not_there_is_told_at_once() -> None:
    async with InterviewClient("127.0.0.1:1") as client:
        with pytest.raises(Unavailable):
            assert [film async for film in client.catalogue.export_films()]


async def test_an_export_waits_for_the_place_of_one_that_was_left() -> None:
    full = (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS")
    shelf = Shelf((0, full), (0, full))
    async with connected(Script(ExportFilms=shelf.export)) as client:
        assert [film.name async for film in client.catalogue.export_films()] == ALL
    assert len(shelf.cursors) == 3
    shelf = Shelf(*[(0, full)] * 50)
    async with connected(Script(ExportFilms=shelf.export)) as client:
        with pytest.raises(TooManyStreams):
            assert [film async for film in client.catalogue.export_films(patience=0.3)]
    assert 1 < len(shelf.cursors) < 10


@pytest.mark.parametrize("begun", [False, True])
async def test_a_place_is_waited_for_some_five_seconds(begun: bool) -> None:
    now, error = 0.0, TooManyStreams("", reason="TOO_MANY_STREAMS", retry_delay=timedelta(days=1))

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    resumption = Resumption(anonymous, sleep=sleep, clock=lambda: now)
    if begun:
        resumption.begin()
    with suppress(TooManyStreams):
        for _ in range(50):
            await resumption.wait(error)
    assert 4.9 < now < 5.3
    with pytest.raises(TooManyStreams):
        await resumption.wait(error)
    with pytest.raises(RateLimited):
        await resumption.wait(RateLimited("", reason="RATE_LIMITED"))


async def test_patience_ends() -> None:
    shelf = Shelf((1, (grpc.StatusCode.UNAVAILABLE,)), *[(0, None)] * 50)
    async with connected(Script(ExportFilms=shelf.export)) as client:
        export = client.catalogue.export_films(patience=0.3)
        with pytest.raises(StreamEnded):
            assert [film async for film in export]
    assert export.resume_cursor == "3"
    assert 2 < len(shelf.cursors) < 20


async def test_a_token_that_ends_meanwhile_is_replaced() -> None:
    tokens = [f"a-{number}" for number in range(5)]

    async def issue(request: Any, context: Context) -> Message:
        pair = auth_service_pb2.TokenPair(access_token=tokens.pop(0), refresh_token=str(tokens))
        pair.refresh_after.seconds = 600
        if hasattr(request, "email"):
            return auth_service_pb2.LoginResponse(tokens=pair)
        return auth_service_pb2.RefreshTokenResponse(tokens=pair)

    shelf = Shelf()

    async def by_token(request: Any, context: Context) -> AsyncIterator[Message]:
        if bearer_of(context) == "a-0":
            await fail(context, grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")
        batches = shelf.export(request, context)
        yield await anext(batches)
        if bearer_of(context) == "a-1":
            await fail(context, grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")
        async for batch in batches:
            yield batch

    script = Script(Login=issue, RefreshToken=issue, ExportFilms=by_token)
    async with connected(script) as client:
        await client.sign_in("a@b.example", "right")
        assert [film.name async for film in client.catalogue.export_films()] == ALL
    assert [token for _, token in script.calls["ExportFilms"]] == ["a-0", "a-1", "a-2"]
