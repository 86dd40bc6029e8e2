"""Creating, changing and deleting categories and actors."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Generic

from server.catalogue.taxonomy_rules import (
    Asked,
    Branch,
    Changed,
    Outdated,
    T,
    Taken,
    Target,
    TaxonomyChangeRepository,
    exists,
    mismatch,
    unused,
)
from server.core.clock import Clock
from server.core.errors import ResourceNotFound
from server.core.idempotency import Replay


class TaxonomyChanges(Generic[T]):
    """Changes what there is of categories, or of actors."""

    def __init__(
        self, branch: Branch[T], repository: TaxonomyChangeRepository[T], clock: Clock
    ) -> None:
        self._branch = branch
        self._repository = repository
        self._clock = clock

    async def create(self, new: T, asked: Asked[T]) -> Changed[T] | Replay:
        """Store a new row, whose number and times are not looked at.

        Raises:
            DomainError: RESOURCE_EXISTS, REQUEST_ID_REUSED.
        """
        try:
            return await self._repository.add(replace(new, update_time=self._clock()), asked)
        except Taken as taken:
            raise exists(self._branch, taken) from None

    async def update(
        self, target: Target, fields: Mapping[str, Any], asked: Asked[T]
    ) -> Changed[T] | Replay:
        """Set fields of a row, by the names that they have in the domain.

        Where every one of them has its value already nothing changes, nor does the etag.

        Raises:
            ResourceNotFound: there is no such row.
            DomainError: ETAG_MISMATCH, RESOURCE_EXISTS, REQUEST_ID_REUSED.
        """

        def decide(present: T | None) -> T | None:
            resource = self._matched(target, present)
            after = replace(resource, **fields)
            if after == resource:
                return None
            # Behind the state before, also where this replica's clock is.
            later = max(self._clock(), resource.update_time + timedelta(microseconds=1))
            return replace(after, update_time=later)

        asked.record.target = self._branch.name(target.number)
        try:
            return await self._repository.change(target.number, decide, asked)
        except Taken as taken:
            raise exists(self._branch, taken) from None
        except Outdated as outdated:
            steps = await self._repository.history(target.number)
            raise mismatch(self._branch, target, outdated.current, steps) from None

    async def delete(
        self, target: Target, asked: Asked[T], *, force: bool, allow_missing: bool
    ) -> Changed[T] | Replay:
        """Remove a row for good; with `force` take it out of its films first.

        Raises:
            ResourceNotFound: there is no such row, and it may not be missing.
            ResourceInUse: films have it.
            DomainError: ETAG_MISMATCH, REQUEST_ID_REUSED.
        """

        def decide(present: T | None, films: int) -> bool:
            if present is None and allow_missing:
                return False
            unused(self._branch, self._matched(target, present), films, force=force)
            return True

        asked.record.target = self._branch.name(target.number)
        try:
            return await self._repository.remove(target.number, decide, asked)
        except Outdated as outdated:
            steps = await self._repository.history(target.number)
            raise mismatch(self._branch, target, outdated.current, steps) from None

    def _matched(self, target: Target, present: T | None) -> T:
        if present is None:
            raise ResourceNotFound(self._branch.resource_type, self._branch.name(target.number))
        current = self._branch.etag(present)
        if target.etag not in ("", current):
            raise Outdated(current)
        return present
