"""What every change of a user obeys: who it is about, what it may meet, how it is stored.

What may follow on what is decided by functions of the present user alone. The repository calls
them inside the transaction that stores the change, so that nothing comes between.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from server.auth.domain import ACTIVE, DELETED, USER_TYPE, Account, User
from server.core.audit import AuditRecord
from server.core.clock import Clock, rfc3339
from server.core.errors import (
    DomainError,
    FieldViolation,
    ResourceNotFound,
    ResourceRef,
    WrongState,
)
from server.core.idempotency import Repeatable, Replay
from server.core.resource_names import user_id_of

ADMIN: Final = "admin"


class Credentials(Protocol):
    """Hears whose credentials count no more, before anybody else finds it out."""

    def forget_session(self, session_id: UUID) -> None:
        """Refuse the session's tokens from now on."""

    def forget_user(self, user_id: UUID, change_time: datetime, *, active: bool) -> None:
        """Ask for new tokens since a user's roles changed; refuse all where it is not active."""


@dataclass(frozen=True, slots=True)
class Target:
    """Which user to change, by its resource name, and the etag it must have ("": any)."""

    name: str
    etag: str = ""

    @property
    def user_id(self) -> UUID:
        """The user's id."""
        return user_id_of(self.name.removeprefix("users/"))


@dataclass(frozen=True, slots=True)
class Present:
    """A user as it is until the decision about it is stored.

    `last_admin`: there is no other active administrator; known where it was asked for.
    """

    user: User
    last_admin: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """A user after a change, and the login sessions that ended with it."""

    user: User
    ended: Sequence[UUID] = ()


Decide = Callable[[Present], User | None]
"""Returns the user as it is to be, None for no change, or raises a DomainError."""


class Taken(Exception):
    """Another user, `holder`, has the `field` ("email", "user_id") already."""

    def __init__(self, field: str, holder: str) -> None:
        super().__init__(field)
        self.field = field
        self.holder = holder


class Missing(Exception):
    """The `field` ("customer", "staff") names a resource that there is not."""

    def __init__(self, field: str, name: str) -> None:
        super().__init__(field)
        self.field = field
        self.name = name


class UserChangeRepository(Protocol):
    """Stores changes of users, each with its record in the audit trail or not at all."""

    async def add(
        self,
        account: Account,
        record: AuditRecord,
        call: Repeatable[User] | None = None,
        *,
        only_check: bool = False,
    ) -> User | Replay:
        """Store a new user with its roles; with `only_check` take it back again.

        Raises:
            Taken: the address or the id is somebody else's.
            Missing: a reference leads nowhere.
        """

    async def change(
        self,
        user_id: UUID,
        decide: Decide,
        record: AuditRecord,
        *,
        spares_admin: bool = False,
        new_hash: str | None = None,
    ) -> Changed | None:
        """Decide about a user and store the outcome; None where there is no such user.

        A user who is active no more, or has a new password, loses every login session. With
        `spares_admin`, two who decide about administrators take turns.

        Raises:
            Taken, Missing: as `add`.
        """


class ChangedUsers:
    """Carries a decision about a user out."""

    def __init__(
        self, repository: UserChangeRepository, credentials: Credentials, *, clock: Clock
    ) -> None:
        self._repository = repository
        self._credentials = credentials
        self._clock = clock

    async def change(
        self,
        target: Target,
        decide: Callable[[Present, datetime], User | None],
        record: AuditRecord,
        *,
        spares_admin: bool = False,
        new_hash: str | None = None,
    ) -> User:
        """Change a user, and refuse the credentials that end by that.

        Raises:
            ResourceNotFound: there is no such user, or its purge is due.
            Taken, Missing: see `UserChangeRepository`.
            DomainError: whatever `decide` raises.
        """
        now = self._clock()
        record.target = target.name

        def decide_now(present: Present) -> User | None:
            purge_time = present.user.purge_time
            if purge_time is not None and purge_time <= now:
                raise ResourceNotFound(USER_TYPE, target.name)
            return decide(present, now)

        changed = await self._repository.change(
            target.user_id,
            decide_now,
            record,
            spares_admin=spares_admin,
            new_hash=new_hash,
        )
        if changed is None:
            raise ResourceNotFound(USER_TYPE, target.name)
        for session_id in changed.ended:
            self._credentials.forget_session(session_id)
        user = changed.user
        if user.roles_change_time is not None:
            active = user.state == ACTIVE
            self._credentials.forget_user(user.user_id, user.roles_change_time, active=active)
        return user


def revised(user: User, now: datetime) -> User:
    """Return a changed user with its next revision."""
    return replace(user, update_time=now, revision=user.revision + 1)


def outdated(user: User, now: datetime) -> User:
    """Return a user with another state or other roles with its next revision.

    Its tokens of before have to be refreshed. Of two such changes the later one counts, whichever
    of two replicas has the slower clock: so it comes behind the one before, by a microsecond.
    """
    last = user.roles_change_time
    moment = now if last is None else max(now, last + timedelta(microseconds=1))
    return replace(revised(user, now), roles_change_time=moment)


def alive(user: User) -> User:
    """Return the user; raises DomainError RESOURCE_DELETED for one that is deleted."""
    if user.state != DELETED or user.delete_time is None or user.purge_time is None:
        return user
    raise DomainError(
        f"{user.name} is deleted; undelete it first",
        reason="RESOURCE_DELETED",
        metadata={
            "resource_name": user.name,
            "delete_time": rfc3339(user.delete_time),
            "purge_time": rfc3339(user.purge_time),
        },
        resource=ResourceRef(USER_TYPE, user.name),
    )


def matched(target: Target, user: User) -> None:
    """Let only a caller pass who knows the present user (AIP-154).

    Raises:
        DomainError: ETAG_MISMATCH. What changed is not known, for users have no list of changes.
    """
    if target.etag in ("", user.etag):
        return
    raise DomainError(
        f"{user.name} was changed since this etag was read; read it again and repeat the change",
        reason="ETAG_MISMATCH",
        metadata={
            "resource_name": user.name,
            "sent_etag": target.etag,
            "current_etag": user.etag,
            "changed_fields": "",
        },
        resource=ResourceRef(USER_TYPE, user.name),
    )


def spare(present: Present, otherwise: Sequence[str]) -> None:
    """Keep the last active administrator; `otherwise` are the states that the change allows.

    Raises:
        WrongState: without this user nobody could manage users any more.
    """
    user = present.user
    if present.last_admin and user.state == ACTIVE and ADMIN in user.roles:
        raise WrongState(
            f"{user.name} is the last active administrator; make somebody else one first",
            user.name,
            "LAST_ACTIVE_ADMINISTRATOR",
            [state.upper() for state in otherwise],
        )


def exists(taken: Taken, *, names_others: bool = True) -> DomainError:
    """Return the error of an address or id that another user has, which it may name or not."""
    told = "address" if taken.field == "email" else "user_id"
    name = taken.holder if names_others else "users/-"
    return DomainError(
        f"another user has this {told} already; choose another one",
        reason="RESOURCE_EXISTS",
        metadata={"resource_name": name, "conflicting_field": taken.field},
        resource=ResourceRef(USER_TYPE, name),
    )


def reference_not_found(missing: Missing) -> DomainError:
    """Return the error of a reference that leads nowhere."""
    field = f"user.{missing.field}"
    return DomainError(
        f"{field}: {missing.name} does not exist; name one that does, or none",
        reason="REFERENCE_NOT_FOUND",
        metadata={"field": field, "resource_name": missing.name},
        violations=[FieldViolation(field, "names a resource that does not exist")],
    )
