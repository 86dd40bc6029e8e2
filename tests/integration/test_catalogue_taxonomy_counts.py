"""film_count after random changes of films, categories and actors equals a real count."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server.generated.interview.catalogue.v1 import film_pb2
from server.generated.interview.catalogue.v1 import resources_pb2 as resources
from server.generated.interview.catalogue.v1 import taxonomy_pb2 as pb
from tests.support.amount import amount
from tests.support.running import Running
from tests.support.taxonomy_desk import TaxonomyDesk, new_name

FULL = film_pb2.ListFilmsRequest(page_size=1000, view=resources.FILM_VIEW_FULL)


class _Play:
    """Random changes of a few films, categories and actors that it made itself."""

    def __init__(self, desk: TaxonomyDesk, seed: int) -> None:
        self._desk = desk
        self._random = random.Random(seed)
        self._films: list[str] = []
        self._deleted: list[str] = []
        self._categories: list[str] = []
        self._actors: list[str] = []

    async def step(self) -> None:
        """Change something."""
        moves: list[Callable[[], Awaitable[None]]] = [
            self._create_film,
            self._create_film,
            self._change_film,
            self._change_film,
            self._delete_film,
            self._undelete_film,
            self._create_category,
            self._create_actor,
            self._rename,
            self._remove_category,
            self._remove_actor,
        ]
        await self._random.choice(moves)()

    async def _create_film(self) -> None:
        made = await self._desk.create(**self._links())
        self._films.append(made.name)

    async def _change_film(self) -> None:
        if self._films:
            name = self._random.choice(self._films)
            await self._desk.update(name, ["categories", "actors"], **self._links())

    async def _delete_film(self) -> None:
        if self._films:
            self._deleted.append(self._taken(self._films))
            await self._desk.delete(self._deleted[-1])

    async def _undelete_film(self) -> None:
        if self._deleted:
            self._films.append(self._taken(self._deleted))
            await self._desk.undelete(self._films[-1])

    async def _create_category(self) -> None:
        self._categories.append((await self._desk.create_category(new_name())).name)

    async def _create_actor(self) -> None:
        self._actors.append((await self._desk.create_actor("By", "Chance")).name)

    async def _rename(self) -> None:
        if self._categories:
            name = self._random.choice(self._categories)
            await self._desk.update_category(name, display_name=new_name())

    async def _remove_category(self) -> None:
        if self._categories:
            await self._desk.delete_category(self._taken(self._categories), force=True)

    async def _remove_actor(self) -> None:
        if self._actors:
            await self._desk.delete_actor(self._taken(self._actors), force=True)

    def _links(self) -> dict[str, Any]:
        return {"categories": self._some(self._categories), "actors": self._some(self._actors)}

    def _some(self, names: list[str]) -> list[str]:
        return self._random.sample(names, self._random.randint(0, min(4, len(names))))

    def _taken(self, names: list[str]) -> str:
        return names.pop(self._random.randrange(len(names)))


async def _told(desk: TaxonomyDesk) -> dict[str, int]:
    """Return what categories and actors tell of their films, where there are any."""
    rows: list[Any] = []
    categories = desk.ListCategories
    for list_rows, request in (
        (categories, pb.ListCategoriesRequest(page_size=1000)),
        (desk.ListActors, pb.ListActorsRequest(page_size=1000)),
    ):
        token = "-"
        while token:
            answer = await list_rows(request)
            rows += answer.categories if list_rows is categories else answer.actors
            token = request.page_token = answer.next_page_token
    return {row.name: row.film_count for row in rows if row.film_count}


async def _counted(desk: TaxonomyDesk) -> dict[str, int]:
    """Return how many films there are of each category and actor that has any, by the films."""
    counts: Counter[str] = Counter()
    request = film_pb2.ListFilmsRequest()
    request.CopyFrom(FULL)
    token = "-"
    while token:
        answer = await desk.ListFilms(request)
        for film in answer.films:
            counts.update([*film.categories, *film.actors])
        token = request.page_token = answer.next_page_token
    return dict(counts)


async def check_total(desk: TaxonomyDesk) -> None:
    """Hold the number of all films that a list tells against its pages."""
    request = film_pb2.ListFilmsRequest(page_size=1000, return_total_size=True)
    answer = await desk.ListFilms(request)
    films = len(answer.films)
    while answer.next_page_token:
        request.page_token = answer.next_page_token
        following = await desk.ListFilms(request)
        films += len(following.films)
        assert following.total_size == answer.total_size
        answer = following
    assert answer.total_size == films


@pytest.mark.long
async def test_counts_stay_right_whatever_changes(shared: Running) -> None:
    desk = await TaxonomyDesk.open(shared)
    assert await _told(desk) == await _counted(desk)
    for seed in range(amount(1, 20)):
        play = _Play(desk, seed)
        for step in range(60):
            await play.step()
            if step % 20 == 19:
                assert await _told(desk) == await _counted(desk), (seed, step)
        await check_total(desk)
