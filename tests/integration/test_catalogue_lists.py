"""Lists of films while films come and go, with deleted films, and their counts."""

import asyncio
from collections.abc import Callable, Mapping
from itertools import pairwise
from random import Random
from typing import Any, Final
from uuid import uuid4

import pytest

from server.catalogue import film_lists
from server.catalogue.domain import Catalogue
from server.catalogue.query_fields import film_fields
from server.catalogue.repository import SqlCatalogue
from server.core.clock import utc_now
from server.core.paging import PageRequest
from server.generated.interview.catalogue.v1 import film_pb2 as pb
from server.generated.interview.catalogue.v1 import resources_pb2 as resources
from tests.support.amount import amount
from tests.support.auth import MovableClock
from tests.support.film_desk import FilmDesk, dollars, number_of
from tests.support.running import Running
from tests.support.statuses import check_row, refused
from tests.support.user_desk import plant_shop

ORDERS: Final = (
    *("", "name desc", "title", "title desc", "release_year", "release_year desc"),
    *("length_minutes, title desc", "rating", "rating desc", "rating desc, release_year"),
    *("delete_time", "delete_time desc", "create_time desc", "update_time, name desc"),
    *("rental_rate, rental_duration_days desc, replacement_cost", "rental_rate desc, rating"),
)
STEADY: Final = 24
"""Films that do not change while they are listed."""


@pytest.fixture(scope="module", autouse=True)
async def shop(shared: Running) -> None:
    await plant_shop(shared)


@pytest.fixture
async def desk(shared: Running) -> FilmDesk:
    return await FilmDesk.open(shared)


async def _films(desk: FilmDesk, token: str = "", **fields: Any) -> list[resources.Film]:
    """Return the films of every page, or of those from a token on."""
    found: list[resources.Film] = []
    while True:
        answer = await desk.ListFilms(pb.ListFilmsRequest(page_token=token, **fields))
        found += answer.films
        token = answer.next_page_token
        if not token:
            return found


async def _made(desk: FilmDesk, title: str, chance: Random) -> str:
    fields: dict[str, Any] = {
        "release_year": chance.choice([None, 1999, 2005]),
        "length_minutes": chance.choice([None, 90, 32767]),
        "rating": chance.choice([0, 1, 2, 5]),
        "rental_rate": dollars(chance.choice([1, 2])),
        "rental_duration_days": chance.choice([3, 4]),
    }
    made = await desk.create(title=title, **{k: v for k, v in fields.items() if v is not None})
    return str(made.name)


_RANKS: Final[Mapping[str, Callable[[resources.Film], Any]]] = {
    "name": lambda film: number_of(film.name),
    "title": lambda film: film.title.encode(),
    "release_year": lambda film: film.release_year or 9999,
    "length_minutes": lambda film: film.length_minutes or 99999,
    "rating": lambda film: film.rating or 99,
    "rental_rate": lambda film: (film.rental_rate.units, film.rental_rate.nanos),
    "replacement_cost": lambda film: (film.replacement_cost.units, film.replacement_cost.nanos),
    "rental_duration_days": lambda film: film.rental_duration_days,
    "create_time": lambda film: film.create_time.ToNanoseconds(),
    "update_time": lambda film: film.update_time.ToNanoseconds(),
    "delete_time": lambda film: (
        film.delete_time.ToNanoseconds() if film.HasField("delete_time") else 2**63
    ),
}


def _is_before(one: resources.Film, other: resources.Film, order_by: str) -> bool:
    """Tell whether the contract puts a film before another one."""
    descending = False
    for term in [part.split() for part in order_by.split(",") if part]:
        descending = term[1:] == ["desc"]
        left, right = _RANKS[term[0]](one), _RANKS[term[0]](other)
        if left != right:
            return bool(left > right) is descending
    left, right = number_of(one.name), number_of(other.name)
    return left > right if descending else left < right


class _Movers:
    """Films of a title that come, go and come back."""

    def __init__(self, desk: FilmDesk, title: str, chance: Random) -> None:
        self._desk, self._title, self._chance = desk, title, chance
        self.here: list[str] = []
        self.gone: list[str] = []

    async def move(self) -> None:
        """Create a film, delete one or take a deletion back."""
        step = self._chance.randrange(3)
        if step == 0 or not (self.here or self.gone):
            self.here.append(await _made(self._desk, self._title, self._chance))
        elif step == 1 and self.here:
            self.gone.append(self.here.pop(self._chance.randrange(len(self.here))))
            await self._desk.delete(self.gone[-1])
        elif self.gone:
            self.here.append(self.gone.pop(self._chance.randrange(len(self.gone))))
            await self._desk.undelete(self.here[-1])


@pytest.mark.parametrize("seed", range(amount(2, 20)))
async def test_films_that_do_not_change_come_once_while_others_do(
    desk: FilmDesk, movable: MovableClock, seed: int
) -> None:
    """AIP-158."""
    chance = Random(seed)
    title = f"Paged {uuid4()}"
    steady = []
    for _ in range(STEADY):
        steady.append(await _made(desk, title, chance))
        movable.advance(milliseconds=chance.randrange(2))
    for name in steady[::4]:
        await desk.delete(name)
    movers = _Movers(desk, title, chance)
    for order_by in chance.sample(ORDERS, amount(6, len(ORDERS))):
        show_deleted = chance.random() < 0.6
        fields: dict[str, Any] = {
            "order_by": order_by,
            "show_deleted": show_deleted,
            "filter": f'title = "{title}"',
            "page_size": chance.randint(1, 7),
        }
        found, token = [], ""
        while True:
            movable.advance(milliseconds=1)
            answer, *_ = await asyncio.gather(
                desk.ListFilms(pb.ListFilmsRequest(page_token=token, **fields)), movers.move()
            )
            found += answer.films
            token = answer.next_page_token
            if not token:
                break
        names = [film.name for film in found]
        meant = steady if show_deleted else [name for name in steady if name not in steady[::4]]
        assert sorted(name for name in names if name in steady) == sorted(meant), fields
        wrong = [
            (one.name, other.name)
            for one, other in pairwise(found)
            if not _is_before(one, other, order_by)
        ]
        assert not wrong, fields


@pytest.mark.parametrize("order_by", ORDERS)
async def test_pages_of_every_size_are_the_whole_list_in_order(
    desk: FilmDesk, order_by: str
) -> None:
    """AIP-132, AIP-158: in every order, without holes and repeats."""
    fields = {"order_by": order_by, "filter": "release_year < 1985 OR NOT rating:*"}
    whole = await _films(desk, page_size=1000, show_deleted=True, **fields)
    assert len(whole) > 15
    for one, other in pairwise(whole):
        assert _is_before(one, other, order_by)
    assert await _films(desk, page_size=7, show_deleted=True, **fields) == whole


async def test_deleted_films_are_listed_where_they_are_asked_for(desk: FilmDesk) -> None:
    """AIP-164."""
    title = f"Gone {uuid4()}"
    here = await desk.create(title=title)
    gone = (await desk.delete((await desk.create(title=title)).name)).name
    mine = f'title = "{title}"'

    async def names(**fields: Any) -> list[str]:
        return [film.name for film in await _films(desk, **fields)]

    assert await names(filter=mine) == [here.name]
    assert await names(filter=mine, order_by="title desc") == [here.name]
    assert await names(filter=mine, show_deleted=True) == [here.name, gone]
    assert await names(filter=mine, show_deleted=True, order_by="delete_time") == [gone, here.name]
    assert await names(filter=f"{mine} delete_time:*", show_deleted=True) == [gone]
    assert await names(filter=f"{mine} delete_time <= now()", show_deleted=True) == [gone]
    assert await names(filter=f"{mine} delete_time:*") == []
    everything = await names(page_size=1000, show_deleted=True)
    assert gone in everything
    assert gone not in await names(page_size=1000)
    titles = (await SqlCatalogue(desk.running.app.database).names()).titles
    numbers = {f"films/{title.number}" for title in titles}
    assert here.name in numbers
    assert gone not in numbers


async def test_totals_leave_deleted_films_out_unless_asked(desk: FilmDesk) -> None:
    async def total(**fields: Any) -> int:
        request = pb.ListFilmsRequest(page_size=1, return_total_size=True, **fields)
        return int((await desk.ListFilms(request)).total_size)

    here, all_films = await total(), await total(show_deleted=True)
    assert here == len(await _films(desk, page_size=1000))
    assert all_films == len(await _films(desk, page_size=1000, show_deleted=True))
    assert await total(filter="NOT delete_time:*", show_deleted=True) == here
    assert await total(filter="delete_time:*", show_deleted=True) == all_films - here
    made = (await desk.create()).name
    assert await total() == here + 1
    await desk.delete(made)
    assert (await total(), await total(show_deleted=True)) == (here, all_films + 1)
    assert await total(filter="title = Nothing") == 0


async def test_films_that_meet_a_filter_are_counted_up_to_a_bound(
    desk: FilmDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert film_lists.MAX_COUNT == 100_000
    monkeypatch.setattr(film_lists, "MAX_COUNT", 7)
    catalogue = Catalogue(SqlCatalogue(desk.running.app.database), film_fields(), utc_now)
    page = PageRequest(1)
    for where, show_deleted, counted in (
        ("release_year > 0", False, 7),
        ("", True, 7),
        ("title = Nothing", False, 0),
    ):
        found = await catalogue.list_films(page, where=where, show_deleted=show_deleted, count=True)
        assert found.total_size == counted
    whole = await catalogue.list_films(page, count=True)
    assert (whole.total_size or 0) > 250


async def test_now_is_the_time_of_the_first_page(desk: FilmDesk, movable: MovableClock) -> None:
    title = f"Zanzibar {uuid4()}"
    for _ in range(3):
        await desk.create(title=title)
    sought: dict[str, Any] = {
        "query": "zanzibar",
        "filter": 'create_time > ago("1h")',
        "page_size": 1,
    }
    found = await desk.SearchFilms(pb.SearchFilmsRequest(**sought))
    fields: dict[str, Any] = {
        "filter": f'title = "{title}" create_time > ago("1h")',
        "page_size": 1,
    }
    first = await desk.ListFilms(pb.ListFilmsRequest(**fields))
    movable.advance(hours=2)
    desk = await FilmDesk.open(desk.running)
    assert len(await _films(desk, first.next_page_token, **fields)) == 2
    sought["page_token"] = found.next_page_token
    assert len((await desk.SearchFilms(pb.SearchFilmsRequest(**sought))).matches) == 1
    assert not await _films(desk, **fields)


async def test_a_token_is_for_lists_with_the_same_deleted_films_and_72_hours(
    desk: FilmDesk, movable: MovableClock
) -> None:
    token = (await desk.ListFilms(pb.ListFilmsRequest(page_size=1))).next_page_token
    other = pb.ListFilmsRequest(page_token=token, show_deleted=True)
    told = await refused(desk.ListFilms(other))
    check_row(told, "PAGE_TOKEN_MISMATCH")
    assert told.metadata["changed_fields"] == "show_deleted"
    movable.advance(hours=72)
    desk = await FilmDesk.open(desk.running)
    assert (await desk.ListFilms(pb.ListFilmsRequest(page_token=token, page_size=3))).films
    movable.advance(seconds=1)
    told = await refused(desk.ListFilms(pb.ListFilmsRequest(page_token=token)))
    check_row(told, "PAGE_TOKEN_EXPIRED")
