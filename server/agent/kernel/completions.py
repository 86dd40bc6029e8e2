"""OpenAI's chat completions format: the request, and the pieces of a streamed reply.

Read by hand: building the client library's object for every token costs ten times as much.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from server.agent.model_stream import (
    MessageRole,
    ModelChunk,
    ModelFinish,
    ModelMessage,
    TokenUsage,
    ToolRequest,
    ToolSpec,
)

DONE: Final = b"[DONE]"
_MAX_LINE_BYTES = 1024 * 1024

_FINISHES = {
    "stop": ModelFinish.STOP,
    "tool_calls": ModelFinish.TOOL_CALLS,
    "function_call": ModelFinish.TOOL_CALLS,
    "length": ModelFinish.LENGTH,
    "content_filter": ModelFinish.CONTENT_FILTER,
}


class MalformedStream(Exception):
    """The body is not a stream of chat completion chunks; `told` is the error it reports."""

    def __init__(self, problem: str, told: object = None) -> None:
        super().__init__(problem)
        self.told = told


class EventStreamReader:
    """Splits a body into the data of server-sent events (WHATWG HTML, 9.2)."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, read: bytes) -> list[bytes]:
        """Return the data lines that are complete, without `data:`; comments are dropped."""
        *lines, self._rest = (self._rest + read).split(b"\n")
        if len(self._rest) > _MAX_LINE_BYTES:
            raise MalformedStream("a line is too long")
        return [line[5:].strip() for line in map(bytes.rstrip, lines) if self._is_data(line)]

    @staticmethod
    def _is_data(line: bytes) -> bool:
        if line.startswith(b"data:"):
            return True
        if line and not line.startswith((b":", b"event:", b"id:", b"retry:")):
            raise MalformedStream("not an event stream")
        return False


@dataclass(slots=True)
class _PartialRequest:
    call_id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class CompletionReader:
    """Puts the chunks of one reply together."""

    def __init__(self) -> None:
        self._requests: dict[int, _PartialRequest] = {}
        self._last_index = -1
        self._finish: ModelFinish | None = None
        self._usage: TokenUsage | None = None

    def feed(self, events: Sequence[bytes]) -> tuple[str, bool]:
        """Return the text that the events hold, and whether they hold any progress at all.

        Raises:
            MalformedStream: one of them is no chunk, or reports an error.
        """
        texts: list[str] = []
        progress = False
        for event in events:
            for delta in self._deltas(_object(event)):
                progress = progress or any(delta.get(key) for key in _PROGRESS)
                if isinstance(text := delta.get("content"), str) and text:
                    texts.append(text)
                for part in delta.get("tool_calls") or ():
                    self._add(part)
        return "".join(texts), progress

    def last_chunk(self) -> ModelChunk | None:
        """Return the end of the reply, None if the model never said why it stopped."""
        if self._finish is None:
            return None
        requests = tuple(
            ToolRequest(part.call_id, part.name, "".join(part.arguments))
            for part in self._requests.values()
        )
        return ModelChunk(tool_requests=requests, usage=self._usage, finish=self._finish)

    def _deltas(self, chunk: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        if chunk.get("error"):
            raise MalformedStream("error event", chunk["error"])
        if usage := chunk.get("usage"):
            self._usage = _usage(usage)
        choices = (chunk.get("choices") or ())[:1]
        for choice in choices:
            if reason := choice.get("finish_reason"):
                self._finish = _FINISHES.get(reason)
        return [choice.get("delta") or {} for choice in choices]

    def _add(self, part: Mapping[str, Any]) -> None:
        """Add a piece of a call. Some servers leave the index out, or always say 0."""
        index = part.get("index")
        index = index if isinstance(index, int) else max(self._last_index, 0)
        call_id, function = part.get("id") or "", part.get("function") or {}
        request = self._requests.setdefault(index, _PartialRequest())
        if call_id and request.call_id and call_id != request.call_id:
            index = max(self._requests) + 1
            request = self._requests.setdefault(index, _PartialRequest())
        self._last_index = index
        request.call_id = request.call_id or call_id
        request.name = request.name or function.get("name") or ""
        request.arguments.append(function.get("arguments") or "")


_PROGRESS = ("content", "tool_calls", "reasoning_content", "reasoning", "refusal")


def wire_message(message: ModelMessage) -> dict[str, object]:
    """Return a message in the format's words."""
    wire: dict[str, object] = {"role": message.role.value, "content": message.text}
    if message.role is MessageRole.TOOL:
        wire["tool_call_id"] = message.call_id
    if message.tool_requests:
        wire["content"] = message.text or None
        wire["tool_calls"] = [
            {
                "id": request.call_id,
                "type": "function",
                "function": {"name": request.name, "arguments": request.arguments or "{}"},
            }
            for request in message.tool_requests
        ]
    return wire


def wire_tool(spec: ToolSpec) -> dict[str, object]:
    """Return a tool in the format's words."""
    function = {
        "name": spec.name,
        "description": spec.description,
        "parameters": dict(spec.parameters),
    }
    return {"type": "function", "function": function}


def _object(event: bytes) -> Mapping[str, Any]:
    try:
        value = orjson.loads(event)
    except orjson.JSONDecodeError as error:
        raise MalformedStream("an event is not JSON") from error
    if not isinstance(value, dict):
        raise MalformedStream("an event is not an object")
    return value


def _usage(usage: Mapping[str, Any]) -> TokenUsage:
    details = usage.get("prompt_tokens_details") or {}
    return TokenUsage(
        input_tokens=int(usage.get("prompt_tokens") or 0),
        output_tokens=int(usage.get("completion_tokens") or 0),
        cached_input_tokens=int(details.get("cached_tokens") or 0),
    )
