"""The keys of access tokens together: which one signs, which will, and which did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from server.auth.keys import SigningKey
from server.core.principal import FOREVER

KEPT: Final = timedelta(days=1)
"""How long a retired key stays in the ring: longer than any token lives."""


class KeyState(StrEnum):
    """Where a key is in its life."""

    CURRENT = "current"
    """It signs and verifies."""
    NEXT = "next"
    """It verifies already, so that everybody knows it before it signs."""
    RETIRED = "retired"
    """It verifies until its tokens are dead."""


@dataclass(frozen=True, slots=True)
class RingKey:
    """A key and its life. `sign_time` is when it became current, `retire_time` when it was over."""

    key: SigningKey
    state: KeyState
    create_time: datetime
    sign_time: datetime | None = None
    retire_time: datetime | None = None

    def end(self, tokens_live: timedelta) -> datetime:
        """Return when the last of its tokens is dead, FOREVER where it is not retired.

        From then on it verifies nothing: whoever finds it later can make nothing of it.
        """
        return FOREVER if self.retire_time is None else self.retire_time + tokens_live


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys by name. One is current; one that is kept in a file has also one that is next.

    The empty ring neither signs nor verifies.
    """

    keys: tuple[RingKey, ...] = ()

    @property
    def current(self) -> SigningKey:
        """The key that signs. Raises LookupError in the empty ring."""
        return self._in(KeyState.CURRENT).key

    @property
    def coming(self) -> SigningKey:
        """The key that signs next. Raises LookupError where there is none."""
        return self._in(KeyState.NEXT).key

    def counting(self, now: datetime, tokens_live: timedelta) -> Sequence[SigningKey]:
        """Return the keys that verify now or soon. `tokens_live`: the longest that one can."""
        return [one.key for one in self.keys if now < one.end(tokens_live)]

    def ends(self, tokens_live: timedelta) -> Mapping[str, datetime]:
        """Return when each key stops to verify, by name."""
        return {one.key.kid: one.end(tokens_live) for one in self.keys}

    def rotated(self, new: SigningKey, now: datetime) -> "KeyRing":
        """Return the ring in which the next key signs, and a new one is next."""
        signing, coming = self._in(KeyState.CURRENT), self._in(KeyState.NEXT)
        retired = [one for one in self.keys if one.retire_time and now < one.retire_time + KEPT]
        return KeyRing(
            (
                replace(coming, state=KeyState.CURRENT, sign_time=now),
                RingKey(new, KeyState.NEXT, now),
                replace(signing, state=KeyState.RETIRED, retire_time=now),
                *retired,
            )
        )

    def _in(self, state: KeyState) -> RingKey:
        for one in self.keys:
            if one.state is state:
                return one
        raise LookupError(f"there is no {state} key")


def ring_of(key: SigningKey, now: datetime) -> KeyRing:
    """Return the ring of one key that signs for ever."""
    return KeyRing((RingKey(key, KeyState.CURRENT, now, now),))


def new_ring(signing: SigningKey, coming: SigningKey, now: datetime) -> KeyRing:
    """Return the ring with which a file begins."""
    return KeyRing(
        (
            RingKey(signing, KeyState.CURRENT, now, now),
            RingKey(coming, KeyState.NEXT, now),
        )
    )


def checked_ring(keys: Sequence[RingKey]) -> KeyRing:
    """Return the ring of keys that were kept somewhere.

    Raises:
        ValueError: they make no ring; says what it must have.
    """
    states = [one.state for one in keys]
    for state in (KeyState.CURRENT, KeyState.NEXT):
        if states.count(state) != 1:
            raise ValueError(f"must have one {state} key; it has {states.count(state)}")
    if len({one.key.kid for one in keys}) != len(keys):
        raise ValueError("must have each key once")
    for one in keys:
        if (one.state is KeyState.RETIRED) != (one.retire_time is not None):
            raise ValueError("must have a retire_time for each retired key and for no other")
    return KeyRing(tuple(keys))
