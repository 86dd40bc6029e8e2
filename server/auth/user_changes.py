"""Creating users and setting their fields."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol
from uuid import uuid4

from server.auth.domain import ACTIVE, Account, User
from server.auth.user_rules import (
    ChangedUsers,
    Missing,
    Present,
    Taken,
    Target,
    UserChangeRepository,
    alive,
    exists,
    matched,
    reference_not_found,
    revised,
)
from server.core.audit import AuditRecord
from server.core.clock import Clock
from server.core.idempotency import Repeatable, Replay
from server.core.resource_names import user_id_of


class PasswordHasher(Protocol):
    """Hashes new passwords."""

    async def hash(
        self, password: str, *, context: Sequence[str] = (), field: str = "password"
    ) -> str:
        """Return the hash; raises DomainError PASSWORD_POLICY for a weak password.

        `context` is what is known of the user, `field` where the password stands in the request.
        """


@dataclass(frozen=True, slots=True)
class NewUser:
    """Who is to be created. Where no id is chosen a UUID is made.

    Without a password the user cannot sign in. `password_field` is where it stands in the request.
    """

    email: str
    display_name: str = ""
    chosen_id: str | None = None
    customer_id: int | None = None
    staff_id: int | None = None
    roles: tuple[str, ...] = ()
    password: str = field(default="", repr=False)
    password_field: str = "initial_password"  # noqa: S105  # a name, not a secret


@dataclass(frozen=True, slots=True)
class Rights:
    """What the caller may do to a user; each raises PermissionDenied where it may not.

    `references`: set customer and staff. `email`: set the address. `names_others`: the caller may
    learn who else has an address.
    """

    references: Callable[[], None]
    email: Callable[[], None]
    names_others: bool


class UserChanges:
    """Creates users and changes what they are."""

    def __init__(
        self,
        repository: UserChangeRepository,
        passwords: PasswordHasher,
        changed: ChangedUsers,
        *,
        clock: Clock,
    ) -> None:
        self._repository = repository
        self._passwords = passwords
        self._changed = changed
        self._clock = clock

    async def create(
        self,
        new: NewUser,
        record: AuditRecord,
        call: Repeatable[User] | None = None,
        *,
        only_check: bool = False,
    ) -> User | Replay:
        """Create an active user, or with `only_check` only find out whether that would do.

        Raises:
            DomainError: RESOURCE_EXISTS, REFERENCE_NOT_FOUND, PASSWORD_POLICY; REQUEST_ID_REUSED.
        """
        user = self._user_of(new)
        try:
            # First without the password: its hash is the dear part, and may be for nothing.
            checked = await self._repository.add(Account(user, ""), record, call, only_check=True)
            if isinstance(checked, Replay):
                return checked
            account = Account(user, await self._hash(new))
            if only_check:
                return user
            record.target = user.name
            return await self._repository.add(account, record, call)
        except Taken as taken:
            raise exists(taken) from None
        except Missing as missing:
            raise reference_not_found(missing) from None

    async def update(
        self, target: Target, fields: Mapping[str, Any], rights: Rights, record: AuditRecord
    ) -> User:
        """Set fields of a user: email, display_name, customer_id, staff_id.

        Where every one of them has its value already nothing changes, nor does the etag.

        Raises:
            ResourceNotFound: there is no such user.
            PermissionDenied: the caller may not set a field that would change; STEP_UP_REQUIRED.
            DomainError: RESOURCE_DELETED, ETAG_MISMATCH, RESOURCE_EXISTS, REFERENCE_NOT_FOUND.
        """

        def decide(present: Present, now: datetime) -> User | None:
            user = alive(present.user)
            matched(target, user)
            after = replace(user, **fields)
            if after == user:
                return None
            if (after.customer_id, after.staff_id) != (user.customer_id, user.staff_id):
                rights.references()
            if after.email != user.email:
                rights.email()
            return revised(after, now)

        try:
            return await self._changed.change(target, decide, record)
        except Taken as taken:
            raise exists(taken, names_others=rights.names_others) from None
        except Missing as missing:
            raise reference_not_found(missing) from None

    async def set_password(self, user: User, password: str, record: AuditRecord) -> User:
        """Replace a user's password, which ends every login session of it.

        Raises:
            ResourceNotFound: the user is gone by now.
            DomainError: PASSWORD_POLICY; RESOURCE_DELETED.
        """
        new_hash = await self._passwords.hash(password, context=(user.email, user.display_name))

        def decide(present: Present, now: datetime) -> User:
            return revised(
                replace(alive(present.user), password_change_time=now, has_password=True), now
            )

        return await self._changed.change(Target(user.name), decide, record, new_hash=new_hash)

    def _user_of(self, new: NewUser) -> User:
        now = self._clock()
        return User(
            user_id=user_id_of(new.chosen_id) if new.chosen_id else uuid4(),
            email=new.email,
            display_name=new.display_name,
            roles=tuple(sorted(set(new.roles))),
            state=ACTIVE,
            create_time=now,
            update_time=now,
            last_login_time=None,
            password_change_time=now,
            chosen_id=new.chosen_id,
            customer_id=new.customer_id,
            staff_id=new.staff_id,
            has_password=bool(new.password),
        )

    async def _hash(self, new: NewUser) -> str:
        if not new.password:
            return ""
        known = (new.email, new.display_name, new.chosen_id or "")
        return await self._passwords.hash(new.password, context=known, field=new.password_field)
