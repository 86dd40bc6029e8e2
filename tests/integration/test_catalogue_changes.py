"""ListChanges: filters, pages both ways and what is kept, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from server.catalogue.change_filter import by_number, change_fields
from server.catalogue.change_reads import COLUMNS, ChangeRows
from server.catalogue.models import CatalogueChange
from server.core.clock import rfc3339
from server.core.retention import Kept, Retention
from server.database.engine import Database
from server.generated.interview.catalogue.v1 import change_pb2 as pb
from server.generated.interview.catalogue.v1 import resources_pb2 as resources
from server.generated.interview.catalogue.v1 import taxonomy_pb2
from server.query.filter_sql import compile_filter
from server.query.filters import parse_filter
from tests.support.auth import MovableClock
from tests.support.running import ADMIN, Running, capturing_log, running_server
from tests.support.statuses import check_row, refused
from tests.support.watch_desk import WatchDesk, logged, skip_revision


@pytest.fixture(scope="module")
async def story(shared: Running, movable: MovableClock) -> dict[str, Any]:
    """What was changed before the tests ask."""
    desk = WatchDesk(shared, await shared.sign_in(ADMIN))
    film = await desk.create(title="A STORY")
    renamed = await desk.update(film.name, title="THE STORY")
    movable.advance(seconds=10)
    category = await desk.CreateCategory(
        taxonomy_pb2.CreateCategoryRequest(category=resources.Category(display_name="Stories"))
    )
    other = await desk.create(title="ANOTHER STORY")
    deleted = await desk.delete(other.name)
    return {
        "film": film,
        "renamed": renamed,
        "category": category,
        "other": other,
        "deleted": deleted,
        "later": rfc3339(movable() - timedelta(seconds=5)),
    }


@pytest.fixture
async def desk(shared: Running, story: dict[str, Any]) -> WatchDesk:
    """An administrator who asks."""
    return WatchDesk(shared, await shared.sign_in(ADMIN))


async def test_changes_are_listed_as_they_were(desk: WatchDesk, story: dict[str, Any]) -> None:
    changes = await desk.list_all(include_previous=True)
    assert [change.revision for change in changes] == await logged(desk.running.app.database)
    created, renamed, category, other, deleted = changes
    assert created.resource.film == story["film"]
    assert not created.HasField("previous")
    assert renamed.resource.film == story["renamed"]
    assert renamed.previous.film == story["film"]
    assert list(renamed.changed_fields.paths) == ["title"]
    assert category.resource.category == story["category"]
    assert category.resource_kind == pb.RESOURCE_KIND_CATEGORY
    assert other.resource_name == story["other"].name
    assert deleted.change_type == pb.CHANGE_TYPE_DELETED
    assert deleted.resource.film == story["deleted"]
    plain = await desk.list_all()
    assert not any(change.HasField("previous") for change in plain)


@pytest.mark.parametrize("order_by", ["", "revision", "revision desc"])
async def test_pages_are_one_list_either_way(desk: WatchDesk, order_by: str) -> None:
    everything = await desk.list_all(order_by=order_by)
    by_twos = await desk.list_all(order_by=order_by, page_size=2)
    assert by_twos == everything
    revisions = [change.revision for change in everything]
    assert len(revisions) == 5
    assert revisions == sorted(revisions, reverse="desc" in order_by)


FILTERS = [
    ("resource_kind = CATEGORY", [2]),
    ("resource_kind = RESOURCE_KIND_FILM AND change_type = UPDATED", [1]),
    ("change_type = CHANGE_TYPE_DELETED", [4]),
    ("NOT change_type = CREATED", [1, 4]),
    ('resource_name = "{film}"', [0, 1]),
    ('in(resource_name, "{film}", "{category}")', [0, 1, 2]),
    ('NOT resource_name = "{film}"', [2, 3, 4]),
    ('resource_name != "{film}"', [2, 3, 4]),
    ('resource_name = "categories/*"', [2]),
    ('resource_name = "films/0"', []),
    ('resource_name = "film"', []),
    ('resource_name = "films/9999999999"', []),
    ("revision > {second} AND revision <= {fourth}", [2, 3]),
    ("revision = 9223372036854775807", []),
    ('change_time > "{later}"', [2, 3, 4]),
    ('change_time <= "{later}"', [0, 1]),
    ("change_time > now()", []),
    ('principal = "{principal}"', [0, 1, 2, 3, 4]),
    ('principal = ""', []),
    ('request_id = "{request_id}"', [3]),
]


@pytest.mark.parametrize(("condition", "expected"), FILTERS, ids=[text for text, _ in FILTERS])
async def test_filters(
    desk: WatchDesk, story: dict[str, Any], condition: str, expected: list[int]
) -> None:
    changes = await desk.list_all()
    filled = condition.format(
        film=story["film"].name,
        category=story["category"].name,
        second=changes[1].revision,
        fourth=changes[3].revision,
        later=story["later"],
        principal=changes[0].principal,
        request_id=changes[3].request_id,
    )
    assert await desk.list_all(filter=filled) == [changes[place] for place in expected]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"filter": "colour = 1"}, "FILTER_UNKNOWN_FIELD"),
        ({"filter": "change_type = LOST"}, "FILTER_TYPE_MISMATCH"),
        ({"filter": "resource_number = 1"}, "FILTER_UNKNOWN_FIELD"),
        ({"filter": "story"}, "FILTER_SYNTAX"),
        ({"order_by": "change_time"}, "ORDER_BY_INVALID"),
        ({"page_size": -1, "filter": "x" * 2049}, "VALIDATION_FAILED"),
        ({"page_token": "x"}, "PAGE_TOKEN_INVALID"),
    ],
)
async def test_requests_that_are_refused(
    desk: WatchDesk, fields: dict[str, Any], reason: str
) -> None:
    check_row(await refused(desk.ListChanges(pb.ListChangesRequest(**fields))), reason)


async def test_a_token_is_good_for_the_same_question(desk: WatchDesk) -> None:
    page = await desk.page(page_size=2)
    request = pb.ListChangesRequest(page_token=page.next_page_token, include_previous=True)
    told = await refused(desk.ListChanges(request))
    assert told.metadata["changed_fields"] == "include_previous"


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        ('resource_name = "films/17"', "resource"),
        ('change_time > "2026-03-01T00:00:00Z"', "time"),
        ("revision > 17", "key"),
    ],
)
async def test_filters_use_indexes(database: Database, condition: str, index: str) -> None:
    """Whatever the planner finds best for a table of this size, an index can serve them."""
    node = parse_filter(condition, change_fields())
    assert node is not None
    table = CatalogueChange.__table__
    statement = select(table.c.revision).where(compile_filter(by_number(node), COLUMNS))
    module: Any = sqlite if database.is_sqlite else postgresql
    sql = str(statement.compile(dialect=module.dialect(), compile_kwargs={"literal_binds": True}))
    explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
    async with database.write() as write:
        if not database.is_sqlite:
            await write.execute(text("SET LOCAL enable_seqscan = off"))
        plan = " ".join(str(row) for row in await write.all(text(explain + sql)))
    names = {"resource": "idx_catalogue_change_resource", "time": "idx_catalogue_change_time"}
    key = "PRIMARY KEY" if database.is_sqlite else "catalogue_change_pkey"
    assert names.get(index, key) in plan, plan


@pytest.fixture
async def old(sample_database_url: str, tmp_path: Path) -> AsyncIterator[tuple[WatchDesk, Any]]:
    """An administrator and the clock of their server."""
    clock = MovableClock()
    async with running_server(sample_database_url, tmp_path, clock=clock) as server:
        yield WatchDesk(server, await server.sign_in(ADMIN)), clock


def _retention(desk: WatchDesk, clock: MovableClock) -> Retention:
    rows = ChangeRows(desk.running.app.database)
    kept = [Kept("changes", timedelta(days=7), rows.delete_oldest)]
    return Retention(kept, clock=clock, log=capturing_log()[0], chance=lambda: 0.0, batch=3)


async def test_changes_are_kept_for_some_days(old: tuple[WatchDesk, MovableClock]) -> None:
    desk, clock = old
    async with desk.watch() as watch:
        cursor, begun = watch.cursor, clock()
        for number in range(7):
            await desk.create(title=f"OLD {number}")
        last_old = (await watch.changes(7))[-1]
    clock.advance(days=6)
    desk = WatchDesk(desk.running, await desk.running.sign_in(ADMIN))
    for number in range(4):
        await desk.create(title=f"YOUNG {number}")
    clock.advance(days=1, seconds=1)
    desk = WatchDesk(desk.running, await desk.running.sign_in(ADMIN))
    await _retention(desk, clock).round()
    database = desk.running.app.database
    assert await logged(database) == [last_old.revision + number for number in range(1, 5)]
    async with desk.watch(start_cursor=watch.cursor) as resumed:
        names = [change.resource.film.title for change in await resumed.changes(4)]
        assert names == [f"YOUNG {number}" for number in range(4)]
    call = desk.WatchCatalogue(pb.WatchCatalogueRequest(start_cursor=cursor))
    told = await refused(call.read())
    check_row(told, "CURSOR_EXPIRED")
    assert told.metadata["sent_cursor_time"] == rfc3339(begun)
    async with desk.watch(start_cursor=told.metadata["oldest_cursor"]) as resumed:
        assert len(await resumed.changes(4)) == 4


async def test_retention_leaves_no_hole_where_clocks_differ(
    old: tuple[WatchDesk, MovableClock],
) -> None:
    """A row that is old and stands behind a young one stays, so that revisions follow."""
    desk, clock = old
    for number in range(6):
        await desk.create(title=f"FILM {number}")
    database = desk.running.app.database
    revisions = await logged(database)
    table = CatalogueChange.__table__
    async with database.write() as write:
        for place, days in enumerate((9, 8, 6, 9, 9, 6)):
            values = {"change_time": clock() - timedelta(days=days)}
            row = table.c.revision == revisions[place]
            await write.execute(update(CatalogueChange).where(row).values(values))
    await asyncio.gather(*(_retention(desk, clock).round() for _ in range(3)))
    left = await logged(database)
    assert left == revisions[2:]
    assert all(second == first + 1 for first, second in pairwise(left))


async def test_the_oldest_place_follows_what_is_missing(
    old: tuple[WatchDesk, MovableClock],
) -> None:
    """Asked again and again, or by somebody who asks for the first time: it is the same."""
    desk, clock = old
    database = desk.running.app.database
    known = ChangeRows(database)

    async def oldest() -> int:
        place = await known.oldest()
        assert await ChangeRows(database).oldest() == place
        return place

    first = await desk.create(title="FIRST")
    assert await oldest() == first.revision - 1
    await desk.create(title="SECOND")
    assert await oldest() == first.revision - 1
    gap = await skip_revision(database)
    assert await oldest() == gap
    for number in range(3):
        await desk.create(title=f"BEHIND {number}")
    assert await oldest() == gap
    await known.delete_oldest(clock(), 3)
    assert await oldest() == gap + 1
    await known.delete_oldest(clock(), 10)
    assert await oldest() == gap + 3
