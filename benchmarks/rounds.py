"""Interleaved rounds: the echo and the server in turns, so that a noisy moment hits both."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.processes import Child, Served
from benchmarks.scenarios import Scenario


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: pairs of rounds for each figure, and seconds for each round."""

    pairs: int
    seconds: float
    turns: int
    concurrencies: Sequence[int] = (1, 32)


@dataclass(frozen=True, slots=True)
class Round:
    """One side's round: requests in the seconds, the server's CPU, each request's seconds."""

    seconds: float
    cpu: float
    durations: list[float]

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.durations) / self.seconds

    @property
    def cpu_per_request(self) -> float:
        """CPU seconds of the server for one request."""
        return self.cpu / len(self.durations)


@dataclass(frozen=True, slots=True)
class Figures:
    """What one scenario showed. Times in microseconds (CPU) and milliseconds (latency)."""

    database: str
    scenario: str
    concurrency: int
    answer_bytes: int
    throughput_of_echo: float
    cpu_of_echo: float
    requests_per_second: float
    cpu_us: float
    echo_cpu_us: float
    p50_ms: float
    p99_ms: float
    echo_p99_ms: float


@dataclass(frozen=True, slots=True)
class Bench:
    """The processes of one run."""

    load: Child
    echo: Child
    echo_target: str
    served: Served
    database: str

    def measure(self, scenario: Scenario, plan: Plan) -> list[Figures]:
        """Return the scenario's figures at each concurrency."""
        request = scenario.as_json()
        size = self.load.ask("copy", target=self.served.target, echo=self.echo_target, **request)[
            "answer_bytes"
        ]
        return [self._at(scenario, size, concurrency, plan) for concurrency in plan.concurrencies]

    def _at(self, scenario: Scenario, size: int, concurrency: int, plan: Plan) -> Figures:
        for echo in (True, False):
            self._round(scenario, concurrency, plan.seconds / 3, echo=echo)
        pairs = []
        for number in range(plan.pairs):
            first = number % 2 == 0
            sides = {
                echo: self._round(scenario, concurrency, plan.seconds, echo=echo)
                for echo in (first, not first)
            }
            pairs.append((sides[True], sides[False]))
        return self._figures(scenario, size, concurrency, pairs)

    def _round(self, scenario: Scenario, concurrency: int, seconds: float, *, echo: bool) -> Round:
        server = self.echo if echo else self.served
        before = server.cpu()
        result = self.load.ask(
            "calls",
            target=self.echo_target if echo else self.served.target,
            echo=echo,
            concurrency=concurrency,
            seconds=seconds,
            **scenario.as_json(),
        )
        return Round(result["seconds"], server.cpu() - before, result["durations"])

    def _figures(
        self, scenario: Scenario, size: int, concurrency: int, pairs: Sequence[tuple[Round, Round]]
    ) -> Figures:
        ours = sorted(duration for _, own in pairs for duration in own.durations)
        echoed = sorted(duration for echo, _ in pairs for duration in echo.durations)
        return Figures(
            self.database,
            scenario.name,
            concurrency,
            size,
            median(own.rate / echo.rate for echo, own in pairs),
            median(echo.cpu_per_request / own.cpu_per_request for echo, own in pairs),
            median(own.rate for _, own in pairs),
            median(own.cpu_per_request for _, own in pairs) * 1e6,
            median(echo.cpu_per_request for echo, _ in pairs) * 1e6,
            percentile(ours, 50) * 1e3,
            percentile(ours, 99) * 1e3,
            percentile(echoed, 99) * 1e3,
        )


def percentile(ordered: Sequence[float], percent: int) -> float:
    """Return the value below which that part of an ordered sequence lies."""
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
