"""Counts every call, whatever its end."""

from collections import Counter
from time import perf_counter
from typing import Protocol

from server.rpc.call import Call
from server.rpc.methods import Method


class CallMeter(Protocol):
    """Whom each call's end is told."""

    def call_ended(self, call: Call, method: Method, seconds: float) -> None:
        """Note a call with its code, reason and sizes, and how long it took."""
        ...


class CallMetrics:
    """Tells a meter of every call that ended; `running` counts those that have not, by path."""

    def __init__(self, meter: CallMeter) -> None:
        self._meter = meter
        self.running: Counter[str] = Counter()

    def enter(self, call: Call, method: Method) -> None:
        """Count the call as running."""
        self.running[method.path] += 1

    def leave(self, call: Call, method: Method) -> None:
        """Tell of the call."""
        self.running[method.path] -= 1
        self._meter.call_ended(call, method, perf_counter() - call.started)
