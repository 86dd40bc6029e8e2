"""Metrics and traces at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from server.core.telemetry import ModelCall, Telemetry


class Both:
    """Tells two of everything. Implements Telemetry."""

    def __init__(self, first: Telemetry, second: Telemetry) -> None:
        self._first = first
        self._second = second

    def statement(self, name: str, seconds: float, outcome: str) -> None:
        """Tell both."""
        self._first.statement(name, seconds, outcome)
        self._second.statement(name, seconds, outcome)

    def connection_wait(self, pool: str, seconds: float, outcome: str) -> None:
        """Tell both."""
        self._first.connection_wait(pool, seconds, outcome)
        self._second.connection_wait(pool, seconds, outcome)

    def model_call(self, call: ModelCall) -> None:
        """Tell both."""
        self._first.model_call(call)
        self._second.model_call(call)

    def tool_call(self, tool: str, seconds: float, outcome: str) -> None:
        """Tell both."""
        self._first.tool_call(tool, seconds, outcome)
        self._second.tool_call(tool, seconds, outcome)

    def turn(self, agent: str, seconds: float, outcome: str) -> None:
        """Tell both."""
        self._first.turn(agent, seconds, outcome)
        self._second.turn(agent, seconds, outcome)

    def shed(self, call_class: str, why: str) -> None:
        """Tell both."""
        self._first.shed(call_class, why)
        self._second.shed(call_class, why)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Open the scope of both."""
        with self._first.scope(), self._second.scope():
            yield
