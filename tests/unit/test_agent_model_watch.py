"""When a model counts as away, and when as back."""

import asyncio
from collections.abc import Callable

import pytest

from server.agent.model_watch import FAILURES, SPAN_SECONDS, ModelWatch
from tests.support.running import capturing_log


class Seconds:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def told() -> list[bool]:
    """What was reported, in order."""
    return []


@pytest.fixture
def watch(clock: Seconds, told: list[bool]) -> ModelWatch:
    log, _ = capturing_log()
    return ModelWatch(lambda *, up: told.append(up), clock=clock, log=log, probe_seconds=0.001)


def _fail(watch: ModelWatch, times: int = FAILURES) -> None:
    for _ in range(times):
        watch.note(answered=False)


def test_failures_in_a_row_take_it_away_and_are_told_once(
    watch: ModelWatch, told: list[bool]
) -> None:
    _fail(watch, FAILURES - 1)
    assert told == []
    _fail(watch, 5)
    assert told == [False]


def test_an_answer_between_them_counts_from_the_start(watch: ModelWatch, told: list[bool]) -> None:
    for _ in range(5):
        _fail(watch, FAILURES - 1)
        watch.note(answered=True)
    assert told == []


def test_failures_far_apart_say_nothing(
    watch: ModelWatch, clock: Seconds, told: list[bool]
) -> None:
    for _ in range(10):
        _fail(watch, 1)
        clock.now += SPAN_SECONDS / (FAILURES - 1) + 1
    assert told == []


def test_an_answer_brings_it_back(watch: ModelWatch, told: list[bool]) -> None:
    _fail(watch)
    watch.note(answered=True)
    assert told == [False, True]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_probe_brings_it_back_on_probation(watch: ModelWatch, told: list[bool]) -> None:
    probes = iter([False, False, True])
    running = asyncio.create_task(watch.run(lambda: _soon(next(probes))))
    await asyncio.sleep(0.02)
    assert told == []  # nobody asks while it is there
    _fail(watch)
    await _until(lambda: told == [False, True])
    _fail(watch, 1)
    assert told == [False, True, False]
    running.cancel()
    await asyncio.wait({running})


async def _soon(answer: bool) -> bool:  # it is handed on
    return answer
