"""Token buckets and streams of callers: exactly what is allowed, and memory for no more."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from server.core.errors import DomainError
from server.core.principal import Principal
from server.core.telemetry import Silent
from server.rpc.call import Call
from server.rpc.methods import Method
from server.rpc.policy import CallClass
from server.rpc.rate import Buckets, Rate, RateLimits
from tests.support.methods import method_of_class

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
TEN_A_SECOND = Rate(per_second=10, burst=20)


class Time:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Refusals(Silent):
    """Keeps what was refused."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def shed(self, call_class: str, why: str) -> None:
        self.seen.append((call_class, why))


@pytest.fixture
def time() -> Time:
    return Time()


def _limits(
    time: Time,
    rate: Rate | None = TEN_A_SECOND,
    *,
    chance: Callable[[], float] = lambda: 0.0,
    refusals: Refusals | None = None,
) -> RateLimits:
    return RateLimits(
        {} if rate is None else {"read": rate},
        monotonic=time,
        clock=lambda: NOON,
        random=chance,
        telemetry=refusals or Silent(),
    )


def _method(cost: int = 10, streams: int = 0, bucket: str = "read") -> Method:
    return method_of_class(CallClass.READ, bucket=bucket, cost=cost, max_streams=streams)


def _by(number: int) -> Call:
    user = UUID(int=number)
    later = NOON + timedelta(minutes=15)
    principal = Principal(user, user, (), frozenset(), NOON, later)
    return Call("/test.Service/Read", {}, "request", caller=principal)


def _from(address: str) -> Call:
    return Call("/test.Service/Read", {}, "request", peer=f"ipv4:{address}:40000")


def _refusal(limits: RateLimits, call: Call, method: Method) -> DomainError:
    with pytest.raises(DomainError) as caught:
        limits.enter(call, method)
    return caught.value


def test_bucket_gives_its_burst_then_its_rate(time: Time) -> None:
    buckets = Buckets(time)
    assert [buckets.draw("read", "ann", TEN_A_SECOND, 10) for _ in range(2)] == [0, 0]
    assert buckets.draw("read", "ann", TEN_A_SECOND, 10) == pytest.approx(1.0)
    time.now += 0.5
    assert buckets.draw("read", "ann", TEN_A_SECOND, 10) == pytest.approx(0.5)
    assert buckets.draw("read", "ann", TEN_A_SECOND, 5) == 0
    time.now += 1.0
    assert buckets.draw("read", "ann", TEN_A_SECOND, 10) == 0


@pytest.mark.parametrize("seed", range(20))
def test_any_sequence_of_draws_gives_what_a_counted_bucket_would(time: Time, seed: int) -> None:
    chance = random.Random(seed)
    rate = Rate(chance.uniform(0.5, 50), chance.uniform(1, 100))
    buckets, tokens, given = Buckets(time), rate.burst, 0
    for _ in range(500):
        span = chance.choice([0.0, 0.001, 0.1, 1.0])
        time.now += span
        tokens = min(rate.burst, tokens + span * rate.per_second)
        cost = min(chance.randint(1, 12), rate.burst)
        if abs(tokens - cost) < 1e-3:  # too near for two ways of adding up
            continue
        wait = buckets.draw("read", "ann", rate, cost)
        if tokens > cost:
            assert wait == 0
            tokens -= cost
            given += 1
        else:
            assert wait == pytest.approx((cost - tokens) / rate.per_second, abs=1e-6)
    assert given > 10


def test_call_that_costs_more_than_a_bucket_holds_takes_all_of_it(time: Time) -> None:
    buckets, small = Buckets(time), Rate(per_second=1, burst=2)
    assert buckets.draw("read", "ann", small, 10) == 0
    assert buckets.draw("read", "ann", small, 1) == pytest.approx(1.0)


def test_owners_and_buckets_do_not_meet(time: Time) -> None:
    buckets, one = Buckets(time), Rate(per_second=1, burst=1)
    assert buckets.draw("read", "ann", one, 1) == 0
    assert buckets.draw("read", "ben", one, 1) == 0
    assert buckets.draw("write", "ann", one, 1) == 0
    assert buckets.draw("read", "ann", one, 1) > 0


def test_memory_is_for_those_who_still_owe_and_never_for_more_than_its_size(time: Time) -> None:
    buckets, slow = Buckets(time, size=100), Rate(per_second=1, burst=10)
    for number in range(10_000):
        buckets.draw("login", f"ip:{number}", slow, 1)
        assert len(buckets) <= 100
    time.now += 2
    buckets.draw("login", "ip:last", slow, 1)
    assert len(buckets) == 1


def test_who_comes_back_all_the_time_is_not_forgotten_for_newcomers(time: Time) -> None:
    buckets, slow = Buckets(time, size=10), Rate(per_second=0.001, burst=100)
    for number in range(99):
        assert buckets.draw("login", "ip:flood", slow, 1) == 0
        buckets.draw("login", f"ip:{number}", slow, 1)
    assert buckets.draw("login", "ip:flood", slow, 1) == 0
    assert buckets.draw("login", "ip:flood", slow, 1) > 0


def test_refusal_says_which_bucket_how_much_it_gives_and_when(time: Time) -> None:
    refusals = Refusals()
    limits = _limits(time, refusals=refusals)
    for _ in range(2):
        limits.enter(_by(7), _method())
    error = _refusal(limits, _by(7), _method())
    assert error.reason == "RATE_LIMITED"
    assert error.metadata == {
        "bucket": "read",
        "limit": "10",
        "reset_time": "2026-01-31T12:00:02Z",
    }
    assert error.quota is not None
    assert error.quota.subject == f"user:users/{UUID(int=7)}"
    assert error.quota.description == "read: 10 tokens a second, 20 at once"
    assert error.retry_delay == timedelta(seconds=1)
    assert refusals.seen == [("read", "rate")]


def test_delay_is_enough_and_spread(time: Time) -> None:
    limits = _limits(time, chance=random.Random(5).random)
    for _ in range(2):
        limits.enter(_by(7), _method())
    delays = [_refusal(limits, _by(7), _method()).retry_delay for _ in range(100)]
    seconds = sorted(delay.total_seconds() for delay in delays if delay)
    assert 1.0 <= seconds[0] < 1.1
    assert 1.4 < seconds[-1] <= 1.5


def test_who_is_not_signed_in_is_known_by_the_address(time: Time) -> None:
    limits = _limits(time)
    for _ in range(2):
        limits.enter(_from("192.0.2.1"), _method())
    error = _refusal(limits, _from("192.0.2.1"), _method())
    assert error.quota is not None
    assert error.quota.subject == "ip:192.0.2.1"
    limits.enter(_from("192.0.2.2"), _method())


def test_buckets_without_a_rate_methods_without_a_cost_and_probes_are_not_limited(
    time: Time,
) -> None:
    off, on = _limits(time, None), _limits(time, Rate(per_second=0.1, burst=1))
    probe = method_of_class(CallClass.PROBE, bucket="read", cost=10)
    for _ in range(1000):
        off.enter(_by(7), _method())
        on.enter(_by(7), _method(cost=0))
        on.enter(_by(7), probe)
        on.enter(_by(7), _method(bucket="bulk"))


def test_stream_beyond_the_number_is_refused_until_one_has_ended(time: Time) -> None:
    refusals = Refusals()
    limits, chat = _limits(time, None, refusals=refusals), _method(streams=2)
    for _ in range(2):
        limits.enter(_by(7), chat)
    error = _refusal(limits, _by(7), chat)
    assert error.reason == "TOO_MANY_STREAMS"
    assert error.metadata == {"method": "/test.Service/Read", "limit": "2"}
    assert error.retry_delay is not None
    assert refusals.seen == [("read", "streams")]
    limits.enter(_by(8), chat)
    limits.leave(_by(7), chat)
    limits.enter(_by(7), chat)
    _refusal(limits, _by(7), chat)


def test_stream_that_the_bucket_refuses_is_not_counted(time: Time) -> None:
    limits, chat = _limits(time, Rate(per_second=1, burst=1)), _method(cost=1, streams=2)
    limits.enter(_by(7), chat)
    for _ in range(10):
        assert _refusal(limits, _by(7), chat).reason == "RATE_LIMITED"
    time.now += 1
    limits.enter(_by(7), chat)
    assert _refusal(limits, _by(7), chat).reason == "TOO_MANY_STREAMS"


def test_work_within_a_stream_draws_from_the_same_bucket(time: Time) -> None:
    limits, chat = _limits(time), _method(streams=5)
    call = _by(7)
    limits.enter(call, chat)
    limits.draw(call.principal, chat.policy)
    with pytest.raises(DomainError, match="faster"):
        limits.draw(call.principal, chat.policy)
    time.now += 1
    limits.draw(call.principal, chat.policy)
