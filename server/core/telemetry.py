"""What the layers tell of their work once it is done, for whoever counts or traces it.

Nothing here holds content: no SQL, no parameters, no prompts, no titles, no names of users.
All spans of time are wall time in seconds.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from time import perf_counter
from types import TracebackType
from typing import Protocol, Self


class Outcome(StrEnum):
    """How work ended, where there is no finer word for it."""

    OK = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One request to a language model, its repetition included.

    `first_token_seconds` is None where no text came. `outcome` is one of `Outcome`, or the
    word or HTTP status that the failure is known by.
    """

    model: str
    seconds: float
    first_token_seconds: float | None
    input_tokens: int
    output_tokens: int
    outcome: str


class Telemetry(Protocol):
    """Takes events. Every method returns at once and never raises."""

    def statement(self, name: str, seconds: float, outcome: str) -> None:
        """An SQL statement ended; `name` is the one that it was built with."""
        ...

    def connection_wait(self, pool: str, seconds: float, outcome: str) -> None:
        """Somebody waited for a database connection, and got one or did not."""
        ...

    def model_call(self, call: ModelCall) -> None:
        """A request to a language model ended."""
        ...

    def tool_call(self, tool: str, seconds: float, outcome: str) -> None:
        """An agent's tool ended: succeeded, failed or denied."""
        ...

    def turn(self, agent: str, seconds: float, outcome: str) -> None:
        """A turn of a chat ended: completed, cancelled or failed."""
        ...

    def shed(self, call_class: str, why: str) -> None:
        """A call was refused because there is too much to do, or its caller wants too much."""
        ...

    def scope(self) -> AbstractContextManager[None]:
        """Hold together one turn or one tool call, which is reported inside the block.

        What else is reported inside, by this task and the tasks that it makes, is part of it.
        """
        ...


class Silent:
    """Tells nobody. Implements Telemetry."""

    def statement(self, name: str, seconds: float, outcome: str) -> None:
        """Keep quiet."""

    def connection_wait(self, pool: str, seconds: float, outcome: str) -> None:
        """Keep quiet."""

    def model_call(self, call: ModelCall) -> None:
        """Keep quiet."""

    def tool_call(self, tool: str, seconds: float, outcome: str) -> None:
        """Keep quiet."""

    def turn(self, agent: str, seconds: float, outcome: str) -> None:
        """Keep quiet."""

    def shed(self, call_class: str, why: str) -> None:
        """Keep quiet."""

    def scope(self) -> AbstractContextManager[None]:
        """Hold nothing together."""
        return nullcontext()


class Timed:
    """Reports name, seconds and outcome at the end of its block, counted from where it is made.

    The block may wait, and what it raises passes through. It may say its `outcome` itself.
    """

    __slots__ = ("_name", "_report", "_started", "outcome")

    def __init__(self, report: Callable[[str, float, str], None], name: str) -> None:
        self._report = report
        self._name = name
        self.outcome: str = Outcome.OK
        self._started = perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        outcome = self.outcome if kind is None else outcome_of(kind)
        self._report(self._name, perf_counter() - self._started, outcome)


def outcome_of(kind: type[BaseException]) -> Outcome:
    """Return how a block ended that raised an exception of this kind."""
    gone = issubclass(kind, asyncio.CancelledError | GeneratorExit)
    return Outcome.CANCELLED if gone else Outcome.FAILED
