"""Storing films within an open transaction: one or many of them in as few statements.

The order is always the same: `hold`, read, decide, `put`. So changes come one after the other.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from server.catalogue import film_write_statements as sql
from server.catalogue.change_log import ChangeLog
from server.catalogue.changes import Author, ChangeType, Entry, ResourceKind
from server.catalogue.domain import Film
from server.catalogue.film_counts import note_films
from server.catalogue.film_rules import Draft, FilmFields, MissingReference, fields_of
from server.catalogue.film_statements import FILMS_BY_NUMBER, film_of
from server.catalogue.indexing import reindex
from server.catalogue.numbers import Numbers
from server.catalogue.pagila_tables import TABLES
from server.core.clock import Clock
from server.database.engine import WriteSession
from server.database.sequences import advance_sequences

MAX_NUMBER: Final = 2**31 - 1
"""Row numbers are 32-bit integers; PostgreSQL refuses a greater parameter."""


@dataclass(frozen=True, slots=True)
class References:
    """The languages, categories and actors that exist, of those that were asked for."""

    languages: Collection[int]
    categories: Collection[int]
    actors: Collection[int]

    def missing(self, fields: FilmFields) -> list[MissingReference]:
        """Return which of a film's references lead nowhere, in the order of its fields."""
        named: list[tuple[str, str, int, Collection[int]]] = [
            ("language", "languages", fields.language, self.languages)
        ]
        if fields.original_language is not None:
            named.append(
                ("original_language", "languages", fields.original_language, self.languages)
            )
        for field, numbers, known in (
            ("categories", fields.categories, self.categories),
            ("actors", fields.actors, self.actors),
        ):
            named += [
                (f"{field}[{place}]", field, number, known) for place, number in enumerate(numbers)
            ]
        return [
            MissingReference(field, f"{collection}/{number}")
            for field, collection, number, known in named
            if number not in known
        ]


class FilmStore:
    """Stores films with all that belongs to it: links, counts, index and log of changes."""

    def __init__(self, log: ChangeLog, numbers: Numbers, clock: Clock, *, is_sqlite: bool) -> None:
        self._log = log
        self._numbers = numbers
        self._clock = clock
        self._is_sqlite = is_sqlite

    async def hold(self, write: WriteSession) -> None:
        """Hold off every other change until the commit. Nothing is claimed by this."""
        await self._log.claim(write, 0)

    async def films(self, write: WriteSession, numbers: Iterable[int]) -> dict[int, Film]:
        """Return the films that exist, deleted ones too, by number."""
        possible = [number for number in numbers if number <= MAX_NUMBER]
        rows = await write.all(FILMS_BY_NUMBER, {"film_ids": possible})
        return {row.film_id: film_of(row) for row in rows}

    async def references(self, write: WriteSession, wanted: Sequence[FilmFields]) -> References:
        """Look up what these films refer to, with one statement for each kind."""
        languages = {fields.language for fields in wanted} | {
            fields.original_language for fields in wanted if fields.original_language is not None
        }
        return References(
            await _known(write, "languages", languages),
            await _known(write, "categories", {n for fields in wanted for n in fields.categories}),
            await _known(write, "actors", {n for fields in wanted for n in fields.actors}),
        )

    async def put(self, write: WriteSession, drafts: Sequence[Draft], author: Author) -> list[Film]:
        """Store films and log it; return them as they are now, in the same order.

        Hold first. Each film comes once, what it refers to exists, and a number that is given
        to a new film is free.
        """
        if not drafts:
            return []
        first = await self._log.claim(write, len(drafts))
        numbers = await self._numbers_of(write, drafts)
        now = self._clock()
        await self._write(write, drafts, numbers, first, now)
        await _link(write, drafts, numbers, now)
        stored = await self.films(write, numbers)
        films = [stored[number] for number in numbers]
        revisions = [film.revision for film in films]
        assert revisions == list(range(first, first + len(films))), "nobody else may have changed"
        pairs = [(draft.before, film) for draft, film in zip(drafts, films, strict=True)]
        await note_films(write, pairs)
        await reindex(write, is_sqlite=self._is_sqlite, film_ids=numbers)
        entries = [
            Entry(draft.change_type, ResourceKind.FILM, film.film_id, draft.before, film)
            for draft, film in zip(drafts, films, strict=True)
        ]
        await self._log.add(write, first, entries, author)
        return films

    async def remove(self, write: WriteSession, films: Sequence[Film], author: Author) -> None:
        """Remove deleted films for good and log it; there are no copies of them. Hold first."""
        if not films:
            return
        first = await self._log.claim(write, len(films))
        numbers = [film.film_id for film in films]
        await write.execute(sql.UNINDEX[self._is_sqlite], [{"owner": number} for number in numbers])
        for statement in sql.FORGET_FILMS:
            await write.execute(statement, {"numbers": numbers})
        # They were taken from the counts when they were deleted.
        entries = [
            Entry(ChangeType.PURGED, ResourceKind.FILM, film.film_id, film, None) for film in films
        ]
        await self._log.add(write, first, entries, author)

    async def _numbers_of(self, write: WriteSession, drafts: Sequence[Draft]) -> list[int]:
        """Return the films' numbers; those that are new and have none get the next ones."""
        chosen = [_number_of(draft) for draft in drafts]
        given = [
            draft.film_id for draft in drafts if draft.before is None and draft.film_id is not None
        ]
        if given and self._is_sqlite:
            await write.execute(sql.NUMBER_USED, {"owner": max(given)})
        unnumbered = chosen.count(None)
        taken: list[int] = []
        while unnumbered > len(taken):
            # A sequence does not know of numbers that were given past it.
            more = await self._numbers.take(write, "film", unnumbered - len(taken))
            taken += [number for number in more if number not in given]
        following = iter(taken)
        return [next(following) if number is None else number for number in chosen]

    async def _write(
        self,
        write: WriteSession,
        drafts: Sequence[Draft],
        numbers: Sequence[int],
        first: int,
        now: datetime,
    ) -> None:
        added, changed = [], []
        for place, (draft, number) in enumerate(zip(drafts, numbers, strict=True)):
            values = _values(draft, now, first + place)
            if draft.before is None:
                added.append({"film_id": number, **values})
            else:
                new = {f"new_{name}": value for name, value in values.items()}
                changed.append({"owner": number, "seen_revision": draft.before.revision, **new})
        if added:
            await write.execute(sql.ADD_FILM, added)
        if changed:
            await write.execute(sql.UPDATE_FILM, changed)
        if not self._is_sqlite and any(d.film_id is not None for d in drafts if d.before is None):
            await advance_sequences(write, [TABLES["film"]])


def _number_of(draft: Draft) -> int | None:
    return draft.film_id if draft.before is None else draft.before.film_id


def _values(draft: Draft, now: datetime, revision: int) -> dict[str, Any]:
    fields = draft.fields
    return {
        "title": fields.title,
        "description": fields.description or None,
        "release_year": fields.release_year,
        "language_id": fields.language,
        "original_language_id": fields.original_language,
        "rental_duration": fields.rental_duration,
        "rental_rate": fields.rental_rate,
        "length": fields.length,
        "replacement_cost": fields.replacement_cost,
        "rating": fields.rating,
        "special_features": list(fields.special_features),
        "streaming_available": fields.streaming_available,
        # Where it was not known it is the time of the last change, which is about to be another.
        "create_time": now if draft.before is None else draft.before.create_time,
        "last_update": now,
        "revision": revision,
        "delete_time": draft.delete_time,
        "purge_time": draft.purge_time,
    }


async def _known(write: WriteSession, collection: str, numbers: Collection[int]) -> Collection[int]:
    possible = sorted(number for number in numbers if number <= MAX_NUMBER)
    if not possible:
        return ()
    rows = await write.all(sql.KNOWN[collection], {"numbers": possible})
    return frozenset(row[0] for row in rows)


async def _link(
    write: WriteSession, drafts: Sequence[Draft], numbers: Sequence[int], now: datetime
) -> None:
    """Write which categories and actors came and went."""
    for name, key, add, remove in (
        ("categories", "category_id", sql.ADD_CATEGORY, sql.REMOVE_CATEGORY),
        ("actors", "actor_id", sql.ADD_ACTOR, sql.REMOVE_ACTOR),
    ):
        added, removed = [], []
        for draft, number in zip(drafts, numbers, strict=True):
            wanted = getattr(draft.fields, name)
            present = () if draft.before is None else getattr(fields_of(draft.before), name)
            removed += [
                {"owner": number, "unwanted": other} for other in set(present) - set(wanted)
            ]
            added += [
                {"film_id": number, key: other, "last_update": now}
                for other in sorted(set(wanted) - set(present))
            ]
        if removed:
            await write.execute(remove, removed)
        if added:
            await write.execute(add, added)
