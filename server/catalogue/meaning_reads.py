"""What search by meaning reads of the database: texts of films, and which of them changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, bindparam, func, select

from server.catalogue.models import (
    CatalogueChange,
    CatalogueState,
    Category,
    FilmCategory,
    FilmCount,
)
from server.catalogue.models import Film as FilmRow
from server.database.engine import Database
from server.database.names import named

PAGE_FILMS: Final = 500
MAX_TEXT_CHARACTERS: Final = 2_000
"""Of a longer description the rest says nothing that is to be found by its meaning."""


@dataclass(frozen=True, slots=True)
class CatalogueSize:
    """The revision of the catalogue and how many films that are not deleted it has."""

    revision: int
    films: int


@dataclass(frozen=True, slots=True)
class FilmText:
    """What a film says: title, description and categories."""

    film_id: int
    text: str


def _categories() -> ColumnElement[str | None]:
    return (
        select(func.aggregate_strings(Category.name, ", "))
        .select_from(FilmCategory)
        .join(Category, Category.category_id == FilmCategory.category_id)
        .where(FilmCategory.film_id == FilmRow.film_id)
        .scalar_subquery()
    )


_TEXTS = select(
    FilmRow.film_id,
    FilmRow.title,
    func.substr(FilmRow.description, 1, MAX_TEXT_CHARACTERS).label("description"),
    _categories().label("categories"),
).where(FilmRow.delete_time.is_(None))
_NEXT: Final = named(
    "meaning.films",
    _TEXTS.where(FilmRow.film_id > bindparam("after"))
    .order_by(FilmRow.film_id)
    .limit(bindparam("limit")),
)
_GIVEN: Final = named(
    "meaning.changed_films",
    _TEXTS.where(FilmRow.film_id.in_(bindparam("film_ids", expanding=True))),
)
_SIZE: Final = named(
    "meaning.size",
    select(
        CatalogueState.revision,
        select(FilmCount.films)
        .where(FilmCount.kind == "film", FilmCount.number == 0)
        .scalar_subquery()
        .label("films"),
    ),
)
_CHANGES: Final = named(
    "meaning.changes",
    select(CatalogueChange.kind, CatalogueChange.number)
    .where(CatalogueChange.revision > bindparam("after"))
    .where(CatalogueChange.revision <= bindparam("until"))
    .order_by(CatalogueChange.revision),
)


class MeaningReads:
    """Reads the catalogue; every method raises what the driver raises."""

    def __init__(self, database: Database) -> None:
        self._read = database.read

    async def size(self) -> CatalogueSize:
        """Return the catalogue's revision and size."""
        row = await self._read.first(_SIZE)
        assert row is not None, "the migration made the row"
        return CatalogueSize(int(row.revision), int(row.films or 0))

    async def changes(self, after: int, until: int) -> Sequence[tuple[str, int]]:
        """Return kind and number of what changed after one revision and until another."""
        rows = await self._read.all(_CHANGES, {"after": after, "until": until})
        return [(row.kind, row.number) for row in rows]

    async def films_after(self, film_id: int) -> Sequence[FilmText]:
        """Return the next films by number, at most PAGE_FILMS, none that is deleted."""
        rows = await self._read.all(_NEXT, {"after": film_id, "limit": PAGE_FILMS})
        return [_text(row) for row in rows]

    async def films(self, film_ids: Sequence[int]) -> Sequence[FilmText]:
        """Return those of the films that exist and are not deleted."""
        found: list[FilmText] = []
        for start in range(0, len(film_ids), PAGE_FILMS):
            chosen = film_ids[start : start + PAGE_FILMS]
            rows = await self._read.all(_GIVEN, {"film_ids": chosen})
            found += [_text(row) for row in rows]
        return found


def _text(row: Row[Any]) -> FilmText:
    return FilmText(row.film_id, f"{row.title}. {row.description or ''} {row.categories or ''}")
