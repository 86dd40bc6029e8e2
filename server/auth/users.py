"""The users: who there is, with which roles and password."""

import base64
import secrets
from collections.abc import Callable, Sequence
from typing import Final, Protocol
from uuid import UUID, uuid4

from server.auth.domain import (
    ACTIVE,
    USER_TYPE,
    Account,
    User,
    UserRepository,
    checked_email,
    folded_email,
)
from server.core.clock import Clock
from server.core.errors import (
    DomainError,
    FieldViolation,
    ResourceNotFound,
    ResourceRef,
    ValidationFailed,
)
from server.core.roles import ROLES

DEMO_USERS: Final = (("viewer@example.com", "viewer"), ("admin@example.com", "admin"))


class PasswordHasher(Protocol):
    """Hashes new passwords."""

    async def hash(self, password: str) -> str:
        """Return the hash; raises DomainError PASSWORD_POLICY for a weak password."""


class SessionEnds(Protocol):
    """Hears of login sessions that have ended."""

    def forget_session(self, session_id: UUID) -> None:
        """Refuse the session's tokens from now on."""


class Users:
    """Creates and changes users."""

    def __init__(
        self,
        repository: UserRepository,
        passwords: PasswordHasher,
        sessions: SessionEnds,
        *,
        clock: Clock,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._repository = repository
        self._passwords = passwords
        self._sessions = sessions
        self._clock = clock
        self._randomness = randomness

    async def create_user(self, email: str, password: str, roles: Sequence[str]) -> User:
        """Create an active user.

        Raises:
            ValidationFailed: the address is none, or a role is unknown.
            DomainError: RESOURCE_EXISTS when the address is taken, PASSWORD_POLICY.
        """
        address = _checked(email, roles)
        if await self._repository.find_account(address) is not None:
            raise await self._taken(address)  # before the hash, which is the dear part
        password_hash = await self._passwords.hash(password)
        now = self._clock()
        user = User(
            user_id=uuid4(),
            email=address,
            display_name="",
            roles=tuple(sorted(set(roles))),
            state=ACTIVE,
            create_time=now,
            update_time=now,
            last_login_time=None,
            password_change_time=now,
        )
        if not await self._repository.add_user(Account(user, password_hash)):
            raise await self._taken(address)
        return user

    async def grant_role(self, email: str, role: str) -> User:
        """Give a user a role; one the user has already stays.

        Raises:
            ValidationFailed: the role is unknown.
            ResourceNotFound: nobody has this address.
        """
        violations = _role_violations("role", role)
        if violations:
            raise ValidationFailed(violations)
        user = await self._find(email)
        await self._repository.grant_role(user.user_id, role, self._clock())
        return await self._find(email)

    async def set_password(self, email: str, password: str) -> None:
        """Replace a user's password and end all the user's login sessions.

        Raises:
            ResourceNotFound: nobody has this address.
            DomainError: PASSWORD_POLICY.
        """
        user = await self._find(email)
        password_hash = await self._passwords.hash(password)
        ended = await self._repository.set_password(user.user_id, password_hash, self._clock())
        for session_id in ended:
            self._sessions.forget_session(session_id)

    async def list_users(self) -> Sequence[User]:
        """Return every user in the order of the address."""
        return await self._repository.users()

    async def ensure_demo_users(self) -> Sequence[tuple[str, str]]:
        """Create the demo users that are not there; return their addresses and passwords.

        Those that are there already keep their password and are not returned.
        """
        created = []
        for email, role in DEMO_USERS:
            if await self._repository.find_account(email) is None:
                password = self._random_password()
                await self.create_user(email, password, [role])
                created.append((email, password))
        return created

    async def _find(self, email: str) -> User:
        address = folded_email(email)
        account = await self._repository.find_account(address)
        if account is None:
            raise ResourceNotFound(USER_TYPE, address)
        return account.user

    async def _taken(self, address: str) -> DomainError:
        other = await self._repository.find_account(address)
        name = other.user.name if other else "users/-"
        return DomainError(
            f"a user with the address {address} exists already",
            reason="RESOURCE_EXISTS",
            metadata={"resource_name": name, "conflicting_field": "email"},
            resource=ResourceRef(USER_TYPE, name),
        )

    def _random_password(self) -> str:
        return base64.urlsafe_b64encode(self._randomness(18)).decode("ascii")


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
