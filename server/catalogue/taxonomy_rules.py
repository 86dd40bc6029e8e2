"""What every change of a category or an actor obeys, and how it is stored.

What may follow on what is decided by functions of the present row alone. The repository calls them
inside the transaction that stores the change, so that nothing comes between.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from server.catalogue.changes import COLLECTIONS, ResourceKind, changed_fields
from server.catalogue.domain import ACTOR_TYPE, CATEGORY_TYPE, Actor, Category
from server.catalogue.etags import actor_etag, category_etag
from server.core.audit import AuditRecord
from server.core.errors import DomainError, ResourceExists, ResourceInUse, ResourceRef
from server.core.idempotency import Repeatable, Replay

T = TypeVar("T", bound=Category | Actor)

MAX_FORCED_FILMS: Final = 1000
"""Of how many films at most one call takes a category or an actor out."""


@dataclass(frozen=True, slots=True)
class Branch(Generic[T]):
    """Categories or actors. `fields` are those that callers set: contract's name, attribute."""

    kind: ResourceKind
    noun: str
    resource_type: str
    etag: Callable[[T], str]
    number_of: Callable[[T], int]
    fields: Mapping[str, str]

    def name(self, number: int) -> str:
        """Return the resource name: `categories/3`."""
        return f"{COLLECTIONS[self.kind]}/{number}"

    def ref(self, resource: T) -> ResourceRef:
        """Return the resource as errors name it."""
        return ResourceRef(self.resource_type, self.name(self.number_of(resource)))


CATEGORY_BRANCH: Final[Branch[Category]] = Branch(
    ResourceKind.CATEGORY,
    "category",
    CATEGORY_TYPE,
    category_etag,
    lambda category: category.category_id,
    {"display_name": "name"},
)
ACTOR_BRANCH: Final[Branch[Actor]] = Branch(
    ResourceKind.ACTOR,
    "actor",
    ACTOR_TYPE,
    actor_etag,
    lambda actor: actor.actor_id,
    {"given_name": "given_name", "family_name": "family_name"},
)


@dataclass(frozen=True, slots=True)
class Target:
    """Which row to change, and the etag it must have ("": any)."""

    number: int
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Changed(Generic[T]):
    """A row after a call, None where it is gone. `revision`: the catalogue's with this change.

    None where the call only checked.
    """

    resource: T | None
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class Asked(Generic[T]):
    """How a change was called.

    `only_check`: find out whether it would do, and change nothing (AIP-163).
    """

    record: AuditRecord
    repeatable: Repeatable[Changed[T]] | None = None
    only_check: bool = False


@dataclass(frozen=True, slots=True)
class Step(Generic[T]):
    """A logged change of a row, from one state to the next."""

    before: T | None
    after: T | None


Decide = Callable[[T | None], T | None]
"""Returns the row as it is to be, None for no change, or raises a DomainError."""
DecideRemoval = Callable[[T | None, int], bool]
"""Tells by the row and the number of its films whether to remove it, or raises a DomainError."""


class Outdated(Exception):
    """The caller's etag is of another state than the present one, whose etag is `current`."""

    def __init__(self, current: str) -> None:
        super().__init__(current)
        self.current = current


class Taken(Exception):
    """The row with the number `holder` has the `field`, which no two may share, already."""

    def __init__(self, holder: int, field: str) -> None:
        super().__init__(field)
        self.holder = holder
        self.field = field


class TaxonomyChangeRepository(Protocol[T]):
    """Stores changes of categories or of actors, each with its record in the audit trail.

    Every change is logged. With `only_check` it is taken back again.
    """

    async def add(self, new: T, asked: Asked[T]) -> Changed[T] | Replay:
        """Store a new row under a number of its own.

        Raises:
            Taken: another row has what must be unique.
            DomainError: REQUEST_ID_REUSED.
        """

    async def change(self, number: int, decide: Decide[T], asked: Asked[T]) -> Changed[T] | Replay:
        """Decide about a row and store the outcome.

        Raises:
            Taken: as `add`; whatever `decide` raises.
        """

    async def remove(
        self, number: int, decide: DecideRemoval[T], asked: Asked[T]
    ) -> Changed[T] | Replay:
        """Decide about a row, take it out of its films and remove it.

        Raises: whatever `decide` raises.
        """

    async def history(self, number: int) -> Sequence[Step[T]]:
        """Return the last changes of a row, the newest first."""


def mismatch(
    branch: Branch[T], target: Target, current: str, steps: Sequence[Step[T]]
) -> DomainError:
    """Return the error of an etag that is not the present one (AIP-154)."""
    name = branch.name(target.number)
    fields = changed_since(branch, target.etag, steps)
    return DomainError(
        f"{name} was changed since this etag was read; read it again and repeat the change",
        reason="ETAG_MISMATCH",
        metadata={
            "resource_name": name,
            "sent_etag": target.etag,
            "current_etag": current,
            "changed_fields": ",".join(fields),
        },
        resource=ResourceRef(branch.resource_type, name),
    )


def changed_since(branch: Branch[T], etag: str, steps: Sequence[Step[T]]) -> Sequence[str]:
    """Return which fields changed since the state with this etag, by the steps from the newest.

    The log keeps every state, so the one that the etag is of can be found. Where it is not among
    them, any field may have changed.
    """
    changed: set[str] = set()
    for step in steps:
        changed.update(changed_fields(step.before, step.after))
        if step.before is not None and branch.etag(step.before) == etag:
            return sorted(changed)
    return sorted(branch.fields)


def exists(branch: Branch[T], taken: Taken) -> DomainError:
    """Return the error of a name that another row has."""
    name = branch.name(taken.holder)
    return ResourceExists(
        f"{name} has this {taken.field} already; choose another one, or use {name}",
        branch.resource_type,
        name,
        taken.field,
    )


def unused(branch: Branch[T], resource: T, films: int, *, force: bool) -> None:
    """Let a row go that no film has, or with force one that a single call can take out of them.

    Raises:
        ResourceInUse: films, deleted ones too, are in the way.
    """
    if not films or (force and films <= MAX_FORCED_FILMS):
        return
    ref = branch.ref(resource)
    advice = f"send force to take it out of them; ListFilms finds them by {_finding(branch, ref)}"
    if force:
        advice = (
            f"force takes it out of {MAX_FORCED_FILMS} films at most: take it out of others first"
        )
    told = "1 film has" if films == 1 else f"{films} films have"
    raise ResourceInUse(f"{told} {ref.name}; {advice}", ref, "Film", films)


def _finding(branch: Branch[T], ref: ResourceRef) -> str:
    return f'{COLLECTIONS[branch.kind]}:"{ref.name}" and show_deleted'
