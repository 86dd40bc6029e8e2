"""Numbers of new rows: none is given twice, also when the row that had it is gone.

PostgreSQL has a sequence for it, whose name a restored Pagila chose; SQLite would give the number
of the last row again after its deletion, so the last one is kept there.
"""

import re
from collections.abc import Sequence
from typing import Final

from sqlalchemy import func, select, text, update

from server.catalogue.models import Actor, CatalogueState, Category, Film
from server.database.engine import WriteSession
from server.database.names import named

_KEYS: Final = {
    "film": (Film.film_id, CatalogueState.last_film),
    "category": (Category.category_id, CatalogueState.last_category),
    "actor": (Actor.actor_id, CatalogueState.last_actor),
}
_DEFAULT: Final = named(
    "numbers.default",
    text(
        "SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d"
        " JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum"
        " WHERE d.adrelid = to_regclass(:table) AND a.attname = :key"
    ),
)
_NEXTVAL = re.compile(r"nextval\('(.+)'::regclass\)")
_NEXT: Final = named(
    "numbers.next",
    text(
        "SELECT nextval(CAST(CAST(:sequence AS text) AS regclass))"
        " FROM generate_series(1, CAST(:count AS integer))"
    ),
)


class Numbers:
    """Gives numbers to new films, categories and actors ("film", "category", "actor")."""

    def __init__(self, *, is_sqlite: bool) -> None:
        self._is_sqlite = is_sqlite
        self._sequences: dict[str, str] = {}

    async def take(self, write: WriteSession, table: str, count: int = 1) -> Sequence[int]:
        """Return so many new numbers, in order; revisions must have been claimed before."""
        if self._is_sqlite:
            return await _claim(write, table, count)
        sequence = await self._sequence(write, table)
        rows = await write.all(_NEXT, {"sequence": sequence, "count": count})
        return [int(row[0]) for row in rows]

    async def _sequence(self, write: WriteSession, table: str) -> str:
        if table not in self._sequences:
            row = await write.first(_DEFAULT, {"table": f'"{table}"', "key": f"{table}_id"})
            match = _NEXTVAL.search(row[0]) if row is not None else None
            assert match is not None, f"{table}_id has a sequence"
            self._sequences[table] = match[1]
        return self._sequences[table]


async def _claim(write: WriteSession, table: str, count: int) -> Sequence[int]:
    key, last = _KEYS[table]
    greatest = select(func.coalesce(func.max(key), 0)).scalar_subquery()
    claimed = func.max(last, greatest) + count
    row = await write.first(update(CatalogueState).values({last: claimed}).returning(last))
    assert row is not None, "the migration made the row"
    return range(row[0] - count + 1, row[0] + 1)
