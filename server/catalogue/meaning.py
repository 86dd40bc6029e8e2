"""Films by the meaning of their texts: an extra, `semantic`, that is loaded when it is first used.

Each film is a vector of its title, description and categories, kept in memory: 1 KB a film. The
log of changes tells which vectors are old; it is looked at on a query, at most once a second.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from structlog.typing import FilteringBoundLogger

from server.catalogue.meaning_reads import CatalogueSize, FilmText, MeaningReads
from server.core.errors import DomainError
from server.core.importing import imported

if TYPE_CHECKING:
    # At run time it is imported in a thread, on the first query.
    from server.catalogue.meaning_vectors import Directions, Embedder, Vectors

MOST_FILMS: Final = 50_000
MOST_CHANGES: Final = 5_000
"""After more changes at once everything is read anew."""
LEAST_NEARNESS: Final = 0.3
"""Films less near mostly have nothing to do with the query; benchmarks/README.md says what it
costs and gains."""
LOOK_SECONDS: Final = 1.0

_PACKAGE: Final = "wordllama"
_VECTORS: Final = "server.catalogue.meaning_vectors"


def is_installed() -> bool:
    """Tell whether the extra is there, without loading it."""
    return find_spec(_PACKAGE) is not None


class Meaning:
    """Ranks films by meaning. It reads nothing before the first query, which waits for that.

    `monotonic` returns seconds. Queries that come while the films are read wait for the same
    reading, which goes on when they are gone.
    """

    def __init__(
        self,
        reads: MeaningReads,
        monotonic: Callable[[], float],
        log: FilteringBoundLogger,
        *,
        most_films: int = MOST_FILMS,
    ) -> None:
        self._reads, self._monotonic, self._log = reads, monotonic, log
        self._most_films = most_films
        self._loaded: _Loaded | None = None
        self._vectors: Vectors | None = None
        self._revision = 0
        self._looked = -LOOK_SECONDS
        self._too_many = False
        self._looking: asyncio.Task[None] | None = None

    async def ranks(self, query: str, limit: int) -> Sequence[tuple[int, float]]:
        """Return numbers of films that come near the query and how near, the nearest first.

        Raises:
            DomainError: RANKING_UNAVAILABLE, there are more films than are kept in memory.
        """
        await self._be_current()
        if self._vectors is None or self._loaded is None:
            raise DomainError(
                f"ranking: by meaning at most {self._most_films} films are ranked, and there are"
                " more; ask for SEARCH_RANKING_TEXT",
                reason="RANKING_UNAVAILABLE",
            )
        return await asyncio.to_thread(_nearest, self._loaded.embedder, self._vectors, query, limit)

    async def close(self) -> None:
        """End a reading of films that is still under way."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _be_current(self) -> None:
        if self._looking is None:
            if self._monotonic() - self._looked < LOOK_SECONDS:
                return
            self._looking = asyncio.create_task(self._look())
            self._looking.add_done_callback(self._seen)
        await asyncio.shield(self._looking)

    def _seen(self, task: asyncio.Task[None]) -> None:
        self._looking = None
        if not task.cancelled():
            # Whoever waited has it; when all of them are gone nobody else would fetch it.
            task.exception()

    async def _look(self) -> None:
        started = self._monotonic()
        size = await self._reads.size()
        if size.films > self._most_films:
            self._give_up(size.films)
        elif self._vectors is None or size.revision != self._revision:
            self._loaded = self._loaded or await _load()
            await self._catch_up(self._loaded, size)
        self._looked = started

    def _give_up(self, films: int) -> None:
        if not self._too_many:
            self._log.warning("ranking by meaning is off", films=films, most=self._most_films)
        self._too_many, self._vectors = True, None

    async def _catch_up(self, loaded: "_Loaded", size: CatalogueSize) -> None:
        vectors = self._vectors
        changed = None if vectors is None else await self._changed(size.revision)
        if vectors is None or changed is None:
            await self._read_all(loaded)
        elif changed:
            films = await self._reads.films(sorted(changed))
            numbers, directions = await asyncio.to_thread(_embedded, loaded.embedder, films)
            self._vectors = await asyncio.to_thread(vectors.replaced, changed, numbers, directions)
        self._revision = size.revision

    async def _changed(self, until: int) -> set[int] | None:
        """Return the films that changed, or None where the log does not tell all of them."""
        expected = until - self._revision
        if not 0 <= expected <= MOST_CHANGES:
            return None
        changes = await self._reads.changes(self._revision, until)
        # A revision that is missing was a load past the log, or is trimmed; a category's name is
        # in the texts of all of its films.
        if len(changes) != expected or any(kind == "category" for kind, _ in changes):
            return None
        return {number for kind, number in changes if kind == "film"}

    async def _read_all(self, loaded: "_Loaded") -> None:
        parts, count, after = [], 0, -(2**31)  # an integer column's least value
        while films := await self._reads.films_after(after):
            parts.append(await asyncio.to_thread(_embedded, loaded.embedder, films))
            count, after = count + len(films), films[-1].film_id
            if count > self._most_films:
                self._give_up(count)
                return
        self._vectors = await asyncio.to_thread(loaded.vectors.of, parts)
        self._too_many = False
        self._log.info("films are ranked by meaning", films=count)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What the extra's module, which is imported late, has."""

    embedder: "Embedder"
    vectors: "type[Vectors]"


async def _load() -> _Loaded:
    module = await imported(_VECTORS)
    return _Loaded(await asyncio.to_thread(module.Embedder), module.Vectors)


def _embedded(
    embedder: "Embedder", films: Sequence[FilmText]
) -> "tuple[Sequence[int], Directions]":
    return [film.film_id for film in films], embedder.directions([film.text for film in films])


def _nearest(
    embedder: "Embedder", vectors: "Vectors", query: str, limit: int
) -> list[tuple[int, float]]:
    return vectors.nearest(embedder.directions([query])[0], limit, LEAST_NEARNESS)
