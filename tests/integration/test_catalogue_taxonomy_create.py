"""CreateCategory and CreateActor through a real server, on both databases (AIP-133, AIP-155)."""

from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from server.catalogue.domain import Actor, Category
from server.generated.interview.catalogue.v1 import resources_pb2 as resources
from server.generated.interview.catalogue.v1 import taxonomy_pb2 as pb
from tests.support.auth import MovableClock
from tests.support.running import VIEWER, Running
from tests.support.statuses import check_row, refused
from tests.support.taxonomy_desk import TaxonomyDesk, new_name, trailer_of
from tests.support.user_desk import audited, race

CALLERS = 20
REPLAYED = "x-interview-idempotent-replay"
CREATE = "/interview.catalogue.v1.CatalogueService/CreateCategory"


@pytest.fixture
async def desk(shared: Running) -> TaxonomyDesk:
    return await TaxonomyDesk.open(shared)


async def test_a_category_is_made(desk: TaxonomyDesk, movable: MovableClock) -> None:
    """AIP-133: what only the server sets is not looked at."""
    name = new_name()
    sent = resources.Category(
        name="categories/1",
        display_name=name,
        film_count=9,
        etag='"x"',
        update_time=Timestamp(seconds=9),
    )
    made = await desk.CreateCategory(pb.CreateCategoryRequest(category=sent))
    assert (made.display_name, made.film_count) == (name, 0)
    assert made.name not in {"", "categories/1"}
    assert made.update_time.ToDatetime(movable.now.tzinfo) == movable.now
    assert made == await desk.get_category(made.name)
    ((change_type, before, after),) = await desk.logged(made.name)
    assert (change_type, before) == ("created", None)
    number = int(made.name.removeprefix("categories/"))
    assert after == Category(number, name, 0, movable.now)


async def test_an_actor_is_made_and_may_have_a_namesake(
    desk: TaxonomyDesk, movable: MovableClock
) -> None:
    first = await desk.create_actor("Åsa", "O'Neill-李")
    second = await desk.create_actor("Åsa", "O'Neill-李")
    assert first.name != second.name
    assert (first.given_name, first.family_name) == ("Åsa", "O'Neill-李")
    assert first == await desk.get_actor(first.name)
    ((change_type, before, after),) = await desk.logged(second.name)
    number = int(second.name.removeprefix("actors/"))
    assert (change_type, before) == ("created", None)
    assert after == Actor(number, "Åsa", "O'Neill-李", 0, movable.now)


async def test_a_new_category_and_actor_can_be_given_to_films(desk: TaxonomyDesk) -> None:
    category = await desk.create_category(new_name())
    actor = await desk.create_actor("New", "Face")
    film = await desk.create(categories=[category.name], actors=[actor.name])
    assert list(film.labels.categories) == [category.display_name]
    assert list(film.labels.actors) == ["New Face"]
    assert (await desk.get_category(category.name)).film_count == 1
    assert (await desk.get_actor(actor.name)).film_count == 1


async def test_every_bad_field_is_told_at_once(desk: TaxonomyDesk) -> None:
    """ASVS 2.2.1."""
    told = await refused(desk.create_category("", request_id="x"))
    check_row(told, "VALIDATION_FAILED")
    assert told.bad_fields == ["category.display_name", "request_id"]
    told = await refused(desk.create_actor("", "x" * 46, request_id="x"))
    check_row(told, "VALIDATION_FAILED")
    assert told.bad_fields == ["actor.given_name", "actor.family_name", "request_id"]


@pytest.mark.parametrize(
    "bad", ["x" * 26, " a", "a ", "\u00a0a", "a\0b", "a\nb", "a\u2028b", "a\x7f", " ", "\u0085"]
)
async def test_a_name_of_another_form_is_refused_and_never_trimmed(
    desk: TaxonomyDesk, bad: str
) -> None:
    before = await desk.revision()
    told = await refused(desk.create_category(bad))
    check_row(told, "VALIDATION_FAILED")
    assert told.bad_fields == ["category.display_name"]
    if len(bad) < 26:
        told = await refused(desk.create_actor(bad, "Fine"))
        assert told.bad_fields == ["actor.given_name"]
    assert await desk.revision() == before


async def test_lengths_count_characters_and_not_bytes(desk: TaxonomyDesk) -> None:
    name = "\U0001f3ac" * 5 + new_name()[:12].ljust(20, "x")
    assert len(name) == 25
    assert (await desk.create_category(name)).display_name == name
    assert (await desk.create_actor("é" * 45, "漢" * 45)).given_name == "é" * 45


async def test_a_name_that_another_category_has_is_refused(desk: TaxonomyDesk) -> None:
    """AIP-193: the details say which field is taken, and by whom."""
    made = await desk.create_category(new_name())
    before = await desk.revision()
    told = await refused(desk.create_category(made.display_name))
    check_row(told, "RESOURCE_EXISTS")
    assert told.metadata == {"resource_name": made.name, "conflicting_field": "display_name"}
    assert told.by_kind["ResourceInfo"].resource_name == made.name
    assert await desk.revision() == before
    other_case = await desk.create_category(made.display_name.upper() + "A")
    assert (await desk.create_category(other_case.display_name.lower())).name != other_case.name


async def test_of_many_at_once_one_gets_the_name(desk: TaxonomyDesk) -> None:
    """ASVS 15.4.2: nothing comes between the question and the answer."""
    name = new_name()
    before = await desk.revision()
    answers, refusals = await race([partial(desk.create_category, name)] * CALLERS)
    assert (len(answers), len(refusals)) == (1, CALLERS - 1)
    assert {told.reason for told in refusals} == {"RESOURCE_EXISTS"}
    assert {told.metadata["resource_name"] for told in refusals} == {answers[0].name}
    found = await desk.ListCategories(pb.ListCategoriesRequest(filter=f'display_name = "{name}"'))
    assert [row.name for row in found.categories] == [answers[0].name]
    assert await desk.revision() == before + 1


async def test_a_repeat_gets_the_first_answer(desk: TaxonomyDesk) -> None:
    """AIP-155."""
    for create in (
        partial(desk.create_category, new_name()),
        partial(desk.create_actor, "Once", "Only"),
    ):
        request_id = str(uuid4())
        first = await create(request_id=request_id)
        before = await desk.revision()
        again = create(request_id=request_id)
        assert await trailer_of(again, REPLAYED) == "true"
        assert await again == first
        assert await desk.revision() == before
        assert len(await desk.logged(first.name)) == 1


async def test_of_equal_calls_at_once_one_creates_and_all_get_its_answer(
    desk: TaxonomyDesk,
) -> None:
    """AIP-155; ASVS 15.4.2."""
    ask = partial(desk.create_actor, "Many", new_name(), request_id=str(uuid4()))
    answers, refusals = await race([ask] * CALLERS)
    assert not refusals
    assert len({answer.SerializeToString() for answer in answers}) == 1


async def test_another_request_with_the_same_id_is_refused(desk: TaxonomyDesk) -> None:
    """AIP-155."""
    request_id = str(uuid4())
    await desk.create_category(new_name(), request_id=request_id)
    told = await refused(desk.create_category(new_name(), request_id=request_id))
    check_row(told, "REQUEST_ID_REUSED")


async def test_a_check_alone_changes_nothing(desk: TaxonomyDesk) -> None:
    """AIP-163: it answers as if, without what a creation alone gives: number and etag."""
    name, before = new_name(), await desk.revision()
    checked = await desk.create_category(name, validate_only=True)
    assert (checked.name, checked.etag, checked.display_name) == ("", "", name)
    assert not await trailer_of(desk.create_category(name, validate_only=True))
    actor = await desk.create_actor("Never", "There", validate_only=True)
    assert (actor.name, actor.given_name) == ("", "Never")
    assert await desk.revision() == before
    made = await desk.create_category(name)
    told = await refused(desk.create_category(name, validate_only=True))
    assert told.metadata["resource_name"] == made.name


async def test_a_change_tells_its_revision_and_is_audited(
    desk: TaxonomyDesk, shared: Running
) -> None:
    before = await desk.revision()
    assert await trailer_of(desk.create_category(new_name())) == str(before + 1)
    made = await desk.create_category(name := new_name())
    (event,) = await audited(shared, made.name)
    assert (event["method"], event["outcome"]) == (CREATE, "OK")
    assert event["request"]["category"]["display_name"] == name


async def test_who_reads_may_not_write(desk: TaxonomyDesk, shared: Running) -> None:
    viewer = await TaxonomyDesk.signed_in(shared, VIEWER)
    calls: list[Any] = [
        viewer.create_category(new_name()),
        viewer.update_category("categories/1", display_name="x"),
        viewer.delete_category("categories/1"),
        viewer.create_actor("a", "b"),
        viewer.update_actor("actors/1", given_name="x"),
        viewer.delete_actor("actors/1"),
    ]
    for call in calls:
        check_row(await refused(call), "PERMISSION_DENIED")


async def test_a_number_is_never_given_twice(desk: TaxonomyDesk) -> None:
    """AIP-122: a name means the same for ever."""
    category = await desk.create_category(new_name())
    await desk.delete_category(category.name)
    assert (await desk.create_category(new_name())).name != category.name
    actor = await desk.create_actor("a", "b")
    await desk.delete_actor(actor.name)
    assert (await desk.create_actor("a", "b")).name != actor.name
