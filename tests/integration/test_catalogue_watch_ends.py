"""How watches end: politely, told why and where to go on, and with nothing left behind."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import Any

import grpc
import pytest

from server.generated.interview.auth.v1 import auth_service_pb2 as auth
from tests.support.auth import MovableClock
from tests.support.chat_driver import another_server, eventually, tasks
from tests.support.running import ADMIN, PASSWORD, Running, running_server
from tests.support.statuses import Told, check_row, told_by
from tests.support.watch_desk import WatchDesk, Watching, skip_revision, watching

BUFFER = 100
FILMS = 130
"""More than gRPC's own buffers take, and more than the server keeps."""


@pytest.fixture
async def desk(shared: Running) -> WatchDesk:
    """An administrator who watches."""
    return WatchDesk(shared, await shared.sign_in(ADMIN))


@pytest.fixture
async def narrow(sample_database_url: str, tmp_path: Path) -> AsyncIterator[WatchDesk]:
    """An administrator at a server that keeps few changes in memory."""
    settings: dict[str, Any] = {"watch_buffer": BUFFER, "write_rate": 0, "watch_rate": 0}
    async with running_server(sample_database_url, tmp_path, **settings) as server:
        yield WatchDesk(server, await server.sign_in(ADMIN))


async def end_of(watch: Watching, seconds: float = 10) -> Told:
    """Return how a watch ended."""
    async with asyncio.timeout(seconds):
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await watch.end()
    return told_by(ended.value)


async def _ends_politely(watch: Watching, reason: str) -> Told:
    """Hold that a watch is told that it ends, and goes on from its cursor."""
    end = await end_of(watch)
    check_row(end, reason)
    closing = watch.told[-1]
    assert closing.closing.reason == reason
    assert closing.closing.time_left.ToTimedelta() == timedelta()
    assert closing.cursor
    assert [m.HasField("closing") for m in watch.told].count(True) == 1
    return end


async def test_a_watch_ends_with_its_token_and_goes_on_with_another(
    shared: Running, desk: WatchDesk, movable: MovableClock
) -> None:
    async with desk.watch(interval=1) as watch:
        movable.advance(minutes=16)
        await _ends_politely(watch, "TOKEN_EXPIRED")
    again = WatchDesk(shared, await shared.sign_in(ADMIN))
    made = await again.create(title="MEANWHILE")
    async with again.watch(start_cursor=watch.cursor) as resumed:
        assert (await resumed.change()).resource.film == made


async def test_a_watch_ends_when_its_session_does(shared: Running) -> None:
    """ASVS 7.4.1: and it tells no change that comes after the sign-out."""
    login = await WatchDesk(shared).Login(auth.LoginRequest(email=ADMIN, password=PASSWORD))
    metadata = (("authorization", f"Bearer {login.tokens.access_token}"),)
    desk = WatchDesk(shared, metadata)
    async with desk.watch() as watch:
        await desk.Logout(auth.LogoutRequest())
        await _ends_politely(watch, "TOKEN_REVOKED")


async def test_a_server_that_stops_sends_its_watches_elsewhere(
    sample_database_url: str, tmp_path: Path
) -> None:
    async with running_server(sample_database_url, tmp_path) as first:
        desk = WatchDesk(first, await first.sign_in(ADMIN))
        async with another_server(first) as stopping:
            there = WatchDesk(stopping, desk.metadata)
            async with there.watch() as watch, there.watch(include_snapshot=True) as slow:
                stop = asyncio.create_task(stopping.app.stop(asyncio.Event()))
                end, other = await asyncio.gather(
                    _ends_politely(watch, "SERVER_DRAINING"), end_of(slow)
                )
                assert "RetryInfo" in end.by_kind
                check_row(other, "SERVER_DRAINING")
                await stop
        made = await desk.create(title="MEANWHILE")
        async with desk.watch(start_cursor=watch.cursor) as resumed:
            assert (await resumed.change()).resource.film == made


async def test_a_stuck_watcher_is_ended_and_the_others_do_not_notice(narrow: WatchDesk) -> None:
    """The stuck one is told how far it is behind, and goes on without a gap."""
    text = "\U0001d11e" * 9900
    made: dict[str, float] = {}
    async with small_window(narrow) as channel, AsyncExitStack() as stack:
        stuck = await stack.enter_async_context(
            watching(narrow.running, narrow.metadata, channel=channel)
        )
        good = [await stack.enter_async_context(narrow.watch()) for _ in range(9)]
        follows = [asyncio.create_task(_delays(watch, made)) for watch in good]
        for number in range(FILMS):
            name = f"FILM {number}"
            made[name] = monotonic()
            last = await narrow.create(title=name, description=text)
        delays = sorted(chain(*await asyncio.gather(*follows)))
        assert len(delays) == FILMS * len(good)
        assert delays[len(delays) * 99 // 100] < 1.0
        end = await end_of(stuck)
    check_row(end, "SLOW_CONSUMER")
    assert int(end.metadata["buffered_events"]) > BUFFER
    seen = [m.change.revision for m in stuck.told if m.HasField("change")]
    async with narrow.watch(start_cursor=end.metadata["resume_cursor"]) as resumed:
        seen += [change.revision for change in await resumed.until(last.revision)]
    assert seen == list(range(last.revision - FILMS + 1, last.revision + 1))


def small_window(desk: WatchDesk) -> grpc.aio.Channel:
    """Return a channel that takes little before it is read."""
    options = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024)]
    return grpc.aio.insecure_channel(desk.running.target, options=options)


async def _delays(watch: Watching, made: Mapping[str, float]) -> list[float]:
    """Return how long after its call began each change came."""
    found = []
    for _ in range(FILMS):
        change = await watch.change()
        found.append(monotonic() - made[change.resource.film.title])
    return found


async def test_who_leaves_leaves_nothing_behind(desk: WatchDesk) -> None:
    await desk.create(title="WARM")
    async with desk.watch():
        pass
    await eventually(lambda: desk.running.app.running_calls == 0)
    before = len(tasks())
    for fields in ({}, {"include_snapshot": True}, {"film_filter": "rating = R"}):
        for _ in range(3):
            async with desk.watch(**fields) as watch:
                await watch.next() if fields.get("include_snapshot") else None
    await eventually(lambda: desk.running.app.running_calls == 0)
    await eventually(lambda: len(tasks()) <= before)
    pools = {pool.name: pool.used for pool in desk.running.app.database.pools}
    assert pools["snapshot"] == 0


async def test_a_running_watch_begins_anew_where_a_change_is_missing(desk: WatchDesk) -> None:
    """A load past the service is not logged; who watches is told, and not left behind."""
    async with desk.watch() as watch:
        cursor = watch.cursor
        gap = await skip_revision(desk.running.app.database)
        end = await end_of(watch)
        check_row(end, "CURSOR_EXPIRED")
        assert "sent_cursor_time" in end.metadata
    async with desk.watch(start_cursor=cursor) as late:
        check_row(await end_of(late), "CURSOR_EXPIRED")
    async with desk.watch(start_cursor=end.metadata["oldest_cursor"]) as resumed:
        made = await desk.create(title="BEHIND THE GAP")
        assert made.revision == gap + 1
        assert (await resumed.change()).resource.film == made
