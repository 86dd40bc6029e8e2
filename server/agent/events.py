"""What happens in a session, as it is stored and sent.

The engine's own events (agents, handoffs, tool calls) are passed on as they are; these are
the ones that the session adds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from server.agent.engine import (
    AgentActivated,
    AgentHandoff,
    FinishReason,
    ModelUsed,
    ToolCallFinished,
    ToolCallStarted,
    TurnLimits,
)
from server.core.errors import DomainError


class CancelCause(StrEnum):
    """Why a turn was cancelled."""

    CLIENT = "client"
    INTERRUPTED_BY_NEW_TURN = "interrupted_by_new_turn"
    CLIENT_GONE = "client_gone"
    SESSION_ENDED = "session_ended"
    SERVER_DRAINING = "server_draining"
    PRINCIPAL_REVOKED = "principal_revoked"


class TurnState(StrEnum):
    """Where a turn is on its way."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(slots=True)
class Usage:
    """What was used so far: by model, in tokens; calls in numbers; times in wall time."""

    models: dict[str, tuple[int, int]] = field(default_factory=dict)
    cached_input_tokens: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    time_to_first_delta: timedelta | None = None
    total_time: timedelta = timedelta()

    def add_model_call(self, used: ModelUsed) -> None:
        """Count one call of a model."""
        before = self.models.get(used.model, (0, 0))
        self.models[used.model] = (before[0] + used.input_tokens, before[1] + used.output_tokens)
        self.cached_input_tokens += used.cached_input_tokens
        self.model_calls += 1

    def copy(self) -> "Usage":
        """Return what was used up to now; later calls do not change it."""
        return replace(self, models=dict(self.models))

    def plus(self, other: "Usage") -> "Usage":
        """Return the sum; the time to the first delta is not added up."""
        models = dict(self.models)
        for model, (tokens_in, tokens_out) in other.models.items():
            before = models.get(model, (0, 0))
            models[model] = (before[0] + tokens_in, before[1] + tokens_out)
        return Usage(
            models,
            self.cached_input_tokens + other.cached_input_tokens,
            self.model_calls + other.model_calls,
            self.tool_calls + other.tool_calls,
            None,
            self.total_time + other.total_time,
        )


@dataclass(frozen=True, slots=True)
class Citation:
    """A place in an answer that names a film which a tool returned in this turn.

    Bytes count from 0 in the message's UTF-8 form, `end_byte` exclusive.
    """

    citation_id: str
    resource_name: str
    title: str
    start_byte: int
    end_byte: int
    tool_call_id: str


@dataclass(frozen=True, slots=True)
class TurnQueued:
    """The turn waits; `position` 1 is next."""

    position: int


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """The turn runs now."""

    user_text: str
    limits: TurnLimits


@dataclass(frozen=True, slots=True)
class MessageStarted:
    """An agent begins to answer."""

    message_id: str
    agent: str


@dataclass(frozen=True, slots=True)
class MessageDelta:
    """A piece of an answer; `offset_byte` is where it begins."""

    message_id: str
    offset_byte: int
    text: str


@dataclass(frozen=True, slots=True)
class CitationAdded:
    """A source of an answer."""

    message_id: str
    citation: Citation


@dataclass(frozen=True, slots=True)
class MessageCompleted:
    """An answer is whole."""

    message_id: str
    agent: str
    text: str
    citations: Sequence[Citation]


@dataclass(frozen=True, slots=True)
class UsageUpdated:
    """What the turn, and the session with it, used."""

    turn: Usage
    session: Usage


@dataclass(frozen=True, slots=True)
class TurnCompleted:
    """The turn ended with an answer; not `grounded`: it had to cite a source and did not."""

    agent: str
    finish_reason: FinishReason
    usage: Usage
    grounded: bool = True


@dataclass(frozen=True, slots=True)
class TurnCancelled:
    """The turn was cancelled."""

    cause: CancelCause
    usage: Usage


@dataclass(frozen=True, slots=True)
class TurnFailed:
    """The turn ended with an error."""

    error: DomainError

    @property
    def retryable(self) -> bool:
        """Whether the same text may be sent again as a new turn with hope."""
        return self.error.reason in {
            "MODEL_UNAVAILABLE",
            "TURN_TIMEOUT",
            "TURN_WORKER_LOST",
            "DEPENDENCY_UNAVAILABLE",
            "RATE_LIMITED",
        }


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The client ended the session."""

    usage: Usage


Event = (
    TurnQueued
    | TurnStarted
    | AgentActivated
    | AgentHandoff
    | ToolCallStarted
    | ToolCallFinished
    | MessageStarted
    | MessageDelta
    | CitationAdded
    | MessageCompleted
    | UsageUpdated
    | TurnCompleted
    | TurnCancelled
    | TurnFailed
    | SessionEnded
)
TERMINAL = (TurnCompleted, TurnCancelled, TurnFailed)


@dataclass(frozen=True, slots=True)
class TurnChange:
    """A turn's whole row as an event leaves it, so that no change needs an earlier one."""

    state: TurnState
    position: int
    user_text: str
    answer_text: str
    agent: str
    tool_summary: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """An event in its place: `sequence` counts from 1 in each session, without holes."""

    sequence: int
    event: Event
    emit_time: datetime
    turn_id: UUID | None = None
    in_reply_to: str = ""
    change: TurnChange | None = None
