"""All films of one state of the catalogue, in batches by number, and which state that is."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, bindparam

from server.catalogue.change_log import REVISION
from server.catalogue.domain import Film
from server.catalogue.film_columns import film_columns
from server.catalogue.film_statements import film_of, select_films
from server.catalogue.models import Film as FilmRow
from server.core.clock import Clock
from server.database.engine import Database
from server.database.names import named
from server.database.snapshot import Snapshot
from server.query.filter_sql import compile_filter
from server.query.filter_types import Filter

BATCH_FILMS: Final = 200
"""Films in memory at a time: one statement takes milliseconds, and a film is some KiB."""

_FILM: Final = FilmRow.__table__.c


class FilmSnapshot:
    """The films of one state. `revision` is the catalogue's, `time` when it was taken."""

    def __init__(
        self, snapshot: Snapshot, statement: Select[Any], revision: int, time: datetime
    ) -> None:
        self.revision = revision
        self.time = time
        self._snapshot = snapshot
        self._statement = statement

    async def films(self, after: int = 0) -> AsyncGenerator[Sequence[Film], None]:
        """Yield the films behind a number, by number; the next ones are read when asked for."""
        while True:
            rows = await self._snapshot.all(self._statement, {"after": after})
            if rows:
                yield [film_of(row) for row in rows]
            if len(rows) < BATCH_FILMS:
                return
            after = rows[-1].film_id


class FilmSnapshots:
    """Takes snapshots of the films."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._columns = film_columns(is_sqlite=database.is_sqlite)

    @asynccontextmanager
    async def open(
        self, where: Filter | None = None, *, full: bool = True, show_deleted: bool = False
    ) -> AsyncIterator[FilmSnapshot]:
        """Take a snapshot of the films that meet a filter, for the block.

        Without `full`, description and actors are left empty.
        """
        statement = self._films(where, full=full, show_deleted=show_deleted)
        async with self._database.snapshot() as snapshot:
            state = await snapshot.first(REVISION)
            assert state is not None, "the migration made the row"
            yield FilmSnapshot(snapshot, statement, int(state.revision), self._clock())

    def _films(self, where: Filter | None, *, full: bool, show_deleted: bool) -> Select[Any]:
        statement = select_films(full=full).where(_FILM.film_id > bindparam("after"))
        if not show_deleted:
            statement = statement.where(_FILM.delete_time.is_(None))
        if where is not None:
            statement = statement.where(compile_filter(where, self._columns))
        return named("films.snapshot", statement.order_by(_FILM.film_id).limit(BATCH_FILMS))
