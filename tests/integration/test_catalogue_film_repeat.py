"""Changes of films with a request_id (AIP-155), and those that are only checked (AIP-163)."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from server.catalogue.change_log import REVISION
from server.catalogue.models import CatalogueChange, Film
from server.database.idempotency import IdempotentCall
from server.generated.interview.catalogue.v1 import resources_pb2 as resources
from tests.support.auth import MovableClock
from tests.support.film_desk import FilmDesk, dollars
from tests.support.running import ADMIN, Running
from tests.support.statuses import check_row, refused
from tests.support.user_desk import audited

REPLAY = ("x-interview-idempotent-replay", "true")
REVISION_TRAILER = "x-interview-revision"


@pytest.fixture
async def desk(shared: Running) -> FilmDesk:
    return await FilmDesk.open(shared)


async def _answer(call: Any) -> tuple[resources.Film, bool]:
    """Return the answer, and whether it is said to be a repeated one."""
    answer: resources.Film = await call
    trailers = tuple(await call.trailing_metadata() or ())
    assert (REVISION_TRAILER, str(answer.revision)) in trailers
    return answer, REPLAY in trailers


async def _kept(running: Running) -> tuple[Any, ...]:
    """Return what a change would leave behind."""
    read = running.app.database.read
    found = []
    for table in (Film, CatalogueChange, IdempotentCall):
        row = await read.first(select(func.count()).select_from(table.__table__))
        found.append(row)
    return (*found, await read.first(REVISION))


async def test_what_is_not_looked_at_makes_no_other_request(desk: FilmDesk) -> None:
    """AIP-155, AIP-203: fields that the server sets are no part of what was asked for."""
    once = {"request_id": str(uuid4())}
    first = await desk.create(once, title="READ BACK")
    again = desk.create(once, title="READ BACK", name="films/3", revision=77)
    assert await _answer(again) == (first, True)


async def test_every_change_is_done_once(
    shared: Running, desk: FilmDesk, movable: MovableClock
) -> None:
    """AIP-155: a repeat gets the first answer, whatever has changed since."""
    name = ""
    first: list[resources.Film] = []
    ids = [str(uuid4()) for _ in range(4)]

    def calls() -> list[Callable[[], Any]]:
        return [
            partial(desk.create, {"request_id": ids[0]}, rental_rate=dollars(1)),
            partial(desk.update, name, ["title"], {"request_id": ids[1]}, title="ONCE"),
            partial(desk.delete, name, request_id=ids[2]),
            partial(desk.undelete, name, request_id=ids[3]),
        ]

    for place in range(4):
        answer, replayed = await _answer(calls()[place]())
        assert not replayed
        name = answer.name
        first.append(answer)
    kept = await _kept(shared)
    for place in range(4):
        movable.advance(seconds=60)
        assert await _answer(calls()[place]()) == (first[place], True)
    assert await _kept(shared) == kept
    # The repeats are on record too, each as a call that was made.
    methods = [event["method"].split("/")[-1] for event in await audited(shared, name)]
    assert methods == ["CreateFilm", "UpdateFilm", "DeleteFilm", "UndeleteFilm"] * 2
    movable.advance(hours=24)
    desk.metadata = await shared.sign_in(ADMIN)
    again, replayed = await _answer(desk.create({"request_id": ids[0]}, rental_rate=dollars(1)))
    assert (again.name != name, replayed) == (True, False)


async def test_another_request_under_the_same_id_is_refused(desk: FilmDesk) -> None:
    """AIP-155."""
    request_id = str(uuid4())
    made = await desk.create({"request_id": request_id})
    check_row(
        await refused(desk.create({"request_id": request_id}, title="X")), "REQUEST_ID_REUSED"
    )
    # The ids of one method are none of another one's, and of one caller none of another's.
    assert (await desk.delete(made.name, request_id=request_id)).HasField("delete_time")
    told = await refused(desk.delete(made.name, request_id=request_id, force=True))
    check_row(told, "REQUEST_ID_REUSED")


async def test_a_change_that_changes_nothing_is_repeated_as_well(desk: FilmDesk) -> None:
    made = await desk.create()
    same = partial(desk.update, made.name, ["title"], {"request_id": str(uuid4())})
    assert await _answer(same(title=made.title)) == (made, False)
    await desk.update(made.name, title="CHANGED")
    assert await _answer(same(title=made.title)) == (made, True)


async def test_what_failed_may_be_tried_again(desk: FilmDesk) -> None:
    """AIP-155: only what was done is kept."""
    request_id = str(uuid4())
    made = await desk.create()
    check_row(await refused(desk.undelete(made.name, request_id=request_id)), "RESOURCE_EXISTS")
    await desk.delete(made.name)
    back, replayed = await _answer(desk.undelete(made.name, request_id=request_id))
    assert (back.HasField("delete_time"), replayed) == (False, False)


async def test_a_checked_creation_is_answered_as_if(shared: Running, desk: FilmDesk) -> None:
    """AIP-163: without a name, for there is none."""
    before = await _kept(shared)
    request = {"validate_only": True, "request_id": str(uuid4())}
    call = desk.create(request, categories=["categories/1"])
    checked = await call
    assert REVISION_TRAILER not in dict(await call.trailing_metadata() or ())
    assert (checked.name, checked.revision, checked.etag) == ("", 0, "")
    assert checked.labels.categories
    assert await _kept(shared) == before
    request["validate_only"] = False
    made, replayed = await _answer(desk.create(request, categories=["categories/1"]))
    assert not replayed
    for name in ("name", "revision", "etag"):
        made.ClearField(name)
    assert made == checked


async def test_a_checked_change_is_answered_as_if(shared: Running, desk: FilmDesk) -> None:
    """AIP-163: the etag is still that of the film as it is."""
    made = await desk.create()
    before = await _kept(shared)
    request = {"validate_only": True, "request_id": str(uuid4())}
    updated = await desk.update(made.name, ["title"], request, title="CHECKED")
    assert (updated.title, updated.etag) == ("CHECKED", made.etag)
    gone = await desk.delete(made.name, **request)
    assert gone.HasField("delete_time")
    assert gone.HasField("purge_time")
    assert gone.etag == made.etag
    assert await desk.update(made.name, ["title"], request, title=made.title) == made
    assert await _kept(shared) == before
    assert await desk.get(made.name) == made
    deleted = await desk.delete(made.name, etag=gone.etag)
    back = await desk.undelete(made.name, **request)
    assert not back.HasField("delete_time")
    assert await desk.get(made.name) == deleted


async def test_everything_is_checked(desk: FilmDesk) -> None:
    """AIP-163: what the database says too."""
    check = {"validate_only": True}
    made = await desk.create()
    changed = await desk.update(made.name, title="X")
    for call, reason in (
        (desk.create(check, title=""), "VALIDATION_FAILED"),
        (desk.create(check, language="languages/77"), "REFERENCE_NOT_FOUND"),
        (desk.update(made.name, ["x"], check), "FIELD_MASK_INVALID"),
        (desk.update(made.name, ["actors"], check, actors=["actors/9876"]), "REFERENCE_NOT_FOUND"),
        (desk.update(made.name, ["title"], check, etag=made.etag, title="Y"), "ETAG_MISMATCH"),
        (desk.delete(made.name, etag=made.etag, **check), "ETAG_MISMATCH"),
        (desk.undelete(made.name, **check), "RESOURCE_EXISTS"),
    ):
        check_row(await refused(call), reason)
    assert await desk.get(made.name) == changed


async def test_a_request_id_is_a_uuid(desk: FilmDesk) -> None:
    for call in (
        desk.create({"request_id": "x"}),
        desk.update("films/1", ["title"], {"request_id": "x"}, title="X"),
        desk.delete("films/1", request_id="x"),
        desk.undelete("films/1", request_id="x"),
    ):
        told = await refused(call)
        check_row(told, "VALIDATION_FAILED")
        assert told.bad_fields == ["request_id"]
