"""More calls than can be answered: how much of its capacity does a server keep?

Two settings: the process itself is the bottleneck (SQLite, a full page), or its database is
(PostgreSQL 40 ms away, one film). In each, two servers take turns: one as it comes, one that
takes on everything. Capacity is measured anew in every round, on the second.
"""

import asyncio
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy.engine import make_url

from benchmarks.databases import execute, fresh_postgres
from benchmarks.processes import (
    EMAIL,
    PASSWORD,
    Child,
    Served,
    environment,
    prepare,
    running_module,
    running_server,
)
from benchmarks.report import aligned, conditions
from benchmarks.rounds import percentile
from benchmarks.scenarios import Scenario, scenarios
from server.catalogue.sample import read_sample_films

AS_IT_IS, ALL_TAKEN_ON = "as it is", "takes on all"
# One caller stands for many here, so that its own rate is not what is measured.
SERVERS: Mapping[str, Mapping[str, str]] = {
    AS_IT_IS: {"READ_RATE": "0"},
    ALL_TAKEN_ON: {"READ_RATE": "0", "MAX_RUNNING_READS": "100000", "QUEUE_PERCENT": "100"},
}
FILLING = 16
"""Calls that are kept at work to find the capacity."""

HALF = 0.5
DEADLINE_SECONDS = 0.5
DELAY_MILLISECONDS = 40


@dataclass(frozen=True, slots=True)
class Plan:
    """Rounds, seconds of each measurement, and how many times the capacity is offered."""

    rounds: int
    seconds: float
    factors: Sequence[float]


FULL = Plan(rounds=7, seconds=4.0, factors=(1.2, 2.4))
QUICK = Plan(rounds=2, seconds=1.5, factors=(2.4,))


@dataclass(frozen=True, slots=True)
class Offered:
    """What became of the calls of one measurement. Seconds; `good` are those answered in time."""

    seconds: float
    cpu: float
    good: list[float]
    refused: list[float]
    late: int
    health: list[float]

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return len(self.good) / self.seconds


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the rounds; times in milliseconds, shares of what was offered.

    `good_of_capacity` compares good answers per second with the capacity, `good_of_cpu` good
    answers per CPU second of the server with those at capacity.
    """

    setting: str
    server: str
    factor: float
    good_of_capacity: float
    good_of_cpu: float
    p50_ms: float
    p99_ms: float
    p99_of_half: float
    refused: float
    late: float
    refused_after_ms: float
    health_p99_ms: float


@dataclass(frozen=True, slots=True)
class Setting:
    """The servers of one setting, and the calls."""

    name: str
    scenario: Scenario
    servers: Mapping[str, Served]
    crowd: Child

    def measure(self, plan: Plan) -> list[Figures]:
        """Return the figures of each server at each factor."""
        self._fill(1.0)
        rounds = [self._round(plan, number) for number in range(plan.rounds)]
        return [_medians([figures[place] for figures in rounds]) for place in range(len(rounds[0]))]

    def _round(self, plan: Plan, number: int) -> list[Figures]:
        capacity, per_cpu = self._fill(plan.seconds / 2)
        half = self._offer(AS_IT_IS, capacity * HALF, plan.seconds, number)
        found = [self._figures(AS_IT_IS, HALF, half, half, capacity, per_cpu)]
        for factor in plan.factors:
            for server in self.servers:
                offered = self._offer(server, capacity * factor, plan.seconds, number)
                found.append(self._figures(server, factor, offered, half, capacity, per_cpu))
        return found

    def _fill(self, seconds: float) -> tuple[float, float]:
        """Return the answers per second, and per CPU second, of a server that is kept busy."""
        served = self.servers[ALL_TAKEN_ON]
        before = served.cpu()
        done = self._ask("fill", served, seconds=seconds, callers=FILLING)
        return done["answers"] / done["seconds"], done["answers"] / (served.cpu() - before)

    def _offer(self, server: str, rate: float, seconds: float, seed: int) -> Offered:
        served = self.servers[server]
        before = served.cpu()
        done = self._ask(
            "offer", served, rate=rate, seconds=seconds, deadline=DEADLINE_SECONDS, seed=seed
        )
        by_code: dict[str, list[float]] = {"OK": [], "RESOURCE_EXHAUSTED": []}
        for took, code in done["ends"]:
            by_code.setdefault(code, []).append(took)
        good, refused = sorted(by_code["OK"]), sorted(by_code["RESOURCE_EXHAUSTED"])
        late = len(done["ends"]) - len(good) - len(refused)
        health = sorted(done["health"])
        return Offered(seconds, served.cpu() - before, good, refused, late, health)

    def _ask(self, do: str, served: Served, **command: Any) -> dict[str, Any]:
        return self.crowd.ask(do, target=served.target, **self.scenario.as_json(), **command)

    def _figures(
        self, server: str, factor: float, offered: Offered, half: Offered, *at: float
    ) -> Figures:
        capacity, per_cpu = at
        calls = len(offered.good) + len(offered.refused) + offered.late
        p99 = _milliseconds(offered.good, 99)
        return Figures(
            self.name,
            server,
            factor,
            offered.rate / capacity,
            len(offered.good) / offered.cpu / per_cpu,
            _milliseconds(offered.good, 50),
            p99,
            p99 / _milliseconds(half.good, 99),
            len(offered.refused) / calls,
            offered.late / calls,
            _milliseconds(offered.refused, 50),
            _milliseconds(offered.health, 99),
        )


def run(plan: Plan, extra: Mapping[str, str], file: Path | None) -> None:
    """Measure both settings and print the figures; `extra` are settings of a third server."""
    servers = {**SERVERS, "as set": {**SERVERS[AS_IT_IS], **extra}} if extra else SERVERS
    figures: list[Figures] = []
    for begin in (_busy_process, _far_database):
        with begin(servers) as setting:
            figures += setting.measure(plan)
    rows = [_HEAD, *(_row(one) for one in figures)]
    print("\n".join([_conditions(), "", *aligned(rows)]))
    if file is not None:
        file.write_text(json.dumps([asdict(one) for one in figures], indent=2) + "\n", "utf-8")


@contextmanager
def _busy_process(servers: Mapping[str, Mapping[str, str]]) -> Iterator[Setting]:
    """Serve full pages from SQLite: the process has no time to spare."""
    with ExitStack() as stack:
        running = {}
        for name, settings in servers.items():
            folder = _folder(stack)
            env = environment(folder, **settings)
            prepare(env, folder)
            running[name] = stack.enter_context(running_server(env, folder))
        yield _setting(stack, "busy process", "ListFilms(50) FULL", running)


@contextmanager
def _far_database(servers: Mapping[str, Mapping[str, str]]) -> Iterator[Setting]:
    """Serve single films from a PostgreSQL whose answers take long: its connections are few."""
    with ExitStack() as stack:
        database, folder = stack.enter_context(fresh_postgres()), _folder(stack)
        prepare(environment(folder, DATABASE_URL=database), folder)
        asyncio.run(execute(database, "ANALYZE"))
        url = make_url(database)
        proxy = running_module(
            "benchmarks.delay", str(url.host), str(url.port or 5432), str(DELAY_MILLISECONDS)
        )
        port = stack.enter_context(proxy).read()["port"]
        far = url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
        running = {}
        for name, settings in servers.items():
            folder = _folder(stack)
            env = environment(folder, DATABASE_URL=far, **settings)
            running[name] = stack.enter_context(running_server(env, folder))
        yield _setting(stack, "far database", "GetFilm FULL", running)


def _folder(stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interview-bench-")))


def _setting(stack: ExitStack, name: str, scenario: str, running: dict[str, Served]) -> Setting:
    crowd = stack.enter_context(running_module("benchmarks.crowd"))
    for served in running.values():
        crowd.ask("login", target=served.target, email=EMAIL, password=PASSWORD)
    (chosen,) = (one for one in scenarios(read_sample_films()) if one.name == scenario)
    return Setting(name, chosen, running, crowd)


def _milliseconds(ordered: Sequence[float], percent: int) -> float:
    return percentile(ordered, percent) * 1e3 if ordered else float("nan")


def _medians(rounds: Sequence[Figures]) -> Figures:
    """Return the median of each number; the words and the factor are the same in all."""
    merged: dict[str, Any] = asdict(rounds[0])
    for name, value in merged.items():
        if isinstance(value, float):
            known = [number for one in rounds if (number := getattr(one, name)) == number]
            merged[name] = median(known) if known else float("nan")
    return Figures(**merged)


_HEAD = (
    *("setting", "server", "offered", "good", "good/CPU", "p50 ms", "p99 ms", "p99 of half"),
    *("refused", "late", "refused after", "health p99"),
)


def _conditions() -> str:
    return (
        f"{conditions()}\n"
        f"offered: times the capacity, {DEADLINE_SECONDS:g} s for each call, nothing repeated;\n"
        "good: answered in time, of the capacity; p99 of half: times the p99 at half the capacity."
    )


def _row(one: Figures) -> tuple[str, ...]:
    return (
        one.setting,
        one.server,
        f"{one.factor:.1f}",
        f"{one.good_of_capacity:.2f}",
        f"{one.good_of_cpu:.2f}",
        f"{one.p50_ms:.0f}",
        f"{one.p99_ms:.0f}",
        f"{one.p99_of_half:.1f}",
        f"{one.refused:.0%}",
        f"{one.late:.0%}",
        f"{one.refused_after_ms:.0f} ms",
        f"{one.health_p99_ms:.0f} ms",
    )
