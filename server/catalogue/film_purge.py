"""Deletes films for good when the time in which a deletion can be taken back is over (AIP-164)."""

from datetime import datetime
from typing import Final

from server.catalogue import film_write_statements as sql
from server.catalogue.change_signal import ChangeSignal
from server.catalogue.changes import Author
from server.catalogue.film_store import FilmStore
from server.database.engine import Database, WriteSession

FILMS_AT_ONCE: Final = 50
"""Films of one transaction: so long every other change waits."""


class FilmPurge:
    """Purges films; those of which there are copies are kept."""

    def __init__(self, database: Database, store: FilmStore, signal: ChangeSignal) -> None:
        self._database = database
        self._store = store
        self._signal = signal

    async def purge(self, end: datetime, limit: int) -> int:
        """Purge at most so many films that were due until then; return how many it did."""
        number = 0
        while number < limit:
            few = await self._few(end, min(FILMS_AT_ONCE, limit - number))
            if not few:
                break
            number += few
            self._signal.notify()
        return number

    async def _few(self, end: datetime, limit: int) -> int:
        due = {"end": end, "limit": limit}

        async def work(write: WriteSession) -> int:
            await self._store.hold(write)
            numbers = [row[0] for row in await write.all(sql.DUE, due)]
            films = await self._store.films(write, numbers)
            await self._store.remove(write, [films[number] for number in numbers], Author())
            return len(films)

        # Mostly there are none: nobody is held up for finding that out.
        if await self._database.read.first(sql.DUE, due) is None:
            return 0
        return await self._database.transaction(work)
