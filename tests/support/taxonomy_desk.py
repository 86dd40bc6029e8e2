"""Who changes categories and actors, at a server in the test's own loop."""

from collections.abc import Sequence
from itertools import count
from typing import Any, Final
from uuid import uuid4

from google.protobuf.field_mask_pb2 import FieldMask
from sqlalchemy import select, text

from server.catalogue.change_records import from_json
from server.catalogue.changes import ResourceKind
from server.catalogue.models import CatalogueChange
from server.generated.interview.catalogue.v1 import film_pb2
from server.generated.interview.catalogue.v1 import resources_pb2 as resources
from server.generated.interview.catalogue.v1 import taxonomy_pb2 as pb
from tests.support.film_desk import FilmDesk
from tests.support.running import ADMIN, Running

NOBODY: Final = {"categories": "categories/2147483647", "actors": "actors/2147483647"}
REVISION: Final = "x-interview-revision"
_NUMBERS = count(1)


def new_name() -> str:
    """Return a display name that no category has."""
    return f"{next(_NUMBERS)} {uuid4().hex[:12]}"


class TaxonomyDesk(FilmDesk):
    """Somebody who may change categories, actors and films."""

    @classmethod
    async def open(cls, running: Running) -> "TaxonomyDesk":
        """Sign an administrator in."""
        return cls(running, await running.sign_in(ADMIN))

    def create_category(self, display_name: str, **fields: Any) -> Any:
        """Return the call that creates a category."""
        category = resources.Category(display_name=display_name)
        return self.CreateCategory(pb.CreateCategoryRequest(category=category, **fields))

    def update_category(
        self,
        name: str,
        paths: Sequence[str] = (),
        etag: str = "",
        display_name: str = "",
        **more: Any,
    ) -> Any:
        """Return the call that sets fields of a category, under a mask where there are paths."""
        mask = FieldMask(paths=paths) if paths else None
        category = resources.Category(name=name, etag=etag, display_name=display_name)
        return self.UpdateCategory(
            pb.UpdateCategoryRequest(category=category, update_mask=mask, **more)
        )

    def delete_category(self, name: str, **fields: Any) -> Any:
        """Return the call that deletes a category."""
        return self.DeleteCategory(pb.DeleteCategoryRequest(name=name, **fields))

    def get_category(self, name: str) -> Any:
        """Return the call that reads a category."""
        return self.GetCategory(pb.GetCategoryRequest(name=name))

    def create_actor(self, given_name: str, family_name: str, **fields: Any) -> Any:
        """Return the call that creates an actor."""
        actor = resources.Actor(given_name=given_name, family_name=family_name)
        return self.CreateActor(pb.CreateActorRequest(actor=actor, **fields))

    def update_actor(self, name: str, paths: Sequence[str] = (), **fields: Any) -> Any:
        """Return the call that sets fields of an actor, under a mask where there are paths."""
        mask = FieldMask(paths=paths) if paths else None
        actor = resources.Actor(name=name, **fields)
        return self.UpdateActor(pb.UpdateActorRequest(actor=actor, update_mask=mask))

    def delete_actor(self, name: str, **fields: Any) -> Any:
        """Return the call that deletes an actor."""
        return self.DeleteActor(pb.DeleteActorRequest(name=name, **fields))

    def get_actor(self, name: str) -> Any:
        """Return the call that reads an actor."""
        return self.GetActor(pb.GetActorRequest(name=name))

    async def found(self, query: str) -> list[str]:
        """Return the names of the films that a search finds."""
        answer = await self.SearchFilms(film_pb2.SearchFilmsRequest(query=query, page_size=1000))
        return sorted(match.film.name for match in answer.matches)

    async def logged(self, name: str) -> list[Any]:
        """Return what is logged of a category or an actor, in order: type, before, after."""
        collection, _, number = name.partition("/")
        kind = {"categories": ResourceKind.CATEGORY, "actors": ResourceKind.ACTOR}[collection]
        table = CatalogueChange.__table__
        rows = await self.running.app.database.read.all(
            select(table)
            .where(table.c.kind == kind.value, table.c.number == int(number))
            .order_by(table.c.revision)
        )
        return [
            (row.change_type, from_json(kind, row.previous), from_json(kind, row.resource))
            for row in rows
        ]

    async def revision(self) -> int:
        """Return the revision of the catalogue."""
        rows = await self.running.app.database.read.all(
            text("SELECT revision FROM catalogue_state")
        )
        return int(rows[0][0])


async def trailer_of(call: Any, key: str = REVISION) -> str:
    """Return what a call's trailer says once it has ended; empty where there is none."""
    await call
    trailers = dict(await call.trailing_metadata() or ())
    return str(trailers.get(key, ""))
