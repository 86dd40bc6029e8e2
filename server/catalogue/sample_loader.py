"""Load the sample catalogue into a database that holds no film yet."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select, text

from server.catalogue.film_rules import RENTAL_DURATION_DAYS, RENTAL_RATE, REPLACEMENT_COST
from server.catalogue.loaded import films_loaded
from server.catalogue.models import Film
from server.catalogue.pagila_tables import TABLES
from server.catalogue.sample import SampleFilm
from server.core.clock import Clock
from server.database.engine import Database, WriteSession
from server.database.sequences import advance_sequences

_ANY_FILM = select(Film.film_id).limit(1)
# Two processes may start on one empty database: the second waits here, then finds films.
# SQLite has one writer at a time anyway.
_LOCK_FILMS = text("LOCK TABLE film IN SHARE ROW EXCLUSIVE MODE")
_NAMED_TABLES = ("language", "category", "actor")

Name = tuple[str, ...]


async def load_sample(database: Database, films: Sequence[SampleFilm], clock: Clock) -> int:
    """Insert the films with all they refer to and index them, in one transaction.

    Returns their number; 0, and nothing changes, where the database holds a film already.
    """
    if await database.read.first(_ANY_FILM):
        return 0
    async with database.write() as write:
        if not database.is_sqlite:
            await write.execute(_LOCK_FILMS)
        if await write.first(_ANY_FILM):
            return 0
        await _Loader(write, clock()).load(films)
        if not database.is_sqlite:
            await advance_sequences(write, [TABLES[name] for name in (*_NAMED_TABLES, "film")])
        await films_loaded(write, is_sqlite=database.is_sqlite)
    return len(films)


class _Loader:
    """Inserts within one transaction; every row bears the same moment."""

    def __init__(self, write: WriteSession, now: datetime) -> None:
        self._write = write
        self._now = now

    async def load(self, films: Sequence[SampleFilm]) -> None:
        languages = await self._numbers("language", ("name",), ((f.language,) for f in films))
        categories = await self._numbers(
            "category", ("name",), ((name,) for film in films for name in film.categories)
        )
        actors = await self._numbers(
            "actor", ("first_name", "last_name"), (actor for film in films for actor in film.actors)
        )
        numbered = list(enumerate(films, start=1))
        await self._insert(
            "film", [self._film(n, film, languages[film.language,]) for n, film in numbered]
        )
        await self._insert(
            "film_category",
            [
                {"film_id": n, "category_id": categories[name,]}
                for n, film in numbered
                for name in dict.fromkeys(film.categories)
            ],
        )
        await self._insert(
            "film_actor",
            [
                {"film_id": n, "actor_id": actors[actor]}
                for n, film in numbered
                for actor in dict.fromkeys(film.actors)
            ],
        )

    def _film(self, number: int, film: SampleFilm, language: int) -> dict[str, Any]:
        return {
            "film_id": number,
            "title": film.title,
            "description": film.description,
            "release_year": film.year,
            "language_id": language,
            "rental_duration": RENTAL_DURATION_DAYS,
            "rental_rate": RENTAL_RATE,
            "length": film.minutes,
            "replacement_cost": REPLACEMENT_COST,
            "rating": film.rating,
            "create_time": self._now,
        }

    async def _numbers(
        self, table_name: str, columns: tuple[str, ...], names: Iterable[Name]
    ) -> dict[Name, int]:
        """Return each name's number; names that are not there yet are inserted."""
        table = TABLES[table_name]
        key = f"{table_name}_id"
        rows = await self._write.all(
            select(table.columns[key], *(func.rtrim(table.columns[c]) for c in columns))
        )
        numbers: dict[Name, int] = {tuple(row[1:]): row[0] for row in rows}
        following = max(numbers.values(), default=0) + 1
        new = [name for name in dict.fromkeys(names) if name not in numbers]
        added = dict(zip(new, range(following, following + len(new)), strict=True))
        await self._insert(
            table_name,
            [{key: n} | dict(zip(columns, name, strict=True)) for name, n in added.items()],
        )
        return numbers | added

    async def _insert(self, table_name: str, rows: list[dict[str, Any]]) -> None:
        if rows:
            now = {"last_update": self._now}
            await self._write.execute(insert(TABLES[table_name]), [row | now for row in rows])
