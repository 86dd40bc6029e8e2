"""Changes of films in the database, each in one transaction with its record in the audit trail."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

from server.audit.trail import AuditRows
from server.catalogue import film_write_statements as sql
from server.catalogue.change_records import from_json
from server.catalogue.change_signal import ChangeSignal
from server.catalogue.changes import Author, ChangeType, ResourceKind
from server.catalogue.domain import Film
from server.catalogue.etags import film_etag, revision_of
from server.catalogue.film_changes import Asked
from server.catalogue.film_rules import (
    Decide,
    Draft,
    FilmFields,
    Present,
    Target,
    fields_of,
    name_of,
    references_not_found,
)
from server.catalogue.film_store import FilmStore
from server.core.idempotency import Replay
from server.database.engine import WriteSession
from server.database.idempotency import IdempotentCalls

_MAX_REVISION: Final = 2**63 - 1


class _TakenBack(Exception):
    """Ends a transaction that was only to be tried; `film` is what it would have made."""

    def __init__(self, film: Film | None) -> None:
        super().__init__()
        self.film = film


class FilmWrites:
    """Stores changes of films. Implements FilmChangeRepository."""

    def __init__(
        self, store: FilmStore, calls: IdempotentCalls, audits: AuditRows, signal: ChangeSignal
    ) -> None:
        self._store = store
        self._calls = calls
        self._audits = audits
        self._signal = signal

    async def add(self, fields: FilmFields, asked: Asked) -> Film | Replay:
        """Store a new film; with `only_check` take it back again."""

        async def work(write: WriteSession) -> Film | None:
            await self._store.hold(write)
            return await self._put(write, Draft(fields, ChangeType.CREATED), asked)

        stored = await self._once(asked, work)
        assert stored is not None, "what was added is there"
        return stored

    async def change(
        self, target: Target, decide: Decide, asked: Asked, *, counts_uses: bool = False
    ) -> Film | Replay | None:
        """Decide about a film and store the outcome; None where there is none."""
        asked.record.target = target.name

        async def work(write: WriteSession) -> Film | None:
            await self._store.hold(write)
            present = await self._present(write, target, counts_uses=counts_uses)
            draft = decide(present)
            if draft is None:
                return _kept(present.film, asked)
            return await self._put(write, draft, asked)

        return await self._once(asked, work)

    async def _once(
        self, asked: Asked, work: Callable[[WriteSession], Awaitable[Film | None]]
    ) -> Film | Replay | None:
        try:
            outcome = await self._calls.once(asked.repeatable, work)
        except _TakenBack as tried:
            return tried.film
        if isinstance(outcome, Replay):
            # What a try before this one had stored was taken back with it.
            asked.record.stored = False
        elif asked.record.stored:
            self._signal.notify()
        return outcome

    async def _put(self, write: WriteSession, draft: Draft, asked: Asked) -> Film:
        """Store a film after what it newly refers to was looked up."""
        if draft.before is None or draft.fields != fields_of(draft.before):
            references = await self._store.references(write, [draft.fields])
            if missing := references.missing(draft.fields):
                raise references_not_found(missing)
        (film,) = await self._store.put(write, [draft], Author.of(asked.record))
        if asked.only_check:
            raise _TakenBack(_tried(draft.before, film))
        asked.record.target = name_of(film)
        await self._audits.add(write, asked.record)
        return film

    async def _present(self, write: WriteSession, target: Target, *, counts_uses: bool) -> Present:
        film = (await self._store.films(write, [target.film_id])).get(target.film_id)
        if film is None:
            return Present(None)
        present = Present(film)
        if target.etag not in ("", film_etag(film)):
            present = replace(present, changed_since=await _changed_since(write, target))
        if counts_uses and (uses := await write.first(sql.USES, {"owner": target.film_id})):
            present = replace(present, copies=uses.copies, rentals=uses.rentals)
        return present


def _kept(film: Film | None, asked: Asked) -> Film | None:
    """Return the film that stays as it is; what was only to be tried leaves no answer either."""
    if asked.only_check:
        raise _TakenBack(film)
    return film


def _tried(before: Film | None, film: Film) -> Film:
    """Return a film that is not stored: its revision and its etag are of what is stored."""
    if before is None:
        return film
    return replace(film, revision=before.revision, update_time=before.update_time)


async def _changed_since(write: WriteSession, target: Target) -> Sequence[str]:
    """Return which fields changed since the target's etag; none where the log does not tell.

    It tells where it still has the first change that followed on the etag's state.
    """
    revision = revision_of(target.etag)
    if revision is None or revision > _MAX_REVISION:
        return ()
    since = {"owner": target.film_id, "seen_revision": revision}
    first = await write.first(sql.FIRST_SINCE, since)
    if first is None:
        return ()
    previous = from_json(ResourceKind.FILM, first.previous)
    if not isinstance(previous, Film) or previous.revision != revision:
        return ()
    rows = await write.all(sql.FIELDS_SINCE, since)
    return sorted({field for row in rows for field in row.changed_fields.split(",") if field})
