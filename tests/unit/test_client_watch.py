"""Watches through the client: each change once, in order, whatever ends the stream."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from interview_client import (
    CatalogueWatch,
    CursorExpired,
    InterviewClient,
    PermissionDenied,
    SlowConsumer,
    SnapshotBegun,
    Unavailable,
)
from interview_client.messages import (
    Change,
    ChangeType,
    Checkpoint,
    ResourceKind,
    SnapshotEnd,
    SnapshotItem,
)

from server.generated.interview.catalogue.v1 import change_pb2, resources_pb2
from tests.support.scripted_server import Context, Script, connected, fail, info

CUT = (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")


def change(revision: int) -> Message:
    """Return the event of a change."""
    body = change_pb2.Change(
        revision=revision,
        change_type=change_pb2.CHANGE_TYPE_UPDATED,
        resource_kind=change_pb2.RESOURCE_KIND_FILM,
        resource_name="films/1",
    )
    return change_pb2.WatchCatalogueResponse(change=body, cursor=f"c{revision}")


def checkpoint(revision: int) -> Message:
    """Return the event of a checkpoint."""
    body = change_pb2.Checkpoint(revision=revision)
    return change_pb2.WatchCatalogueResponse(checkpoint=body, cursor=f"c{revision}")


def item(number: int) -> Message:
    """Return the event of a film in a snapshot."""
    film = resources_pb2.Film(name=f"films/{number}")
    resource = change_pb2.CatalogueResource(film=film)
    return change_pb2.WatchCatalogueResponse(
        snapshot_item=change_pb2.SnapshotItem(resource=resource)
    )


def snapshot_end(revision: int) -> Message:
    """Return the event that ends a snapshot."""
    body = change_pb2.SnapshotEnd(revision=revision, item_count=2)
    return change_pb2.WatchCatalogueResponse(snapshot_end=body, cursor=f"c{revision}")


def closing() -> Message:
    """Return the event that says that the stream ends soon."""
    body = change_pb2.WatchClosing(reason="SERVER_DRAINING")
    return change_pb2.WatchCatalogueResponse(closing=body, cursor="c7")


def unknown() -> Message:
    """Return an event that only a newer server knows (field 9)."""
    newer = bytes([9 << 3 | 2, 0])
    return change_pb2.WatchCatalogueResponse.FromString(newer + checkpoint(8).SerializeToString())


class Streams:
    """Plays one stream after the other: events, and a failure as what the stream ends with."""

    def __init__(self, *streams: list[Any]) -> None:
        self.streams = list(streams)
        self.script = Script(WatchCatalogue=self.watch)
        self.ended = 0

    @property
    def requests(self) -> list[Any]:
        """Return what was asked for."""
        return [request for request, _ in self.script.calls["WatchCatalogue"]]

    @property
    def cursors(self) -> list[str]:
        """Return where the streams were to begin."""
        return [request.start_cursor for request in self.requests]

    async def watch(self, request: Any, context: Context) -> AsyncIterator[Message]:
        """Answer WatchCatalogue."""
        events = self.streams.pop(0) if self.streams else []
        for event in events:
            if isinstance(event, tuple):
                await fail(context, *event)
            yield event
        try:
            await asyncio.sleep(30)
        finally:
            self.ended += 1


async def told(watch: CatalogueWatch, count: int) -> list[Any]:
    """Return the next so many events."""
    async with asyncio.timeout(10):
        return [await anext(watch) for _ in range(count)]


def revisions(events: list[Any]) -> list[int]:
    """Return the revisions of changes."""
    return [event.revision for event in events if isinstance(event, Change)]


@pytest.mark.parametrize(
    "end",
    [
        CUT,
        (grpc.StatusCode.CANCELLED,),
        (grpc.StatusCode.INTERNAL,),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "SLOW_CONSUMER"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS"),
    ],
)
async def test_a_watch_goes_on_behind_its_last_event(end: Any) -> None:
    streams = Streams([change(1), change(2), end], [end], [change(2), change(3)])
    async with (
        connected(streams.script) as client,
        client.catalogue.watch(kinds=[ResourceKind.FILM], film_filter="x") as watch,
    ):
        events = await told(watch, 3)
        assert watch.cursor == "c3"
    # The second one came twice from the server, and once here.
    assert revisions(events) == [1, 2, 3]
    assert events[0].change_type is ChangeType.UPDATED
    assert streams.cursors == ["", "c2", "c2"]
    assert {(tuple(r.resource_kinds), r.film_filter) for r in streams.requests} == {((1,), "x")}


async def test_a_slow_reader_goes_on_where_the_error_says() -> None:
    slow = info("SLOW_CONSUMER", resume_cursor="c9")
    streams = Streams([change(1), (grpc.StatusCode.RESOURCE_EXHAUSTED, "", slow)], [change(10)])
    async with connected(streams.script) as client:
        assert revisions(await told(client.catalogue.watch(), 2)) == [1, 10]
    assert streams.cursors == ["", "c9"]


async def test_checkpoints_and_unknown_events_move_the_cursor() -> None:
    streams = Streams([checkpoint(5), CUT], [closing(), CUT], [unknown(), CUT], [change(9)])
    async with connected(streams.script) as client:
        events = await told(client.catalogue.watch(checkpoint_interval=timedelta(seconds=1)), 3)
    kinds = [type(event) for event in events]
    assert kinds == [Checkpoint, Checkpoint, Change]
    assert streams.cursors == ["", "c5", "c7", "c8"]
    assert streams.requests[0].checkpoint_interval.seconds == 1


async def test_a_snapshot_comes_before_the_changes() -> None:
    streams = Streams([item(1), item(2), snapshot_end(4), change(5), CUT], [change(6)])
    async with connected(streams.script) as client:
        watch = client.catalogue.watch(include_snapshot=True, include_previous=True)
        begun, first, second, end, *changes = await told(watch, 6)
    assert begun == SnapshotBegun(None)
    assert isinstance(first, SnapshotItem)
    assert isinstance(second, SnapshotItem)
    assert isinstance(end, SnapshotEnd)
    assert revisions(changes) == [5, 6]
    asked = [(r.include_snapshot, r.start_cursor, r.include_previous) for r in streams.requests]
    assert asked == [(True, "", True), (False, "c5", True)]


async def test_a_snapshot_that_was_cut_begins_anew_and_says_so() -> None:
    streams = Streams([item(1), CUT], [item(1), item(2), snapshot_end(4)])
    async with connected(streams.script) as client:
        watch = client.catalogue.watch(include_snapshot=True)
        events = await told(watch, 6)
    again = events[2]
    assert isinstance(again, SnapshotBegun)
    assert isinstance(again.because, Unavailable)
    kinds = [type(event) for event in events]
    assert kinds == [
        SnapshotBegun,
        SnapshotItem,
        SnapshotBegun,
        SnapshotItem,
        SnapshotItem,
        SnapshotEnd,
    ]
    assert [r.include_snapshot for r in streams.requests] == [True, True]


async def test_a_first_snapshot_is_not_told_as_another_one() -> None:
    old = (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")
    streams = Streams([old], [item(1)])
    tokens = iter(["old", "new"])
    async with connected(streams.script, api_key="old") as client:
        calls = client.catalogue._calls

        async def source(*, rejected: str | None = None) -> str | None:
            return next(tokens)

        calls.source = source
        events = await told(client.catalogue.watch(include_snapshot=True), 2)
    assert events[0] == SnapshotBegun(None)
    assert [token for _, token in streams.script.calls["WatchCatalogue"]] == ["old", "new"]


async def test_a_snapshot_that_is_read_too_slowly_is_not_begun_for_ever() -> None:
    streams = Streams([item(1), (grpc.StatusCode.RESOURCE_EXHAUSTED, "SLOW_CONSUMER")])
    async with connected(streams.script) as client:
        with pytest.raises(SlowConsumer):
            await told(client.catalogue.watch(include_snapshot=True), 9)
    assert len(streams.requests) == 1


EXPIRED = (grpc.StatusCode.OUT_OF_RANGE, "", info("CURSOR_EXPIRED", oldest_cursor="c50"))


async def test_a_cursor_that_is_too_old_is_told() -> None:
    streams = Streams([EXPIRED])
    async with connected(streams.script) as client:
        with pytest.raises(CursorExpired) as caught:
            await told(client.catalogue.watch(start_cursor="c1"), 1)
    assert caught.value.oldest_cursor == "c50"
    assert streams.cursors == ["c1"]


async def test_a_cursor_that_is_too_old_begins_a_snapshot_where_that_is_wanted() -> None:
    streams = Streams([EXPIRED], [item(1), snapshot_end(60), change(61)])
    async with connected(streams.script) as client:
        watch = client.catalogue.watch(start_cursor="c1", include_snapshot=True)
        events = await told(watch, 4)
    assert isinstance(events[0], SnapshotBegun)
    assert isinstance(events[0].because, CursorExpired)
    assert revisions(events) == [61]
    asked = [(r.include_snapshot, r.start_cursor) for r in streams.requests]
    assert asked == [(False, "c1"), (True, "")]


async def test_a_watch_that_may_not_be_says_so() -> None:
    denied = (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
    streams = Streams([change(1), denied])
    async with connected(streams.script) as client:
        watch = client.catalogue.watch()
        assert revisions(await told(watch, 1)) == [1]
        with pytest.raises(PermissionDenied):
            await told(watch, 1)
    assert len(streams.requests) == 1


async def test_a_server_that_is_not_there_is_told_at_once() -> None:
    async with InterviewClient("127.0.0.1:1") as client:
        with pytest.raises(Unavailable):
            await told(client.catalogue.watch(), 1)


async def test_a_watch_waits_for_the_place_of_one_that_was_left() -> None:
    full = (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS")
    streams = Streams([full], [full], [change(1)])
    async with connected(streams.script) as client:
        assert revisions(await told(client.catalogue.watch(), 1)) == [1]
    assert len(streams.requests) == 3


async def test_patience_ends() -> None:
    streams = Streams([change(1), CUT], *[[CUT]] * 50)
    async with connected(streams.script) as client:
        watch = client.catalogue.watch(patience=0.3)
        assert revisions(await told(watch, 1)) == [1]
        with pytest.raises(Unavailable):
            await told(watch, 1)
    assert 2 < len(streams.requests) < 20


@pytest.mark.parametrize("way", ["close", "cancel"])
async def test_leaving_ends_the_call(way: str) -> None:
    streams = Streams([change(1)])
    async with connected(streams.script) as client:
        watch = client.catalogue.watch()
        assert revisions(await told(watch, 1)) == [1]
        if way == "close":
            await watch.aclose()
        else:
            waiting = asyncio.ensure_future(anext(watch))
            await asyncio.sleep(0.05)
            waiting.cancel()
            await asyncio.wait([waiting])
        async with asyncio.timeout(5):
            while not streams.ended:
                await asyncio.sleep(0.01)
        with pytest.raises(StopAsyncIteration):
            await anext(watch)
        assert watch.cursor == "c1"
