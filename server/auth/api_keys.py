"""API keys: long-lived credentials of programs, each for one user."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID, uuid5

from server.auth.api_key_secrets import digest, hint_of
from server.auth.domain import ACTIVE, USER_TYPE, User
from server.auth.user_rules import alive
from server.core.audit import AuditRecord
from server.core.clock import Clock, rfc3339
from server.core.errors import (
    DomainError,
    FieldViolation,
    PermissionDenied,
    ResourceNotFound,
    ResourceRef,
    ValidationFailed,
    WrongState,
)
from server.core.paging import Page, PageRequest
from server.core.principal import FOREVER, CredentialKind, Principal
from server.core.resource_names import user_id_of
from server.core.roles import permissions_of

KEY_TYPE: Final = "interview-api/ApiKey"
MAX_KEYS: Final = 50
"""Of a user. Programs share a user's rights, not one list of hundreds that nobody looks through."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret. `user` is the id in its user's name; no `scopes` are all."""

    key_id: UUID
    user_id: UUID
    user: str
    display_name: str
    scopes: tuple[str, ...]
    hint: str
    create_time: datetime
    expire_time: datetime | None = None
    last_use_time: datetime | None = None

    @property
    def name(self) -> str:
        """The resource name, `users/{id}/apiKeys/{uuid}`."""
        return f"users/{self.user}/apiKeys/{self.key_id}"


@dataclass(frozen=True, slots=True)
class WantedKey:
    """What a caller wants a key to be. `user` is the id in the name of who it is for."""

    user: str
    display_name: str
    scopes: tuple[str, ...]
    expire_time: datetime | None
    request_id: UUID | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was made, with its secret, which is nowhere else."""

    key: ApiKey
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """A user for whom a key is to be made: how many there are, and whether this is one of them."""

    user: User
    keys: int
    has_it: bool


class ApiKeyRepository(Protocol):
    """Keeps API keys by the hash of their secret."""

    async def add(
        self,
        key: ApiKey,
        secret_hash: bytes,
        check: Callable[[KeyHolder], ApiKey],
        record: AuditRecord,
    ) -> ApiKey | None:
        """Store a key, and the record with it; None when there is no such user.

        `check` is called while nobody else can change the user or add a key for it, and returns
        the key; what it raises leaves all as it was.
        """

    async def keys_of(self, user_id: UUID, page: PageRequest) -> Page[ApiKey] | None:
        """Return a page of a user's keys, the newest first; None when there is no such user."""

    async def remove(self, user_id: UUID, key_id: UUID, now: datetime, record: AuditRecord) -> bool:
        """Delete a user's key, and store the record; False when there is none."""


class KeyEnds(Protocol):
    """Hears of keys that are gone."""

    def forget_session(self, session_id: UUID) -> None:
        """Refuse the key with this id, and end what is open with it."""


class ApiKeys:
    """Makes, lists and ends API keys. `new_secret` makes secrets, `new_uuid` ids."""

    def __init__(
        self,
        repository: ApiKeyRepository,
        ends: KeyEnds,
        *,
        clock: Clock,
        new_secret: Callable[[], str],
        new_uuid: Callable[[], UUID],
    ) -> None:
        self._repository = repository
        self._ends = ends
        self._clock = clock
        self._new_secret = new_secret
        self._new_uuid = new_uuid

    async def create(self, caller: Principal, wanted: WantedKey, record: AuditRecord) -> NewKey:
        """Make a key; the same request_id again makes no second one.

        Raises:
            PermissionDenied: the key would have a permission that the caller's credential lacks.
            ValidationFailed: the key would outlive the API key that asks for it.
            ResourceNotFound: there is no such user.
            DomainError: RESOURCE_EXISTS, RESOURCE_DELETED; WRONG_STATE when the user is barred
                or has MAX_KEYS keys.
        """
        _check_rights(caller, wanted, record.method)
        _check_end(caller, wanted)
        user_id = user_id_of(wanted.user)
        secret = self._new_secret()
        secret_hash = digest(secret)
        if secret_hash is None:
            raise ValueError("secrets must have the form of secrets")
        key = ApiKey(
            self._key_id(user_id, wanted.request_id),
            user_id,
            wanted.user,
            wanted.display_name,
            wanted.scopes,
            hint_of(secret),
            self._clock(),
            wanted.expire_time,
        )

        def check(holder: KeyHolder) -> ApiKey:
            named = replace(key, user=holder.user.name.removeprefix("users/"))
            record.target = named.name
            _check_holder(holder, named)
            return named

        stored = await self._repository.add(key, secret_hash, check, record)
        if stored is None:
            raise _no_user(wanted.user)
        return NewKey(stored, secret)

    async def list_keys(self, user: str, page: PageRequest) -> Page[ApiKey]:
        """Return a page of a user's keys, the newest first.

        Raises:
            ResourceNotFound: there is no such user.
        """
        found = await self._repository.keys_of(user_id_of(user), page)
        if found is None:
            raise _no_user(user)
        return found

    async def delete(self, user: str, key_id: UUID, record: AuditRecord) -> None:
        """End a key for good.

        Raises:
            ResourceNotFound: the user has no such key.
        """
        now = self._clock()
        if not await self._repository.remove(user_id_of(user), key_id, now, record):
            raise ResourceNotFound(KEY_TYPE, f"users/{user}/apiKeys/{key_id}")
        self._ends.forget_session(key_id)

    def _key_id(self, user_id: UUID, request_id: UUID | None) -> UUID:
        """Return the id; a repeat has the first call's, which shows that there is the key."""
        return self._new_uuid() if request_id is None else uuid5(user_id, f"apiKeys/{request_id}")


def within(permissions: frozenset[str], scopes: Sequence[str]) -> frozenset[str]:
    """Return those of the permissions that the scopes leave; no scopes leave all.

    A scope that ends in `.own` narrows the permission for all resources to the user's own.
    """
    if not scopes:
        return permissions
    return frozenset(scope for scope in scopes if _covers(permissions, scope))


def _covers(permissions: frozenset[str], wanted: str) -> bool:
    return wanted in permissions or wanted.removesuffix(".own") in permissions


def _check_rights(caller: Principal, wanted: WantedKey, method: str) -> None:
    """Nobody gives more than the own credential has: a narrow one makes no broad one."""
    held_back = permissions_of(caller.roles) - caller.permissions
    if not held_back:
        return
    lacking = [scope for scope in wanted.scopes if not _covers(caller.permissions, scope)]
    if not wanted.scopes:
        lacking = sorted(held_back)
    if lacking:
        raise PermissionDenied(
            f"this credential is limited and has no {lacking[0]}, so it cannot make a key that"
            " does; name fewer scopes, or ask with a credential that has it",
            metadata={"permission": lacking[0], "method": method, "subject": caller.name},
        )


def _check_end(caller: Principal, wanted: WantedKey) -> None:
    """Let no key that ends make one that goes on after it."""
    ends = caller.expire_time
    if caller.kind is not CredentialKind.API_KEY or ends == FOREVER:
        return
    if wanted.expire_time is None or wanted.expire_time > ends:
        description = f"must be at most {rfc3339(ends)}, when the API key that asks ends"
        raise ValidationFailed([FieldViolation("api_key.expire_time", description)])


def _check_holder(holder: KeyHolder, key: ApiKey) -> None:
    user = holder.user
    if holder.has_it:
        raise DomainError(
            f"{key.name} was made by the first call with this request_id, and its secret is shown"
            " once; make another one with a new request_id, and delete this one",
            reason="RESOURCE_EXISTS",
            metadata={"resource_name": key.name, "conflicting_field": "request_id"},
            resource=ResourceRef(KEY_TYPE, key.name),
        )
    if alive(user).state != ACTIVE:
        state = user.state.upper()
        raise WrongState(
            f"{user.name} is {state}, so it can have no new API key; reactivate it first",
            user.name,
            state,
            [ACTIVE.upper()],
        )
    if holder.keys >= MAX_KEYS:
        raise WrongState(
            f"{user.name} has {MAX_KEYS} API keys, and more it cannot have; delete one first",
            user.name,
            "API_KEYS_FULL",
            ["API_KEYS_NOT_FULL"],
        )


def _no_user(user: str) -> ResourceNotFound:
    return ResourceNotFound(USER_TYPE, f"users/{user}")
