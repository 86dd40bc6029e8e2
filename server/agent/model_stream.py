"""The port between the engine and a language model: a request in, pieces of a reply out.

It knows no vendor and no framework. Implementations: the rules that need no network
(`server.agent.offline`) and any server that speaks OpenAI's chat completions
(`server.agent.kernel.openai`).
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

HANDOFF_PREFIX = "transfer_to_"
"""A tool of this name passes the turn on to the agent whose name follows."""


class MessageRole(StrEnum):
    """Who a message is from, in the words of the chat completions format."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A call that the model asks for. `arguments` is JSON as the model wrote it, unchecked."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ModelMessage:
    """One message of the conversation; `call_id` names the request a TOOL message answers."""

    role: MessageRole
    text: str = ""
    tool_requests: tuple[ToolRequest, ...] = ()
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool on offer; `parameters` is a JSON Schema of type object."""

    name: str
    description: str
    parameters: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """What one call used. `cached_input_tokens` are part of `input_tokens`."""

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0


class ModelFinish(StrEnum):
    """Why the model stopped."""

    STOP = "stop"
    TOOL_CALLS = "tool_calls"
    LENGTH = "length"
    CONTENT_FILTER = "content_filter"


@dataclass(frozen=True, slots=True)
class ModelChunk:
    """A piece of a reply: text as it comes, whole tool requests, and at the end the rest."""

    text: str = ""
    tool_requests: tuple[ToolRequest, ...] = ()
    usage: TokenUsage | None = None
    finish: ModelFinish | None = None


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One call of the model; without tools it can only answer."""

    messages: Sequence[ModelMessage]
    tools: Sequence[ToolSpec]
    max_output_tokens: int


class ModelStream(Protocol):
    """A language model. One object serves every session at once."""

    @property
    def model(self) -> str:
        """The model's id."""
        ...

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelChunk, None]:
        """Yield the reply; the last chunk, and only that, has `finish`.

        Closing the generator ends the call at once.

        Raises:
            DomainError: MODEL_UNAVAILABLE, or RATE_LIMITED where its provider allows no more
                right now; the text holds nothing of the model's own words.
        """
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
