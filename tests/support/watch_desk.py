"""Who watches the catalogue, at a server in the test's own loop."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from sqlalchemy import select

from server.catalogue.change_log import ChangeLog
from server.catalogue.models import CatalogueChange
from server.core.clock import utc_now
from server.database.engine import Database
from server.generated.interview.catalogue.v1 import catalogue_service_pb2_grpc
from server.generated.interview.catalogue.v1 import change_pb2 as pb
from tests.support.caller import Metadata
from tests.support.film_desk import FilmDesk
from tests.support.running import Running

SECONDS = 20.0
"""After which a test gives up waiting for a message."""


class Watching:
    """One open watch and what it told so far."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.cursor = ""
        self.told: list[Any] = []

    async def next(self, seconds: float = SECONDS) -> Any:
        """Return the next message, and keep its cursor."""
        async with asyncio.timeout(seconds):
            message = await self.call.read()
        if message is grpc.aio.EOF:
            raise AssertionError("the watch ended well, which none does")
        if message.cursor:
            self.cursor = message.cursor
        self.told.append(message)
        return message

    async def change(self, seconds: float = SECONDS) -> Any:
        """Return the next change; checkpoints on the way are passed over."""
        while True:
            message = await self.next(seconds)
            if message.HasField("change"):
                return message.change
            assert message.HasField("checkpoint"), message

    async def changes(self, count: int) -> list[Any]:
        """Return so many changes."""
        return [await self.change() for _ in range(count)]

    async def until(self, revision: int) -> list[Any]:
        """Return every change up to a revision, which may itself be passed over."""
        found: list[Any] = []
        while True:
            message = await self.next()
            if message.HasField("change"):
                found.append(message.change)
                if message.change.revision >= revision:
                    return found
            elif message.checkpoint.revision >= revision:
                return found

    async def snapshot(self) -> tuple[list[Any], Any]:
        """Return what there was, and the end of it."""
        found: list[Any] = []
        while True:
            message = await self.next()
            if message.HasField("snapshot_end"):
                return found, message.snapshot_end
            assert not message.cursor
            found.append(message.snapshot_item.resource)

    async def end(self) -> Any:
        """Read to the end, and raise what the watch ended with."""
        while True:
            await self.next()


@asynccontextmanager
async def watching(
    running: Running, metadata: Metadata, *, channel: Any = None, **fields: Any
) -> AsyncIterator[Watching]:
    """Watch while the block runs; without anything to go on from, once it has begun."""
    if "interval" in fields:
        seconds = fields.pop("interval")
        fields["checkpoint_interval"] = Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))
    stub = catalogue_service_pb2_grpc.CatalogueServiceStub(channel or running.channel)
    call = stub.WatchCatalogue(pb.WatchCatalogueRequest(**fields), metadata=metadata)
    watch = Watching(call)
    try:
        if not fields.get("start_cursor") and not fields.get("include_snapshot"):
            first = await watch.next()
            assert first.HasField("checkpoint"), first
        yield watch
    finally:
        call.cancel()


class WatchDesk(FilmDesk):
    """Somebody who changes films, and watches."""

    def watch(self, **fields: Any) -> Any:
        """Return a watch to enter."""
        return watching(self.running, self.metadata, **fields)

    async def page(self, **fields: Any) -> Any:
        """Return a page of changes."""
        return await self.ListChanges(pb.ListChangesRequest(**fields))

    async def list_all(self, **fields: Any) -> list[Any]:
        """Return all changes, by pages."""
        found: list[Any] = []
        token = ""
        while True:
            page = await self.page(page_token=token, **fields)
            found += page.changes
            token = page.next_page_token
            if not token:
                return found


async def logged(database: Database) -> Sequence[int]:
    """Return the revisions that the log has."""
    table = CatalogueChange.__table__
    rows = await database.read.all(select(table.c.revision).order_by(table.c.revision))
    return [row.revision for row in rows]


async def skip_revision(database: Database) -> int:
    """Claim a revision and log nothing, as a load past the service does; return it."""
    log = ChangeLog(utc_now, is_sqlite=database.is_sqlite)
    return await database.transaction(log.claim)


async def settled(running: Running, seconds: float = 5.0) -> None:
    """Wait until no call runs but those that are open on purpose."""
    async with asyncio.timeout(seconds):
        while running.app.running_calls:
            await asyncio.sleep(0.01)
