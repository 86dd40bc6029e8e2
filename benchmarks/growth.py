"""How calls grow with the catalogue: the same calls over 1 000, 10 000, ... films.

For each size a fresh database is filled with films that are made up, and a real server is asked
one call at a time. A cost that grows as films to the power of 0 does not grow; 1 is in step.
"""

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from math import log
from pathlib import Path
from statistics import median
from typing import Final

import grpc
import psutil
from sqlalchemy.engine import make_url

from benchmarks.databases import execute, fresh_postgres
from benchmarks.generate import Catalogue, generate
from benchmarks.growth_calls import Call, Caller, calls
from benchmarks.processes import (
    EMAIL,
    PASSWORD,
    Served,
    command,
    environment,
    running_server,
)
from benchmarks.relevance import signed_in
from benchmarks.report import aligned, conditions

SIZES: Final = (1_000, 10_000, 100_000)
SECONDS: Final = 1.0
"""A call is repeated so long, at least LEAST times and at most MOST times."""
LEAST: Final = 5
MOST: Final = 400
_NO_LIMITS: Final = dict.fromkeys(("READ_RATE", "WRITE_RATE", "WATCH_RATE", "BULK_RATE"), "0")
_MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds until the answer (median), and of CPU, the database's included, for one call."""

    latency: float
    cpu: float


@dataclass
class Run:
    """What one size showed: a cost or the reason of a failure for each call."""

    database: str
    films: int
    costs: dict[str, Cost] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def run(sizes: Sequence[int], databases: Sequence[str], file: Path | None) -> None:
    """Measure every size on each database; print after each size, so that nothing is lost."""
    print(conditions())
    for database in databases:
        runs: list[Run] = []
        for films in sizes:
            runs.append(_measured(database, films))
            print(_text(runs), flush=True)
            if file:
                told = [asdict(one) for one in runs]
                file.with_stem(f"{file.stem}-{database}").write_text(json.dumps(told, indent=1))


def _measured(database: str, films: int) -> Run:
    result = Run(database, films)
    with tempfile.TemporaryDirectory(prefix="interview-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        url = f"sqlite+aiosqlite:///{folder / 'interview.db'}"
        if database == "postgresql":
            url = stack.enter_context(fresh_postgres())
        env = environment(folder, DATABASE_URL=url, **_NO_LIMITS)
        command(env, folder, "migrate")
        begun = time.monotonic()
        generated = generate(_with_driver(url), films)
        result.notes.append(f"{films} films loaded and indexed in {time.monotonic() - begun:.0f} s")
        if database == "postgresql":
            asyncio.run(execute(url, "VACUUM (ANALYZE)"))
        creation = ("users", "create", EMAIL, "--role", "admin", "--password-stdin")
        command({**env, "PASSWORD_COST": "4"}, folder, *creation, given=PASSWORD + "\n")
        served = stack.enter_context(running_server(env, folder))
        result.notes.append(f"the server starts with {served.cpu_agents:.1f} s of CPU")
        measured = Measured(served, _postgres_name(url))
        asyncio.run(_ask(measured, generated, result))
    return result


def _postgres_name(url: str) -> str:
    given = make_url(url)
    return "" if given.get_backend_name() == "sqlite" else str(given.database)


def _with_driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+asyncpg://")


@dataclass(frozen=True, slots=True)
class Measured:
    """The server that is asked, and the name of its PostgreSQL database, if it has one."""

    served: Served
    database: str

    def cpu(self) -> float:
        """Return CPU seconds of the server and of what PostgreSQL does for it."""
        used = self.served.cpu()
        if not self.database:
            return used
        for process in psutil.process_iter(["cmdline", "cpu_times"]):
            # A backend's title names its database.
            if self.database in " ".join(process.info["cmdline"] or ()):
                times = process.info["cpu_times"]
                used += times.user + times.system
        return used


async def _ask(measured: Measured, generated: Catalogue, result: Run) -> None:
    served = measured.served
    async with grpc.aio.insecure_channel(served.target) as channel:
        for call in calls(generated):
            before = _memory(served)
            caller = Caller(channel, await signed_in(channel))
            try:
                result.costs[call.name] = await _cost(measured, caller, call)
            except grpc.aio.AioRpcError as error:
                result.failures[call.name] = f"{error.code().name} {(error.details() or '')[:60]}"
            if call.is_bulk and call.name in result.costs:
                after = _memory(served)
                result.notes.append(
                    f"{call.name}: memory {before[0]} MiB before, {after[0]} after,"
                    f" at most {after[1]} (before {before[1]})"
                )


async def _cost(measured: Measured, caller: Caller, call: Call) -> Cost:
    """Repeat a call; what prepares it, and the first of them, does not count."""
    ask = await call.prepared(caller)
    if not call.is_bulk:
        await ask(0)
    durations: list[float] = []
    used, end = measured.cpu(), time.perf_counter() + SECONDS
    units = 0
    least, most = (1, 1) if call.is_bulk else (LEAST, MOST)
    while len(durations) < least or (time.perf_counter() < end and len(durations) < most):
        begun = time.perf_counter()
        done = await ask(1 + len(durations))
        durations.append((time.perf_counter() - begun) / done)
        units += done
    return Cost(median(durations) * 1e3, (measured.cpu() - used) / units * 1e3)


def _memory(served: Served) -> tuple[int, int]:
    """Return the server's memory now and at most until now, in MiB."""
    status = Path(f"/proc/{served.process.pid}/status").read_text("utf-8")
    lines = dict(line.split(":", 1) for line in status.splitlines())
    now, most = (int(lines[name].split()[0]) * 1024 // _MIB for name in ("VmRSS", "VmHWM"))
    return now, most


def exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """Return the power of the number of films with which costs grow: least squares of logs."""
    points = [(log(size), log(cost)) for size, cost in zip(sizes, costs, strict=True)]
    x_mean = sum(x for x, _ in points) / len(points)
    y_mean = sum(y for _, y in points) / len(points)
    spread = sum((x - x_mean) ** 2 for x, _ in points)
    return sum((x - x_mean) * (y - y_mean) for x, y in points) / spread


def _text(runs: Sequence[Run]) -> str:
    sizes = [one.films for one in runs]
    head = [runs[0].database, "", *(f"{size} ms" for size in sizes), "of first", "exponent"]
    head += [f"{size} CPU" for size in sizes] + ["CPU of first", "CPU exponent"]
    rows = [head, *(_row(name, runs) for name in _names(runs))]
    failures = [
        f"{one.films} films, {name}: {reason}"
        for one in runs
        for name, reason in one.failures.items()
    ]
    notes = [note for one in runs for note in one.notes]
    return "\n".join(["", *aligned(rows), *failures, *notes])


def _names(runs: Sequence[Run]) -> list[str]:
    return [name for name in runs[0].costs if all(name in one.costs for one in runs)]


def _row(name: str, runs: Sequence[Run]) -> list[str]:
    sizes = [one.films for one in runs]
    row = [name, ""]
    for values in (
        [one.costs[name].latency for one in runs],
        # The clock of CPU ticks in 10 ms: what used less than one is not told from it.
        [max(one.costs[name].cpu, 0.01) for one in runs],
    ):
        row += [f"{value:.2f}" for value in values]
        row.append(f"{values[-1] / values[0]:.1f}")
        row.append(f"{exponent(sizes, values):.2f}" if len(sizes) > 1 else "")
    return row


def postgres_given(url: str | None) -> None:
    """Let databases be made on this server."""
    if url:
        os.environ["TEST_POSTGRES_URL"] = url
