"""Films are found by the names of their categories and actors: what follows when one changes.

The first films are indexed with the change itself. Where there are more, the rest follows in
transactions of its own, so that no other change waits long; until then those films are found by
the name of before.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Select
from structlog.typing import FilteringBoundLogger

from server.catalogue.change_log import ChangeLog
from server.catalogue.indexing import reindex
from server.database.engine import Database, WriteSession

BATCH_FILMS: Final = 1000
_INDEXED_AT_ONCE: Final = 250
"""More of them would be taken for a load, after which PostgreSQL's statistics are made anew."""
_PAUSES_SECONDS: Final = (1.0, 5.0, 30.0)
"""Before a batch that failed is tried again."""


@dataclass(frozen=True, slots=True)
class Renamed:
    """A row with a new name, the statement that finds its films, and those that are done."""

    name: str
    number: int
    films: Select[Any]
    after: int = 0


class RenamedFilms:
    """Indexes the films of renamed categories and actors anew.

    What is left when the process ends is logged, and stays as it is until the name, or the film,
    changes again.
    """

    def __init__(
        self,
        database: Database,
        log: ChangeLog,
        logger: FilteringBoundLogger,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._log = log
        self._logger = logger
        self._sleep = sleep
        self._waiting: asyncio.Queue[Renamed] = asyncio.Queue()

    async def index(self, write: WriteSession, renamed: Renamed) -> Renamed | None:
        """Index the next films, with every other change held off; return what is left."""
        rows = await write.all(
            renamed.films,
            {"owner": renamed.number, "after": renamed.after, "limit": BATCH_FILMS + 1},
        )
        numbers = [int(row[0]) for row in rows[:BATCH_FILMS]]
        for start in range(0, len(numbers), _INDEXED_AT_ONCE):
            chosen = numbers[start : start + _INDEXED_AT_ONCE]
            await reindex(write, is_sqlite=self._database.is_sqlite, film_ids=chosen)
        return replace(renamed, after=numbers[-1]) if len(rows) > BATCH_FILMS else None

    def follow(self, rest: Renamed) -> None:
        """Index what is left later on."""
        self._waiting.put_nowait(rest)

    async def run(self) -> None:
        """Index what is left, until cancelled."""
        rest: Renamed | None = None
        try:
            while True:
                rest = await self._waiting.get()
                while rest is not None:
                    rest = await self._next(rest)
        finally:
            left = [rest] if rest else []
            while not self._waiting.empty():
                left.append(self._waiting.get_nowait())
            for one in left:
                self._warn(one)

    async def _next(self, rest: Renamed) -> Renamed | None:
        async def work(write: WriteSession) -> Renamed | None:
            # Else a film that changes meanwhile could get the words of before.
            await self._log.claim(write, 0)
            return await self.index(write, rest)

        for pause in (*_PAUSES_SECONDS, None):
            try:
                return await self._database.transaction(work)
            except Exception as error:  # noqa: BLE001  # whatever it is, the next try may succeed
                self._warn(rest, again_in_seconds=pause, exc_info=error)
            if pause is not None:
                await self._sleep(pause)
        return None

    def _warn(self, rest: Renamed, **more: Any) -> None:
        self._logger.warning(
            "films_not_indexed", resource=rest.name, after=f"films/{rest.after}", **more
        )
