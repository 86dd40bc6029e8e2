"""UpdateCategory and UpdateActor through a real server, on both databases (AIP-134, AIP-154)."""

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import column, select

from server.catalogue import taxonomy_indexing
from server.catalogue.change_log import ChangeLog
from server.catalogue.taxonomy_indexing import Renamed, RenamedFilms
from server.core.clock import utc_now
from tests.support.auth import MovableClock
from tests.support.running import Running, capturing_log
from tests.support.statuses import check_row, refused
from tests.support.taxonomy_desk import NOBODY, TaxonomyDesk, new_name, trailer_of
from tests.support.user_desk import audited, race

CALLERS = 20


@pytest.fixture
async def desk(shared: Running) -> TaxonomyDesk:
    return await TaxonomyDesk.open(shared)


async def test_a_category_is_renamed(desk: TaxonomyDesk, movable: MovableClock) -> None:
    """AIP-134."""
    made = await desk.create_category(new_name())
    movable.advance(seconds=5)
    desk = await TaxonomyDesk.open(desk.running)
    changed = await desk.update_category(made.name, display_name=(name := new_name()))
    assert (changed.display_name, changed.name) == (name, made.name)
    assert changed.update_time.ToDatetime(movable.now.tzinfo) == movable.now
    assert changed.etag != made.etag
    assert changed == await desk.get_category(made.name)
    change_type, before, after = (await desk.logged(made.name))[-1]
    assert (change_type, before.name, after.name) == ("updated", made.display_name, name)


async def test_fields_of_the_mask_are_set_and_no_others(desk: TaxonomyDesk) -> None:
    """AIP-134: without a mask those that are not empty; the star is all of them."""
    made = await desk.create_actor("Given", "Family")
    for paths, fields, expected in (
        (["given_name"], {"given_name": "One", "family_name": "No"}, ("One", "Family")),
        ([], {"family_name": "Two"}, ("One", "Two")),
        (["*"], {"given_name": "Three", "family_name": "Four"}, ("Three", "Four")),
        (["film_count", "family_name"], {"family_name": "Five"}, ("Three", "Five")),
    ):
        changed = await desk.update_actor(made.name, paths, **fields)
        assert (changed.given_name, changed.family_name) == expected
    told = await refused(desk.update_actor(made.name, ["*"], given_name="x"))
    check_row(told, "VALIDATION_FAILED")
    assert told.bad_fields == ["actor.family_name"]


async def test_what_was_read_can_be_sent_back_under_any_mask(desk: TaxonomyDesk) -> None:
    """AIP-161: it changes nothing, neither the etag nor the revision, and tells the latter."""
    made = await desk.create_actor("Still", "Here")
    before = await desk.revision()
    fields = {field.name: value for field, value in made.ListFields() if field.name != "name"}
    for paths in ([], ["*"], ["film_count", "update_time", "etag", "name"], ["given_name"]):
        call = desk.update_actor(made.name, paths, **fields)
        assert await trailer_of(call) == str(before)
        assert await call == made
    assert await desk.revision() == before
    assert len(await desk.logged(made.name)) == 1


@pytest.mark.parametrize("path", ["password", "display_name.x", "displayName", "", "given_name"])
async def test_a_mask_with_what_cannot_be_set_is_refused(desk: TaxonomyDesk, path: str) -> None:
    """AIP-161."""
    made = await desk.create_category(new_name())
    told = await refused(desk.update_category(made.name, ["display_name", path], display_name="x"))
    check_row(told, "FIELD_MASK_INVALID")
    assert told.metadata == {"path": path, "allowed_paths": "display_name,*"}
    assert await desk.get_category(made.name) == made


async def test_every_bad_field_is_told_at_once(desk: TaxonomyDesk) -> None:
    """ASVS 2.2.1."""
    told = await refused(
        desk.update_category("actors/1", display_name=" x", etag="x" * 65, request_id="1")
    )
    check_row(told, "VALIDATION_FAILED")
    assert told.bad_fields == [
        "category.name",
        "category.etag",
        "category.display_name",
        "request_id",
    ]
    told = await refused(desk.update_actor("actors/x", given_name="x" * 46, family_name="\n"))
    assert told.bad_fields == ["actor.name", "actor.given_name", "actor.family_name"]


async def test_what_is_not_there_is_not_found(desk: TaxonomyDesk) -> None:
    for name in (NOBODY["categories"], "categories/9999999999"):
        told = await refused(desk.update_category(name, display_name="x"))
        check_row(told, "RESOURCE_NOT_FOUND")
        assert told.metadata["resource_name"] == name
    check_row(
        await refused(desk.update_actor(NOBODY["actors"], given_name="x")), "RESOURCE_NOT_FOUND"
    )


async def test_a_stale_etag_is_refused_with_what_changed_since(desk: TaxonomyDesk) -> None:
    """AIP-154: the log tells the fields, of all changes since the etag and of no other."""
    first = await desk.create_actor("A", "B")
    second = await desk.update_actor(first.name, family_name="C")
    third = await desk.update_actor(first.name, given_name="D", etag=second.etag)
    for etag, changed in (
        (first.etag, "family_name,given_name"),
        (second.etag, "given_name"),
        ('"somebody-made-this-up"', "family_name,given_name"),
    ):
        told = await refused(desk.update_actor(first.name, given_name="E", etag=etag))
        check_row(told, "ETAG_MISMATCH")
        assert told.metadata == {
            "resource_name": first.name,
            "sent_etag": etag,
            "current_etag": third.etag,
            "changed_fields": changed,
        }
    assert await desk.get_actor(first.name) == third


async def test_back_to_an_earlier_name_is_another_state(desk: TaxonomyDesk) -> None:
    """AIP-154: also where the clock did not go on between."""
    first = await desk.create_category(name := new_name())
    await desk.update_category(first.name, display_name=new_name())
    third = await desk.update_category(first.name, display_name=name)
    assert third.etag != first.etag
    told = await refused(desk.update_category(first.name, display_name="x", etag=first.etag))
    assert told.metadata["changed_fields"] == "display_name"


async def test_a_name_that_another_category_has_is_refused(desk: TaxonomyDesk) -> None:
    one, other = await desk.create_category(new_name()), await desk.create_category(new_name())
    told = await refused(desk.update_category(one.name, display_name=other.display_name))
    check_row(told, "RESOURCE_EXISTS")
    assert told.metadata == {"resource_name": other.name, "conflicting_field": "display_name"}
    assert await desk.update_category(one.name, display_name=one.display_name) == one


async def test_of_many_who_want_one_name_one_gets_it(desk: TaxonomyDesk) -> None:
    """ASVS 15.4.2."""
    made = [await desk.create_category(new_name()) for _ in range(CALLERS)]
    wanted = new_name()
    asks = [partial(desk.update_category, row.name, display_name=wanted) for row in made]
    answers, refusals = await race(asks)
    assert (len(answers), {told.reason for told in refusals}) == (1, {"RESOURCE_EXISTS"})
    assert {told.metadata["resource_name"] for told in refusals} == {answers[0].name}


async def test_of_many_with_one_etag_one_changes(desk: TaxonomyDesk) -> None:
    """AIP-154; ASVS 15.4.2."""
    made = await desk.create_actor("Race", "Start")
    asks = [
        partial(desk.update_actor, made.name, given_name=f"R{place}", etag=made.etag)
        for place in range(CALLERS)
    ]
    answers, refusals = await race(asks)
    assert (len(answers), {told.reason for told in refusals}) == (1, {"ETAG_MISMATCH"})
    assert await desk.get_actor(made.name) == answers[0]
    assert len(await desk.logged(made.name)) == 2


async def test_a_repeat_gets_the_first_answer(desk: TaxonomyDesk) -> None:
    """AIP-155: also where the first call changed nothing."""
    made = await desk.create_category(new_name())
    for name in (new_name(), made.display_name):
        request_id = str(uuid4())
        ask = partial(desk.update_category, made.name, display_name=name, request_id=request_id)
        first = await ask()
        await desk.update_category(made.name, display_name=made.display_name)
        again = ask()
        assert await again == first
        assert await trailer_of(again, "x-interview-idempotent-replay") == "true"


async def test_a_check_alone_changes_nothing(desk: TaxonomyDesk) -> None:
    """AIP-163."""
    made, before = await desk.create_category(new_name()), await desk.revision()
    request: dict[str, Any] = {"display_name": (name := new_name()), "validate_only": True}
    checked = await desk.update_category(made.name, **request)
    assert (checked.name, checked.display_name, checked.etag) == (made.name, name, "")
    assert await desk.get_category(made.name) == made
    assert await desk.revision() == before
    told = await refused(desk.update_category(made.name, etag='"x"', **request))
    check_row(told, "ETAG_MISMATCH")


async def test_labels_follow_and_the_films_stay_as_they_are(desk: TaxonomyDesk) -> None:
    """The contract: a film's references are numbers; their names are no part of its state."""
    category = await desk.create_category(new_name())
    actor = await desk.create_actor("Before", "Hand")
    film = await desk.create(categories=[category.name], actors=[actor.name])
    await desk.update_category(category.name, display_name=(name := new_name()))
    await desk.update_actor(actor.name, given_name="After")
    read = await desk.get(film.name)
    assert (list(read.labels.categories), list(read.labels.actors)) == ([name], ["After Hand"])
    assert (read.etag, read.revision, read.update_time) == (
        film.etag,
        film.revision,
        film.update_time,
    )


async def test_films_are_found_by_the_new_name_and_not_by_the_old_one(desk: TaxonomyDesk) -> None:
    category = await desk.create_category("Kwizzical")
    actor = await desk.create_actor("Xenobia", "Plimsoll")
    film = await desk.create(categories=[category.name], actors=[actor.name])
    assert await desk.found("kwizzical") == await desk.found("xenobia") == [film.name]
    await desk.update_category(category.name, display_name="Brambleish")
    await desk.update_actor(actor.name, given_name="Ottoline")
    assert await desk.found("brambleish") == await desk.found("ottoline plimsoll") == [film.name]
    assert await desk.found("kwizzical") == await desk.found("xenobia") == []


async def test_films_beyond_the_first_follow_soon(
    desk: TaxonomyDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taxonomy_indexing, "BATCH_FILMS", 2)
    actor = await desk.create_actor("Vermilion", "Zubrowka")
    films = sorted([(await desk.create(actors=[actor.name])).name for _ in range(7)])
    before = await desk.revision()
    await desk.update_actor(actor.name, given_name="Cerulean")
    by_new: list[str] = []
    while by_new != films:
        by_old = await desk.found("vermilion")
        by_new = await desk.found("cerulean")
        assert {*by_old, *by_new} == set(films)
    assert await desk.found("vermilion") == []
    assert await desk.revision() == before + 1


async def test_a_change_is_audited_once(desk: TaxonomyDesk, shared: Running) -> None:
    made = await desk.create_actor("Au", "Dit")
    await desk.update_actor(made.name, given_name="Aw")
    await refused(desk.update_actor(made.name, given_name="Ow", etag='"x"'))
    events = await audited(shared, made.name)
    assert [event["outcome"] for event in events] == ["OK", "OK", "ETAG_MISMATCH"]


def _renaming(shared: Running, sleep: Any) -> tuple[RenamedFilms, list[Any]]:
    """Return an indexing of its own, and what it logs."""
    database, (log, lines) = shared.app.database, capturing_log()
    changes = ChangeLog(utc_now, is_sqlite=database.is_sqlite)
    return RenamedFilms(database, changes, log, sleep=sleep), lines


BROKEN = Renamed("actors/1", 1, select(column("nothing")), after=7)


async def test_a_batch_that_fails_is_tried_again_and_then_given_up(shared: Running) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    renamed, lines = _renaming(shared, sleep)
    renamed.follow(BROKEN)
    task = asyncio.create_task(renamed.run())
    while len(lines) < 4:
        await asyncio.sleep(0.01)
    task.cancel()
    assert pauses == [1.0, 5.0, 30.0]
    assert [line.kwargs["event"] for line in lines] == ["films_not_indexed"] * 4
    assert (lines[0].kwargs["resource"], lines[0].kwargs["after"]) == ("actors/1", "films/7")
    assert lines[-1].kwargs["again_in_seconds"] is None


async def test_what_is_left_at_the_end_is_logged(shared: Running) -> None:
    paused = asyncio.Event()

    async def sleep(seconds: float) -> None:
        paused.set()
        await asyncio.Event().wait()

    renamed, lines = _renaming(shared, sleep)
    renamed.follow(BROKEN)
    renamed.follow(replace(BROKEN, name="actors/2"))
    task = asyncio.create_task(renamed.run())
    await paused.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [line.kwargs["resource"] for line in lines[1:]] == ["actors/1", "actors/2"]
