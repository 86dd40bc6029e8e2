"""UpdateFilm through a real server, on both databases (AIP-134, AIP-154, AIP-161)."""

import random
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import delete, update

from server.catalogue.models import CatalogueChange, Film
from server.generated.interview.catalogue.v1 import resources_pb2 as resources
from tests.support.amount import amount
from tests.support.auth import MovableClock
from tests.support.film_desk import (
    NO_FILM,
    SETTABLE,
    FilmDesk,
    changes_of,
    check_log,
    dollars,
    number_of,
)
from tests.support.running import Running
from tests.support.statuses import check_row, refused
from tests.support.user_desk import settled

OUTPUT_ONLY = ("labels", "create_time", "update_time", "delete_time", "purge_time", "revision")
FULL: dict[str, Any] = {
    "title": "FULL",
    "description": "of everything",
    "release_year": 1999,
    "language": "languages/1",
    "original_language": "languages/1",
    "rental_duration_days": 9,
    "rental_rate": dollars(1, 99),
    "length_minutes": 99,
    "replacement_cost": dollars(9, 99),
    "rating": resources.FILM_RATING_R,
    "special_features": [resources.SPECIAL_FEATURE_TRAILERS],
    "streaming_available": True,
    "categories": ["categories/1", "categories/2"],
    "actors": ["actors/1", "actors/2"],
}
OTHER: dict[str, Any] = {
    "title": "OTHER",
    "description": "",
    "release_year": 2001,
    "language": "languages/2",
    "rental_duration_days": 4,
    "rental_rate": dollars(2, 50),
    "replacement_cost": dollars(8),
    "rating": resources.FILM_RATING_G,
    "special_features": [
        resources.SPECIAL_FEATURE_COMMENTARIES,
        resources.SPECIAL_FEATURE_TRAILERS,
    ],
    "categories": ["categories/3", "categories/1"],
    "actors": [],
}
"""Other values; what is not here is unset."""


@pytest.fixture
async def desk(shared: Running) -> FilmDesk:
    return await FilmDesk.open(shared)


def _unlike(before: resources.Film, after: resources.Film) -> set[str]:
    """Return the fields that differ, those that follow on every change left out."""
    fields = {field.name for field in resources.Film.DESCRIPTOR.fields}
    fields -= {"labels", "update_time", "revision", "etag"}
    return {
        name
        for name in fields
        if getattr(before, name) != getattr(after, name)
        or _is_unset(before, name) != _is_unset(after, name)
    }


def _is_unset(film: resources.Film, name: str) -> bool:
    return name in {"release_year", "length_minutes"} and not film.HasField(name)  # type: ignore[arg-type]  # a name


async def test_a_mask_changes_its_fields_and_no_others(
    shared: Running, desk: FilmDesk, movable: MovableClock
) -> None:
    """AIP-134, for masks of any fields in any order."""
    chance = random.Random(20)  # not a secret
    for _ in range(amount(25, 500)):
        made = await (await settled(partial(desk.create, **FULL)))
        movable.advance(seconds=1)
        paths = chance.sample(SETTABLE, chance.randint(1, len(SETTABLE)))
        ignored = chance.sample(OUTPUT_ONLY, chance.randint(0, 2))
        change = partial(desk.update, made.name, [*paths, *ignored], **OTHER)
        changed = await (await settled(change))
        assert _unlike(made, changed) == set(paths)
        assert changed == await desk.get(made.name)
        assert changed.revision == made.revision + 1
        assert changed.update_time.ToDatetime(movable.now.tzinfo) == movable.now
        *_, row = await changes_of(shared.app.database, made.name)
        assert (row.change_type, row.revision) == ("updated", changed.revision)
        assert set(row.changed_fields.split(",")) == set(paths)
    await check_log(shared.app.database)


async def test_without_a_mask_what_is_sent_with_a_value_is_set(desk: FilmDesk) -> None:
    """AIP-134: what may be unset counts as sent where it is there."""
    made = await desk.create(**FULL)
    changed = await desk.update(made.name, **OTHER)
    assert _unlike(made, changed) == set(OTHER) - {"description", "actors"}
    assert await desk.update(made.name) == changed


async def test_the_star_sets_everything_to_what_it_has_at_creation(desk: FilmDesk) -> None:
    """AIP-134: a full replacement."""
    made = await desk.create(**FULL)
    changed = await desk.update(made.name, ["*"], title="BARE", language="languages/1")
    bare = await desk.create(title="BARE")
    assert _unlike(changed, bare) == {"name", "create_time"} - (
        {"create_time"} if changed.create_time == bare.create_time else set()
    )
    told = await refused(desk.update(made.name, ["*"], description="x"))
    check_row(told, "VALIDATION_FAILED")
    assert told.bad_fields == ["film.title", "film.language"]


async def test_an_amount_without_a_value_gets_the_default(desk: FilmDesk) -> None:
    made = await desk.create(**FULL)
    paths = ["rental_rate", "replacement_cost", "rental_duration_days"]
    changed = await desk.update(made.name, paths)
    assert (changed.rental_rate, changed.replacement_cost) == (dollars(4, 99), dollars(19, 99))
    assert changed.rental_duration_days == 3


async def test_what_was_read_can_be_sent_back_under_any_mask(
    shared: Running, desk: FilmDesk
) -> None:
    """AIP-161: it changes nothing, not even the etag; output only fields are passed over."""
    made = await desk.create(**FULL)
    fields = {field.name: value for field, value in made.ListFields()}
    del fields["name"]
    before = len(await changes_of(shared.app.database))
    for paths in ([], ["*"], list(SETTABLE), list(OUTPUT_ONLY), ["name", "etag", "title", "*"]):
        assert await desk.update(made.name, paths, **fields) == made
    for name in ("categories", "actors"):
        fields[name] = list(reversed(fields[name]))
    fields["labels"] = resources.FilmLabels(language="Klingon")
    assert await desk.update(made.name, ["*"], **fields) == made
    assert len(await changes_of(shared.app.database)) == before


@pytest.mark.parametrize(
    "path",
    ["rental_rate.units", "labels.actors", "colour", "releaseYear", "", "é", "title,rating", "**"],
)
async def test_a_mask_with_what_cannot_be_set_is_refused(desk: FilmDesk, path: str) -> None:
    """AIP-161: a path that there is not is refused, and nothing is changed."""
    told = await refused(desk.update("films/1", ["title", path], title="x"))
    check_row(told, "FIELD_MASK_INVALID")
    assert told.metadata == {"path": path, "allowed_paths": ",".join((*SETTABLE, "*"))}
    assert (await desk.get("films/1")).title != "x"


async def test_what_is_not_named_is_not_looked_at(desk: FilmDesk) -> None:
    """AIP-203: required fields are required where they are named."""
    made = await desk.create(**FULL)
    bad: dict[str, Any] = {"title": "", "language": "x", "release_year": 1, "categories": ["x"]}
    changed = await desk.update(made.name, ["rating"], rating=resources.FILM_RATING_G, **bad)
    assert _unlike(made, changed) == {"rating"}


async def test_all_that_is_wrong_is_told_at_once(desk: FilmDesk) -> None:
    """AIP-193."""
    told = await refused(
        desk.update(
            "films/x", list(SETTABLE), {"request_id": "y"}, etag="x" * 65, title="\0", rating=9
        )
    )
    check_row(told, "VALIDATION_FAILED")
    assert set(told.bad_fields) == {
        *(f"film.{name}" for name in ("name", "etag", "title", "language", "rating")),
        "request_id",
    }


async def test_a_film_is_found_by_what_it_is_now(desk: FilmDesk) -> None:
    """Until it is deleted, and again when that is taken back."""
    made = await desk.create(title="ZYMURGISTS", description="Quokkas")
    assert await desk.found("zymurgist") == await desk.found("quokka") == [made.name]
    await desk.update(made.name, title="WOMBATS")
    assert await desk.found("zymurgist") == []
    assert await desk.found("wombat") == await desk.found("quokka") == [made.name]
    await desk.delete(made.name)
    assert await desk.found("wombat") == []
    await desk.undelete(made.name)
    assert await desk.found("wombat") == [made.name]


async def test_a_film_that_never_was_is_not_found(desk: FilmDesk) -> None:
    for name in (NO_FILM, "films/4294967296"):
        told = await refused(desk.update(name, title="x"))
        check_row(told, "RESOURCE_NOT_FOUND")
        assert told.metadata["resource_name"] == name


async def test_new_references_must_exist(desk: FilmDesk) -> None:
    """AIP-193: every missing one is listed."""
    made = await desk.create(**FULL)
    lists: dict[str, Any] = {
        "categories": ["categories/1", "categories/98"],
        "actors": ["actors/987654"],
    }
    told = await refused(desk.update(made.name, **lists))
    check_row(told, "REFERENCE_NOT_FOUND")
    assert told.bad_fields == ["film.categories[1]", "film.actors[0]"]
    assert told.metadata["resource_name"] == "categories/98"
    assert await desk.get(made.name) == made


async def test_a_stale_etag_is_told_what_has_changed_since(shared: Running, desk: FilmDesk) -> None:
    """AIP-154: so that a client can merge and try again."""
    made = await desk.create(**FULL)
    second = await desk.update(made.name, title="B", etag=made.etag)
    third = await desk.update(made.name, title="C", categories=["categories/4"])
    told = await refused(desk.update(made.name, title="D", etag=made.etag))
    check_row(told, "ETAG_MISMATCH")
    assert told.metadata == {
        "resource_name": made.name,
        "sent_etag": made.etag,
        "current_etag": third.etag,
        "changed_fields": "categories,title",
    }
    told = await refused(desk.update(made.name, rating=2, etag=second.etag))
    assert told.metadata["changed_fields"] == "categories,title"
    assert (await desk.update(made.name, title="D", etag=third.etag)).title == "D"


@pytest.mark.parametrize(
    "etag", ["x", '"x"', '""', '"0-' + "0" * 18 + '"', '"' + "f" * 16 + "-" + "0" * 18 + '"', "\0"]
)
async def test_an_etag_of_no_state_does_not_match(desk: FilmDesk, etag: str) -> None:
    told = await refused(desk.update((await desk.create()).name, title="x", etag=etag))
    check_row(told, "ETAG_MISMATCH")
    assert told.metadata["changed_fields"] == ""


async def test_what_the_log_does_not_tell_is_not_guessed(shared: Running, desk: FilmDesk) -> None:
    """Old changes are deleted, and some are made past the service."""
    made = await desk.create()
    for title in ("B", "C"):
        await desk.update(made.name, title=title)
    await _forget(shared, made.revision + 1)
    told = await refused(desk.update(made.name, rating=1, etag=made.etag))
    assert told.metadata["changed_fields"] == ""
    other = await desk.create()
    known = other.update_time.ToDatetime(UTC)
    await _touch(shared, other.name, known - timedelta(seconds=1))
    told = await refused(desk.update(other.name, rating=1, etag=other.etag))
    check_row(told, "ETAG_MISMATCH")
    assert told.metadata["changed_fields"] == ""
    await _touch(shared, other.name, known)


async def _forget(running: Running, revision: int) -> None:
    async with running.app.database.write() as write:
        await write.execute(delete(CatalogueChange).where(CatalogueChange.revision <= revision))


async def _touch(running: Running, name: str, moment: datetime) -> None:
    async with running.app.database.write() as write:
        statement = update(Film).where(Film.film_id == number_of(name))
        await write.execute(statement.values(last_update=moment))
