"""What a caller is told about watches of the catalogue: one test per row, on both databases."""

from collections.abc import Awaitable, Callable
from datetime import UTC, timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from server.generated.interview.catalogue.v1 import change_pb2 as pb
from server.rpc.cursors import Cursors
from tests.support.auth import MovableClock
from tests.support.running import ADMIN, SECRET, Running
from tests.support.statuses import check_call, refused, row
from tests.support.watch_desk import WatchDesk, skip_revision

FILM: Any = pb.RESOURCE_KIND_FILM
UNKNOWN: Any = 9
Prepare = Callable[[WatchDesk], Awaitable[str]]
"""Returns the cursor with which a watch must fail."""


async def _cursor(desk: WatchDesk) -> str:
    async with desk.watch() as watch:
        return str(watch.cursor)


async def _damaged(desk: WatchDesk) -> str:
    cursor = await _cursor(desk)
    return cursor[:-5] + ("A" if cursor[-5] != "A" else "B") + cursor[-4:]


async def _of_another_kind(desk: WatchDesk) -> str:
    cursors = Cursors(SECRET, MovableClock(), lambda size: b"n" * size)
    return cursors.seal("export", {"revision": 1})


async def _of_another_server(desk: WatchDesk) -> str:
    cursors = Cursors(
        b"another secret, of 32 bytes and more", MovableClock(), lambda size: b"n" * size
    )
    return cursors.seal("watch", {"revision": 1})


async def _a_page_token(desk: WatchDesk) -> str:
    for title in ("ONE", "TWO"):
        await desk.create(title=title)
    return str((await desk.page(page_size=1)).next_page_token)


async def _no_cursor(desk: WatchDesk) -> str:
    return "not a cursor, ŝ"


async def _before_a_gap(desk: WatchDesk) -> str:
    cursor = await _cursor(desk)
    await skip_revision(desk.running.app.database)
    return cursor


async def _of_the_future(desk: WatchDesk) -> str:
    """What a cursor is after a backup was restored that is older."""
    cursors = Cursors(SECRET, MovableClock(), lambda size: b"n" * size)
    return cursors.seal("watch", {"revision": 2**40})


async def _of_another_history(desk: WatchDesk) -> str:
    """What a cursor is once the restored catalogue has come as far."""
    made = await desk.create(title="ANOTHER HISTORY")
    moment = made.update_time.ToDatetime(UTC) - timedelta(minutes=1)
    cursors = Cursors(SECRET, MovableClock(), lambda size: b"n" * size)
    return cursors.seal("watch", {"revision": made.revision, "time": moment.timestamp()})


ROWS = [
    row("CURSOR_INVALID", "damaged", _damaged),
    row("CURSOR_INVALID", "of an export", _of_another_kind),
    row("CURSOR_INVALID", "of another server", _of_another_server),
    row("CURSOR_INVALID", "a page token", _a_page_token),
    row("CURSOR_INVALID", "not a cursor", _no_cursor),
    row("CURSOR_EXPIRED", "before what is missing", _before_a_gap),
    row("CURSOR_EXPIRED", "of a later state", _of_the_future),
    row("CURSOR_EXPIRED", "of another history", _of_another_history),
]


@pytest.mark.parametrize(("reason", "prepare"), ROWS)
async def test_row(shared: Running, reason: str, prepare: Prepare) -> None:
    desk = WatchDesk(shared, await shared.sign_in(ADMIN))
    request = pb.WatchCatalogueRequest(start_cursor=await prepare(desk))
    told = await check_call(shared, desk.WatchCatalogue(request).read(), reason)
    names = {"oldest_cursor", "sent_cursor_time"} if reason == "CURSOR_EXPIRED" else set()
    assert set(told.metadata) == names


async def test_every_broken_rule_is_told(shared: Running) -> None:
    desk = WatchDesk(shared, await shared.sign_in(ADMIN))
    request = pb.WatchCatalogueRequest(
        resource_kinds=[pb.RESOURCE_KIND_FILM, pb.RESOURCE_KIND_UNSPECIFIED, UNKNOWN],
        film_filter="x" * 2049,
        start_cursor="x",
        include_snapshot=True,
        checkpoint_interval=Duration(seconds=301),
    )
    told = await refused(desk.WatchCatalogue(request).read())
    assert told.bad_fields == [
        "resource_kinds[1]",
        "resource_kinds[2]",
        "film_filter",
        "start_cursor",
        "checkpoint_interval",
    ]


@pytest.mark.parametrize("interval", [(0, 999_999_999), (300, 1000), (-5, 0), (2**62, 0), (0, 0)])
async def test_intervals_that_are_too_short_or_too_long(
    shared: Running, interval: tuple[int, int]
) -> None:
    desk = WatchDesk(shared, await shared.sign_in(ADMIN))
    sent = Duration(seconds=interval[0], nanos=interval[1])
    request = pb.WatchCatalogueRequest(checkpoint_interval=sent)
    told = await refused(desk.WatchCatalogue(request).read())
    assert (told.reason, told.bad_fields) == ("VALIDATION_FAILED", ["checkpoint_interval"])


async def test_a_kind_is_named_once(shared: Running) -> None:
    desk = WatchDesk(shared, await shared.sign_in(ADMIN))
    request = pb.WatchCatalogueRequest(resource_kinds=[FILM, pb.RESOURCE_KIND_ACTOR, FILM])
    told = await refused(desk.WatchCatalogue(request).read())
    assert told.bad_fields == ["resource_kinds"]


async def test_a_bad_filter_is_told_by_the_name_it_has_here(shared: Running) -> None:
    desk = WatchDesk(shared, await shared.sign_in(ADMIN))
    request = pb.WatchCatalogueRequest(film_filter="raiting = PG")
    told: Any = await refused(desk.WatchCatalogue(request).read())
    assert (told.reason, told.bad_fields) == ("FILTER_UNKNOWN_FIELD", ["film_filter"])
    assert told.message.startswith("film_filter: ")
    assert told.metadata["did_you_mean"] == "rating"
