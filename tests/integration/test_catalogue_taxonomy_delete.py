"""DeleteCategory and DeleteActor through a real server, on both databases (AIP-135)."""

from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.empty_pb2 import Empty
from sqlalchemy import text

from server.catalogue import taxonomy_rules
from server.catalogue.pagila_tables import TABLES
from server.database.sequences import advance_sequences
from tests.support.film_desk import changes_of, check_log
from tests.support.running import Running
from tests.support.statuses import check_row, refused
from tests.support.taxonomy_desk import NOBODY, TaxonomyDesk, new_name, trailer_of
from tests.support.user_desk import audited, race


@pytest.fixture
async def desk(shared: Running) -> TaxonomyDesk:
    return await TaxonomyDesk.open(shared)


async def _of_films(desk: TaxonomyDesk, films: int) -> tuple[Any, Any, list[Any]]:
    """Return a category and an actor with so many films, the last of them deleted."""
    category = await desk.create_category(new_name())
    actor = await desk.create_actor("Of", "Films")
    links: dict[str, Any] = {
        "categories": [category.name, "categories/1"],
        "actors": ["actors/1", actor.name],
    }
    made = [await desk.create(title=f"NUMBER {place}", **links) for place in range(films)]
    if made:
        made[-1] = await desk.delete(made[-1].name)
    return category, actor, made


async def test_what_no_film_has_goes_for_good(desk: TaxonomyDesk, shared: Running) -> None:
    """AIP-135."""
    category, actor, _ = await _of_films(desk, 0)
    before = await desk.revision()
    assert await trailer_of(desk.delete_category(category.name)) == str(before + 1)
    assert await desk.delete_actor(actor.name) == Empty()
    check_row(await refused(desk.get_category(category.name)), "RESOURCE_NOT_FOUND")
    check_row(await refused(desk.get_actor(actor.name)), "RESOURCE_NOT_FOUND")
    change_type, last, after = (await desk.logged(actor.name))[-1]
    assert (change_type, last.given_name, after) == ("deleted", "Of", None)
    outcomes = [event["outcome"] for event in await audited(shared, actor.name)]
    assert outcomes == ["OK", "OK"]


async def test_what_films_have_stays(desk: TaxonomyDesk) -> None:
    """AIP-135: deleted films count too, for they can be undeleted."""
    category, actor, _ = await _of_films(desk, 3)
    before = await desk.revision()
    for call, name in (
        (desk.delete_category, category.name),
        (desk.delete_actor, actor.name),
        (partial(desk.delete_category, validate_only=True), category.name),
        (partial(desk.delete_category, allow_missing=True), category.name),
    ):
        told = await refused(call(name))
        check_row(told, "RESOURCE_IN_USE")
        assert told.metadata == {"child_type": "Film", "child_count": "3"}
        assert told.by_kind["ResourceInfo"].resource_name == name
        assert "force" in told.message
    assert await desk.revision() == before
    assert (await desk.get_category(category.name)).film_count == 2


async def test_one_deleted_film_is_in_the_way(desk: TaxonomyDesk) -> None:
    category, _, _ = await _of_films(desk, 1)
    assert (await desk.get_category(category.name)).film_count == 0
    told = await refused(desk.delete_category(category.name))
    assert told.metadata["child_count"] == "1"


async def test_force_takes_it_out_of_its_films(desk: TaxonomyDesk, shared: Running) -> None:
    """Each of the films is thereby changed, a deleted one too, which stays deleted."""
    category, actor, films = await _of_films(desk, 4)
    for name, delete, gone in (
        (category.name, desk.delete_category, "categories"),
        (actor.name, desk.delete_actor, "actors"),
    ):
        before = await desk.revision()
        present = [await desk.get(film.name) for film in films]
        assert await trailer_of(delete(name, force=True)) == str(before + len(films) + 1)
        for place, film in enumerate(present):
            read = await desk.get(film.name)
            assert name in getattr(film, gone)
            assert list(getattr(read, gone)) == [f"{gone}/1"]
            assert read.revision == before + place + 1
            assert read.etag != film.etag
            assert (read.delete_time, read.purge_time) == (film.delete_time, film.purge_time)
            row = (await changes_of(shared.app.database, film.name))[-1]
            assert (row.change_type, row.changed_fields) == ("updated", gone)
            assert row.revision == read.revision
            assert row.principal.startswith("users/")
        assert len(await desk.logged(name)) == 2
    assert (await desk.undelete(films[-1].name)).name == films[-1].name
    await check_log(shared.app.database)


async def test_a_forced_film_is_found_by_the_name_no_more(desk: TaxonomyDesk) -> None:
    actor = await desk.create_actor("Evanescia", "Fleet")
    film = await desk.create(actors=[actor.name])
    assert await desk.found("evanescia") == [film.name]
    await desk.delete_actor(actor.name, force=True)
    assert await desk.found("evanescia") == []


async def test_force_has_a_limit(desk: TaxonomyDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The contract: at most 1 000 films; here 3, so that the test is short."""
    monkeypatch.setattr(taxonomy_rules, "MAX_FORCED_FILMS", 3)
    category, actor, films = await _of_films(desk, 4)
    before = await desk.revision()
    for call in (desk.delete_category(category.name, force=True),
                 desk.delete_actor(actor.name, force=True)):  # fmt: skip
        told = await refused(call)
        check_row(told, "RESOURCE_IN_USE")
        assert told.metadata == {"child_type": "Film", "child_count": "4"}
        assert "3 films at most" in told.message
    assert await desk.revision() == before
    await desk.update(films[0].name, ["categories"], categories=[])
    await desk.delete_category(category.name, force=True)


async def test_a_thousand_films_are_left_in_one_call(desk: TaxonomyDesk, shared: Running) -> None:
    """The most that the contract promises, with what belongs to it."""
    category = await desk.create_category(new_name())
    number = int(category.name.removeprefix("categories/"))
    database = shared.app.database
    async with database.write() as write:
        last = (await write.all(text("SELECT max(film_id) FROM film")))[0][0]
        rows = [{"film": last + place, "owner": number} for place in range(1, 1001)]
        made = (
            "INSERT INTO film (film_id, title, language_id, rental_rate, replacement_cost,"
            " last_update) SELECT :film, 'CROWD', language_id, rental_rate, replacement_cost,"
            " last_update FROM film WHERE film_id = 1"
        )
        link = (
            "INSERT INTO film_category (film_id, category_id, last_update)"
            " SELECT :film, :owner, last_update FROM film WHERE film_id = 1"
        )
        await write.execute(text(made), rows)
        await write.execute(text(link), rows)
        await write.execute(
            text("INSERT INTO film_count (kind, number, films) VALUES ('category', :owner, 1000)"),
            {"owner": number},
        )
        await write.execute(text("UPDATE film_count SET films = films + 1000 WHERE kind = 'film'"))
        if not database.is_sqlite:
            await advance_sequences(write, [TABLES["film"]])
    before = await desk.revision()
    assert await trailer_of(desk.delete_category(category.name, force=True)) == str(before + 1001)
    left = await database.read.all(
        text("SELECT count(*) FROM film_category WHERE category_id = :owner"), {"owner": number}
    )
    assert left[0][0] == 0
    await check_log(database)


async def test_what_is_not_there_is_not_found_or_counts_as_deleted(desk: TaxonomyDesk) -> None:
    """AIP-135."""
    for name, delete in (
        (NOBODY["categories"], desk.delete_category),
        ("categories/9999999999", desk.delete_category),
        (NOBODY["actors"], desk.delete_actor),
    ):
        before = await desk.revision()
        told = await refused(delete(name))
        check_row(told, "RESOURCE_NOT_FOUND")
        assert told.metadata["resource_name"] == name
        assert await delete(name, allow_missing=True, force=True) == Empty()
        assert await delete(name, allow_missing=True, etag='"x"') == Empty()
        assert await desk.revision() == before


async def test_a_stale_etag_is_refused(desk: TaxonomyDesk) -> None:
    """AIP-154."""
    made = await desk.create_category(new_name())
    changed = await desk.update_category(made.name, display_name=new_name())
    told = await refused(desk.delete_category(made.name, etag=made.etag))
    check_row(told, "ETAG_MISMATCH")
    assert told.metadata["changed_fields"] == "display_name"
    await desk.delete_category(made.name, etag=changed.etag)


async def test_films_are_no_part_of_the_etag(desk: TaxonomyDesk) -> None:
    """The contract: a category's films are no part of its state."""
    category, actor, _ = await _of_films(desk, 2)
    await desk.delete_category(category.name, etag=category.etag, force=True)
    await desk.delete_actor(actor.name, etag=actor.etag, force=True)


async def test_every_bad_field_is_told_at_once(desk: TaxonomyDesk) -> None:
    """ASVS 2.2.1."""
    fields = {"etag": "x" * 65, "request_id": "x"}
    for call in (desk.delete_category("actors/1", **fields), desk.delete_actor("", **fields)):
        told = await refused(call)
        check_row(told, "VALIDATION_FAILED")
        assert told.bad_fields == ["name", "etag", "request_id"]


async def test_a_check_alone_changes_nothing(desk: TaxonomyDesk) -> None:
    """AIP-163."""
    category, actor, films = await _of_films(desk, 2)
    before = await desk.revision()
    await desk.delete_category(category.name, force=True, validate_only=True)
    await desk.delete_actor(actor.name, force=True, validate_only=True)
    assert await desk.get_category(category.name)
    assert await desk.get(films[0].name) == films[0]
    assert await desk.revision() == before


async def test_a_repeat_gets_the_first_answer(desk: TaxonomyDesk) -> None:
    """AIP-155: also when the row is gone, and where it was missing."""
    category, actor, _ = await _of_films(desk, 2)
    for ask in (
        partial(desk.delete_category, category.name, force=True, request_id=str(uuid4())),
        partial(desk.delete_actor, actor.name, force=True, request_id=str(uuid4())),
        partial(desk.delete_actor, actor.name, allow_missing=True, request_id=str(uuid4())),
    ):
        await ask()
        before = await desk.revision()
        assert await trailer_of(ask(), "x-interview-idempotent-replay") == "true"
        assert await desk.revision() == before


async def test_of_many_at_once_one_deletes(desk: TaxonomyDesk, shared: Running) -> None:
    """ASVS 15.4.2: films that get the category meanwhile have it taken out, or are refused."""
    category, _, films = await _of_films(desk, 2)
    asks = [partial(desk.delete_category, category.name, force=True)] * 10
    asks += [partial(desk.create, categories=[category.name])] * 10
    answers, refusals = await race(asks)
    assert [type(answer) for answer in answers].count(Empty) == 1
    assert {told.reason for told in refusals} <= {"RESOURCE_NOT_FOUND", "REFERENCE_NOT_FOUND"}
    for made in [*answers, *films]:
        if not isinstance(made, Empty):
            assert category.name not in (await desk.get(made.name)).categories
    await check_log(shared.app.database)
