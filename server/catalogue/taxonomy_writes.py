"""Changes of categories and actors in the database, each in one transaction.

All of them hold off every other change of the catalogue first, so that what was read, that a name
is free for instance, holds until the commit.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, cast

from server.audit.trail import AuditRows
from server.catalogue.change_log import ChangeLog
from server.catalogue.change_records import from_json
from server.catalogue.change_signal import ChangeSignal
from server.catalogue.changes import Author, ChangeType, Entry
from server.catalogue.domain import Film
from server.catalogue.film_rules import Draft, fields_of
from server.catalogue.film_store import FilmStore
from server.catalogue.numbers import Numbers
from server.catalogue.taxonomy_indexing import Renamed, RenamedFilms
from server.catalogue.taxonomy_rules import (
    Asked,
    Branch,
    Changed,
    Decide,
    DecideRemoval,
    Step,
    T,
    Taken,
)
from server.catalogue.taxonomy_write_statements import HISTORY, WriteStatements
from server.core.idempotency import Replay
from server.database.engine import Database, WriteSession
from server.database.idempotency import IdempotentCalls

_MAX_NUMBER: Final = 2**31 - 1
_PUT_FILMS: Final = 250
"""How many films are stored at once; more would be taken for a load, as when they are indexed."""


class _TakenBack(Exception):
    """Ends a transaction that was only to be tried; `made` is what it would have left."""

    def __init__(self, made: Any) -> None:
        super().__init__()
        self.made = made


@dataclass(frozen=True, slots=True)
class ChangeStorage:
    """What a change is stored with."""

    database: Database
    log: ChangeLog
    numbers: Numbers
    films: FilmStore
    renamed: RenamedFilms
    calls: IdempotentCalls
    audits: AuditRows
    signal: ChangeSignal


class TaxonomyWrites(Generic[T]):
    """Stores changes of categories, or of actors. Implements TaxonomyChangeRepository."""

    def __init__(
        self, branch: Branch[T], statements: WriteStatements[T], storage: ChangeStorage
    ) -> None:
        self._branch, self._sql, self._in = branch, statements, storage

    async def add(self, new: T, asked: Asked[T]) -> Changed[T] | Replay:
        """Store a new row under a number of its own."""

        async def work(write: WriteSession) -> Changed[T]:
            await self._in.log.claim(write, 0)
            await self._check_taken(write, new)
            if asked.only_check:
                raise _TakenBack(new)
            (number,) = await self._in.numbers.take(write, self._sql.table)
            values = {f"{self._sql.table}_id": number, **self._sql.values(new)}
            await write.execute(self._sql.add, values)
            stored = await self._read(write, number)
            entry = Entry(ChangeType.CREATED, self._branch.kind, number, None, stored)
            return await self._finish(write, entry, stored, asked)

        return await self._once(asked, work)

    async def change(self, number: int, decide: Decide[T], asked: Asked[T]) -> Changed[T] | Replay:
        """Decide about a row and store the outcome."""
        left: list[Renamed] = []

        async def work(write: WriteSession) -> Changed[T]:
            left.clear()
            next_revision = await self._in.log.claim(write, 0)
            present = await self._read(write, number)
            after = decide(present)
            if after is None:
                return Changed(present, next_revision - 1)
            await self._check_taken(write, after)
            if asked.only_check:
                raise _TakenBack(after)
            new = {f"new_{name}": value for name, value in self._sql.values(after).items()}
            await write.execute(self._sql.change, {"owner": number, **new})
            stored = await self._read(write, number)
            rest = await self._in.renamed.index(write, self._with_films(number))
            left.extend([rest] if rest else [])
            entry = Entry(ChangeType.UPDATED, self._branch.kind, number, present, stored)
            return await self._finish(write, entry, stored, asked)

        try:
            return await self._once(asked, work)
        finally:
            # Also for a caller who hung up: where nothing was stored it does no harm.
            for rest in left:
                self._in.renamed.follow(rest)

    async def remove(
        self, number: int, decide: DecideRemoval[T], asked: Asked[T]
    ) -> Changed[T] | Replay:
        """Decide about a row, take it out of its films and remove it."""

        async def work(write: WriteSession) -> Changed[T]:
            next_revision = await self._in.log.claim(write, 0)
            present = await self._read(write, number)
            films = await self._count_films(write, number)
            if not decide(present, films):
                return Changed(None, next_revision - 1)
            if asked.only_check:
                raise _TakenBack(None)
            await self._leave_films(write, number, asked)
            for statement in (self._sql.uncount, self._sql.remove):
                await write.execute(statement, {"owner": number})
            before = None if present is None else replace(present, film_count=0)
            entry = Entry(ChangeType.DELETED, self._branch.kind, number, before, None)
            return await self._finish(write, entry, None, asked)

        return await self._once(asked, work)

    async def history(self, number: int) -> Sequence[Step[T]]:
        """Return the last changes of a row, the newest first."""
        kind = self._branch.kind
        rows = await self._in.database.read.all(HISTORY, {"kind": kind.value, "owner": number})
        # What is logged under this kind is of this kind.
        return [
            Step(
                cast("T | None", from_json(kind, row.previous)),
                cast("T | None", from_json(kind, row.resource)),
            )
            for row in rows
        ]

    async def _finish(
        self, write: WriteSession, entry: Entry, stored: T | None, asked: Asked[T]
    ) -> Changed[T]:
        """Log and audit a change that is written."""
        revision = await self._in.log.claim(write)
        await self._in.log.add(write, revision, [entry], Author.of(asked.record))
        asked.record.target = self._branch.name(entry.number)
        await self._in.audits.add(write, asked.record)
        return Changed(stored, revision)

    async def _once(
        self, asked: Asked[T], work: Callable[[WriteSession], Awaitable[Changed[T]]]
    ) -> Changed[T] | Replay:
        async def afresh(write: WriteSession) -> Changed[T]:
            asked.record.stored = False  # what a try before this one stored was taken back
            return await work(write)

        try:
            outcome = await self._in.calls.once(asked.repeatable, afresh)
        except _TakenBack as tried:
            return Changed(tried.made)
        except Exception:
            asked.record.stored = False
            raise
        if isinstance(outcome, Replay):
            asked.record.stored = False
        elif asked.record.stored:
            self._in.signal.notify()
        return outcome

    async def _read(self, write: WriteSession, number: int) -> T | None:
        if number > _MAX_NUMBER:
            return None
        row = await write.first(self._sql.listing.one, {"number": number})
        return None if row is None else self._sql.listing.read(row)

    async def _check_taken(self, write: WriteSession, row: T) -> None:
        """Raise Taken where another row has what must be unique."""
        if self._sql.taken is None:
            return
        sought = {"owner": self._branch.number_of(row), "name": self._sql.values(row)["name"]}
        holder = await write.first(self._sql.taken, sought)
        if holder is not None:
            raise Taken(int(holder[0]), self._sql.unique_field)

    async def _count_films(self, write: WriteSession, number: int) -> int:
        if number > _MAX_NUMBER:
            return 0
        row = await write.first(self._sql.count_films, {"owner": number})
        return int(row[0]) if row is not None else 0

    async def _leave_films(self, write: WriteSession, number: int, asked: Asked[T]) -> None:
        """Take the row out of its films, each of which is thereby changed."""
        while True:
            rows = await write.all(
                self._sql.films, {"owner": number, "after": 0, "limit": _PUT_FILMS}
            )
            if not rows:
                return
            films = await self._in.films.films(write, [row[0] for row in rows])
            drafts = [self._without(number, film) for film in films.values()]
            await self._in.films.put(write, drafts, Author.of(asked.record))

    def _without(self, number: int, film: Film) -> Draft:
        fields = fields_of(film)
        links: Sequence[int] = getattr(fields, self._sql.links)
        rest: dict[str, Any] = {self._sql.links: tuple(other for other in links if other != number)}
        return Draft(
            replace(fields, **rest),
            ChangeType.UPDATED,
            film,
            delete_time=film.delete_time,
            purge_time=film.purge_time,
        )

    def _with_films(self, number: int) -> Renamed:
        return Renamed(self._branch.name(number), number, self._sql.films)
