"""Keeping workers alive: with real processes that live and die as a test says."""

import asyncio
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from server.workers import Restarts, Workers
from tests.support.chat_driver import eventually
from tests.support.running import capturing_log

SERVES = """echo '{"listening": 7}'; echo '{"model": "m"}'; exec cat"""
"""Lives until its stdin ends or SIGTERM comes."""


class Told:
    """Keeps what is announced and observed."""

    environment: Mapping[str, str] = {}

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.lives: list[tuple[str, int, int]] = []

    def started(self, number: int, pid: int) -> None:
        self.lives.append(("started", number, pid))

    def ended(self, number: int, pid: int) -> None:
        self.lives.append(("ended", number, pid))

    def catalogue_ready(self, port: int) -> None:
        self.seen.append(port)

    def agents_ready(self, model: str) -> None:
        self.seen.append(model)


class Yard:
    """Workers that are shells: each start of a place runs the next of its scripts."""

    def __init__(self, *scripts: Sequence[str]) -> None:
        self.told = Told()
        self.starts: Counter[int] = Counter()
        self.processes: list[Process] = []
        self.newest: dict[int, Process] = {}
        self.stopping, self.hurry = asyncio.Event(), asyncio.Event()
        self._scripts = scripts
        log, self.lines = capturing_log()
        self._workers = Workers(len(scripts), self._start, self.told, self.told, log)

    async def _start(self, number: int) -> Process:
        scripts = self._scripts[number - 1]
        script = scripts[min(self.starts[number], len(scripts) - 1)]
        self.starts[number] += 1
        process = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", script, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
        )
        self.processes.append(process)
        self.newest[number] = process
        return process

    async def run(self, limit: float = 10) -> str | None:
        """Run to the end, and see that nothing is left."""
        problem = await self._workers.run(self.stopping, self.hurry, limit)
        assert all(process.returncode is not None for process in self.processes)
        pids = sorted(process.pid for process in self.processes)
        for happened in ("started", "ended"):
            assert sorted(pid for kind, _, pid in self.told.lives if kind == happened) == pids
        return problem

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log's lines of this name."""
        return [line.kwargs for line in self.lines if line.kwargs["event"] == name]


async def test_what_all_have_reached_is_told_once_although_one_dies_and_comes_back() -> None:
    yard = Yard([SERVES], [SERVES])
    running = asyncio.create_task(yard.run())
    await eventually(lambda: yard.told.seen == [7, "m"], seconds=15)
    yard.newest[2].kill()
    await eventually(lambda: bool(yard.events("worker ready")), seconds=15)
    (died,) = yard.events("worker died")
    assert (died["worker"], died["exit_code"], died["level"]) == (2, -signal.SIGKILL, "error")
    yard.stopping.set()
    assert await running is None
    assert yard.told.seen == [7, "m"]
    assert yard.starts == {1: 1, 2: 2}


async def test_a_worker_that_never_serves_ends_all_with_the_reason() -> None:
    yard = Yard([SERVES], ["exit 3"])
    problem = await yard.run()
    assert problem == "worker 2 died 3 times before it served, with exit code 3"
    assert yard.starts == {1: 1, 2: 3}
    assert [process.returncode for process in yard.processes].count(-signal.SIGTERM) == 1


async def test_what_the_first_start_says_is_wrong_is_not_tried_again() -> None:
    yard = Yard(["""echo '{"failed": "HOST: is wrong"}'; exit 1"""])
    assert await yard.run() == "HOST: is wrong"
    assert yard.starts == {1: 1}


async def test_a_line_that_is_no_report_is_passed_over() -> None:
    yard = Yard([f"echo warning; echo '[1]'; echo 7; {SERVES}"])
    running = asyncio.create_task(yard.run())
    await eventually(lambda: yard.told.seen == [7, "m"], seconds=15)
    yard.stopping.set()
    assert await running is None


async def test_a_worker_that_takes_no_notice_is_killed_in_the_end() -> None:
    deaf = """trap '' TERM; echo '{"listening": 7}'; while :; do sleep 0.1; done"""
    yard = Yard([SERVES], [deaf])
    running = asyncio.create_task(yard.run(limit=0.5))
    await eventually(lambda: yard.told.seen == [7], seconds=15)
    yard.stopping.set()
    assert await running == "worker 2 ended with SIGKILL"


async def test_a_second_signal_is_passed_on() -> None:
    told_once = """trap 'trap "exit 0" TERM' TERM"""
    twice = f"""{told_once}; echo '{{"listening": 7}}'; while :; do sleep 0.1; done"""
    yard = Yard([twice], [twice])
    running = asyncio.create_task(yard.run(limit=30))
    await eventually(lambda: yard.told.seen == [7], seconds=15)
    yard.stopping.set()
    await asyncio.sleep(0.5)
    assert not running.done()
    yard.hurry.set()
    assert await asyncio.wait_for(running, 15) is None


def test_who_dies_young_waits_longer_each_time() -> None:
    restarts = Restarts()
    delays = [restarts.after(1, ready=True) for _ in range(9)]
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert restarts.after(3600, ready=True) == 0
    assert restarts.after(1, ready=True) == 0.5


def test_who_never_serves_is_given_up_and_serving_once_forgets_that() -> None:
    restarts = Restarts()
    assert [restarts.after(1, ready=False) for _ in range(3)] == [0.5, 1, None]
    restarts = Restarts()
    deaths = (False, False, True, False, False)
    assert all(restarts.after(1, ready=ready) is not None for ready in deaths)
    assert restarts.after(1, ready=False) is None
