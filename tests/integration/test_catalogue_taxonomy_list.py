"""ListCategories, ListActors and ListLanguages through a real server, on both databases."""

from typing import Any

import pytest

from server.generated.interview.catalogue.v1 import taxonomy_pb2 as pb
from tests.support.running import Running
from tests.support.statuses import check_row, refused
from tests.support.taxonomy_desk import TaxonomyDesk


@pytest.fixture
async def desk(shared: Running) -> TaxonomyDesk:
    return await TaxonomyDesk.open(shared)


async def _actors(desk: TaxonomyDesk, page_size: int = 1000, **fields: Any) -> list[Any]:
    """Return the actors of every page."""
    found: list[Any] = []
    token = ""
    while True:
        request = pb.ListActorsRequest(page_size=page_size, page_token=token, **fields)
        answer = await desk.ListActors(request)
        found += answer.actors
        token = answer.next_page_token
        if not token:
            return found
        assert len(answer.actors) == page_size


async def _categories(desk: TaxonomyDesk, **fields: Any) -> list[str]:
    answer = await desk.ListCategories(pb.ListCategoriesRequest(**fields))
    return [category.display_name for category in answer.categories]


def _number(row: Any) -> int:
    return int(row.name.split("/")[1])


async def test_without_an_order_rows_come_by_number(desk: TaxonomyDesk) -> None:
    numbers = [_number(actor) for actor in await _actors(desk, 37)]
    assert numbers == sorted(set(numbers))
    assert len(numbers) > 100
    answer = await desk.ListCategories(pb.ListCategoriesRequest())
    assert [_number(row) for row in answer.categories] == sorted(map(_number, answer.categories))


@pytest.mark.parametrize(
    ("order_by", "key", "descending"),
    [
        ("family_name", lambda row: (row.family_name.encode(), _number(row)), False),
        ("given_name desc", lambda row: (row.given_name.encode(), _number(row)), True),
        (
            "given_name, family_name",
            lambda row: (row.given_name.encode(), row.family_name.encode(), _number(row)),
            False,
        ),
        ("name desc", _number, True),
    ],
)
async def test_pages_of_an_order_join_to_the_whole(
    desk: TaxonomyDesk, order_by: str, key: Any, descending: bool
) -> None:
    """AIP-132: names compare by their bytes; of equal ones the number decides, in the direction
    of the last field."""
    whole = await _actors(desk, order_by=order_by)
    assert whole == sorted(whole, key=key, reverse=descending)
    assert len({row.name for row in whole}) == len(whole)
    assert await _actors(desk, 41, order_by=order_by) == whole


async def test_equal_names_follow_by_number_in_the_direction_of_the_last_field(
    desk: TaxonomyDesk,
) -> None:
    """AIP-132."""
    made = [(await desk.create_actor("Same", "Twinned")).name for _ in range(5)]
    for order_by, expected in (
        ("given_name", made),
        ("given_name desc", made[::-1]),
        ("given_name desc, family_name", made),
        ("given_name, family_name desc", made[::-1]),
    ):
        twins = 'family_name = "Twinned"'
        found = await _actors(desk, 2, filter=twins, order_by=order_by)
        assert [row.name for row in found] == expected, order_by


async def test_filters_find_what_they_say(desk: TaxonomyDesk) -> None:
    """AIP-160."""
    whole = await _actors(desk)
    for text, meets in (
        ('family_name = "S*"', lambda row: row.family_name.startswith("S")),
        ('name = "actors/7"', lambda row: row.name == "actors/7"),
        ('given_name != "Tom" AND family_name < "C"', lambda row: row.given_name != "Tom"
         and row.family_name.encode() < b"C"),
        ('in(name, "actors/3", "actors/4")', lambda row: _number(row) in {3, 4}),
        ('NOT contains(family_name, "A")', lambda row: "a" not in row.family_name.lower()),
    ):  # fmt: skip
        expected = [row for row in whole if meets(row)]
        assert 0 < len(expected) < len(whole), text
        assert await _actors(desk, 23, filter=text) == expected, text


async def test_a_bare_word_searches_names(desk: TaxonomyDesk) -> None:
    """AIP-160: the fields that are marked as searchable, together, for all of the words."""
    made = await desk.create_actor("Zelda", "Quux")
    await desk.create_actor("Quux", "Other")
    assert [row.name for row in await _actors(desk, filter="zelda quux")] == [made.name]
    assert len(await _actors(desk, filter='search("QUUX")')) == 2
    assert await _categories(desk, filter="horror") == ["Horror"]
    assert await _categories(desk, filter="zelda") == []


async def test_categories_are_filtered_and_ordered(desk: TaxonomyDesk) -> None:
    whole = await _categories(desk)
    assert len(whole) > 10
    by_name = sorted(whole, key=str.encode)
    assert await _categories(desk, order_by="display_name") == by_name
    assert await _categories(desk, order_by="display_name desc") == by_name[::-1]
    for_c = [name for name in by_name if name.startswith("C")]
    assert await _categories(desk, filter='display_name = "C*"', order_by="display_name") == for_c
    assert len(for_c) > 1


async def test_a_page_token_belongs_to_filter_and_order(desk: TaxonomyDesk) -> None:
    """AIP-158: what changed is named; the page's size may change."""
    for method, request in (
        (desk.ListActors, pb.ListActorsRequest),
        (desk.ListCategories, pb.ListCategoriesRequest),
    ):
        first = request(page_size=2, filter='name != "actors/1"', order_by="name desc")
        if request is pb.ListCategoriesRequest:
            first.filter = 'name != "categories/1"'
        token = (await method(first)).next_page_token
        for change, changed in (
            ({"filter": ""}, "filter"),
            ({"order_by": "name"}, "order_by"),
            ({"filter": "", "order_by": ""}, "filter,order_by"),
        ):
            fields: dict[str, Any] = {
                "filter": first.filter,
                "order_by": first.order_by,
                **change,
            }
            told = await refused(method(request(page_token=token, **fields)))
            check_row(told, "PAGE_TOKEN_MISMATCH")
            assert told.metadata == {"changed_fields": changed}
        again = request(page_size=5, page_token=token, filter=first.filter, order_by="name desc")
        await method(again)


async def test_a_token_of_another_method_is_none(desk: TaxonomyDesk) -> None:
    """AIP-158."""
    token = (await desk.ListActors(pb.ListActorsRequest(page_size=1))).next_page_token
    told = await refused(desk.ListCategories(pb.ListCategoriesRequest(page_token=token)))
    check_row(told, "PAGE_TOKEN_INVALID")


@pytest.mark.parametrize(
    ("fields", "reason", "metadata"),
    [
        ({"filter": "familyname = x"}, "FILTER_UNKNOWN_FIELD", ("did_you_mean", "family_name")),
        ({"filter": "film_count > 3"}, "FILTER_UNKNOWN_FIELD", ("field", "film_count")),
        ({"filter": "name = categories/1"}, "FILTER_TYPE_MISMATCH", ("field", "name")),
        ({"filter": "(given_name = a"}, "FILTER_SYNTAX", ("", "")),
        ({"order_by": "update_time"}, "ORDER_BY_INVALID", ("", "")),
        ({"order_by": "name, name"}, "ORDER_BY_INVALID", ("", "")),
    ],
)
async def test_what_cannot_be_asked_is_refused(
    desk: TaxonomyDesk, fields: Any, reason: str, metadata: tuple[str, str]
) -> None:
    """AIP-160, AIP-132: the contract's `query` options say what can be."""
    told = await refused(desk.ListActors(pb.ListActorsRequest(**fields)))
    check_row(told, reason)
    key, value = metadata
    assert not key or told.metadata[key] == value


async def test_every_wrong_field_is_told_at_once(desk: TaxonomyDesk) -> None:
    """ASVS 2.2.1."""
    request = pb.ListCategoriesRequest(
        page_size=-1, filter="x" * 2049, order_by="y" * 257, page_token="z" * 2049
    )
    told = await refused(desk.ListCategories(request))
    check_row(told, "VALIDATION_FAILED")
    assert sorted(told.bad_fields) == ["filter", "order_by", "page_size", "page_token"]


async def test_languages_come_in_pages_without_padding(desk: TaxonomyDesk) -> None:
    found: list[Any] = []
    token = ""
    while True:
        request = pb.ListLanguagesRequest(page_size=2, page_token=token)
        answer = await desk.ListLanguages(request)
        found += answer.languages
        token = answer.next_page_token
        if not token:
            break
    assert [_number(row) for row in found] == sorted({_number(row) for row in found})
    assert all(row.display_name == row.display_name.strip() for row in found)
    assert "English" in {row.display_name for row in found}
