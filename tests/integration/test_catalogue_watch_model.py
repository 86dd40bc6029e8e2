"""A client that keeps a copy of the catalogue by a watch: however it is cut, the copy is right."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest

from server.generated.interview.catalogue.v1 import change_pb2 as pb
from server.generated.interview.catalogue.v1 import film_pb2, taxonomy_pb2
from server.generated.interview.catalogue.v1 import resources_pb2 as resources
from tests.support.amount import amount
from tests.support.running import ADMIN, running_server
from tests.support.statuses import told_by
from tests.support.watch_desk import WatchDesk, logged, skip_revision, watching

STEPS = amount(60, 2000)
CLIENTS = 4
SEEDS = range(amount(1, 10))
GONE = frozenset({pb.CHANGE_TYPE_DELETED, pb.CHANGE_TYPE_PURGED})
LONG = "length_minutes > 100"


@pytest.fixture
async def desk(sample_database_url: str, tmp_path: Path) -> AsyncIterator[WatchDesk]:
    """An administrator at a server that keeps few changes in memory."""
    settings: dict[str, Any] = {"watch_buffer": 100, "write_rate": 0, "watch_rate": 0}
    async with running_server(sample_database_url, tmp_path, **settings) as server:
        yield WatchDesk(server, await server.sign_in(ADMIN))


class Copy:
    """What a client knows: names and what they stand for. It is cut now and then."""

    def __init__(self, desk: WatchDesk, random: Random, film_filter: str) -> None:
        self.desk, self.random, self.film_filter = desk, random, film_filter
        self.known: dict[str, Any] = {}
        self.cursor = ""
        self.revision = 0
        self.snapshots = 0

    async def follow(self, done: asyncio.Future[int]) -> None:
        """Watch until everything is known that was done."""
        while not (done.done() and self.revision >= done.result()):
            try:
                await self._watch(done, self.random.randrange(1, 40))
            except grpc.aio.AioRpcError as error:
                if told_by(error).reason != "CURSOR_EXPIRED":
                    raise
                self.cursor = ""
            await asyncio.sleep(self.random.random() / 20)

    async def _watch(self, done: asyncio.Future[int], messages: int) -> None:
        start: dict[str, Any] = {"start_cursor": self.cursor}
        if not self.cursor:
            start, self.known = {"include_snapshot": True}, {}
            self.snapshots += 1
        fields = {"film_filter": self.film_filter, "interval": 1, **start}
        async with watching(self.desk.running, self.desk.metadata, **fields) as watch:
            while messages > 0 and not (done.done() and self.revision >= done.result()):
                message = await watch.next()
                self._take(message)
                # One that is cut within a snapshot begins anew: let it come to its end mostly.
                messages -= not message.HasField("snapshot_item") or self.random.random() < 0.0002

    def _take(self, message: pb.WatchCatalogueResponse) -> None:
        self.cursor = message.cursor or self.cursor
        if message.HasField("snapshot_item"):
            kind = message.snapshot_item.resource.WhichOneof("resource")
            resource = getattr(message.snapshot_item.resource, str(kind))
            self.known[resource.name] = resource
        elif message.HasField("change"):
            change = message.change
            assert change.revision > self.revision
            self.revision = change.revision
            if change.change_type in GONE or change.left_filter:
                self.known.pop(change.resource_name, None)
            else:
                kind = change.resource.WhichOneof("resource")
                self.known[change.resource_name] = getattr(change.resource, str(kind))
        elif message.HasField("snapshot_end"):
            self.revision = message.snapshot_end.revision
        else:
            self.revision = message.checkpoint.revision


@pytest.mark.parametrize("seed", SEEDS)
async def test_copies_that_were_cut_at_random_are_the_catalogue(desk: WatchDesk, seed: int) -> None:
    done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    copies = [
        Copy(desk, Random(f"{seed}-{number}"), LONG if number % 2 else "")
        for number in range(CLIENTS)
    ]
    async with asyncio.TaskGroup() as tasks:
        for copy in copies:
            tasks.create_task(copy.follow(done))
        await _history(desk, Random(seed))
        made = await desk.create(title="THE END", length_minutes=200)
        done.set_result(made.revision)
    expected = {name: await _catalogue(desk, name) for name in ("", LONG)}
    for copy in copies:
        assert copy.known.keys() == expected[copy.film_filter].keys()
        for name, resource in expected[copy.film_filter].items():
            assert _comparable(copy.known[name]) == _comparable(resource)
    assert len(await logged(desk.running.app.database)) > STEPS // 2
    assert sum(copy.snapshots for copy in copies) > CLIENTS


def _comparable(resource: Any) -> Any:
    """Return a resource without what changes with others: film counts and labels."""
    plain = type(resource).FromString(resource.SerializeToString())
    for field in ("film_count", "labels"):
        if field in plain.DESCRIPTOR.fields_by_name:
            plain.ClearField(field)
    return plain


async def _history(desk: WatchDesk, random: Random) -> None:
    """Change this and that; in the middle films are loaded past the service."""
    films, deleted, categories = ["films/1", "films/2", "films/3"], [], []
    for step in range(STEPS):
        if step == STEPS // 2:
            await skip_revision(desk.running.app.database)
        choice = random.randrange(7)
        if choice == 0 or not films:
            made = await desk.create(title=f"F{step}", length_minutes=random.randrange(50, 150))
            films.append(made.name)
        elif choice == 1:
            films.remove(name := random.choice(films))
            deleted.append((await desk.delete(name)).name)
        elif choice == 2 and deleted:
            deleted.remove(name := random.choice(deleted))
            films.append((await desk.undelete(name)).name)
        elif choice == 3:
            category = resources.Category(display_name=f"Category {step}")
            request = taxonomy_pb2.CreateCategoryRequest(category=category)
            categories.append((await desk.CreateCategory(request)).name)
        elif choice == 4 and categories:
            categories.remove(name := random.choice(categories))
            await desk.DeleteCategory(taxonomy_pb2.DeleteCategoryRequest(name=name))
        else:
            length = random.randrange(50, 150)
            await desk.update(random.choice(films), length_minutes=length)


async def _catalogue(desk: WatchDesk, condition: str) -> dict[str, Any]:
    """Return everything that there is, by name, as lists tell it."""
    found: dict[str, Any] = {}
    lists: list[tuple[Any, Any, str]] = [
        (desk.ListFilms, film_pb2.ListFilmsRequest(filter=condition), "films"),
        (desk.ListCategories, taxonomy_pb2.ListCategoriesRequest(), "categories"),
        (desk.ListActors, taxonomy_pb2.ListActorsRequest(), "actors"),
        (desk.ListLanguages, taxonomy_pb2.ListLanguagesRequest(), "languages"),
    ]
    for method, request, field in lists:
        request.page_size = 1000
        if field == "films":
            request.view = resources.FILM_VIEW_FULL
        while True:
            page = await method(request)
            found |= {resource.name: resource for resource in getattr(page, field)}
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
    return found
