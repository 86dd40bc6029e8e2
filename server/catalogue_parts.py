"""The parts of the catalogue, joined: the composition root's hand in `server.catalogue`."""

import asyncio
import secrets
from collections.abc import Sequence
from datetime import timedelta
from random import random
from time import monotonic

from structlog.typing import FilteringBoundLogger

from server.audit.trail import AuditRows
from server.catalogue.bulk_mapping import ExportCursors
from server.catalogue.bulk_servicer import BulkMethods
from server.catalogue.change_feed import ChangeFeed
from server.catalogue.change_filter import change_fields
from server.catalogue.change_list import ChangeList
from server.catalogue.change_log import CHANNEL, ChangeLog
from server.catalogue.change_reads import ChangeRows
from server.catalogue.change_signal import ChangeSignal
from server.catalogue.domain import Catalogue
from server.catalogue.film_change_servicer import FilmChangeMethods
from server.catalogue.film_changes import FilmChanges
from server.catalogue.film_export import FilmExports
from server.catalogue.film_import import RETENTION as IMPORT_RETENTION
from server.catalogue.film_import_writes import FilmImportWrites
from server.catalogue.film_imports import FilmImports
from server.catalogue.film_purge import FilmPurge
from server.catalogue.film_search import FilmSearch
from server.catalogue.film_snapshot import FilmSnapshots
from server.catalogue.film_store import FilmStore
from server.catalogue.film_writes import FilmWrites
from server.catalogue.meaning import Meaning, is_installed
from server.catalogue.meaning_reads import MeaningReads
from server.catalogue.numbers import Numbers
from server.catalogue.query_fields import actor_fields, category_fields, film_fields
from server.catalogue.repository import SqlCatalogue
from server.catalogue.search_reads import SqlSearch
from server.catalogue.search_servicer import SearchMethods
from server.catalogue.servicer import ReadMethods
from server.catalogue.taxonomy import Taxonomy
from server.catalogue.taxonomy_change_servicer import TaxonomyChangeMethods
from server.catalogue.taxonomy_changes import TaxonomyChanges
from server.catalogue.taxonomy_indexing import RenamedFilms
from server.catalogue.taxonomy_reads import TaxonomyRows
from server.catalogue.taxonomy_rules import ACTOR_BRANCH, CATEGORY_BRANCH
from server.catalogue.taxonomy_servicer import TaxonomyMethods
from server.catalogue.taxonomy_write_statements import ACTOR_WRITES, CATEGORY_WRITES
from server.catalogue.taxonomy_writes import ChangeStorage, TaxonomyWrites
from server.catalogue.watch import WatchParts
from server.catalogue.watch_cursors import WatchCursors
from server.catalogue.watch_servicer import WatchMethods
from server.catalogue.watch_snapshot import WatchSnapshots
from server.core.clock import Clock
from server.core.retention import Kept, Retention
from server.database.engine import Database
from server.database.idempotency import IdempotentCalls
from server.database.notifications import Notifications
from server.rpc.cursors import Cursors
from server.rpc.idempotency import RequestIds
from server.rpc.page_token import PageTokens
from server.settings import Settings


class CatalogueParts:
    """The catalogue of one process."""

    def __init__(
        self,
        settings: Settings,
        secret: bytes,
        database: Database,
        audits: AuditRows,
        clock: Clock,
        log: FilteringBoundLogger,
        *,
        draining: asyncio.Event,
    ) -> None:
        self._draining = draining
        self._settings, self._secret = settings, secret
        self._database, self._audits = database, audits
        self._clock, self._log = clock, log
        self._page_tokens = PageTokens(secret, clock, secrets.token_bytes)
        self._calls = IdempotentCalls(database, clock)
        self._request_ids = RequestIds(secret)
        self._changes = ChangeLog(clock, is_sqlite=database.is_sqlite)
        self._numbers = Numbers(is_sqlite=database.is_sqlite)
        self._signal = ChangeSignal()
        self._film_store = FilmStore(
            self._changes, self._numbers, clock, is_sqlite=database.is_sqlite
        )
        self._renamed = RenamedFilms(database, self._changes, log)
        self.catalogue = Catalogue(SqlCatalogue(database), film_fields(), clock)
        self._meaning = self._built_meaning()
        self.search = FilmSearch(SqlSearch(database), film_fields(), clock, self._meaning)
        self.servicers: Sequence[object] = (
            ReadMethods(self.catalogue, self._page_tokens),
            SearchMethods(self.search, self._page_tokens),
            self._built_taxonomy(),
            self._built_film_changes(),
            self._built_taxonomy_changes(),
            self._built_bulk(),
            self._built_watch(),
        )

    def _built_meaning(self) -> Meaning | None:
        """Return what ranks films by meaning, where the extra for it is installed."""
        if not is_installed():
            return None
        return Meaning(MeaningReads(self._database), monotonic, self._log)

    def _built_film_changes(self) -> FilmChangeMethods:
        writes = FilmWrites(self._film_store, self._calls, self._audits, self._signal)
        return FilmChangeMethods(FilmChanges(writes, self._clock), self._request_ids)

    def _built_taxonomy(self) -> TaxonomyMethods:
        taxonomy = Taxonomy(TaxonomyRows(self._database), category_fields(), actor_fields())
        return TaxonomyMethods(taxonomy, self._page_tokens)

    def _built_taxonomy_changes(self) -> TaxonomyChangeMethods:
        storage = ChangeStorage(
            self._database,
            self._changes,
            self._numbers,
            self._film_store,
            self._renamed,
            self._calls,
            self._audits,
            self._signal,
        )
        categories = TaxonomyWrites(CATEGORY_BRANCH, CATEGORY_WRITES, storage)
        actors = TaxonomyWrites(ACTOR_BRANCH, ACTOR_WRITES, storage)
        return TaxonomyChangeMethods(
            TaxonomyChanges(CATEGORY_BRANCH, categories, self._clock),
            TaxonomyChanges(ACTOR_BRANCH, actors, self._clock),
            self._request_ids,
        )

    def _built_bulk(self) -> BulkMethods:
        clock = self._clock
        snapshots = FilmSnapshots(self._database, clock)
        cursors = Cursors(self._secret, clock, secrets.token_bytes)
        self._import_writes = FilmImportWrites(
            self._database, self._film_store, self._audits, self._signal, clock
        )
        return BulkMethods(
            FilmExports(snapshots, film_fields(), clock),
            FilmImports(self._import_writes, clock),
            ExportCursors(cursors, clock),
        )

    def _built_watch(self) -> WatchMethods:
        database, clock = self._database, self._clock
        self._change_rows = ChangeRows(database)
        self._feed = ChangeFeed(
            self._change_rows,
            self._signal,
            buffer=self._settings.watch_buffer,
            clock=clock,
            log=self._log,
        )
        parts = WatchParts(
            self._feed,
            self._change_rows,
            WatchSnapshots(database, clock),
            WatchCursors(Cursors(self._secret, clock, secrets.token_bytes)),
            self._draining,
            clock,
            monotonic,
        )
        changes = ChangeList(self._change_rows, change_fields(), clock)
        return WatchMethods(parts, changes, film_fields(), self._page_tokens)

    def _following(self) -> Sequence[asyncio.Task[None]]:
        """Start what tells watches of changes, and of the server's end."""
        following = [self._feed.run(), self._feed.wake_at(self._draining)]
        if not self._database.is_sqlite:
            notifications = Notifications(
                self._database, CHANNEL, self._signal.notify, log=self._log, chance=random
            )
            following.append(notifications.run())
        return [asyncio.create_task(follow) for follow in following]

    def background(self) -> Sequence[asyncio.Task[None]]:
        """Start what runs beside the calls."""
        retention = Retention(self._kept(), clock=self._clock, log=self._log, chance=random)
        return [
            asyncio.create_task(retention.run()),
            asyncio.create_task(self._renamed.run()),
            *self._following(),
        ]

    def _kept(self) -> Sequence[Kept]:
        """Return what is deleted after some time, and after how long."""
        purge = FilmPurge(self._database, self._film_store, self._signal)
        days = timedelta(days=self._settings.change_log_days)
        return [
            Kept("films", timedelta(0), purge.purge),
            Kept("changes", days, self._change_rows.delete_oldest),
            Kept("imports", IMPORT_RETENTION, self._import_writes.forget),
        ]

    async def close(self) -> None:
        """Close what holds connections."""
        if self._meaning is not None:
            await self._meaning.close()
