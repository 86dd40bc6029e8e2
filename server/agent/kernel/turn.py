"""One turn: what it has said and done, and what it may still use."""

from collections.abc import Callable
from contextvars import ContextVar

import orjson

from server.agent.engine import (
    EngineEvent,
    FinishReason,
    TextDelta,
    TurnFinished,
    TurnLimits,
    TurnRequest,
)
from server.agent.kernel.events import EventQueue
from server.agent.kernel.transcript import opening
from server.agent.model_stream import MessageRole, ModelMessage, TokenUsage, ToolRequest
from server.core.telemetry import Telemetry

CURRENT_TURN: ContextVar["Turn"] = ContextVar("CURRENT_TURN")
"""Agents and filters are shared by all turns; the tasks of a turn find it here."""


class Turn:
    """State of one turn. Times are seconds of a monotonic clock."""

    def __init__(
        self,
        request: TurnRequest,
        agent: str,
        events: EventQueue,
        *,
        max_rounds: int,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        telemetry: Telemetry,
    ) -> None:
        self.agent = agent
        self.user_text = request.text
        self.limits: TurnLimits = request.limits
        self.transcript: list[ModelMessage] = opening(request)
        self.clock = clock
        self.new_id = new_id
        self.telemetry = telemetry
        self.next_agent: tuple[str, str] | None = None
        """To whom the running agent hands over, and why."""
        self.finish = FinishReason.STOP
        self.must_answer = False
        """Tools are no longer offered: what comes next is the answer."""
        self._events = events
        self._max_rounds = max_rounds
        self._rounds = 0
        self._tool_calls = 0
        self._handoffs = 0
        self._output_tokens = 0
        self._seen: set[tuple[str, bytes]] = set()
        self._text: list[str] = []
        self._break_before_text = False

    async def emit(self, event: EngineEvent) -> None:
        """Hand an event to the reader, after waiting for room."""
        await self._events.put(event)

    async def say(self, text: str) -> None:
        """Hand a piece of the answer to the reader."""
        if self._break_before_text:
            text, self._break_before_text = f"\n\n{text}", False
        self._text.append(text)
        await self.emit(TextDelta(self.agent, text))

    @property
    def text(self) -> str:
        """What the active agent has said so far."""
        return "".join(self._text)

    @property
    def output_tokens_left(self) -> int:
        """How many tokens the next call of the model may write."""
        return self.limits.max_output_tokens - self._output_tokens

    def count_usage(self, usage: TokenUsage) -> None:
        """Count what a call of the model used."""
        self._output_tokens += usage.output_tokens

    def begin_round(self, text: str, requests: tuple[ToolRequest, ...]) -> None:
        """Note that the model asked for tools; the last round allowed takes them away."""
        self.transcript.append(ModelMessage(MessageRole.ASSISTANT, text, requests))
        self._break_before_text = bool(self._text)
        self._rounds += 1
        if self._rounds >= self._max_rounds:
            self.withdraw_tools()

    def answered(self, call_id: str, text: str) -> None:
        """Note what a tool returned."""
        self.transcript.append(ModelMessage(MessageRole.TOOL, text, call_id=call_id))

    def refusal(self, tool: str, arguments: object) -> str | None:
        """Return why a tool may not be called, None if it may; both are counted.

        The same call again would return the same: a model that repeats itself is in a loop.
        """
        self._tool_calls += 1
        call = (tool, orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS))
        if self._tool_calls > self.limits.max_tool_calls:
            self.withdraw_tools()
            return "the limit of tool calls is reached; answer with what you have"
        if call in self._seen:
            self.withdraw_tools()
            return "this call was already made; answer with its result"
        self._seen.add(call)
        return None

    @property
    def may_hand_over(self) -> bool:
        """Whether an agent may still pass the turn on."""
        return self.next_agent is None and self._handoffs < self.limits.max_handoffs

    def hand_over(self, target: str, reason: str) -> None:
        """Note to whom the turn goes once the running agent's calls are done."""
        self._handoffs += 1
        self._rounds -= 1
        self.next_agent = (target, reason)

    def switch_agent(self, agent: str) -> None:
        """Give the floor to another agent, who begins an answer of its own."""
        self.agent = agent
        self.next_agent = None
        self._text.clear()
        self._break_before_text = False

    def withdraw_tools(self) -> None:
        """Offer no tools any more."""
        self.must_answer = True

    def finished(self) -> TurnFinished:
        """Return the turn's last event."""
        return TurnFinished(self.agent, self.text, self.finish)
