"""Processes that are kept alive: each place has one, and a new one when it died."""

import asyncio
import signal
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from server.reports import parsed
from server.telemetry.supervision import WorkersObserver

STARTS = 3
"""A worker that died so often in a row before it served will not do so the next time."""

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
STEADY_SECONDS = 60.0
"""A worker that lived so long is started again at once, and its earlier deaths are forgotten."""

_ENDED_WELL = (0, -signal.SIGTERM)
"""The second: it was told before it had set up how it takes it."""


class Announcer(Protocol):
    """Whom the workers' progress as a whole is told."""

    def catalogue_ready(self, port: int) -> None:
        """Every worker answers for sign-in and catalogue."""
        ...

    def agents_ready(self, model: str) -> None:
        """The agents of every worker answer too, by this model."""
        ...


@dataclass(slots=True)
class Worker:
    """One process and what it has told of itself."""

    process: Process
    started: float = field(default_factory=monotonic)
    port: int = 0
    model: str = ""
    failure: str = ""


class Restarts:
    """How long to wait before the next worker of a place."""

    def __init__(self) -> None:
        self._early = 0
        self._unready = 0

    def after(self, lived: float, *, ready: bool) -> float | None:
        """Return the seconds to wait, ever longer for workers that die young; None: give up."""
        self._unready = 0 if ready else self._unready + 1
        self._early = 0 if lived >= STEADY_SECONDS else self._early + 1
        if self._unready >= STARTS:
            return None
        return min(LONGEST_DELAY, FIRST_DELAY * 2 ** (self._early - 1)) if self._early else 0.0


class Workers:
    """Runs `count` workers, numbered from 1, each started by `start`."""

    def __init__(
        self,
        count: int,
        start: Callable[[int], Awaitable[Process]],
        announcer: Announcer,
        observer: WorkersObserver,
        log: FilteringBoundLogger,
    ) -> None:
        self._count = count
        self._start = start
        self._announcer = announcer
        self._observer = observer
        self._log = log
        self._alive: dict[int, Worker] = {}
        self._ending = asyncio.Event()
        self._all_listened = False
        self._all_ready = False
        self._problems: list[str] = []

    async def run(self, stopping: asyncio.Event, hurry: asyncio.Event, limit: float) -> str | None:
        """Keep the workers alive until told to stop, then end them; return what went wrong.

        Each is told once by SIGTERM, with `hurry` once more, and killed after `limit` seconds.
        """
        keepers = {asyncio.create_task(self._keep(n + 1)) for n in range(self._count)}
        stop = asyncio.create_task(stopping.wait())
        # A keeper ends by itself only where its worker cannot be kept.
        await asyncio.wait({stop, *keepers}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        self._log.info("draining", workers=len(self._alive))
        self._ending.set()
        self._tell(signal.SIGTERM)
        hurrying = asyncio.create_task(self._pass_on(hurry))
        _, late = await asyncio.wait(keepers, timeout=limit)
        hurrying.cancel()
        if late:
            self._tell(signal.SIGKILL)
        await asyncio.gather(*keepers)
        return self._problems[0] if self._problems else None

    async def _keep(self, number: int) -> None:
        restarts = Restarts()
        while not self._ending.is_set():
            worker = await self._follow(number)
            code = worker.process.returncode
            if self._ending.is_set():
                if code not in _ENDED_WELL:
                    self._problems.append(f"worker {number} ended with {_told(code)}")
                return
            lived = monotonic() - worker.started
            self._log.error(
                "worker died",
                worker=number,
                pid=worker.process.pid,
                exit_code=code,
                seconds=round(lived, 1),
            )
            delay = restarts.after(lived, ready=worker.port != 0)
            if delay is None or self._is_hopeless(worker):
                often = f"worker {number} died {STARTS} times before it served, with {_told(code)}"
                self._problems.append(worker.failure or often)
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._ending.wait()

    def _is_hopeless(self, worker: Worker) -> bool:
        """Tell whether the next start will fail as well.

        What a worker says is wrong is the operator's to mend; but where all have served already,
        it may have passed by then.
        """
        return bool(worker.failure) and not self._all_listened

    async def _follow(self, number: int) -> Worker:
        """Start a worker and take its reports until it has ended."""
        worker = self._alive[number] = Worker(await self._start(number))
        self._observer.started(number, worker.process.pid)
        if self._ending.is_set():
            worker.process.terminate()
        assert worker.process.stdout is not None, "reports come through a pipe"
        async for line in worker.process.stdout:
            self._note(number, worker, line)
        await worker.process.wait()
        self._observer.ended(number, worker.process.pid)
        del self._alive[number]
        return worker

    def _note(self, number: int, worker: Worker, line: bytes) -> None:
        report = parsed(line)
        worker.port = report.get("listening", worker.port)
        worker.model = report.get("model", worker.model)
        worker.failure = report.get("failed", worker.failure)
        if "model" in report and self._all_ready:
            self._log.info("worker ready", worker=number, pid=worker.process.pid)
        full = len(self._alive) == self._count
        if full and not self._all_listened and all(w.port for w in self._alive.values()):
            self._all_listened = True
            self._announcer.catalogue_ready(worker.port)
        if full and not self._all_ready and all(w.model for w in self._alive.values()):
            self._all_ready = True
            self._announcer.agents_ready(worker.model)

    def _tell(self, number: signal.Signals) -> None:
        for worker in self._alive.values():
            with suppress(ProcessLookupError):
                worker.process.send_signal(number)

    async def _pass_on(self, hurry: asyncio.Event) -> None:
        await hurry.wait()
        self._tell(signal.SIGTERM)


def _told(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"
