"""Places for calls: never more than there are, in order, and none is ever lost."""

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta

import pytest

from server.core.errors import DomainError
from server.core.telemetry import Silent
from server.rpc.admission import Admission, Places
from server.rpc.call import Call
from server.rpc.methods import Method
from server.rpc.policy import CallClass
from tests.support.amount import amount
from tests.support.methods import method_of_class

READ = method_of_class(CallClass.READ)


class Refusals(Silent):
    """Keeps what was refused."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def shed(self, call_class: str, why: str) -> None:
        self.seen.append((call_class, why))


class Time:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _admission(
    running: int,
    waiting: int,
    patience: float = 1.0,
    *,
    clock: Callable[[], float] = lambda: 0.0,
    chance: Callable[[], float] = lambda: 0.5,
    refusals: Refusals | None = None,
) -> Admission:
    return Admission(
        {CallClass.READ: Places(running, waiting, patience)},
        monotonic=clock,
        random=chance,
        telemetry=refusals or Silent(),
    )


def _call(seconds: float | None = 10.0) -> Call:
    return Call(READ.path, {}, "request", deadline_seconds=seconds)


async def _refusal(admission: Admission, call: Call, method: Method = READ) -> DomainError:
    with pytest.raises(DomainError) as caught:
        await admission.enter(call, method)
    return caught.value


async def test_call_beyond_places_and_queue_is_refused_at_once_and_told_what_to_do() -> None:
    refusals = Refusals()
    admission = _admission(1, 0, refusals=refusals, chance=lambda: 0.0)
    await admission.enter(_call(), READ)
    error = await _refusal(admission, _call())
    assert (error.reason, error.metadata) == ("RATE_LIMITED", {"bucket": "read", "limit": "1"})
    assert error.quota is not None
    assert (error.quota.subject, error.quota.description) == ("server", "read: 1 calls at a time")
    assert error.retry_delay == timedelta(milliseconds=500)
    assert refusals.seen == [("read", "full")]
    admission.leave(_call(), READ)
    await admission.enter(_call(), READ)


async def test_delays_of_a_crowd_are_spread_over_a_second() -> None:
    chance = random.Random(3).random
    admission = _admission(1, 0, chance=chance)
    await admission.enter(_call(), READ)
    delays = [(await _refusal(admission, _call())).retry_delay for _ in range(200)]
    seconds = sorted(delay.total_seconds() for delay in delays if delay)
    assert 0.5 <= seconds[0] < 0.52
    assert 1.48 < seconds[-1] <= 1.5
    assert len({round(second, 2) for second in seconds}) > 60


async def test_probe_always_gets_in() -> None:
    admission = _admission(1, 0)
    await admission.enter(_call(), READ)
    probe = method_of_class(CallClass.PROBE)
    for _ in range(100):
        await admission.enter(_call(), probe)
    for _ in range(100):
        admission.leave(_call(), probe)
    assert admission.running(CallClass.READ) == 1


async def test_places_go_to_those_who_wait_in_the_order_of_their_coming() -> None:
    admission, order = _admission(2, 10), []

    async def work(number: int) -> None:
        await admission.enter(_call(), READ)
        order.append(number)
        await asyncio.sleep(0)
        admission.leave(_call(), READ)

    await asyncio.gather(*(work(number) for number in range(10)))
    assert order == list(range(10))
    assert (admission.running(CallClass.READ), admission.waiting(CallClass.READ)) == (0, 0)


async def test_newcomer_does_not_overtake_who_waits() -> None:
    admission, order = _admission(1, 10), []
    await admission.enter(_call(), READ)

    async def work(name: str) -> None:
        await admission.enter(_call(), READ)
        order.append(name)

    first = asyncio.create_task(work("first"))
    await asyncio.sleep(0)
    admission.leave(_call(), READ)
    # The place is on its way to the first and nobody has run since.
    second = asyncio.create_task(work("second"))
    await first
    await asyncio.sleep(0)
    assert order == ["first"]
    admission.leave(_call(), READ)
    await second


async def test_wait_ends_with_the_share_of_the_callers_time() -> None:
    refusals = Refusals()
    admission = _admission(1, 10, 0.1, refusals=refusals)
    await admission.enter(_call(), READ)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    hurried, patient = (
        asyncio.create_task(_refusal(admission, _call(seconds))) for seconds in (0.5, 3.0)
    )
    await hurried
    assert 0.045 <= loop.time() - begun < 0.25
    await patient
    assert 0.29 <= loop.time() - begun < 1.0
    assert refusals.seen == [("read", "waited")] * 2
    assert (admission.running(CallClass.READ), admission.waiting(CallClass.READ)) == (1, 0)


async def test_call_that_would_wait_too_long_is_refused_without_waiting() -> None:
    clock, refusals = Time(), Refusals()
    admission = _admission(1, 1000, 0.1, clock=clock, refusals=refusals)
    await admission.enter(_call(), READ)
    waiting = [asyncio.create_task(admission.enter(_call(), READ)) for _ in range(8)]
    await asyncio.sleep(0)
    for _ in range(6):  # a place comes free each 40 ms
        clock.now += 0.04
        admission.leave(_call(), READ)
        await asyncio.sleep(0)
    assert admission.waiting(CallClass.READ) == 2
    # Two before it, 40 ms each or a bit less while the mean is young: more than 50 ms, less
    # than a second.
    admission.check(_call(10.0), READ)
    with pytest.raises(DomainError):
        admission.check(_call(0.5), READ)
    assert refusals.seen == [("read", "full")]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_long_wait_that_is_over_locks_nobody_out() -> None:
    clock = Time()
    admission = _admission(1, 1000, 0.1, clock=clock)
    await admission.enter(_call(), READ)
    waiting = [asyncio.create_task(admission.enter(_call(), READ)) for _ in range(5)]
    await asyncio.sleep(0)
    for _ in range(6):
        clock.now += 60  # as when the database is away
        admission.leave(_call(), READ)
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert admission.running(CallClass.READ) == 0
    for _ in range(3):
        await admission.enter(_call(0.5), READ)
        admission.leave(_call(), READ)
    await admission.enter(_call(0.5), READ)
    one = asyncio.create_task(admission.enter(_call(0.5), READ))
    await asyncio.sleep(0)
    admission.leave(_call(), READ)
    await one
    admission.leave(_call(), READ)


class Crowd:
    """Callers that come, wait, run and give up as the chances of a seed say."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.limit = self.chance.randint(1, 4)
        self.room = self.chance.randint(0, 6)
        patience = self.chance.choice([0.001, 0.1, 1.0])
        self.admission = _admission(self.limit, self.room, patience)
        self.ends: list[str] = []

    @property
    def state(self) -> tuple[int, int]:
        """Return how many run and how many wait."""
        return self.admission.running(CallClass.READ), self.admission.waiting(CallClass.READ)

    async def caller(self) -> None:
        """Take a place, hold it for some turns of the loop, and end in one way or another."""
        try:
            await self.admission.enter(_call(self.chance.choice([0.0, 0.01, 1.0, None])), READ)
        except (DomainError, asyncio.CancelledError) as error:
            self.ends.append(type(error).__name__)
            raise
        try:
            for _ in range(self.chance.randint(0, 12)):
                await asyncio.sleep(0)
            if self.chance.random() < 0.2:
                raise RuntimeError
            self.ends.append("done")
        finally:
            self.admission.leave(_call(), READ)

    async def come_and_go(self, callers: int) -> None:
        """Let so many callers come; now and then one that came before gives up."""
        tasks: list[asyncio.Task[None]] = []
        for _ in range(callers):
            tasks.append(asyncio.create_task(self.caller()))
            for task in self.chance.sample(tasks, min(len(tasks), self.chance.randint(0, 2))):
                task.cancel()
            await asyncio.sleep(0)
            running, waiting = self.state
            assert 0 <= running <= self.limit
            assert waiting <= self.room
        async with asyncio.timeout(20):
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("seed", range(amount(8, 200)))
async def test_no_place_is_lost_or_made_whenever_calls_are_given_up(seed: int) -> None:
    """Calls are cancelled while they wait, while they run, and in the moment between."""
    crowd = Crowd(seed)
    await crowd.come_and_go(300)
    assert crowd.state == (0, 0)
    assert crowd.ends.count("done") > 10
    assert crowd.ends.count("CancelledError") + crowd.ends.count("DomainError") > 10
    for _ in range(crowd.limit):
        await crowd.admission.enter(_call(), READ)
    await _refusal(crowd.admission, _call(0.0))
