"""Whose an API key is: asked of the database, and remembered for a moment."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol
from uuid import UUID

from server.auth.api_key_secrets import digest
from server.auth.api_keys import ApiKey, within
from server.auth.domain import User, credential_invalid
from server.auth.single_flight import SingleFlight
from server.core.clock import Clock, rfc3339
from server.core.errors import DomainError, QuotaViolation, Unauthenticated
from server.core.principal import FOREVER, CredentialKind, Principal
from server.core.roles import permissions_of

REMEMBERED: Final = timedelta(seconds=10)
"""After which the database is asked again: what another process changed counts by then."""
WAITING_LOOKUPS: Final = 50
"""Lookups of unknown keys that wait for each one that runs; the surplus is refused at once."""
MAX_REMEMBERED: Final = 10_000

_RETRY_SECONDS: Final = 1.0
_JITTER: Final = 0.5


@dataclass(frozen=True, slots=True)
class KeyInUse:
    """A key and its user, who is active."""

    key: ApiKey
    user: User


class KeyLookup(Protocol):
    """Knows keys by their hash."""

    async def find_in_use(self, secret_hash: bytes) -> KeyInUse | None:
        """Return the key, expired or not; None when there is none, or its user is not active."""


class ApiKeyPrincipals:
    """Turns secrets of API keys into principals.

    A key that was good of late is found without the database, at most REMEMBERED long. All who
    use one key at the same time share a lookup. Keys that are not known here yet, and every
    false one is such a key, have `unknown_lookups` of the database's connections to themselves:
    whoever floods the server with false keys takes no more of them. A key that is looked up
    again does not wait behind such a flood.

    `random` returns numbers from 0 to 1; `note_use` hears when a key was accepted.
    """

    def __init__(
        self,
        keys: KeyLookup,
        note_use: Callable[[UUID, datetime], None],
        *,
        clock: Clock,
        random: Callable[[], float],
        unknown_lookups: int,
        max_remembered: int = MAX_REMEMBERED,
    ) -> None:
        self._keys = keys
        self._note_use = note_use
        self._clock = clock
        self._random = random
        self._unknown_lookups = unknown_lookups
        self._max_remembered = max_remembered
        self._remembered: OrderedDict[bytes, Principal] = OrderedDict()
        self._flights: SingleFlight[bytes, Principal | None] = SingleFlight()
        self._turns = asyncio.Semaphore(unknown_lookups)
        self._waiting = 0
        self._changes = 0

    def authenticate(self, secret: str) -> Principal | Awaitable[Principal]:
        """Return whose key it is, at once where that is known.

        Raises:
            Unauthenticated: TOKEN_EXPIRED; CREDENTIAL_INVALID with one fixed text for a key
                that is damaged, unknown or deleted, or whose user is not active.
            DomainError: RATE_LIMITED, too many unknown keys wait to be looked up.
        """
        secret_hash = digest(secret)
        if secret_hash is None:
            raise credential_invalid()
        principal = self._remembered.get(secret_hash)
        now = self._clock()
        if principal is None or not _is_fresh(principal, now):
            return self._looked_up(secret_hash, known=principal is not None)
        self._remembered.move_to_end(secret_hash)
        return self._accepted(principal, now)

    def forget(self, subject: UUID | None) -> None:
        """Look again at a key, at all keys of a user, or with None at all there are."""
        self._changes += 1
        # Who asks from now on must not get the answer to a question of before.
        self._flights.detach()
        for secret_hash, principal in list(self._remembered.items()):
            if subject is None or subject in {principal.session_id, principal.user_id}:
                del self._remembered[secret_hash]

    @property
    def remembered(self) -> int:
        """How many keys are remembered."""
        return len(self._remembered)

    async def _looked_up(self, secret_hash: bytes, *, known: bool) -> Principal:
        look_up = self._look_up if known else self._look_up_unknown
        principal = await self._flights.run(secret_hash, partial(look_up, secret_hash))
        if principal is None:
            raise credential_invalid()
        return self._accepted(principal, self._clock())

    async def _look_up_unknown(self, secret_hash: bytes) -> Principal | None:
        if self._waiting >= WAITING_LOOKUPS * self._unknown_lookups:
            raise self._too_many()
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        try:
            return await self._look_up(secret_hash)
        finally:
            self._turns.release()

    async def _look_up(self, secret_hash: bytes) -> Principal | None:
        asked, changes = self._clock(), self._changes
        found = await self._keys.find_in_use(secret_hash)
        if found is None:
            self._remembered.pop(secret_hash, None)
            return None
        principal = _principal(found, asked)
        if changes == self._changes:
            self._remember(secret_hash, principal)
        return principal

    def _remember(self, secret_hash: bytes, principal: Principal) -> None:
        self._remembered[secret_hash] = principal
        self._remembered.move_to_end(secret_hash)
        if len(self._remembered) > self._max_remembered:
            self._remembered.popitem(last=False)

    def _accepted(self, principal: Principal, now: datetime) -> Principal:
        if now >= principal.expire_time:
            raise Unauthenticated(
                "the API key has expired; make another one",
                reason="TOKEN_EXPIRED",
                metadata={"expired_at": rfc3339(principal.expire_time)},
            )
        self._note_use(principal.session_id, now)
        return principal

    def _too_many(self) -> DomainError:
        limit = self._unknown_lookups
        delay = _RETRY_SECONDS * (1 - _JITTER + 2 * _JITTER * self._random())
        return DomainError(
            "too many API keys that this server has not seen of late come at once; try again"
            " after the delay",
            reason="RATE_LIMITED",
            metadata={"bucket": "api_keys", "limit": str(limit)},
            quota=QuotaViolation("server", f"api_keys: {limit} unknown ones looked up at a time"),
            retry_delay=timedelta(seconds=delay),
        )


def _is_fresh(principal: Principal, now: datetime) -> bool:
    # A clock that was set back must not make a key good for longer.
    issued = principal.issue_time
    return issued is not None and timedelta(0) <= now - issued < REMEMBERED


def _principal(found: KeyInUse, asked: datetime) -> Principal:
    key, user = found.key, found.user
    return Principal(
        user_id=user.user_id,
        session_id=key.key_id,
        roles=user.roles,
        permissions=within(permissions_of(user.roles), key.scopes),
        auth_time=key.create_time,
        expire_time=key.expire_time or FOREVER,
        kind=CredentialKind.API_KEY,
        issue_time=asked,
        roles_time=user.roles_change_time,
    )
