"""How the events of a chat are shown."""

import json
from collections.abc import Callable, Mapping
from typing import Protocol

from interview_client.errors import error_of_status
from interview_client.events import TERMINAL, kind_of
from interview_client.messages import (
    CancelCause,
    ChatResponse,
    Citation,
    FinishReason,
    Message,
    ToolCall,
    ToolCallState,
)

from .failures import Failure, explained, one_line
from .output import Output

MAX_ARGUMENTS = 200
"""Characters of a tool's arguments that are shown."""


class Transcript(Protocol):
    """Shows what happens in a chat."""

    def show(self, event: ChatResponse) -> None:
        """Show an event. Raises Failure for a turn that failed."""
        ...

    def end_line(self) -> None:
        """Let what others write begin on a line of its own."""
        ...


class JsonTranscript:
    """Every event as it came, one JSON object per line."""

    def __init__(self, output: Output, target: str) -> None:
        self._output = output
        self._target = target

    def show(self, event: ChatResponse) -> None:
        """Write the event. Raises Failure for a turn that failed."""
        self._output.json(event)
        if event.turn_failed is not None and not event.replayed:
            raise _failure(event, self._target)

    def end_line(self) -> None:
        """Every event has ended its line."""


class TextTranscript:
    """Agents, tool calls and texts as they come, the sources of a turn at its end."""

    def __init__(self, output: Output, target: str, *, show_tools: bool = True) -> None:
        self._output = output
        self._target = target
        self._show_tools = show_tools
        self._agent = ""
        self._in_line = False
        self._streamed: set[str] = set()
        self._sources: dict[str, Citation] = {}
        self._handlers: Mapping[str, Callable[[ChatResponse], None]] = {
            "turn_queued": self._turn_queued,
            "turn_started": self._turn_started,
            "agent_activated": self._agent_activated,
            "agent_handoff": self._agent_handoff,
            "tool_call_started": self._tool_call_started,
            "tool_call_finished": self._tool_call_finished,
            "text_delta": self._text_delta,
            "citation_added": self._citation_added,
            "message_completed": self._message_completed,
            "turn_completed": self._turn_completed,
            "turn_cancelled": self._turn_cancelled,
        }

    def show(self, event: ChatResponse) -> None:
        """Show the event. Raises Failure for a turn that failed."""
        kind = kind_of(event)
        if handler := self._handlers.get(kind):
            handler(event)
        if kind in TERMINAL:
            self.end_line()
            self._show_sources()
        if event.turn_failed is not None:
            failure = _failure(event, self._target)
            if not event.replayed:
                raise failure
            self._dim(f"failed: {failure}")

    def end_line(self) -> None:
        """Let what others write begin on a line of its own."""
        if self._in_line:
            self._output.line("")
            self._in_line = False

    def _turn_queued(self, event: ChatResponse) -> None:
        self._dim("waiting for the turn before")

    def _turn_started(self, event: ChatResponse) -> None:
        started = event.turn_started
        if event.replayed and started and started.user_message:
            self.end_line()
            self._output.line(f"> {started.user_message.text}")

    def _agent_activated(self, event: ChatResponse) -> None:
        agent = _short(event.agent_activated.agent if event.agent_activated else "")
        if agent and agent != self._agent:
            self._agent = agent
            self._dim(f"— {agent} —")

    def _agent_handoff(self, event: ChatResponse) -> None:
        handoff = event.agent_handoff.handoff if event.agent_handoff else None
        if handoff:
            source, target = _short(handoff.source_agent), _short(handoff.target_agent)
            self._dim(f"{source} hands over to {target}: {handoff.reason}")

    def _tool_call_started(self, event: ChatResponse) -> None:
        call = event.tool_call_started.tool_call if event.tool_call_started else None
        if call and self._show_tools:
            self._dim(f"  {call.tool}({_arguments(call)})")

    def _tool_call_finished(self, event: ChatResponse) -> None:
        call = event.tool_call_finished.tool_call if event.tool_call_finished else None
        if call and self._show_tools:
            self._dim(f"  {call.tool}: {_outcome(call)}")

    def _text_delta(self, event: ChatResponse) -> None:
        if event.text_delta and event.text_delta.text:
            self._streamed.add(event.text_delta.message_id)
            self._output.piece(event.text_delta.text)
            self._in_line = not event.text_delta.text.endswith("\n")

    def _citation_added(self, event: ChatResponse) -> None:
        citation = event.citation_added.citation if event.citation_added else None
        if citation:
            self._sources.setdefault(citation.resource_name, citation)

    def _message_completed(self, event: ChatResponse) -> None:
        message = event.message_completed.message if event.message_completed else None
        message = message or Message()
        if message.message_id not in self._streamed:
            # A stored session may have kept the whole text instead of its pieces.
            self._output.piece(message.text)
            self._in_line = True
        for citation in message.citations:
            self._sources.setdefault(citation.resource_name, citation)
        self.end_line()

    def _turn_completed(self, event: ChatResponse) -> None:
        reason = event.turn_completed.finish_reason if event.turn_completed else FinishReason.STOP
        if reason not in {FinishReason.STOP, FinishReason.UNSPECIFIED}:
            self._dim(f"the answer was cut short: {_words(FinishReason(reason).name)}")

    def _turn_cancelled(self, event: ChatResponse) -> None:
        cause = event.turn_cancelled.cause if event.turn_cancelled else CancelCause.CLIENT
        known = "" if cause == CancelCause.CLIENT else f": {_words(CancelCause(cause).name)}"
        self._dim(f"cancelled{known}")

    def _show_sources(self) -> None:
        if self._sources:
            self._output.line("\nSources:")
            for number, source in enumerate(self._sources.values(), 1):
                self._output.line(f"  [{number}] {one_line(source.title)} ({source.resource_name})")
            self._output.line("")
        self._sources.clear()
        self._streamed.clear()

    def _dim(self, text: str) -> None:
        self.end_line()
        self._output.line(text, dim=True)


def _failure(event: ChatResponse, target: str) -> Failure:
    failed = event.turn_failed
    if failed is None or failed.status is None:
        return Failure("the turn failed")
    return explained(error_of_status(failed.status), target)


def _short(resource_name: str) -> str:
    return resource_name.rpartition("/")[2]


def _words(name: str | None) -> str:
    return (name or "for an unknown reason").replace("_", " ").lower()


def _arguments(call: ToolCall) -> str:
    values = call.arguments.to_dict() if call.arguments else {}
    text = ", ".join(
        f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in values.items()
    )
    text = one_line(text)
    return text if len(text) <= MAX_ARGUMENTS else text[:MAX_ARGUMENTS] + "…"


def _outcome(call: ToolCall) -> str:
    state = ToolCallState(call.state)
    summary = one_line(call.summary)
    if state is ToolCallState.SUCCEEDED:
        what = summary or "done"
    else:
        what = f"{_words(state.name)}: {summary}" if summary else _words(state.name)
    spent = call.duration
    return what if spent is None else f"{what} ({spent.total_seconds() * 1000:.0f} ms)"
