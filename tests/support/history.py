"""What clients did and were told, for a later check against what the server kept.

After the robustness tests of etcd: every operation is recorded with its start, its end and its
outcome. One whose answer never came has an unknown outcome: it may have happened, once, or not.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from time import monotonic

import grpc
from interview_client import InterviewError


class Outcome(StrEnum):
    """How an operation ended, as far as its caller can know."""

    RUNNING = "running"
    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"


_NOT_KNOWN = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
    }
)
_NEVER = frozenset({grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS})
"""A fault of the server, not of its environment: no kill may show as one of these."""


@dataclasses.dataclass
class Operation:
    """One call that may change something. `subject` is what it changes."""

    kind: str
    subject: str
    given: str = ""
    result: str = ""
    outcome: Outcome = Outcome.RUNNING
    start: float = dataclasses.field(default_factory=monotonic)
    end: float = 0.0
    error: InterviewError | None = None


class History:
    """Every operation, in the order of its start."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    @contextmanager
    def recorded(self, kind: str, subject: str, given: str = "") -> Iterator[Operation]:
        """Record what the block does; its InterviewError is raised once it is noted."""
        operation = Operation(kind, subject, given)
        self.operations.append(operation)
        try:
            yield operation
            operation.outcome = Outcome.OK
        except InterviewError as error:
            if error.code in _NEVER:
                raise AssertionError(f"{kind} ended with {error.code.name}") from error
            operation.error = error
            unknown = error.code in _NOT_KNOWN
            operation.outcome = Outcome.UNKNOWN if unknown else Outcome.REFUSED
            raise
        finally:
            operation.end = monotonic()

    def of(self, subject: str) -> list[Operation]:
        """Return what was done to one subject, which only one caller changes at a time."""
        return [operation for operation in self.operations if operation.subject == subject]

    def acknowledged(self, *kinds: str) -> int:
        """Count the operations of these kinds that were answered well."""
        return sum(o.kind in kinds and o.outcome is Outcome.OK for o in self.operations)

    def counts(self) -> Counter[tuple[str, Outcome]]:
        """Count operations by kind and outcome."""
        return Counter((operation.kind, operation.outcome) for operation in self.operations)
