"""Attempts to sign in: each is counted before its password is looked at, and waits after failures.

Failures are counted by account and address together, by address and by account. Strangers lock
nobody out: at an address from which the account signed in of late, only what failed there for this
very account counts, and what failed elsewhere never stops the first attempt from a new address.
docs/operations.md, "Guessed passwords", has the rules as a table (OWASP ASVS 5.0, 6.1.1, 6.3.1).
"""

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final, Protocol
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from server.core.clock import Clock, rfc3339
from server.core.errors import DomainError

KNOWN_FOR: Final = timedelta(days=30)
"""How long an address is known as one of an account's after a sign-in from it."""

RECOVERY: Final = timedelta(hours=1)
"""The time in which free failures come back, one after the other."""

ATTACKED: Final = 10
"""An account whose strangers fail this many times as often as one of them may is attacked."""

_FIRST_WAIT: Final = timedelta(seconds=1)
_FIRST_WAIT_ATTACKED: Final = timedelta(seconds=60)
_DOUBLINGS: Final = 17
"""Two to this is more seconds than anybody has to wait: further failures change nothing."""

_LABEL: Final = b"interview-server login attempts 1"
_NOBODY: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many failures are free, of an account from one address and of an address; 0: all."""

    failures: int = 5
    address_failures: int = 50
    longest_wait: timedelta = timedelta(seconds=900)


@dataclass(frozen=True, slots=True)
class Count:
    """Failures that have something in common; all of them are forgotten at `expire_time`.

    The next attempt may be made at `next_time`.
    """

    subject: bytes
    failures: int
    next_time: datetime
    expire_time: datetime


class Kind(StrEnum):
    """What counted failures have in common."""

    PAIR = "pair"
    ADDRESS = "address"
    ACCOUNT = "account"


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that was counted as failed, and by what."""

    subjects: Mapping[Kind, bytes]


@dataclass(frozen=True, slots=True)
class Rule:
    """After `free` failures each one costs a wait, twice as long as the one before.

    `forgiveness` is the time after which one failure is forgotten.
    """

    free: int
    first_wait: timedelta
    longest_wait: timedelta
    forgiveness: timedelta

    def failed(self, count: Count, now: datetime) -> Count:
        """Return the count with a failure more."""
        expire_time = max(count.expire_time, now) + self.forgiveness
        left = -((now - expire_time) // self.forgiveness)
        failures = min(count.failures + 1, left, self.free + _DOUBLINGS)
        wait = timedelta(0)
        if failures >= self.free:
            wait = min(self.first_wait * 2 ** (failures - self.free), self.longest_wait)
        expire_time = min(expire_time, now + self.forgiveness * failures)
        return Count(count.subject, failures, now + wait, expire_time)

    def given_back(self, count: Count, now: datetime) -> Count:
        """Return the count without a failure that was none; a wait that others earned stays."""
        failures = max(count.failures - 1, 0)
        return replace(
            count,
            failures=failures,
            next_time=now if failures < self.free else count.next_time,
            expire_time=max(count.expire_time - self.forgiveness, now),
        )


Change = Callable[[Mapping[bytes, Count]], Sequence[Count]]
"""Turns the present counts, by their subject, into those to be kept; may raise."""


class AttemptRepository(Protocol):
    """Keeps counts where every process and every replica sees them."""

    async def addresses_of(self, user_id: UUID, since: datetime) -> Sequence[str]:
        """Return the addresses from which a user has signed in since then."""

    async def change(self, subjects: Sequence[bytes], now: datetime, change: Change) -> None:
        """Change counts in one transaction, which nobody else's comes between.

        A subject that nothing is known of has a count without failures.
        """

    async def forget_expired(self, now: datetime, limit: int) -> int:
        """Drop at most so many counts that mean nothing any more; return how many."""


class Attempts:
    """Slows down who guesses passwords. `secret` is the server's, from which its key is made."""

    def __init__(
        self, repository: AttemptRepository, limits: Limits, secret: bytes, clock: Clock
    ) -> None:
        self._repository = repository
        self._rules = _rules(limits)
        self._attacked = Rule(
            1, _FIRST_WAIT_ATTACKED, limits.longest_wait, RECOVERY / max(limits.failures, 1)
        )
        self._key = HKDF(SHA256(), length=32, salt=None, info=_LABEL).derive(secret)
        self._clock = clock

    async def begin(self, email: str, user_id: UUID | None, address: str) -> Attempt:
        """Count an attempt as failed, before its password is looked at.

        `email` is folded, `user_id` is None where nobody has it; `address` is the caller's. What
        is done is the same for both.

        Raises:
            DomainError: LOGIN_THROTTLED, it comes too soon after others that failed.
        """
        if not self._rules:
            return Attempt({})
        network = network_of(address)
        now = self._clock()
        known = await self._repository.addresses_of(user_id or _NOBODY, now - KNOWN_FOR)
        is_known = network in {network_of(one) for one in known}
        subjects = {
            kind: self._subject(kind, email, network)
            for kind in self._rules
            if kind is Kind.PAIR or not is_known
        }
        if subjects:
            await self._repository.change(
                list(subjects.values()), now, lambda counts: self._failed(subjects, counts, now)
            )
        return Attempt(subjects)

    async def succeed(self, attempt: Attempt) -> None:
        """Take back that an attempt has failed; what failed before it from there is forgotten."""
        now = self._clock()

        def change(counts: Mapping[bytes, Count]) -> Sequence[Count]:
            return [
                Count(subject, 0, now, now)
                if kind is Kind.PAIR
                else self._rules[kind].given_back(counts[subject], now)
                for kind, subject in attempt.subjects.items()
            ]

        if attempt.subjects:
            await self._repository.change(list(attempt.subjects.values()), now, change)

    async def forget_expired(self, now: datetime, limit: int) -> int:
        """Drop at most so many counts that mean nothing any more; return how many."""
        return await self._repository.forget_expired(now, limit)

    def _failed(
        self, subjects: Mapping[Kind, bytes], counts: Mapping[bytes, Count], now: datetime
    ) -> Sequence[Count]:
        until = max(count.next_time for count in counts.values())
        if until > now:
            raise _throttled(until, now)
        rules = dict(self._rules)
        failed = {
            kind: rules[kind].failed(counts[subject], now) for kind, subject in subjects.items()
        }
        account = failed.get(Kind.ACCOUNT)
        if account is not None and account.failures > rules[Kind.ACCOUNT].free:
            failed[Kind.PAIR] = self._attacked.failed(counts[subjects[Kind.PAIR]], now)
        return list(failed.values())

    def _subject(self, kind: Kind, email: str, network: str) -> bytes:
        parts = {
            Kind.PAIR: (email, network),
            Kind.ADDRESS: ("", network),
            Kind.ACCOUNT: (email, ""),
        }
        text = "\0".join((kind, *parts[kind]))
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256")


def network_of(address: str) -> str:
    """Return what one customer of a network has: an IPv4 address, or the /64 of an IPv6 one.

    RFC 6177 asks providers for no less, and RFC 4291 lets a host choose the other half by itself.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((int(parsed) >> 64 << 64, 64)))


def _rules(limits: Limits) -> Mapping[Kind, Rule]:
    rules = {}
    longest = limits.longest_wait
    if limits.failures:
        free = limits.failures
        strangers = free * ATTACKED
        rules[Kind.PAIR] = Rule(free, _FIRST_WAIT, longest, RECOVERY / free)
        rules[Kind.ACCOUNT] = Rule(strangers, timedelta(0), longest, RECOVERY / strangers)
    if limits.address_failures:
        free = limits.address_failures
        rules[Kind.ADDRESS] = Rule(free, _FIRST_WAIT, longest, RECOVERY / free)
    return rules


def _throttled(until: datetime, now: datetime) -> DomainError:
    # Written to the second, and not before it is true.
    locked_until = rfc3339(until + timedelta(microseconds=999_999))
    return DomainError(
        f"too many attempts to sign in have failed; try again at {locked_until}",
        reason="LOGIN_THROTTLED",
        metadata={"locked_until": locked_until},
        retry_delay=until - now,
    )
