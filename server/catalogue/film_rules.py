"""What every change of a film obeys: what can be set, what may follow on what, how it is stored.

What may follow on what is decided by functions of the present film alone. The repository calls
them inside the transaction that stores the change, so that nothing comes between.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from server.catalogue.changes import ChangeType
from server.catalogue.domain import FILM_TYPE, Film
from server.catalogue.etags import film_etag
from server.core.clock import rfc3339
from server.core.errors import (
    DomainError,
    FieldViolation,
    ResourceExists,
    ResourceInUse,
    ResourceRef,
)

RENTAL_RATE: Final = Decimal("4.99")
REPLACEMENT_COST: Final = Decimal("19.99")
RENTAL_DURATION_DAYS: Final = 3
"""What a film gets that is created without them; these three are Pagila's own defaults."""


@dataclass(frozen=True, slots=True)
class FilmFields:
    """What a caller can set of a film; languages, categories and actors by their numbers."""

    title: str
    language: int
    description: str = ""
    release_year: int | None = None
    original_language: int | None = None
    rental_duration: int = RENTAL_DURATION_DAYS
    rental_rate: Decimal = RENTAL_RATE
    length: int | None = None
    replacement_cost: Decimal = REPLACEMENT_COST
    rating: str | None = None
    special_features: tuple[str, ...] = ()
    streaming_available: bool = False
    categories: tuple[int, ...] = ()
    actors: tuple[int, ...] = ()


_LISTS: Final = ("special_features", "categories", "actors")


def fields_of(film: Film) -> FilmFields:
    """Return what can be set of a film, as it is."""
    original = film.original_language
    return FilmFields(
        title=film.title,
        language=film.language.number,
        description=film.description,
        release_year=film.release_year,
        original_language=None if original is None else original.number,
        rental_duration=film.rental_duration,
        rental_rate=film.rental_rate,
        length=film.length,
        replacement_cost=film.replacement_cost,
        rating=film.rating,
        special_features=film.special_features,
        streaming_available=film.streaming_available,
        categories=tuple(label.number for label in film.categories),
        actors=tuple(label.number for label in film.actors),
    )


@dataclass(frozen=True, slots=True)
class Draft:
    """A film as it is to be stored. `before` is None for a new one.

    A new film gets the next number, unless `film_id` says which.
    """

    fields: FilmFields
    change_type: ChangeType
    before: Film | None = None
    film_id: int | None = None
    delete_time: datetime | None = None
    purge_time: datetime | None = None


def draft_of(before: Film | None, fields: FilmFields, film_id: int | None = None) -> Draft | None:
    """Return the film with these fields, and deleted no more; None where nothing would change."""
    if before is None:
        return Draft(fields, ChangeType.CREATED, film_id=film_id)
    present = fields_of(before)
    # The lists have no order: in another one they are the same.
    same = {
        name: getattr(present, name)
        for name in _LISTS
        if set(getattr(present, name)) == set(getattr(fields, name))
    }
    fields = replace(fields, **same)
    if before.delete_time is not None:
        return Draft(fields, ChangeType.UNDELETED, before)
    return None if fields == present else Draft(fields, ChangeType.UPDATED, before)


@dataclass(frozen=True, slots=True)
class MissingReference:
    """The `field` of a film ("language", "categories[2]") names a resource that there is not."""

    field: str
    name: str


@dataclass(frozen=True, slots=True)
class Target:
    """Which film to change, and the etag it must have ("": any)."""

    film_id: int
    etag: str = ""

    @property
    def name(self) -> str:
        """The film's resource name."""
        return f"films/{self.film_id}"


@dataclass(frozen=True, slots=True)
class Present:
    """A film as it is until the decision about it is stored; None where there is none.

    `changed_since` are the fields that changed since the target's etag, where that is known.
    `copies` and `rentals` (those that are open) are counted where it was asked for.
    """

    film: Film | None
    changed_since: Sequence[str] = ()
    copies: int = 0
    rentals: int = 0


Decide = Callable[[Present], Draft | None]
"""Returns the film as it is to be, None for no change, or raises a DomainError."""


def name_of(film: Film) -> str:
    """Return the film's resource name."""
    return f"films/{film.film_id}"


def alive(film: Film) -> Film:
    """Return the film; raises DomainError RESOURCE_DELETED for one that is deleted."""
    if film.delete_time is None:
        return film
    name, metadata = name_of(film), {"delete_time": rfc3339(film.delete_time)}
    if film.purge_time is not None:
        metadata["purge_time"] = rfc3339(film.purge_time)
    raise DomainError(
        f"{name} is deleted; undelete it first",
        reason="RESOURCE_DELETED",
        metadata={"resource_name": name, **metadata},
        resource=ResourceRef(FILM_TYPE, name),
    )


def deleted(film: Film) -> Film:
    """Return the film; raises ResourceExists for one that is not deleted (AIP-164)."""
    if film.delete_time is not None:
        return film
    name = name_of(film)
    raise ResourceExists(
        f"{name} is not deleted; there is nothing to take back", FILM_TYPE, name, "name"
    )


def matched(target: Target, film: Film, changed_since: Sequence[str]) -> None:
    """Let only a caller pass who knows the present film (AIP-154).

    Raises:
        DomainError: ETAG_MISMATCH, with what changed since where that is known.
    """
    etag = film_etag(film)
    if target.etag in ("", etag):
        return
    raise DomainError(
        f"{target.name} was changed since this etag was read; read it again, merge what differs"
        " and repeat the change",
        reason="ETAG_MISMATCH",
        metadata={
            "resource_name": target.name,
            "sent_etag": target.etag,
            "current_etag": etag,
            "changed_fields": ",".join(sorted(changed_since)),
        },
        resource=ResourceRef(FILM_TYPE, target.name),
    )


def unused(film: Film, present: Present, *, force: bool) -> None:
    """Keep a film that is lent out, and one of which there are copies unless `force` is set.

    Raises:
        ResourceInUse: how many rentals or copies are in the way.
    """
    name = name_of(film)
    resource = ResourceRef(FILM_TYPE, name)
    if present.rentals:
        raise ResourceInUse(
            f"{name} is lent out; delete it when every copy is back",
            resource,
            "Rental",
            present.rentals,
        )
    if present.copies and not force:
        raise ResourceInUse(
            f"there are copies of {name}; set force to delete it all the same",
            resource,
            "InventoryItem",
            present.copies,
        )


def references_not_found(missing: Sequence[MissingReference]) -> DomainError:
    """Return the error of references that lead nowhere; every one of them is listed."""
    first = missing[0]
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    return DomainError(
        f"film.{first.field}: {first.name} does not exist{more}; name what exists",
        reason="REFERENCE_NOT_FOUND",
        metadata={"field": f"film.{first.field}", "resource_name": first.name},
        violations=[
            FieldViolation(f"film.{reference.field}", f"{reference.name} does not exist")
            for reference in missing
        ],
    )
