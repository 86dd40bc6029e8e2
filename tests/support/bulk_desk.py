"""Who moves films in and out, at a server in the test's own loop."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

import grpc
from sqlalchemy import select, text

from server.catalogue.models import CatalogueChange, FilmCount
from server.database.engine import Database
from server.generated.interview.catalogue.v1 import catalogue_service_pb2_grpc, resources_pb2
from server.generated.interview.catalogue.v1 import film_bulk_pb2 as pb
from tests.support.caller import Caller
from tests.support.film_desk import SETTABLE
from tests.support.running import ADMIN, Running

SECONDS = 120.0
BULK: Mapping[str, Any] = {"bulk_rate": 0, "read_rate": 0, "write_rate": 0}
"""Settings of a server where nobody is told to move films more slowly."""

_TABLES = ("film_category", "film_actor", "film", "film_fts", "film_count", "catalogue_change")
_EMPTY = tuple(text(f"DELETE FROM {table}") for table in _TABLES)


def config(**fields: Any) -> pb.ImportFilmsConfig:
    """Return a config: each batch for itself, and no film that is there, unless told otherwise."""
    return pb.ImportFilmsConfig(
        **{
            "import_id": str(uuid4()),
            "mode": pb.IMPORT_MODE_PER_BATCH,
            "conflict_policy": pb.IMPORT_CONFLICT_POLICY_FAIL,
            **fields,
        }
    )


def frames(
    first: pb.ImportFilmsConfig,
    batches: Iterable[Sequence[resources_pb2.Film]],
    number: int = 1,
) -> Iterator[pb.ImportFilmsRequest]:
    """Yield the messages of a stream, with batches from a number on."""
    yield pb.ImportFilmsRequest(config=first)
    for place, films in enumerate(batches):
        batch = pb.ImportFilmsBatch(batch_number=number + place, films=films)
        yield pb.ImportFilmsRequest(batch=batch)


def in_batches(
    films: Sequence[resources_pb2.Film], size: int
) -> list[Sequence[resources_pb2.Film]]:
    """Return the films in batches of a size."""
    return [films[start : start + size] for start in range(0, len(films), size)]


def settable(film: resources_pb2.Film) -> resources_pb2.Film:
    """Return a film with its name and what can be set of it alone."""
    values = {field.name: value for field, value in film.ListFields()}
    kept = {name: value for name, value in values.items() if name in ("name", *SETTABLE)}
    return resources_pb2.Film(**kept)


class BulkDesk(Caller):
    """Somebody who may move films in and out."""

    @classmethod
    async def open(cls, running: Running, email: str = ADMIN) -> "BulkDesk":
        """Sign in, an administrator unless told otherwise."""
        return cls(running, await running.sign_in(email))

    def stream(self, *, timeout: float = SECONDS) -> Any:
        """Return a call of ImportFilms that the test writes by itself."""
        return self._stub.ImportFilms(metadata=self.metadata, timeout=timeout)

    def send(
        self,
        first: pb.ImportFilmsConfig,
        batches: Iterable[Sequence[resources_pb2.Film]],
        number: int = 1,
    ) -> Any:
        """Return the call that imports batches."""
        requests = frames(first, batches, number)
        return self._stub.ImportFilms(requests, metadata=self.metadata, timeout=SECONDS)

    async def imported(
        self,
        first: pb.ImportFilmsConfig,
        batches: Iterable[Sequence[resources_pb2.Film]],
        number: int = 1,
    ) -> pb.FilmImport:
        """Import batches and return the import."""
        answer: pb.ImportFilmsResponse = await self.send(first, batches, number)
        return answer.film_import

    async def state(self, first: pb.ImportFilmsConfig) -> pb.FilmImport:
        """Return how far an import is."""
        request = pb.GetFilmImportRequest(name=f"filmImports/{first.import_id}")
        found: pb.FilmImport = await self.GetFilmImport(request)
        return found

    def exporting(self, **fields: Any) -> Any:
        """Return a call of ExportFilms."""
        request = pb.ExportFilmsRequest(**fields)
        return self._stub.ExportFilms(request, metadata=self.metadata, timeout=SECONDS)

    async def exported(self, **fields: Any) -> list[pb.ExportFilmsResponse]:
        """Return every batch of an export."""
        return [batch async for batch in self.exporting(**fields)]

    async def all_films(self, **fields: Any) -> list[resources_pb2.Film]:
        """Return the films of an export."""
        return films_of(await self.exported(**fields))

    @property
    def _stub(self) -> Any:
        return catalogue_service_pb2_grpc.CatalogueServiceStub(self.running.channel)


def films_of(batches: Iterable[pb.ExportFilmsResponse]) -> list[resources_pb2.Film]:
    """Return the films of batches."""
    return [film for batch in batches for film in batch.films]


async def emptied(database: Database) -> None:
    """Delete every film and the log of changes; languages, categories and actors stay."""
    async with database.write() as write:
        for statement in _EMPTY:
            await write.execute(statement)


async def logged(database: Database) -> Sequence[Any]:
    """Return the changes of films in the log, the oldest first."""
    table = CatalogueChange.__table__
    return await database.read.all(
        select(table).where(table.c.kind == "film").order_by(table.c.revision)
    )


async def counted(database: Database) -> int:
    """Return how many films there are by the kept count."""
    row = await database.read.first(
        select(FilmCount.films).where(FilmCount.kind == "film", FilmCount.number == 0)
    )
    return int(row[0]) if row is not None else 0


async def indexed(database: Database) -> int:
    """Return how many films are in the search index."""
    row = await database.read.first(text("SELECT count(*) FROM film_fts"))
    assert row is not None
    return int(row[0])


async def cut_after(call: Any, batches: int) -> list[pb.ExportFilmsResponse]:
    """Read some batches of an export and leave."""
    read: list[pb.ExportFilmsResponse] = []
    responses: AsyncIterator[pb.ExportFilmsResponse] = call.__aiter__()
    for _ in range(batches):
        try:
            read.append(await anext(responses))
        except (StopAsyncIteration, grpc.aio.AioRpcError):
            break
    call.cancel()
    return read
