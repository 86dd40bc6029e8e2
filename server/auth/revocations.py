"""What no longer counts although its signature is good: ended sessions, users that changed.

An access token says for its whole life what was so when it was made. What has changed since is
remembered here, for as long as such a token can be alive, and asked at every call.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from structlog.typing import FilteringBoundLogger

from server.auth.domain import token_revoked
from server.core.clock import Clock, rfc3339
from server.core.errors import Unauthenticated
from server.core.principal import Principal

OVERLAP: Final = timedelta(seconds=60)
"""How far each look goes back behind the last one.

A change carries the clock of the replica that made it, up to 30 s apart from ours, and the time
at which its transaction began, which may have been repeated.
"""
LOOK_SECONDS: Final = 5.0
MAX_ENTRIES: Final = 100_000

Listener = Callable[[UUID | None], None]
"""Hears whose credentials to look at again: a session's, API key's or user's; None: all."""


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """A login session, or an API key, that ended."""

    session_id: UUID
    time: datetime


@dataclass(frozen=True, slots=True)
class UserChange:
    """A user whose roles or state changed; `active` tells whether the user may still sign in."""

    user_id: UUID
    time: datetime
    active: bool = True


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed. Of what happened up to `missed`, not all is told; None: it is all."""

    sessions: Sequence[SessionEnd] = ()
    users: Sequence[UserChange] = ()
    missed: datetime | None = None


class ChangeSource(Protocol):
    """Knows what changed in any process."""

    async def since(self, moment: datetime) -> Changes:
        """Return what changed at that moment or later; of very much only the newest."""


@dataclass(frozen=True, slots=True)
class _Entry:
    time: datetime
    forget_time: datetime
    active: bool = True


class Revocations:
    """Remembers what ended and who changed, `max_entries` of each at most.

    `lifetime` is how long an access token can be alive, the clocks' differences included. Where
    there is more than can be remembered, nothing is let through for it: every token of before
    the oldest that is forgotten has to be refreshed, which only those can do that still count.
    """

    def __init__(
        self, *, clock: Clock, lifetime: timedelta, max_entries: int = MAX_ENTRIES
    ) -> None:
        self._clock = clock
        self._lifetime = lifetime
        self._max_entries = max_entries
        self._sessions: OrderedDict[UUID, _Entry] = OrderedDict()
        self._users: OrderedDict[UUID, _Entry] = OrderedDict()
        self._missed: datetime | None = None
        self._listeners: list[Listener] = []

    @property
    def remembered(self) -> int:
        """How many sessions and users are remembered."""
        return len(self._sessions) + len(self._users)

    def listen(self, listener: Listener) -> None:
        """Tell the listener of everything that is news from now on."""
        self._listeners.append(listener)

    def check(self, principal: Principal) -> None:
        """Let a credential pass that still counts.

        Raises:
            Unauthenticated: what `over` or `outdated` returns.
        """
        error = self.over(principal) or self.outdated(principal)
        if error is not None:
            raise error

    def over(self, principal: Principal) -> Unauthenticated | None:
        """Return why the credential counts no more; None while it does.

        TOKEN_REVOKED in every case: its session ended, or its user was suspended or deleted.
        Both ask for a new sign-in, and who is barred learns that from nothing else than from it.
        """
        end = self._sessions.get(principal.session_id)
        if end is not None:
            return token_revoked(end.time, principal.kind)
        change = self._users.get(principal.user_id)
        known = principal.roles_time
        # Who was let in again in another process has a token that knows of more than we do.
        if change is not None and not change.active and (known is None or known <= change.time):
            return token_revoked(change.time, principal.kind)
        return None

    def outdated(self, principal: Principal) -> Unauthenticated | None:
        """Return why the credential has to be refreshed before its time; None where it has not.

        TOKEN_EXPIRED: the user has changed since it was made, so that it tells other roles. It is
        held against the change that it knows of, not against the time when it was made: clocks
        differ, and two changes can be within the second that a token tells.
        """
        change = self._users.get(principal.user_id)
        known = principal.roles_time
        if change is not None and (known is None or known < change.time):
            return _token_outdated(change.time)
        issued = principal.issue_time
        if self._missed is not None and (issued is None or issued <= self._missed):
            return _token_outdated(self._missed)
        return None

    def forget_session(self, session_id: UUID) -> None:
        """Refuse the tokens of a login session, or an API key, from now on."""
        self.note(Changes(sessions=[SessionEnd(session_id, self._clock())]))

    def forget_user(self, user_id: UUID, change_time: datetime, *, active: bool) -> None:
        """Ask for new tokens since a user's roles changed; refuse all where it is not active."""
        self.note(Changes(users=[UserChange(user_id, change_time, active)]))

    def note(self, changes: Changes) -> None:
        """Take in what changed; what is known already is no news."""
        now = self._clock()
        news: list[UUID | None] = []
        forget_time = now + self._lifetime
        for end in changes.sessions:
            if end.session_id not in self._sessions:
                self._sessions[end.session_id] = _Entry(end.time, forget_time, active=False)
                news.append(end.session_id)
        for change in changes.users:
            known = self._users.get(change.user_id)
            if known is None or known.time < change.time:
                self._users[change.user_id] = _Entry(change.time, forget_time, change.active)
                self._users.move_to_end(change.user_id)
                news.append(change.user_id)
        missed = [moment for moment in (changes.missed, self._drop(now)) if moment is not None]
        if missed and (self._missed is None or max(missed) > self._missed):
            self._missed = max(missed)
            news.append(None)
        for subject in news:
            for listener in self._listeners:
                listener(subject)

    def _drop(self, now: datetime) -> datetime | None:
        """Forget what no living token can ask for; return the time of what had to go before."""
        missed: datetime | None = None
        for entries in (self._sessions, self._users):
            while entries and next(iter(entries.values())).forget_time < now:
                entries.popitem(last=False)
            while len(entries) > self._max_entries:
                _, entry = entries.popitem(last=False)
                missed = entry.time if missed is None else max(missed, entry.time)
        return missed


class RevocationPoll:
    """Looks again and again what changed in other processes.

    The first look goes back `lookback`, the lifetime of an access token. While the database is
    away for everybody, nothing can end: what ends is written there. A process that alone is cut
    off from it accepts, until it is back, the tokens of sessions that end meanwhile, each to its
    own end at most; without the database it has little to give for them.
    """

    def __init__(
        self,
        source: ChangeSource,
        revocations: Revocations,
        *,
        clock: Clock,
        interval: timedelta,
        lookback: timedelta,
        log: FilteringBoundLogger,
    ) -> None:
        self._source = source
        self._revocations = revocations
        self._clock = clock
        self._interval = interval.total_seconds()
        self._log = log
        self._looked = clock() - lookback
        self._failing = False

    async def run(self) -> None:
        """Look again and again until cancelled, the first time after the interval."""
        while True:
            await asyncio.sleep(self._interval)
            await self.attempt()

    async def look(self) -> None:
        """Take in what changed since the last look that succeeded."""
        now = self._clock()
        self._revocations.note(await self._source.since(min(self._looked, now) - OVERLAP))
        self._looked = now

    async def attempt(self) -> None:
        """Look once; what fails is told, not raised, for the next look makes up for it."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self.look()
        except Exception as error:  # noqa: BLE001  # whatever it is, the next look may succeed
            if not self._failing:
                self._log.warning("revocations unknown", error=type(error).__name__)
            self._failing = True
        else:
            if self._failing:
                self._log.info("revocations known")
            self._failing = False


def _token_outdated(change_time: datetime) -> Unauthenticated:
    """Return the answer to a token that says of its user what is no longer so."""
    return Unauthenticated(
        "the roles of the access token's user have changed; refresh it",
        reason="TOKEN_EXPIRED",
        metadata={"expired_at": rfc3339(change_time)},
    )
