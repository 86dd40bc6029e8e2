"""Work that is done once for all who ask for the same at the same time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

K = TypeVar("K")
T = TypeVar("T")


class SingleFlight(Generic[K, T]):
    """Runs work in a task that everybody with the same key waits for.

    One who is cancelled leaves the others waiting; when the last one leaves, the task is
    cancelled.
    """

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    async def run(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what the work returns, or raise what it raises."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(work()))
            flight.task.add_done_callback(_see_its_end)
        flight.waiting += 1
        try:
            # Unlike an await, a wait that is cancelled does not cancel what it waits for.
            await asyncio.wait((flight.task,))
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                self._end(key, flight)
        return flight.task.result()

    def detach(self) -> None:
        """Let who comes from now on start anew; those who wait get what they wait for."""
        self._flights.clear()

    def _end(self, key: K, flight: "_Flight[T]") -> None:
        flight.task.cancel()
        # At once: nobody may join what is being cancelled.
        if self._flights.get(key) is flight:
            del self._flights[key]


class _Flight(Generic[T]):
    __slots__ = ("task", "waiting")

    def __init__(self, task: "asyncio.Task[T]") -> None:
        self.task = task
        self.waiting = 0


def _see_its_end(task: "asyncio.Task[T]") -> None:
    # Of work that fails while its last caller leaves, nobody asks how it ended.
    if not task.cancelled():
        task.exception()
