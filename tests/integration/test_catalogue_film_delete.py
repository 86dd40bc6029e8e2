"""DeleteFilm and UndeleteFilm through a real server, on both databases (AIP-135, AIP-164)."""

from datetime import timedelta
from uuid import uuid4

import pytest

from server.generated.interview.catalogue.v1 import resources_pb2 as resources
from tests.support.auth import MovableClock
from tests.support.film_desk import (
    NO_FILM,
    FilmDesk,
    bring_back,
    changes_of,
    check_log,
    plant_copy,
)
from tests.support.running import Running
from tests.support.statuses import check_row, refused
from tests.support.user_desk import audited, plant_shop


@pytest.fixture(scope="module", autouse=True)
async def shop(shared: Running) -> None:
    await plant_shop(shared)


@pytest.fixture
async def desk(shared: Running) -> FilmDesk:
    return await FilmDesk.open(shared)


async def test_a_film_is_deleted_for_30_days(desk: FilmDesk, movable: MovableClock) -> None:
    """AIP-164."""
    made = await desk.create(categories=["categories/1"])
    movable.advance(seconds=5)
    gone = await desk.delete(made.name)
    assert gone.delete_time.ToDatetime(movable.now.tzinfo) == movable.now
    assert gone.purge_time.ToDatetime(movable.now.tzinfo) == movable.now + timedelta(days=30)
    assert gone.revision == made.revision + 1
    assert gone.etag != made.etag
    assert gone == await desk.get(made.name)


async def test_a_deletion_is_taken_back(shared: Running, desk: FilmDesk) -> None:
    """AIP-164: all is as it was before."""
    made = await desk.create(categories=["categories/1"], actors=["actors/1"])
    await desk.delete(made.name)
    back = await desk.undelete(made.name)
    assert back.revision == made.revision + 2
    assert back == await desk.get(made.name)
    for name in ("etag", "revision", "update_time"):
        for one in (made, back):
            one.ClearField(name)
    assert back == made
    rows = await changes_of(shared.app.database, made.name)
    assert [row.change_type for row in rows] == ["created", "deleted", "undeleted"]
    assert {row.changed_fields for row in rows[1:]} == {"delete_time,purge_time"}
    methods = [event["method"].split("/")[-1] for event in await audited(shared, made.name)]
    assert methods == ["CreateFilm", "DeleteFilm", "UndeleteFilm"]
    await check_log(shared.app.database)


async def test_a_deleted_film_is_kept_from_changes(desk: FilmDesk) -> None:
    """AIP-164: and is told from one that never was."""
    made = await desk.create()
    gone = await desk.delete(made.name)
    for call in (
        desk.update(made.name, title="x"),
        desk.update(made.name, title="x", etag=gone.etag),
        desk.delete(made.name),
        desk.delete(made.name, force=True, etag=made.etag),
    ):
        told = await refused(call)
        check_row(told, "RESOURCE_DELETED")
        assert told.metadata["resource_name"] == made.name
        assert told.metadata["delete_time"] < told.metadata["purge_time"]
    assert await desk.get(made.name) == gone


async def test_a_film_that_never_was_is_not_found(desk: FilmDesk) -> None:
    """AIP-135."""
    for name in (NO_FILM, "films/9999999999"):
        for call in (desk.delete(name), desk.undelete(name, etag='"1-00"')):
            told = await refused(call)
            check_row(told, "RESOURCE_NOT_FOUND")
            assert told.metadata["resource_name"] == name
    for name in ("", "films/0", "films/x", "actors/1", "films/1/x", "films/-"):
        for call in (desk.delete(name), desk.undelete(name)):
            told = await refused(call)
            check_row(told, "VALIDATION_FAILED")
            assert told.bad_fields == ["name"]


async def test_what_is_missing_may_be_allowed_to(shared: Running, desk: FilmDesk) -> None:
    """AIP-135: a deletion may be repeated, whatever the etag was."""
    made = await desk.create()
    gone = await desk.delete(made.name, etag=made.etag)
    before = len(await changes_of(shared.app.database))
    assert await desk.delete(made.name, allow_missing=True, etag=made.etag) == gone
    request_id = str(uuid4())
    for name in (NO_FILM, "films/9999999999"):
        assert await desk.delete(name, allow_missing=True) == resources.Film(name=name)
    for _ in range(2):
        answer = await desk.delete(NO_FILM, allow_missing=True, request_id=request_id)
        assert answer == resources.Film(name=NO_FILM)
    assert len(await changes_of(shared.app.database)) == before


async def test_one_that_is_not_deleted_cannot_be_undeleted(desk: FilmDesk) -> None:
    """AIP-164."""
    made = await desk.create()
    told = await refused(desk.undelete(made.name))
    check_row(told, "RESOURCE_EXISTS")
    assert told.metadata == {"resource_name": made.name, "conflicting_field": "name"}


async def test_a_stale_etag_deletes_and_undeletes_nothing(desk: FilmDesk) -> None:
    """AIP-154."""
    made = await desk.create()
    changed = await desk.update(made.name, title="CHANGED")
    told = await refused(desk.delete(made.name, etag=made.etag))
    check_row(told, "ETAG_MISMATCH")
    assert told.metadata["changed_fields"] == "title"
    gone = await desk.delete(made.name, etag=changed.etag)
    told = await refused(desk.undelete(made.name, etag=changed.etag))
    check_row(told, "ETAG_MISMATCH")
    assert told.metadata["current_etag"] == gone.etag
    assert told.metadata["changed_fields"] == "delete_time,purge_time"
    told = await refused(desk.undelete(made.name, etag=made.etag))
    assert told.metadata["changed_fields"] == "delete_time,purge_time,title"
    await desk.undelete(made.name, etag=gone.etag)


async def test_copies_are_in_the_way_unless_it_is_forced(shared: Running, desk: FilmDesk) -> None:
    """AIP-135."""
    made = await desk.create()
    for _ in range(2):
        await plant_copy(shared.app.database, made.name)
    told = await refused(desk.delete(made.name))
    check_row(told, "RESOURCE_IN_USE")
    assert told.metadata == {"child_type": "InventoryItem", "child_count": "2"}
    assert await desk.get(made.name) == made
    assert (await desk.delete(made.name, force=True)).HasField("delete_time")


async def test_a_film_that_is_lent_out_is_kept_in_any_case(shared: Running, desk: FilmDesk) -> None:
    """A copy that is out must come back to a film."""
    made = await desk.create()
    for lent in (True, False, True):
        await plant_copy(shared.app.database, made.name, lent=lent)
    for force in (True, False):
        told = await refused(desk.delete(made.name, force=force))
        check_row(told, "RESOURCE_IN_USE")
        assert told.metadata == {"child_type": "Rental", "child_count": "2"}
    await bring_back(shared.app.database)
    told = await refused(desk.delete(made.name))
    assert told.metadata == {"child_type": "InventoryItem", "child_count": "3"}
    assert (await desk.delete(made.name, force=True)).HasField("delete_time")
