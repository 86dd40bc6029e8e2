"""How much one caller may ask for in a span of time, and how many streams it may hold.

A bucket holds `burst` tokens and gains `per_second` tokens a second; a call takes what its
method costs. Whose bucket it is: the signed-in user's, or where a method asks for nobody, the
peer address's. All of this is of one process: behind a load balancer each replica counts what
reaches it.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from server.core.clock import Clock, rfc3339
from server.core.errors import DomainError, QuotaViolation
from server.core.principal import Principal
from server.core.telemetry import Telemetry
from server.rpc.call import Call
from server.rpc.methods import Method
from server.rpc.policy import CallClass, MethodPolicy

MAX_BUCKETS = 10_000
"""Callers that are remembered at a time. One who is forgotten begins with a full bucket."""

STREAM_RETRY = timedelta(seconds=5)
"""When to try for another stream; nobody can know when one of the caller's own will end."""

_ROUNDING_SECONDS = 1e-6
"""Of sums of spans; a bucket must not refuse what it holds."""

_JITTER = 0.5
"""Delays are up to this share longer, so that a caller's calls do not come back as one."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Tokens that a bucket gains each second, and holds at most."""

    per_second: float
    burst: float


class Buckets:
    """The token buckets of all callers, kept as the moments at which each will be full again.

    A full bucket is like one that was never used, so it is forgotten. `clock` counts seconds
    and never goes back.
    """

    def __init__(self, clock: Callable[[], float], size: int = MAX_BUCKETS) -> None:
        self._clock = clock
        self._size = size
        self._full_at: OrderedDict[tuple[str, str], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def draw(self, bucket: str, owner: str, rate: Rate, cost: float) -> float:
        """Take tokens and return 0, or take none and return the seconds until there are enough.

        What costs more than a bucket holds takes all of it, or it could never be had.
        """
        now, key = self._clock(), (bucket, owner)
        full_at = max(self._full_at.get(key, now), now) + min(cost, rate.burst) / rate.per_second
        wait = full_at - now - rate.burst / rate.per_second
        if wait > _ROUNDING_SECONDS:
            return wait
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        self._forget(now)
        return 0.0

    def _forget(self, now: float) -> None:
        # In the order of their last use: the first ones are full, or soon will be.
        while self._full_at and (
            len(self._full_at) > self._size or next(iter(self._full_at.values())) <= now
        ):
            self._full_at.popitem(last=False)


class RateLimits:
    """Refuses what goes beyond a caller's buckets or number of streams. A step of the chain.

    `rates` has the buckets that are limited; one that is missing never runs dry. `monotonic`
    counts seconds, `random` returns numbers from 0 to 1.
    """

    def __init__(
        self,
        rates: Mapping[str, Rate],
        *,
        monotonic: Callable[[], float],
        clock: Clock,
        random: Callable[[], float],
        telemetry: Telemetry,
    ) -> None:
        self._rates = rates
        self._clock = clock
        self._random = random
        self._telemetry = telemetry
        self._buckets = Buckets(monotonic)
        self._streams: Counter[tuple[str, str]] = Counter()

    def enter(self, call: Call, method: Method) -> None:
        """Draw what the method costs, and count it where streams are limited.

        Raises:
            DomainError: TOO_MANY_STREAMS or RATE_LIMITED.
        """
        policy = method.policy
        if policy.call_class is CallClass.PROBE:
            return
        owner = _owner(call)
        if policy.max_streams and self._streams[owner, policy.method] >= policy.max_streams:
            raise self._too_many(owner, policy)
        self._draw(owner, policy)
        if policy.max_streams:
            self._streams[owner, policy.method] += 1

    def leave(self, call: Call, method: Method) -> None:
        """Count the end of a stream."""
        if method.policy.max_streams:
            key = (_owner(call), method.policy.method)
            self._streams[key] -= 1
            if not self._streams[key]:
                del self._streams[key]

    def draw(self, principal: Principal, policy: MethodPolicy) -> None:
        """Take once more what a call of the method costs, for work that a stream goes on with.

        Raises:
            DomainError: RATE_LIMITED.
        """
        self._draw(_user(principal), policy)

    def _draw(self, owner: str, policy: MethodPolicy) -> None:
        rate = self._rates.get(policy.bucket)
        if rate is None or not policy.cost:
            return
        wait = self._buckets.draw(policy.bucket, owner, rate, policy.cost)
        if wait:
            self._telemetry.shed(policy.call_class, "rate")
            raise self._dry(owner, policy.bucket, rate, wait)

    def _dry(self, owner: str, bucket: str, rate: Rate, wait: float) -> DomainError:
        # Written to the second, and not before it is true.
        reset_time = self._clock() + timedelta(seconds=wait + 1)
        return DomainError(
            "calls come faster than this caller may make them; try again after the delay",
            reason="RATE_LIMITED",
            metadata={
                "bucket": bucket,
                "limit": f"{rate.per_second:g}",
                "reset_time": rfc3339(reset_time),
            },
            quota=QuotaViolation(
                owner, f"{bucket}: {rate.per_second:g} tokens a second, {rate.burst:g} at once"
            ),
            retry_delay=timedelta(seconds=wait * (1 + _JITTER * self._random())),
        )

    def _too_many(self, owner: str, policy: MethodPolicy) -> DomainError:
        self._telemetry.shed(policy.call_class, "streams")
        limit = str(policy.max_streams)
        return DomainError(
            f"this caller holds {limit} streams of this method already; end one of them first",
            reason="TOO_MANY_STREAMS",
            metadata={"method": policy.method, "limit": limit},
            quota=QuotaViolation(owner, f"{limit} streams of {policy.method} at a time"),
            retry_delay=STREAM_RETRY,
        )


def _owner(call: Call) -> str:
    return f"ip:{call.peer_address}" if call.caller is None else _user(call.caller)


def _user(principal: Principal) -> str:
    return f"user:{principal.name}"
