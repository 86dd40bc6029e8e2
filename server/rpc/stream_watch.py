"""Open streams, and the credentials they run by: no stream outlives the right to it.

A call is let in once, and a stream may then go on for hours. So each of them is found by its
credential and its user, and ends when one of these is over, wherever that was decided (ASVS 7.4).
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from server.core.clock import Clock, rfc3339
from server.core.errors import Unauthenticated
from server.core.principal import FOREVER, Principal

OUTDATED_GRACE: Final = timedelta(seconds=60)
"""How long a stream goes on whose caller has other roles by now, for a client to renew it."""
POLITE_GRACE: Final = timedelta(seconds=5)
"""What a stream that ends by itself gets for that: its client may not take what it is told."""
_LONGEST_WAIT: Final = timedelta(days=1)


class Standing(Protocol):
    """Knows which credentials count."""

    def over(self, principal: Principal) -> Unauthenticated | None:
        """Return why the credential counts no more; None while it does."""

    def outdated(self, principal: Principal) -> Unauthenticated | None:
        """Return why the credential has to be refreshed before its time; None where it has not."""

    def listen(self, listener: Callable[[UUID | None], None]) -> None:
        """Tell the listener which session, API key or user there is news of; None: of all."""


@dataclass(frozen=True, slots=True)
class Ending:
    """When a stream ends for its credential, and with what."""

    time: datetime
    error: Unauthenticated


class OpenStream:
    """A call that goes on for long, and the credential by which it does.

    It is cut when the credential is over. A method that can say goodbye takes that upon itself:
    it follows `ending`, and is cut only when it has not ended a while later. A stream that is
    `bounded` by a deadline of its method may outlive its token's last second, not a revocation.
    """

    def __init__(
        self,
        watch: "StreamWatch",
        principal: Principal,
        cancel: Callable[[], object],
        *,
        bounded: bool,
    ) -> None:
        self.principal = principal
        self.changed = asyncio.Event()
        """Set whenever `ending` is another one."""
        self.cut_error: Unauthenticated | None = None
        """What the call is to end with, once it was cut."""
        self._watch = watch
        self._cancel = cancel
        self._bounded = bounded
        self._polite = False
        self._timer: asyncio.TimerHandle | None = None
        self.ending = self._at_its_end()
        self.look()

    @property
    def revoked(self) -> bool:
        """Whether the credential counts no more, before its time."""
        return self._watch.standing.over(self.principal) is not None

    def end_politely(self) -> None:
        """Leave it to the method to end the stream when `ending` comes."""
        self._bounded, self._polite = False, True
        self.ending = self._at_its_end()
        self.look()

    def renew(self, principal: Principal) -> None:
        """Go on by another credential of the same user."""
        with self._watch.moving(self):
            self.principal = principal
        self.ending = self._at_its_end()
        self.look()
        self.changed.set()

    def look(self) -> None:
        """Find out when the stream ends by what is known now."""
        over, outdated = self._watch.standing.over, self._watch.standing.outdated
        now = self._watch.clock()
        if (error := over(self.principal)) is not None:
            self._end_at(now, error)
        elif (error := outdated(self.principal)) is not None:
            self._end_at(now + self._watch.outdated_grace, error)
        self._wait()

    def close(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()

    def _at_its_end(self) -> Ending:
        end = FOREVER if self._bounded else self.principal.expire_time
        return Ending(end, _credential_expired(self.principal.expire_time))

    def _end_at(self, time: datetime, error: Unauthenticated) -> None:
        if time < self.ending.time:
            self.ending = Ending(time, error)
            self.changed.set()

    def _wait(self) -> None:
        """Cut now, or look at the clock again when it should be time."""
        self.close()
        left = self.ending.time - self._watch.clock()
        if self._polite:
            left += self._watch.polite_grace
        if left <= timedelta():
            self.cut_error = self.ending.error
            self._cancel()
        elif self.ending.time != FOREVER:
            seconds = min(left, _LONGEST_WAIT).total_seconds()
            self._timer = asyncio.get_running_loop().call_later(seconds, self._wait)


class StreamWatch:
    """The open streams of a process. Belongs to one event loop."""

    def __init__(
        self,
        standing: Standing,
        *,
        clock: Clock,
        outdated_grace: timedelta = OUTDATED_GRACE,
        polite_grace: timedelta = POLITE_GRACE,
    ) -> None:
        self.standing = standing
        self.clock = clock
        self.outdated_grace = outdated_grace
        self.polite_grace = polite_grace
        self._streams: dict[UUID, set[OpenStream]] = {}
        standing.listen(self._news)

    @property
    def watched(self) -> int:
        """How many streams are watched."""
        return len(set().union(*self._streams.values()))

    @contextmanager
    def open(
        self, principal: Principal, cancel: Callable[[], object], *, bounded: bool
    ) -> Iterator[OpenStream]:
        """Watch a stream while the block runs; `cancel` is what cuts it."""
        stream = OpenStream(self, principal, cancel, bounded=bounded)
        self._add(stream)
        try:
            yield stream
        finally:
            self._remove(stream)
            stream.close()

    @contextmanager
    def moving(self, stream: OpenStream) -> Iterator[None]:
        """Find the stream by another credential from the block's end on."""
        self._remove(stream)
        yield
        self._add(stream)

    def _add(self, stream: OpenStream) -> None:
        for subject in _subjects(stream.principal):
            self._streams.setdefault(subject, set()).add(stream)

    def _remove(self, stream: OpenStream) -> None:
        for subject in _subjects(stream.principal):
            self._streams[subject].remove(stream)
            if not self._streams[subject]:
                del self._streams[subject]

    def _news(self, subject: UUID | None) -> None:
        known = self._streams.values() if subject is None else [self._streams.get(subject, set())]
        for stream in set().union(*known):
            stream.look()


def _subjects(principal: Principal) -> tuple[UUID, UUID]:
    return principal.session_id, principal.user_id


def _credential_expired(expire_time: datetime) -> Unauthenticated:
    return Unauthenticated(
        "the credential of this stream has expired; open another one with a new credential",
        reason="TOKEN_EXPIRED",
        metadata={"expired_at": rfc3339(expire_time)},
    )
