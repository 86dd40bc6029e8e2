"""How the databases find films: every list of a big catalogue is led by an index."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from server.catalogue.domain import Catalogue
from server.catalogue.query_fields import actor_fields, category_fields, film_fields
from server.catalogue.repository import SqlCatalogue
from server.catalogue.taxonomy import Taxonomy
from server.catalogue.taxonomy_reads import TaxonomyRows
from server.core.clock import utc_now
from server.core.paging import PageRequest
from server.database.engine import Database
from tests.support.plans import Plan, Recording, filled, plans, record

FILMS = 20_000
PAGE = PageRequest(50)
SORTABLE = sorted(path for path, spec in film_fields().items() if spec.sortable)


@dataclass
class Big:
    """A catalogue of FILMS films, and what is read of it."""

    database: Database
    recording: Recording
    catalogue: Catalogue
    taxonomy: Taxonomy

    async def plan(self, *, at_most: int, by_number: bool = False) -> Plan:
        """Return the plan of the one statement that ran, which has no fault."""
        (found,) = await plans(self.database, self.recording, at_most=at_most, by_number=by_number)
        assert not found.faults, f"{found.faults}\n{found}"
        return found

    async def deep(self, order_by: str, **arguments: Any) -> PageRequest:
        """Return a page in the middle of the list."""
        page = PageRequest(1, skip=FILMS // 2)
        found = await self.catalogue.list_films(page, order_by=order_by, **arguments)
        self.recording.ran.clear()
        return PageRequest(50, found.next_after)


@pytest.fixture(scope="module", params=("sqlite", "postgresql"))
async def big(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Big]:
    async with filled(request, tmp_path_factory.mktemp("big"), FILMS) as database:
        recording = record(database)
        taxonomy = Taxonomy(TaxonomyRows(database), category_fields(), actor_fields())
        catalogue = Catalogue(SqlCatalogue(database), film_fields(), utc_now)
        yield Big(database, recording, catalogue, taxonomy)


@pytest.mark.parametrize("direction", ["", " desc"])
@pytest.mark.parametrize("field", SORTABLE)
async def test_an_order_is_read_from_its_index(big: Big, field: str, direction: str) -> None:
    order_by = field + direction
    await big.catalogue.list_films(PAGE, order_by=order_by)
    first = await big.plan(at_most=500, by_number=field == "name")
    await big.catalogue.list_films(await big.deep(order_by), order_by=order_by)
    deep = await big.plan(at_most=500)
    if field not in {"name", "title"}:
        assert f"idx_film_order_{field}" in str(first)
        assert f"idx_film_order_{field}" in str(deep)


@pytest.mark.parametrize("order_by", ["title, release_year desc", "release_year desc, title"])
async def test_several_fields_are_read_from_the_index_of_the_first(big: Big, order_by: str) -> None:
    await big.catalogue.list_films(PAGE, order_by=order_by)
    await big.plan(at_most=1500)
    await big.catalogue.list_films(await big.deep(order_by), order_by=order_by)
    await big.plan(at_most=1500)


async def test_the_list_by_number_is_read_from_the_key(big: Big) -> None:
    for page in (PAGE, PageRequest(50, (FILMS // 2,))):
        for show_deleted in (False, True):
            await big.catalogue.list_films(page, show_deleted=show_deleted)
            await big.plan(at_most=500, by_number=True)


@pytest.mark.parametrize(
    ("where", "index"),
    [
        ("release_year = 2005", "idx_film_order_release_year"),
        ("in(release_year, 2005, 2006)", ""),
        ("length_minutes = 90", "idx_film_order_length_minutes"),
        ('title = "TITLE 7919"', "idx_title"),
        ("name = films/17", ""),
    ],
)
@pytest.mark.parametrize("order_by", ["", "title"])
async def test_equal_values_are_found_by_an_index(
    big: Big, where: str, index: str, order_by: str
) -> None:
    await big.catalogue.list_films(PAGE, where=where, order_by=order_by, count=True)
    for plan in await plans(big.database, big.recording, at_most=3000):
        assert not plan.faults, plan
        assert index in str(plan)


@pytest.mark.parametrize(
    ("field", "bound"),
    [
        ("release_year", "1951"),
        ("length_minutes", "42"),
        ("title", '"TITLE 2"'),
        ("update_time", '"2023-11-16T00:00:00Z"'),
        ("create_time", '"2023-11-16T00:00:00Z"'),
    ],
)
async def test_a_range_is_found_by_an_index(big: Big, field: str, bound: str) -> None:
    where = f"{field} < {bound}"
    await big.catalogue.list_films(PAGE, where=where, order_by=field, count=True)
    for plan in await plans(big.database, big.recording, at_most=FILMS // 4):
        assert not plan.faults, plan
        assert f"_{field}" in str(plan)


@pytest.mark.parametrize(
    "where",
    [
        "categories:categories/3",
        "actors:actors/7",
        'labels.actors:"GIVEN7 FAMILY34"',
        "rating = PG",
        "rating = PG AND release_year >= 2005",
        "language = languages/2",
    ],
)
async def test_a_filtered_list_reads_a_part_of_the_films(big: Big, where: str) -> None:
    await big.catalogue.list_films(PAGE, where=where)
    await big.plan(at_most=FILMS // 4, by_number=True)
    await big.catalogue.list_films(PageRequest(50, (FILMS // 2,)), where=where)
    await big.plan(at_most=FILMS // 4, by_number=True)


async def test_films_are_found_by_their_numbers(big: Big) -> None:
    await big.catalogue.get_film(17)
    await big.plan(at_most=10)
    await big.catalogue.batch_get_films(range(1, 101))
    await big.plan(at_most=500)


async def test_the_whole_is_counted_already(big: Big) -> None:
    found = await big.catalogue.list_films(PAGE, count=True)
    _, counted = await plans(big.database, big.recording, at_most=500)
    assert found.total_size == FILMS - FILMS // 50
    assert "film_count" in str(counted)
    assert not counted.faults


async def test_categories_actors_and_languages_count_no_films(big: Big) -> None:
    await big.taxonomy.list_categories(PAGE)
    await big.taxonomy.list_categories(PAGE, where='display_name = "Category 1*"')
    await big.taxonomy.list_actors(PAGE, order_by="family_name desc")
    await big.taxonomy.list_languages(PAGE)
    for plan in await plans(big.database, big.recording, at_most=1000):
        assert not plan.faults
        assert "film_category" not in str(plan)
        assert "film_actor" not in str(plan)
