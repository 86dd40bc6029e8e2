"""Who changes films, at a server in the test's own loop."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.type.money_pb2 import Money
from sqlalchemy import insert, select, text, update

from server.catalogue.change_records import to_json
from server.catalogue.changes import ResourceKind
from server.catalogue.film_statements import FILMS_BY_NUMBER, film_of
from server.catalogue.models import CatalogueChange, FilmCount
from server.database.engine import Database
from server.generated.interview.catalogue.v1 import film_changes_pb2 as pb
from server.generated.interview.catalogue.v1 import film_pb2
from server.generated.interview.catalogue.v1 import resources_pb2 as resources
from server.rentals.models import Inventory, Rental
from tests.support.caller import Caller
from tests.support.running import ADMIN, Running

NO_FILM = "films/2147483647"
SETTABLE = (
    "title",
    "description",
    "release_year",
    "language",
    "original_language",
    "rental_duration_days",
    "rental_rate",
    "length_minutes",
    "replacement_cost",
    "rating",
    "special_features",
    "streaming_available",
    "categories",
    "actors",
)


def dollars(units: int, cents: int = 0, currency: str = "USD") -> Money:
    """Return an amount."""
    return Money(currency_code=currency, units=units, nanos=cents * 10_000_000)


def film(**fields: Any) -> resources.Film:
    """Return a film with a title and a language, and with what else is told."""
    return resources.Film(**{"title": "A NEW FILM", "language": "languages/1", **fields})


class FilmDesk(Caller):
    """Somebody who may change films."""

    @classmethod
    async def open(cls, running: Running) -> "FilmDesk":
        """Sign an administrator in."""
        return cls(running, await running.sign_in(ADMIN))

    def create(self, request: Mapping[str, Any] | None = None, **fields: Any) -> Any:
        """Return the call that creates a film; `request` are the request's other fields."""
        return self.CreateFilm(pb.CreateFilmRequest(film=film(**fields), **(request or {})))

    def update(
        self,
        name: str,
        paths: Sequence[str] = (),
        request: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Any:
        """Return the call that sets fields of a film, under a mask where there are paths."""
        mask = FieldMask(paths=paths) if paths else None
        changed = resources.Film(name=name, **fields)
        return self.UpdateFilm(
            pb.UpdateFilmRequest(film=changed, update_mask=mask, **(request or {}))
        )

    def delete(self, name: str, **fields: Any) -> Any:
        """Return the call that deletes a film."""
        return self.DeleteFilm(pb.DeleteFilmRequest(name=name, **fields))

    def undelete(self, name: str, **fields: Any) -> Any:
        """Return the call that takes a deletion back."""
        return self.UndeleteFilm(pb.UndeleteFilmRequest(name=name, **fields))

    async def found(self, query: str) -> list[str]:
        """Return the names of the films that a search finds."""
        answer = await self.SearchFilms(film_pb2.SearchFilmsRequest(query=query))
        return [match.film.name for match in answer.matches]

    def get(self, name: str) -> Any:
        """Return the call that reads a film."""
        return self.GetFilm(film_pb2.GetFilmRequest(name=name))


def number_of(name: str) -> int:
    """Return 17 for `films/17`."""
    return int(name.removeprefix("films/"))


async def plant_copy(database: Database, name: str, *, lent: bool = False) -> None:
    """Store a copy of a film in the shop of `plant_shop`, lent out or back from a rental."""
    made = datetime(2026, 1, 1, tzinfo=UTC)
    async with database.write() as write:
        values = {"film_id": number_of(name), "store_id": 1}
        row = await write.first(insert(Inventory).values(values).returning(Inventory.inventory_id))
        assert row is not None
        rental = {
            "rental_date": made,
            "inventory_id": row[0],
            "customer_id": 1,
            "staff_id": 1,
            "return_date": None if lent else made,
        }
        await write.execute(insert(Rental), rental)


async def bring_back(database: Database) -> None:
    """End every rental."""
    async with database.write() as write:
        await write.execute(update(Rental).values(return_date=datetime(2026, 2, 1, tzinfo=UTC)))


async def changes_of(database: Database, name: str = "") -> Sequence[Any]:
    """Return the log's rows of a film, or of all films, in order."""
    table = CatalogueChange.__table__
    statement = select(table).where(table.c.kind == ResourceKind.FILM).order_by(table.c.revision)
    if name:
        statement = statement.where(table.c.number == number_of(name))
    return await database.read.all(statement)


async def check_log(database: Database) -> int:
    """Hold the log against the films: played again it makes them; return how many it has.

    The counts are held against them as well.
    """
    state: dict[int, str | None] = {}
    revisions: dict[int, int] = {}
    rows = await changes_of(database)
    for row in rows:
        if row.number in state:
            assert row.previous == state[row.number], row
        state[row.number] = row.resource
        revisions[row.number] = row.revision
    assert len({row.revision for row in rows}) == len(rows)
    found = await database.read.all(FILMS_BY_NUMBER, {"film_ids": list(state)})
    films = {film.film_id: film for film in map(film_of, found)}
    unlike = {
        number: (to_json(films.get(number)), logged)
        for number, logged in state.items()
        if to_json(films.get(number)) != logged
    }
    assert not unlike, unlike
    assert all(film.revision == revisions[number] for number, film in films.items())
    await _check_counts(database)
    return len(rows)


_COUNTED = {
    "film": "SELECT 0, count(*) FROM film WHERE delete_time IS NULL",
    "category": "SELECT category_id, count(*) FROM film_category JOIN film USING (film_id)"
    " WHERE delete_time IS NULL GROUP BY category_id",
    "actor": "SELECT actor_id, count(*) FROM film_actor JOIN film USING (film_id)"
    " WHERE delete_time IS NULL GROUP BY actor_id",
}


async def _check_counts(database: Database) -> None:
    table = FilmCount.__table__
    kept = {
        (row.kind, row.number): row.films
        for row in await database.read.all(select(table))
        if row.films
    }
    counted: dict[tuple[str, int], int] = {}
    for kind, statement in _COUNTED.items():
        rows: Sequence[Any] = await database.read.all(text(statement))
        counted |= {(kind, row[0]): row[1] for row in rows if row[1]}
    assert kept == counted
