"""The metrics of several workers out of one port, served by their supervisor.

Each worker counts in files of a folder that its environment names when it starts; the
supervisor adds them up at each scrape. What the kernel tells of the workers it asks itself.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from server.telemetry.exposition import MetricsPort


class WorkersMetrics:
    """What the supervisor tells of its workers, and what they need to take part."""

    def __init__(self, folder: Path, registry: CollectorRegistry) -> None:
        self._folder = folder
        self._alive: dict[int, int] = {}
        MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]  # as below
        registry.register(_Processes(self._alive))
        self._starts = Counter(
            "interview_worker_starts_total",
            "Starts of a worker; each after the first replaced one that had died",
            ("worker",),
            registry=registry,
        )

    @property
    def environment(self) -> Mapping[str, str]:
        """What a worker's environment must hold from its start."""
        return {"PROMETHEUS_MULTIPROC_DIR": str(self._folder)}

    def started(self, number: int, pid: int) -> None:
        """Note that a worker lives."""
        self._alive[number] = pid
        self._starts.labels(str(number)).inc()

    def ended(self, number: int, pid: int) -> None:
        """Note that it does not: what it had open counts no longer, what it did still does."""
        self._alive.pop(number, None)
        mark_process_dead(pid, str(self._folder))  # type: ignore[no-untyped-call]  # no annotations


@contextmanager
def served_metrics(host: str, port: int) -> Iterator[WorkersMetrics]:
    """Serve the sum of all workers for the block, from a temporary folder. Blocking.

    Raises:
        MetricsUnavailable: the address is taken or cannot be listened on.
    """
    with tempfile.TemporaryDirectory(prefix="interview-metrics-") as folder:
        registry = CollectorRegistry()
        workers = WorkersMetrics(Path(folder), registry)
        with closing(MetricsPort(registry, host, port)):
            yield workers


class _Processes(Collector):
    """What the kernel tells of each worker, under its number."""

    def __init__(self, alive: Mapping[int, int]) -> None:
        self._alive = alive

    def collect(self) -> Iterable[Metric]:
        """Return one family for each value, with a sample for each worker."""
        families: dict[str, Metric] = {}
        for number, pid in list(self._alive.items()):
            for metric in _told_of(pid):
                family = families.setdefault(
                    metric.name, Metric(metric.name, metric.documentation, metric.type)
                )
                for sample in metric.samples:
                    family.add_sample(sample.name, {"worker": str(number)}, sample.value)
        return families.values()


def _told_of(pid: int) -> Iterable[Metric]:
    return ProcessCollector(pid=lambda: pid, registry=None).collect()
