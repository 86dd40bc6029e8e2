"""The port between the chat and whatever answers: one turn in, events out.

Everything that knows Semantic Kernel or a model's HTTP lives behind `ChatEngine`.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Protocol


class Role(StrEnum):
    """Who said something."""

    USER = "user"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class HistoryMessage:
    """One earlier message. `tool_summary` tells the next agent what the tools returned."""

    role: Role
    text: str
    agent: str = ""
    tool_summary: str = ""


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """What one turn may use. `timeout` bounds the whole turn."""

    timeout: timedelta = timedelta(seconds=60)
    max_output_tokens: int = 1024
    max_tool_calls: int = 10
    max_handoffs: int = 2


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """A user's message with all that is needed to answer it."""

    text: str
    history: Sequence[HistoryMessage] = ()
    active_agent: str = ""
    """Name of the agent that answered last; empty starts at the first agent."""
    limits: TurnLimits = field(default_factory=TurnLimits)


@dataclass(frozen=True, slots=True)
class SourceRef:
    """A catalogue row that a tool showed to the agent: it may be cited."""

    resource_name: str
    title: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answers. `data` is JSON-ready and capped; `summary` is one line for people."""

    data: Mapping[str, object]
    summary: str
    sources: Sequence[SourceRef] = ()


class ToolError(Exception):
    """A tool could not do it; the text is safe to show to the model and to the user."""


class Tool(Protocol):
    """A read-only function an agent may call."""

    name: str
    description: str
    parameters: Mapping[str, object]
    """JSON Schema (type object) of the arguments."""
    permission: str

    async def __call__(self, arguments: Mapping[str, object]) -> ToolResult:
        """Run with validated arguments, or raise ToolError."""
        ...


@dataclass(frozen=True, slots=True)
class AgentActivated:
    """This agent has the floor now."""

    agent: str


@dataclass(frozen=True, slots=True)
class AgentHandoff:
    """One agent passes the turn on to another."""

    source: str
    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class ToolCallStarted:
    """An agent called a tool."""

    call_id: str
    tool: str
    agent: str
    arguments: Mapping[str, object]


class ToolOutcome(StrEnum):
    """How a tool call ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class ToolCallFinished:
    """A tool call ended; `summary` is one safe line, `duration` its wall time."""

    call_id: str
    tool: str
    agent: str
    arguments: Mapping[str, object]
    outcome: ToolOutcome
    summary: str
    result: Mapping[str, object]
    sources: Sequence[SourceRef]
    duration: timedelta


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer, as it came."""

    agent: str
    text: str


@dataclass(frozen=True, slots=True)
class ModelUsed:
    """What one call of a model used."""

    model: str
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0


class FinishReason(StrEnum):
    """Why the answer ended."""

    STOP = "stop"
    MAX_OUTPUT_TOKENS = "max_output_tokens"
    MAX_TOOL_CALLS = "max_tool_calls"
    CONTENT_BLOCKED = "content_blocked"


@dataclass(frozen=True, slots=True)
class TurnFinished:
    """The last event of a turn that was answered: who answered, and the whole answer.

    `text` is every TextDelta since that agent was activated, joined.
    """

    agent: str
    text: str
    finish_reason: FinishReason


EngineEvent = (
    AgentActivated
    | AgentHandoff
    | ToolCallStarted
    | ToolCallFinished
    | TextDelta
    | ModelUsed
    | TurnFinished
)


@dataclass(frozen=True, slots=True)
class HandoffEdge:
    """To whom an agent may hand over, and when."""

    target: str
    description: str


@dataclass(frozen=True, slots=True)
class AgentCard:
    """What a client may know of an agent."""

    name: str
    display_name: str
    description: str
    tools: Sequence[Tool]
    handoffs: Sequence[HandoffEdge]
    examples: Sequence[str]


class ChatEngine(Protocol):
    """Answers turns. One engine serves every session of the process at once."""

    @property
    def model(self) -> str:
        """The model's id, or `offline-rules`."""
        ...

    @property
    def agents(self) -> Sequence[AgentCard]:
        """The agents, the entry agent first."""
        ...

    def run_turn(self, request: TurnRequest) -> AsyncGenerator[EngineEvent, None]:
        """Answer one message; ends with TurnFinished.

        Read it inside `contextlib.aclosing`. Closing it, or cancelling the task that reads it,
        stops the model's HTTP stream and leaves no task behind. A reader that is slow slows
        the model down: at most a few dozen events wait.

        Raises:
            DomainError: MODEL_UNAVAILABLE, RATE_LIMITED, TURN_TIMEOUT, TURN_BUDGET_EXHAUSTED,
                CONTENT_BLOCKED, or what the catalogue raised where no tool can answer it.
        """
        ...

    async def close(self) -> None:
        """Close the model's connections."""
        ...
