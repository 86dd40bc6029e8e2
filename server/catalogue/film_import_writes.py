"""Imports of films in the database: each batch in one transaction with how far its import is."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.exc import IntegrityError

from server.audit.trail import AuditRows
from server.catalogue import film_import_rows as sql
from server.catalogue.change_signal import ChangeSignal
from server.catalogue.changes import Author
from server.catalogue.film_import import (
    FilmImport,
    ImportMode,
    ImportState,
    SentBatch,
    SentFilm,
    Stream,
    Tally,
    counted,
    refused,
)
from server.catalogue.film_import_rules import (
    Known,
    decide,
    not_found,
    rounds,
    same_config,
    taken_over,
)
from server.catalogue.film_store import FilmStore
from server.core.clock import Clock
from server.database.engine import Database, WriteSession


class _Refused(Exception):
    """Ends a transaction by films that cannot be taken."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self.tally = tally


class _TakenBack(Exception):
    """Ends a transaction that was only to be tried."""


class FilmImportWrites:
    """Keeps imports and stores their films. Implements FilmImportRepository."""

    def __init__(
        self,
        database: Database,
        store: FilmStore,
        audits: AuditRows,
        signal: ChangeSignal,
        clock: Clock,
    ) -> None:
        self._database = database
        self._store = store
        self._audits = audits
        self._signal = signal
        self._clock = clock

    async def find(self, import_id: UUID, owner_id: UUID) -> FilmImport | None:
        """Return an import of an owner."""
        row = await self._database.read.first(sql.FIND, {"this": import_id})
        if row is None or row.owner_id != owner_id:
            return None
        return sql.seen_at(row, self._clock())

    async def begin(self, stream: Stream) -> FilmImport:
        """Begin an import or go on with it; from now on no other stream stores its batches."""
        now = self._clock()
        if stream.config.validate_only:
            _check_same(await self._database.read.first(sql.FIND, sql.this(stream)), stream)
            return FilmImport(stream.config.import_id, ImportState.RUNNING, now, now)

        async def work(write: WriteSession) -> FilmImport:
            row = await write.first(sql.HOLD, sql.this(stream))
            _check_same(row, stream)
            if row is None:
                row = await write.first(sql.ADD, sql.new_row(stream, now))
            elif row.state != ImportState.SUCCEEDED:
                row = await write.first(sql.TAKE.values(sql.again(stream, now)), sql.this(stream))
            assert row is not None, "it is held"
            return sql.import_of(row)

        try:
            return await self._database.transaction(work)
        except IntegrityError:
            # Another stream began it meanwhile: it is there to be seen now.
            return await self._database.transaction(work)

    async def store(
        self, stream: Stream, batches: Sequence[SentBatch], state: ImportState
    ) -> tuple[FilmImport, Tally]:
        """Store batches in one transaction, after which the import is in that state."""
        audited = stream.record.stored
        behind = {**sql.mine(stream), "behind": batches[0].number - 1}

        async def work(write: WriteSession) -> tuple[FilmImport, Tally]:
            stream.record.stored = audited  # what a try before this one stored was taken back
            await self._store.hold(write)
            row = await write.first(sql.NEXT, behind)
            if row is None:
                raise taken_over(stream.config.import_id)
            tally = await self._put_all(write, stream, batches)
            after = replace(
                counted(sql.import_of(row), tally),
                state=state,
                committed_batch=batches[-1].number,
                update_time=self._clock(),
            )
            if (await write.execute(sql.ADVANCE.values(sql.changed(after)), behind)).rowcount != 1:
                raise taken_over(stream.config.import_id)
            if not audited:
                await self._audits.add(write, stream.record)
            return after, tally

        try:
            stored = await self._database.transaction(work)
        except _Refused as nothing:
            stream.record.stored = audited
            return await self._fail(stream, nothing.tally), nothing.tally
        if stored[1].revision:
            self._signal.notify()
        return stored

    async def check(self, stream: Stream, batch: SentBatch, made: set[int]) -> Tally:
        """Find out what would become of a batch, and store nothing."""
        tallies: list[Tally] = []

        async def work(write: WriteSession) -> None:
            made.clear()
            made.update(before)
            tallies.append(await self._put(write, stream, batch, made, only_check=True))
            raise _TakenBack

        before = frozenset(made)
        with suppress(_TakenBack):
            await self._database.transaction(work)
        return tallies[-1]

    async def end(self, stream: Stream, state: ImportState) -> FilmImport:
        """Note how a stream ended, unless another one has come."""
        values = {"state": state.value, "update_time": self._clock()}
        row = await self._database.transaction(
            lambda write: write.first(sql.END.values(values), sql.mine(stream))
        )
        if row is None:
            if state is ImportState.SUCCEEDED:
                raise taken_over(stream.config.import_id)
            row = await self._database.read.first(sql.FIND, sql.this(stream))
        if row is None:
            raise not_found(stream.config.import_id)
        return sql.import_of(row)

    async def forget(self, end: datetime, limit: int) -> int:
        """Delete at most so many imports whose last batch was stored until then."""
        values = {"at": end, "most": limit}

        async def work(write: WriteSession) -> int:
            return (await write.execute(sql.FORGET, values)).rowcount

        return await self._database.transaction(work)

    async def _put_all(
        self, write: WriteSession, stream: Stream, batches: Sequence[SentBatch]
    ) -> Tally:
        """Store the films of batches; raises _Refused where not all can be and all must."""
        tally = Tally()
        made: set[int] = set()
        tolerant = stream.config.mode is ImportMode.BEST_EFFORT
        for batch in batches:
            # Where one film is in the way of all, the others are still to be told of.
            hopeless = tally.failed > 0 and not tolerant
            tally.add(await self._put(write, stream, batch, made, only_check=hopeless))
        if tally.failed and not tolerant:
            raise _Refused(tally)
        return tally

    async def _put(
        self,
        write: WriteSession,
        stream: Stream,
        batch: SentBatch,
        made: set[int],
        *,
        only_check: bool,
    ) -> Tally:
        """Store a batch, or only find out what would become of it."""
        tally, policy = Tally(), stream.config.conflict_policy
        author = Author.of(stream.record)
        for places in rounds(batch.films):
            known = await self._known(write, [batch.films[place] for place in places], made)
            drafts, of_round = decide(batch, places, known, policy)
            tally.add(of_round)
            if only_check:
                made.update(draft.film_id for draft in drafts if draft.film_id is not None)
            elif drafts:
                films = await self._store.put(write, drafts, author)
                tally.revision = films[-1].revision
        tally.failures.sort(key=lambda failure: failure.index)
        return tally

    async def _known(
        self, write: WriteSession, films: Sequence[SentFilm], made: AbstractSet[int]
    ) -> Known:
        numbers = [film.film_id for film in films if film.film_id is not None]
        present = await self._store.films(write, numbers) if numbers else {}
        wanted = [film.fields for film in films if film.fields is not None]
        references = await self._store.references(write, wanted)
        return Known(present, references.missing, made)

    async def _fail(self, stream: Stream, tally: Tally) -> FilmImport:
        """Note that an import has failed by a batch of which nothing was stored."""

        async def work(write: WriteSession) -> FilmImport:
            row = await write.first(sql.OURS, sql.mine(stream))
            if row is None:
                raise taken_over(stream.config.import_id)
            after = refused(sql.import_of(row), tally, self._clock())
            await write.execute(sql.FAIL.values(sql.changed(after)), sql.mine(stream))
            return after

        return await self._database.transaction(work)


def _check_same(row: Row[Any] | None, stream: Stream) -> None:
    """Let a stream have an import that is its owner's, and what it was begun as."""
    if row is None:
        return
    if row.owner_id != stream.owner_id:
        raise not_found(stream.config.import_id)
    same_config(sql.config_of(row), stream.config)
