"""Creating, changing, deleting and undeleting films."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from server.catalogue.changes import ChangeType
from server.catalogue.domain import FILM_TYPE, Film
from server.catalogue.film_rules import (
    Decide,
    Draft,
    FilmFields,
    Present,
    Target,
    alive,
    deleted,
    draft_of,
    fields_of,
    matched,
    unused,
)
from server.core.audit import AuditRecord
from server.core.clock import Clock
from server.core.errors import ResourceNotFound
from server.core.idempotency import Repeatable, Replay

KEPT_AFTER_DELETION: Final = timedelta(days=30)
"""From the deletion to the purge; until then it can be taken back (AIP-164)."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How a change was called.

    `only_check`: find out whether it would do, and change nothing (AIP-163).
    """

    record: AuditRecord
    repeatable: Repeatable[Film | None] | None = None
    only_check: bool = False


class FilmChangeRepository(Protocol):
    """Stores changes of films, each with its record in the audit trail or not at all."""

    async def add(self, fields: FilmFields, asked: Asked) -> Film | Replay:
        """Store a new film; with `only_check` take it back again.

        Raises:
            DomainError: REFERENCE_NOT_FOUND, REQUEST_ID_REUSED.
        """

    async def change(
        self, target: Target, decide: Decide, asked: Asked, *, counts_uses: bool = False
    ) -> Film | Replay | None:
        """Decide about a film and store the outcome; None where there is none.

        Raises:
            DomainError: as `add`; whatever `decide` raises.
        """


class FilmChanges:
    """Changes the films of the catalogue."""

    def __init__(self, repository: FilmChangeRepository, clock: Clock) -> None:
        self._repository = repository
        self._clock = clock

    async def create(self, fields: FilmFields, asked: Asked) -> Film | Replay:
        """Create a film with the next number.

        Raises:
            DomainError: REFERENCE_NOT_FOUND, REQUEST_ID_REUSED.
        """
        return await self._repository.add(fields, asked)

    async def update(
        self, target: Target, fields: Mapping[str, Any], asked: Asked
    ) -> Film | Replay:
        """Set fields of a film, by their names in FilmFields.

        Where every one of them has its value already nothing changes, nor does the etag.

        Raises:
            ResourceNotFound: there is no such film.
            DomainError: RESOURCE_DELETED, ETAG_MISMATCH, REFERENCE_NOT_FOUND, REQUEST_ID_REUSED.
        """

        def decide(present: Present) -> Draft | None:
            film = alive(_there(target, present))
            matched(target, film, present.changed_since)
            return draft_of(film, replace(fields_of(film), **fields))

        return _known(target, await self._repository.change(target, decide, asked))

    async def delete(
        self, target: Target, asked: Asked, *, force: bool, allow_missing: bool
    ) -> Film | Replay | None:
        """Delete a film for 30 days and then for good (AIP-164).

        With `allow_missing` one that is deleted already stays as it is, and None is returned
        where there is none (AIP-135).

        Raises:
            ResourceNotFound: there is no such film.
            ResourceInUse: it is lent out, or there are copies and `force` is not set.
            DomainError: RESOURCE_DELETED, ETAG_MISMATCH, REQUEST_ID_REUSED.
        """

        def decide(present: Present) -> Draft | None:
            if allow_missing and (present.film is None or present.film.delete_time is not None):
                return None
            film = alive(_there(target, present))
            matched(target, film, present.changed_since)
            unused(film, present, force=force)
            return _deleted(film, self._clock())

        return await self._repository.change(target, decide, asked, counts_uses=True)

    async def undelete(self, target: Target, asked: Asked) -> Film | Replay:
        """Take a deletion back (AIP-164).

        Raises:
            ResourceNotFound: there is no such film.
            ResourceExists: it is not deleted.
            DomainError: ETAG_MISMATCH, REQUEST_ID_REUSED.
        """

        def decide(present: Present) -> Draft | None:
            film = deleted(_there(target, present))
            matched(target, film, present.changed_since)
            return draft_of(film, fields_of(film))

        return _known(target, await self._repository.change(target, decide, asked))


def _there(target: Target, present: Present) -> Film:
    if present.film is None:
        raise ResourceNotFound(FILM_TYPE, target.name)
    return present.film


def _known(target: Target, outcome: Film | Replay | None) -> Film | Replay:
    if outcome is None:
        raise ResourceNotFound(FILM_TYPE, target.name)
    return outcome


def _deleted(film: Film, now: datetime) -> Draft:
    return Draft(
        fields_of(film),
        ChangeType.DELETED,
        film,
        delete_time=now,
        purge_time=now + KEPT_AFTER_DELETION,
    )
