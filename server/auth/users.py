"""What operators do with users, whom they know by their addresses.

Nobody signs in for that: the audit trail keeps the command in place of a method, and no principal.
"""

import base64
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, TypeVar
from uuid import uuid4

from server.auth.domain import USER_TYPE, Account, User, checked_email, folded_email
from server.auth.user_changes import NewUser
from server.auth.user_parts import Changes
from server.auth.user_rules import Target
from server.core.audit import AuditRecord
from server.core.errors import DomainError, FieldViolation, ResourceNotFound, ValidationFailed
from server.core.idempotency import Replay
from server.core.roles import ROLES

T = TypeVar("T")

DEMO_USERS: Final = (("viewer@example.com", "viewer"), ("admin@example.com", "admin"))


class Accounts(Protocol):
    """Finds users."""

    async def find_account(self, email: str) -> Account | None:
        """Return the account with this folded address."""

    async def users(self) -> Sequence[User]:
        """Return every user in the order of the address."""


class Users:
    """Creates and changes users for operators.

    `store` keeps the records of what failed or changed nothing; the others go with their change.
    """

    def __init__(
        self,
        accounts: Accounts,
        changes: Changes,
        store: Callable[[AuditRecord], Awaitable[None]],
        *,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._accounts = accounts
        self._changes = changes
        self._store = store
        self._randomness = randomness

    async def create_user(self, email: str, password: str, roles: Sequence[str]) -> User:
        """Create an active user.

        Raises:
            ValidationFailed: the address is none, or a role is unknown.
            DomainError: RESOURCE_EXISTS when the address is taken, PASSWORD_POLICY.
        """
        new = NewUser(
            _checked(email, roles),
            roles=tuple(roles),
            password=password,
            password_field="password",  # noqa: S106  # a name, not a secret
        )
        record = _record("create", roles=[f"roles/{role}" for role in roles])
        user = await self._recorded(record, self._changes.users.create(new, record))
        assert not isinstance(user, Replay), "a command has no request_id"
        return user

    async def grant_role(self, email: str, role: str) -> User:
        """Give a user a role; one the user has already stays.

        Raises:
            ValidationFailed: the role is unknown.
            ResourceNotFound: nobody has this address.
            DomainError: RESOURCE_DELETED.
        """
        target = await self._with_role(email, role)
        record = _record("grant", role=f"roles/{role}")
        return await self._recorded(record, self._changes.roles.grant(target, role, record))

    async def revoke_role(self, email: str, role: str) -> User:
        """Take a role from a user; one the user has not stays away.

        Raises:
            ValidationFailed: the role is unknown.
            ResourceNotFound: nobody has this address.
            WrongState: the last active administrator keeps that role.
            DomainError: RESOURCE_DELETED.
        """
        target = await self._with_role(email, role)
        record = _record("revoke", role=f"roles/{role}")
        return await self._recorded(record, self._changes.roles.revoke(target, role, record))

    async def suspend(self, email: str) -> User:
        """Bar a user and end every login session of it.

        Raises:
            ResourceNotFound: nobody has this address.
            WrongState: the last active administrator.
            DomainError: RESOURCE_DELETED.
        """
        target, record = await self._target(email), _record("suspend")
        return await self._recorded(record, self._changes.states.suspend(target, record))

    async def reactivate(self, email: str) -> User:
        """Let a barred user sign in again.

        Raises:
            ResourceNotFound: nobody has this address.
            DomainError: RESOURCE_DELETED.
        """
        target, record = await self._target(email), _record("reactivate")
        return await self._recorded(record, self._changes.states.reactivate(target, record))

    async def set_password(self, email: str, password: str) -> None:
        """Replace a user's password and end all the user's login sessions.

        Raises:
            ResourceNotFound: nobody has this address.
            DomainError: PASSWORD_POLICY, RESOURCE_DELETED.
        """
        user, record = (await self._found(email)).user, _record("set-password")
        record.target = user.name
        await self._recorded(record, self._changes.users.set_password(user, password, record))

    async def list_users(self) -> Sequence[User]:
        """Return every user in the order of the address."""
        return await self._accounts.users()

    async def ensure_demo_users(self) -> Sequence[tuple[str, str]]:
        """Create the demo users that are not there; return their addresses and passwords.

        Those that are there already keep their password and are not returned.
        """
        created = []
        for email, role in DEMO_USERS:
            if await self._accounts.find_account(email) is None:
                password = self._random_password()
                await self.create_user(email, password, [role])
                created.append((email, password))
        return created

    async def _recorded(self, record: AuditRecord, change: Awaitable[T]) -> T:
        try:
            result = await change
        except DomainError as error:
            record.outcome = error.reason
            await self._store(record)
            raise
        if not record.stored:
            await self._store(record)
        return result

    async def _with_role(self, email: str, role: str) -> Target:
        violations = _role_violations("role", role)
        if violations:
            raise ValidationFailed(violations)
        return await self._target(email)

    async def _target(self, email: str) -> Target:
        return Target((await self._found(email)).user.name)

    async def _found(self, email: str) -> Account:
        address = folded_email(email)
        account = await self._accounts.find_account(address)
        if account is None:
            raise ResourceNotFound(USER_TYPE, address)
        return account

    def _random_password(self) -> str:
        return base64.urlsafe_b64encode(self._randomness(18)).decode("ascii")


def _record(action: str, **request: Any) -> AuditRecord:
    """Return what the audit trail is to say of a command; never an address or a password."""
    return AuditRecord(f"interview-server users {action}", str(uuid4()), request=request)


def _checked(email: str, roles: Sequence[str]) -> str:
    violations = []
    address = ""
    try:
        address = checked_email(email)
    except ValueError as error:
        violations.append(FieldViolation("email", str(error)))
    for index, role in enumerate(roles):
        violations += _role_violations(f"roles[{index}]", role)
    if violations:
        raise ValidationFailed(violations)
    return address


def _role_violations(field: str, role: str) -> Sequence[FieldViolation]:
    if role in ROLES:
        return ()
    return [FieldViolation(field, f"must be one of {', '.join(ROLES)}; not {role[:32]!r}")]
