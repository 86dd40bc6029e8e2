"""What becomes of each film of an import, and which streams may go on with it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from uuid import UUID

from server.catalogue.domain import FILM_TYPE, Film
from server.catalogue.film_import import (
    IMPORT_TYPE,
    KEPT_VIOLATIONS,
    ConflictPolicy,
    ImportConfig,
    ImportFailure,
    SentBatch,
    SentFilm,
    Tally,
    import_name,
)
from server.catalogue.film_rules import (
    Draft,
    FilmFields,
    MissingReference,
    draft_of,
    references_not_found,
)
from server.core.errors import (
    DomainError,
    FieldViolation,
    ResourceExists,
    ResourceNotFound,
    ValidationFailed,
    WrongState,
)


def rounds(films: Sequence[SentFilm]) -> list[list[int]]:
    """Return the places of films in as many rounds as the commonest name has films.

    Each name is in a round once, so a film that has the name of one before it meets that one.
    """
    seen: dict[int, int] = {}
    found: list[list[int]] = [[]]
    for place, film in enumerate(films):
        number = 0
        if film.film_id is not None:
            number = seen.get(film.film_id, 0)
            seen[film.film_id] = number + 1
        if number == len(found):
            found.append([])
        found[number].append(place)
    return found


@dataclass(frozen=True, slots=True)
class Known:
    """What is there already: films by number, and what of a film's references is not there."""

    films: Mapping[int, Film]
    missing: Callable[[FilmFields], Sequence[MissingReference]]
    made: AbstractSet[int] = frozenset()
    """Numbers that films before these would have, of which no more is known."""


def decide(
    batch: SentBatch, places: Iterable[int], known: Known, policy: ConflictPolicy
) -> tuple[list[Draft], Tally]:
    """Decide what becomes of films of a batch, no two of which have the same name."""
    drafts, tally = [], Tally()
    for place in places:
        film = batch.films[place]
        try:
            draft = _decide_one(film, known, policy, tally)
        except DomainError as error:
            tally.fail(ImportFailure(batch.number, place, placed(error, place)))
            continue
        if draft is not None:
            drafts.append(draft)
    return drafts, tally


def _decide_one(film: SentFilm, known: Known, policy: ConflictPolicy, tally: Tally) -> Draft | None:
    if film.error is not None:
        raise film.error
    assert film.fields is not None, "a film without an error has fields"
    if missing := known.missing(film.fields):
        raise references_not_found(missing)
    number = film.film_id or 0
    before = known.films.get(number)
    if before is None and number not in known.made:
        tally.created += 1
        return draft_of(None, film.fields, film.film_id)
    if policy is ConflictPolicy.FAIL:
        raise _exists(number)
    if policy is ConflictPolicy.SKIP:
        tally.skipped += 1
        return None
    draft = None if before is None else draft_of(before, film.fields)
    if draft is None and before is not None:
        tally.skipped += 1
    else:
        tally.updated += 1
    return draft


def placed(error: DomainError, place: int) -> DomainError:
    """Return the error of a film with paths that lead to its place in the message."""

    def path(name: str) -> str:
        return f"batch.films[{place}].{name.removeprefix('film.')}"

    violations = [
        FieldViolation(path(violation.field), violation.description)
        for violation in error.violations[:KEPT_VIOLATIONS]
    ]
    if isinstance(error, ValidationFailed):
        return ValidationFailed(violations)
    metadata = dict(error.metadata)
    message = error.message
    if "field" in metadata:
        message = message.replace(metadata["field"], path(metadata["field"]), 1)
        metadata["field"] = path(metadata["field"])
    return DomainError(
        message,
        reason=error.reason,
        metadata=metadata,
        violations=violations,
        resource=error.resource,
    )


def _exists(number: int) -> ResourceExists:
    name = f"films/{number}"
    return ResourceExists(
        f"{name} is there already; leave it out, or choose to skip or update such films",
        FILM_TYPE,
        name,
        "name",
    )


def not_found(import_id: UUID) -> ResourceNotFound:
    """Return the error of an import that is not there, or is somebody else's."""
    return ResourceNotFound(IMPORT_TYPE, import_name(import_id))


def taken_over(import_id: UUID) -> WrongState:
    """Return the error of a stream whose import another one goes on with."""
    name = import_name(import_id)
    return WrongState(
        "another stream goes on with this import; send its batches there alone, or ask"
        " GetFilmImport how far it is",
        name,
        "RUNNING",
        (),
    )


def same_config(first: ImportConfig, now: ImportConfig) -> None:
    """Let an import go on only as what it was begun.

    Raises:
        DomainError: IMMUTABLE_FIELD, the first field that differs.
    """
    for name in ("mode", "conflict_policy", "validate_only"):
        if getattr(first, name) != getattr(now, name):
            raise DomainError(
                f"config.{name}: must be the same as when this import was begun; send that, or"
                " another import_id",
                reason="IMMUTABLE_FIELD",
                metadata={"field": f"config.{name}"},
            )
