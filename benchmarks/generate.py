"""Films by the thousand: made up, the same for the same seed, shaped like a real catalogue.

Words, categories and actors have the long tails that real ones have; descriptions hold a name
that about five films share, however many there are. They go straight into the tables and are then
indexed and counted as any other load past the service.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from itertools import product
from typing import Any, Final

import asyncpg
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, create_engine, insert, text
from sqlalchemy.engine import make_url

from server.catalogue.loaded import films_loaded
from server.catalogue.models import RATINGS, SPECIAL_FEATURES
from server.catalogue.pagila_tables import TABLES
from server.database.engine import Database, DatabaseOptions, WriteSession
from server.database.sequences import advance_sequences

BATCH: Final = 10_000
WORDS: Final = 20_000
ACTORS_PER_FILM: Final = 5
FILMS_PER_NAME: Final = 5
NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
CATEGORIES: Final = (
    "Drama", "Comedy", "Romance", "Crime", "Thriller", "Adventure", "Animation", "Action",
    "Sci-Fi", "Music", "Classics", "Fantasy", "War", "Family", "Mystery", "Children", "Horror",
    "Travel", "Documentary", "Western", "Sports", "Games",
)  # fmt: skip
LANGUAGES: Final = ("English", "Italian", "Japanese", "Mandarin", "French", "German", "Spanish")
ENDLESS: Final = timedelta(hours=6)
_ONSETS: Final = "b br c ch d dr f g gr h l m n p r s st t tr v".split()  # noqa: SIM905  # a list
_RHYMES: Final = "ab and ar el en er est id ight il in old on or ow um une".split()  # noqa: SIM905  # a list
_FIRST_NAMES: Final = "Ada Ben Clara Dan Eva Finn Greta Hugo Ines Jon Kira Leo Mia Olga".split()  # noqa: SIM905  # a list

_REFERRED = ("language", "category", "actor")
_WORD_INDEXES = text(
    "SELECT indexname, indexdef FROM pg_indexes"
    " WHERE schemaname = current_schema() AND tablename = 'film_fts' AND indexdef LIKE '%gin%'"
)

Rows = list[dict[str, Any]]
Parts = dict[str, Rows]


@dataclass(frozen=True)
class Catalogue:
    """So many films by one seed."""

    films: int
    seed: int = 1

    @cached_property
    def words(self) -> Sequence[str]:
        """Words, the most frequent first; two syllables, later ones three."""
        syllables = ["".join(parts) for parts in product(_ONSETS, _RHYMES)]
        chance = np.random.default_rng(self.seed)
        numbers = chance.permutation(len(syllables) ** 2)[:WORDS].tolist()
        pairs = [syllables[n // len(syllables)] + syllables[n % len(syllables)] for n in numbers]
        return [word + syllables[n % 97] * (n % 3 == 0) for n, word in enumerate(pairs)]

    def name(self, number: int) -> str:
        """Return one of the names that about five films share: all letters, none like another."""
        letters = []
        rest = number * 7_368_787 % 26**5
        for _ in range(5):
            rest, letter = divmod(rest, 26)
            letters.append(chr(ord("a") + letter))
        return "Qu" + "".join(letters)

    @property
    def names(self) -> int:
        """How many such names there are."""
        return max(1, self.films // FILMS_PER_NAME)

    @property
    def actors(self) -> int:
        """How many actors there are: more, the more films."""
        return 50 + self.films // 4

    def people(self) -> Parts:
        """Return the rows that films refer to."""
        words = self.words
        actors = [
            {
                "actor_id": number,
                "first_name": _FIRST_NAMES[number % len(_FIRST_NAMES)],
                "last_name": f"{words[number * 31 % WORDS]}{words[number // WORDS]}".title(),
            }
            for number in range(1, self.actors + 1)
        ]
        return {
            "language": [{"language_id": n, "name": name} for n, name in enumerate(LANGUAGES, 1)],
            "category": [{"category_id": n, "name": name} for n, name in enumerate(CATEGORIES, 1)],
            "actor": actors,
        }

    def batches(self) -> Iterator[Parts]:
        """Yield rows of films and of what binds them to categories and actors."""
        for first in range(1, self.films + 1, BATCH):
            yield self._batch(range(first, min(first + BATCH, self.films + 1)))

    def _batch(self, numbers: range) -> Parts:
        chance = np.random.default_rng((self.seed, numbers.start))
        count = len(numbers)
        # A product of chances is near 0 mostly: a few words and actors are everywhere.
        words = _tail(chance, (count, 24), WORDS, 3)
        actors = 1 + _tail(chance, (count, ACTORS_PER_FILM), self.actors, 2)
        categories = 1 + _tail(chance, (count, 3), len(CATEGORIES), 2)
        names = chance.integers(0, self.names, count)
        sizes = chance.integers(0, 1_000_000, (count, 6))
        films = [
            self._film(number, words[n].tolist(), int(names[n]), sizes[n].tolist())
            for n, number in enumerate(numbers)
        ]
        return {
            "film": films,
            "film_category": _pairs(numbers, "category_id", categories),
            "film_actor": _pairs(numbers, "actor_id", actors),
        }

    def _film(self, number: int, words: list[int], name: int, sizes: list[int]) -> dict[str, Any]:
        said = [self.words[word] for word in words]
        of_title = 1 + sizes[0] % 4
        features = [f for n, f in enumerate(SPECIAL_FEATURES) if sizes[5] >> n & 1]
        text = f"{' '.join(said[4:])} {self.name(name)}.".capitalize()
        return {
            "film_id": number,
            "title": " ".join(said[:of_title]).title(),
            "description": None if sizes[0] % 97 == 0 else text,
            "release_year": None if sizes[1] % 50 == 0 else 1920 + sizes[1] % 106,
            "language_id": 1 + min(sizes[2] % 10, len(LANGUAGES) - 1),
            "original_language_id": 2 if sizes[2] % 11 == 0 else None,
            "rental_duration": 3 + sizes[3] % 5,
            "rental_rate": Decimal(99 + 100 * (sizes[3] % 5)) / 100,
            "length": None if sizes[3] % 61 == 0 else 45 + sizes[3] % 140,
            "replacement_cost": Decimal(999 + 100 * (sizes[4] % 20)) / 100,
            "rating": None if sizes[4] % 19 == 0 else RATINGS[sizes[4] % len(RATINGS)],
            "special_features": features or None,
            "streaming_available": sizes[5] % 3 == 0,
            "create_time": NOW - timedelta(minutes=sizes[5]),
            "revision": 1,
        }


def generate(url: str, films: int, seed: int = 1) -> Catalogue:
    """Put the films into a database that is migrated and holds none; return what they are."""
    catalogue = Catalogue(films, seed)
    if make_url(url).get_backend_name() == "sqlite":
        _into_sqlite(create_engine(make_url(url).set(drivername="sqlite")), catalogue)
    else:
        asyncio.run(_into_postgres(url, catalogue))
    asyncio.run(_loaded(url))
    return catalogue


def _tail(
    chance: np.random.Generator, shape: tuple[int, int], below: int, power: int
) -> NDArray[np.int64]:
    return (chance.random(shape) ** power * below).astype(np.int64)


def _pairs(numbers: range, key: str, others: NDArray[np.int64]) -> Rows:
    return [
        {"film_id": number, key: other}
        for number, row in zip(numbers, others.tolist(), strict=True)
        for other in sorted(set(row))
    ]


def _parts(catalogue: Catalogue) -> Iterator[tuple[str, Rows]]:
    yield from catalogue.people().items()
    for batch in catalogue.batches():
        yield from batch.items()


def _into_sqlite(engine: Engine, catalogue: Catalogue) -> None:
    with engine.begin() as connection:
        for table, rows in _parts(catalogue):
            now = {"last_update": NOW}
            connection.execute(insert(TABLES[table]), [row | now for row in rows])
    engine.dispose()


async def _into_postgres(url: str, catalogue: Catalogue) -> None:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(plain)
    try:
        async with connection.transaction():
            for table, rows in _parts(catalogue):
                columns = [*rows[0], "last_update"]
                records = [(*row.values(), NOW) for row in rows]
                await connection.copy_records_to_table(table, records=records, columns=columns)
    finally:
        await connection.close()


async def _loaded(url: str) -> None:
    options = DatabaseOptions(
        command_timeout=ENDLESS, statement_timeout=ENDLESS, idle_in_transaction_timeout=ENDLESS
    )
    database = Database(url, options)
    try:
        async with database.write() as write:
            indexes = [] if database.is_sqlite else await _without_indexes(write)
            await films_loaded(write, is_sqlite=database.is_sqlite)
            for definition in indexes:
                await write.execute(text(definition))
    finally:
        await database.close()


async def _without_indexes(write: WriteSession) -> Sequence[str]:
    """Drop what finds words, which is made faster from all of them; return how to make it."""
    await advance_sequences(write, [TABLES[name] for name in (*_REFERRED, "film")])
    rows = await write.all(_WORD_INDEXES)
    for row in rows:
        await write.execute(text(f'DROP INDEX "{row.indexname}"'))
    return [row.indexdef for row in rows]
