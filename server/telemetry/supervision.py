"""What a supervisor tells of its workers; the metrics of all of them come out of one port."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol


class WorkersObserver(Protocol):
    """Follows workers by their numbers."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What a worker's environment must hold from its start."""
        ...

    def started(self, number: int, pid: int) -> None:
        """Note that a worker lives."""
        ...

    def ended(self, number: int, pid: int) -> None:
        """Note that it does not."""
        ...


class Unobserved:
    """Follows nothing. Implements WorkersObserver."""

    environment: Mapping[str, str] = {}

    def started(self, number: int, pid: int) -> None:
        """Keep quiet."""

    def ended(self, number: int, pid: int) -> None:
        """Keep quiet."""


@contextmanager
def observed_workers(address: tuple[str, int] | None) -> Iterator[WorkersObserver]:
    """Serve the metrics of all workers at host and port for the block; None serves none.

    Blocking, for a moment at both ends.

    Raises:
        MetricsUnavailable: the address is taken or cannot be listened on.
    """
    if address is None:
        yield Unobserved()
        return
    from server.telemetry.workers import served_metrics  # noqa: PLC0415  # loaded where it is used

    with served_metrics(*address) as observer:
        yield observer
