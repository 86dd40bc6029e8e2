"""All that a watch is about, of one state of the catalogue: what it begins with when asked to."""

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import Select, bindparam

from server.catalogue.change_log import REVISION
from server.catalogue.changes import Resource, ResourceKind
from server.catalogue.film_columns import film_columns
from server.catalogue.film_statements import film_of, select_films
from server.catalogue.models import Film as FilmRow
from server.catalogue.taxonomy_statements import ACTORS, CATEGORIES, LANGUAGES, Listing
from server.catalogue.watch_cursors import Place
from server.core.clock import Clock
from server.database.engine import Database
from server.database.names import named
from server.database.snapshot import Snapshot
from server.query.filter_sql import compile_filter
from server.query.filter_types import Filter

BATCH: Final = 200

_FILM: Final = FilmRow.__table__.c
_LISTINGS: Final[dict[ResourceKind, Listing[Any]]] = {
    ResourceKind.LANGUAGE: LANGUAGES,
    ResourceKind.CATEGORY: CATEGORIES,
    ResourceKind.ACTOR: ACTORS,
}
"""What films name comes before the films."""


class WatchSnapshot:
    """What there was at one revision."""

    def __init__(
        self,
        snapshot: Snapshot,
        place: Place,
        kinds: Collection[ResourceKind],
        films: Select[Any],
    ) -> None:
        self.place = place
        self._snapshot = snapshot
        self._kinds = kinds
        self._films = films

    async def batches(self) -> AsyncGenerator[Sequence[Resource], None]:
        """Yield everything, by kind and then by number; the next ones are read when asked for."""
        for kind, listing in _LISTINGS.items():
            if kind in self._kinds:
                async for rows in self._batches(listing.first):
                    yield [listing.read(row) for row in rows]
        if ResourceKind.FILM in self._kinds:
            async for rows in self._batches(self._films):
                yield [film_of(row) for row in rows]

    async def _batches(self, statement: Select[Any]) -> AsyncIterator[Sequence[Any]]:
        after = 0
        while True:
            rows = await self._snapshot.all(statement, {"after": after, "limit": BATCH})
            if rows:
                yield rows
            if len(rows) < BATCH:
                return
            after = rows[-1][0]


class WatchSnapshots:
    """Takes such snapshots. Films that are deleted are not in them."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._columns = film_columns(is_sqlite=database.is_sqlite)

    @asynccontextmanager
    async def open(
        self, kinds: Collection[ResourceKind], where: Filter | None
    ) -> AsyncIterator[WatchSnapshot]:
        """Take one for the block, of the films that meet the filter and of the other kinds."""
        films = select_films(full=True).where(
            _FILM.film_id > bindparam("after"), _FILM.delete_time.is_(None)
        )
        if where is not None:
            films = films.where(compile_filter(where, self._columns))
        films = named("films.snapshot", films.order_by(_FILM.film_id).limit(bindparam("limit")))
        async with self._database.snapshot() as snapshot:
            time = self._clock()
            state = await snapshot.first(REVISION)
            assert state is not None, "the migration made the row"
            yield WatchSnapshot(snapshot, Place(int(state.revision), time), kinds, films)
