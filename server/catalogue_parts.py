"""The parts of the catalogue, joined: the composition root's hand in `server.catalogue`."""

import asyncio
import secrets
from collections.abc import Sequence
from datetime import timedelta
from random import random

from structlog.typing import FilteringBoundLogger

from server.audit.trail import AuditRows
from server.catalogue.bulk_servicer import BulkMethods
from server.catalogue.change_log import ChangeLog
from server.catalogue.change_signal import ChangeSignal
from server.catalogue.domain import Catalogue
from server.catalogue.film_change_servicer import FilmChangeMethods
from server.catalogue.film_changes import FilmChanges
from server.catalogue.film_purge import FilmPurge
from server.catalogue.film_store import FilmStore
from server.catalogue.film_writes import FilmWrites
from server.catalogue.numbers import Numbers
from server.catalogue.query_fields import actor_fields, category_fields, film_fields
from server.catalogue.repository import SqlCatalogue
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
from server.catalogue.watch_servicer import WatchMethods
from server.core.clock import Clock
from server.core.retention import Kept, Retention
from server.database.engine import Database
from server.database.idempotency import IdempotentCalls
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
    ) -> None:
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
        self.servicers: Sequence[object] = (
            ReadMethods(self.catalogue, self._page_tokens),
            self._built_taxonomy(),
            self._built_film_changes(),
            self._built_taxonomy_changes(),
            self._built_bulk(),
            self._built_watch(),
        )

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
        return BulkMethods()

    def _built_watch(self) -> WatchMethods:
        return WatchMethods()

    def background(self) -> Sequence[asyncio.Task[None]]:
        """Start what runs beside the calls."""
        retention = Retention(self._kept(), clock=self._clock, log=self._log, chance=random)
        return [
            asyncio.create_task(retention.run()),
            asyncio.create_task(self._renamed.run()),
        ]

    def _kept(self) -> Sequence[Kept]:
        """Return what is deleted after some time, and after how long."""
        purge = FilmPurge(self._database, self._film_store, self._signal)
        return [Kept("films", timedelta(0), purge.purge)]

    async def close(self) -> None:
        """Close what holds connections."""
