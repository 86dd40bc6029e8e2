"""CatalogueService.CreateFilm through a real server, on both databases (AIP-133, AIP-203)."""

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from server.generated.interview.catalogue.v1 import film_changes_pb2 as pb
from server.generated.interview.catalogue.v1 import resources_pb2 as resources
from tests.support.auth import MovableClock
from tests.support.film_desk import FilmDesk, changes_of, check_log, dollars, film, number_of
from tests.support.running import Running
from tests.support.statuses import check_row, refused
from tests.support.user_desk import audited

CREATE = "/interview.catalogue.v1.CatalogueService/CreateFilm"
EVERYTHING: dict[str, Any] = {
    "title": "ÉTÉ À LA MER 🎬",
    "description": "A line\nand another one of hippopotamuses",
    "release_year": 1999,
    "language": "languages/1",
    "original_language": "languages/1",
    "rental_duration_days": 7,
    "rental_rate": dollars(0, 1),
    "length_minutes": 32_767,
    "replacement_cost": dollars(999, 99),
    "rating": resources.FILM_RATING_PG_13,
    "special_features": [
        resources.SPECIAL_FEATURE_TRAILERS,
        resources.SPECIAL_FEATURE_DELETED_SCENES,
    ],
    "streaming_available": True,
    "categories": ["categories/1", "categories/2"],
    "actors": ["actors/1", "actors/2", "actors/3"],
}


@pytest.fixture
async def desk(shared: Running) -> FilmDesk:
    return await FilmDesk.open(shared)


async def test_every_field_is_kept(desk: FilmDesk, movable: MovableClock) -> None:
    """AIP-133."""
    made = await desk.create(**EVERYTHING)
    for name, value in EVERYTHING.items():
        sent = getattr(resources.Film(**EVERYTHING), name)
        assert getattr(made, name) == sent, (name, value)
    assert made.labels.language == made.labels.original_language == "English"
    assert len(made.labels.categories) == 2
    assert len(made.labels.actors) == 3
    assert made.create_time.ToDatetime(movable.now.tzinfo) == movable.now
    assert made.create_time == made.update_time
    assert made == await desk.get(made.name)


async def test_what_is_not_sent_gets_its_default(desk: FilmDesk) -> None:
    """Pagila's own defaults."""
    made = await desk.create()
    assert made.rental_duration_days == 3
    assert (made.rental_rate, made.replacement_cost) == (dollars(4, 99), dollars(19, 99))
    assert not made.HasField("release_year")
    assert not made.HasField("length_minutes")
    assert not made.HasField("delete_time")
    assert made.rating == resources.FILM_RATING_UNSPECIFIED
    assert not made.streaming_available


async def test_what_the_server_sets_is_cleared_and_never_refused(desk: FilmDesk) -> None:
    """AIP-203: a film that was read makes another one."""
    first = await desk.create(**EVERYTHING)
    sent = resources.Film()
    sent.CopyFrom(first)
    sent.name, sent.etag, sent.revision = "films/1", "no tag at all" * 10, 77
    sent.delete_time.CopyFrom(Timestamp(seconds=1))
    sent.purge_time.CopyFrom(Timestamp(seconds=2))
    sent.create_time.CopyFrom(Timestamp(seconds=3))
    sent.labels.language = "Klingon"
    made = await desk.CreateFilm(pb.CreateFilmRequest(film=sent))
    assert number_of(made.name) > number_of(first.name)
    assert made.revision == first.revision + 1
    for name in ("name", "etag", "revision", "create_time", "update_time"):
        for one in (first, made):
            one.ClearField(name)
    assert made == first


async def test_it_is_logged_counted_indexed_and_audited(shared: Running, desk: FilmDesk) -> None:
    """ASVS 16.2.1."""
    call = desk.create(**EVERYTHING)
    made = await call
    trailers = dict(await call.trailing_metadata() or ())
    assert trailers["x-interview-revision"] == str(made.revision)
    (change,) = await changes_of(shared.app.database, made.name)
    assert (change.change_type, change.revision) == ("created", made.revision)
    assert change.previous is None
    assert change.principal.startswith("users/")
    assert change.request_id == trailers["x-request-id"]
    (event,) = await audited(shared, made.name)
    assert event["method"].endswith("CreateFilm")
    assert event["request"]["film"]["title"] == EVERYTHING["title"]
    await check_log(shared.app.database)


_LONG = "x" * 256
BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({"title": ""}, ["title"]),
    ({"title": " \u3000 "}, ["title"]),
    ({"title": _LONG}, ["title"]),
    ({"title": "a\0b"}, ["title"]),
    ({"title": "a\nb"}, ["title"]),
    ({"title": "a\u2028b"}, ["title"]),
    ({"description": "x" * 10_001}, ["description"]),
    ({"description": "a\0b"}, ["description"]),
    ({"release_year": 1900}, ["release_year"]),
    ({"release_year": 2156}, ["release_year"]),
    ({"release_year": 0}, ["release_year"]),
    ({"release_year": -(2**31)}, ["release_year"]),
    ({"language": ""}, ["language"]),
    ({"language": "languages/0"}, ["language"]),
    ({"language": "languages/01"}, ["language"]),
    ({"language": "categories/1"}, ["language"]),
    ({"language": "languages/99999999999"}, ["language"]),
    ({"language": "languages/1\n"}, ["language"]),
    ({"language": "languages/\u0661"}, ["language"]),
    ({"original_language": "x"}, ["original_language"]),
    ({"rental_duration_days": -1}, ["rental_duration_days"]),
    ({"rental_duration_days": 366}, ["rental_duration_days"]),
    ({"rental_rate": Money()}, ["rental_rate"]),
    ({"rental_rate": dollars(0)}, ["rental_rate"]),
    ({"rental_rate": dollars(-1)}, ["rental_rate"]),
    ({"rental_rate": dollars(100)}, ["rental_rate"]),
    ({"rental_rate": dollars(1, currency="EUR")}, ["rental_rate"]),
    ({"rental_rate": Money(currency_code="USD", units=1, nanos=1)}, ["rental_rate"]),
    ({"rental_rate": Money(currency_code="USD", units=1, nanos=10**9)}, ["rental_rate"]),
    ({"rental_rate": Money(currency_code="USD", units=2, nanos=-(10**7))}, ["rental_rate"]),
    ({"replacement_cost": dollars(1000)}, ["replacement_cost"]),
    ({"replacement_cost": dollars(2**63 - 1)}, ["replacement_cost"]),
    ({"replacement_cost": dollars(-(2**63))}, ["replacement_cost"]),
    ({"length_minutes": 0}, ["length_minutes"]),
    ({"length_minutes": 32_768}, ["length_minutes"]),
    ({"rating": 6}, ["rating"]),
    ({"rating": -1}, ["rating"]),
    ({"special_features": [1, 0]}, ["special_features[1]"]),
    ({"special_features": [1, 5]}, ["special_features[1]"]),
    ({"special_features": [1, 1]}, ["special_features"]),
    ({"special_features": [1] * 17}, ["special_features"]),
    ({"categories": ["categories/1", "x", ""]}, ["categories[1]", "categories[2]"]),
    ({"categories": ["categories/1"] * 2}, ["categories"]),
    ({"categories": [f"categories/{n}" for n in range(1, 34)]}, ["categories"]),
    ({"actors": [f"actors/{n}" for n in range(1, 258)]}, ["actors"]),
]


@pytest.mark.parametrize(("fields", "bad"), BAD)
async def test_a_bad_field_is_named(desk: FilmDesk, fields: dict[str, Any], bad: list[str]) -> None:
    """ASVS 2.2.1: and nothing of it gets as far as the database."""
    told = await refused(desk.create(**fields))
    check_row(told, "VALIDATION_FAILED")
    assert told.bad_fields == [f"film.{field}" for field in bad]


@pytest.mark.parametrize(
    "fields",
    [
        {"title": "x" * 255},
        {"description": "\U0001f3ac" * 10_000},
        {"release_year": 1901},
        {"release_year": 2155},
        {"rental_duration_days": 365},
        {"rental_rate": dollars(99, 99)},
        {"length_minutes": 1},
        {"special_features": [4, 3, 2, 1]},
    ],
)
async def test_what_is_just_allowed_is_taken(desk: FilmDesk, fields: dict[str, Any]) -> None:
    made = await desk.create(**fields)
    (name,) = fields
    assert getattr(made, name) == getattr(film(**fields), name)


async def test_all_that_is_wrong_is_told_at_once(desk: FilmDesk) -> None:
    """AIP-193."""
    fields = {"title": "", "language": "", "release_year": 1, "rating": 9, "actors": ["", "x"]}
    told = await refused(desk.create({"request_id": "x"}, **fields))
    check_row(told, "VALIDATION_FAILED")
    assert told.bad_fields == [
        "film.title",
        "film.release_year",
        "film.language",
        "film.rating",
        "film.actors[0]",
        "film.actors[1]",
        "request_id",
    ]
    told = await refused(desk.CreateFilm(pb.CreateFilmRequest()))
    assert told.bad_fields == ["film.title", "film.language"]


async def test_all_that_is_missing_is_told_at_once(shared: Running, desk: FilmDesk) -> None:
    """AIP-193."""
    before = len(await changes_of(shared.app.database))
    told = await refused(
        desk.create(
            language="languages/99",
            original_language="languages/2147483648",
            categories=["categories/1", "categories/999"],
            actors=["actors/9999999999", "actors/1"],
        )
    )
    check_row(told, "REFERENCE_NOT_FOUND")
    assert told.bad_fields == [
        "film.language",
        "film.original_language",
        "film.categories[1]",
        "film.actors[0]",
    ]
    assert told.metadata == {"field": "film.language", "resource_name": "languages/99"}
    assert len(await changes_of(shared.app.database)) == before


@pytest.mark.parametrize("text", [b"\xed\xa0\x80", b"\xff", b"a\xc0\x80b"])
async def test_text_that_is_no_text_is_refused(desk: FilmDesk, text: bytes) -> None:
    """A lone half of a character, which no client's library would send."""
    good = pb.CreateFilmRequest(film=film(title="@" * len(text))).SerializeToString()
    told = await refused(desk.raw(CREATE, good.replace(b"@" * len(text), text)))
    check_row(told, "VALIDATION_FAILED")


async def test_who_may_only_read_creates_nothing(shared: Running) -> None:
    """ASVS 8.2.1."""
    viewer = FilmDesk(shared, await shared.sign_in())
    for call in (viewer.create(), viewer.update("films/1"), viewer.delete("films/1")):
        check_row(await refused(call), "PERMISSION_DENIED")
    check_row(await refused(viewer.undelete("films/1")), "PERMISSION_DENIED")
