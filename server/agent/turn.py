"""One turn: the engine's events in, the session's events out, exactly one terminal event."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from datetime import timedelta
from time import monotonic

import orjson
from structlog.typing import FilteringBoundLogger

from server.agent.citations import cited
from server.agent.domain import Session, Turn
from server.agent.engine import (
    AgentActivated,
    AgentHandoff,
    ChatEngine,
    EngineEvent,
    ModelUsed,
    SourceRef,
    TextDelta,
    ToolCallFinished,
    ToolCallStarted,
    TurnFinished,
    TurnLimits,
    TurnRequest,
)
from server.agent.events import (
    CancelCause,
    CitationAdded,
    Event,
    MessageCompleted,
    MessageDelta,
    MessageStarted,
    TurnCancelled,
    TurnChange,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    TurnState,
    Usage,
    UsageUpdated,
)
from server.agent.publisher import Publisher
from server.core.errors import DomainError
from server.rpc.status import as_domain_error

MAX_TOOL_SUMMARY = 4_000
MAX_ANSWER_BYTES = 1024 * 1024
"""More than any budget of tokens makes; a message must fit the largest that gRPC sends."""


class TurnRun:
    """Runs one turn of a session. `run` never raises but for a cancellation from outside."""

    def __init__(
        self,
        turn: Turn,
        session: Session,
        engine: ChatEngine,
        publisher: Publisher,
        *,
        limits: TurnLimits,
        new_id: Callable[[], str],
        log: FilteringBoundLogger,
        in_reply_to: str = "",
    ) -> None:
        self.turn = turn
        self._session = session
        self._engine = engine
        self._publisher = publisher
        self._limits = limits
        self._new_id = new_id
        self._log = log
        self._in_reply_to = in_reply_to
        self._started = monotonic()
        self._usage = Usage()
        self._agent = ""
        self._message_id = ""
        self._text: list[str] = []
        self._bytes = 0
        self._answer_bytes = 0
        self._sources: dict[str, tuple[SourceRef, str]] = {}
        self._tool_lines: list[str] = []
        self._grounded = False
        self._task: asyncio.Task[None] | None = None
        self._cancel_cause: CancelCause | None = None
        self._ended = False

    def cancel(self, cause: CancelCause) -> bool:
        """Stop the turn and its model call; it ends with TurnCancelled.

        False where that comes too late: the turn has its end, and keeps it.
        """
        if self._ended:
            return False
        if self._cancel_cause is None:
            self._cancel_cause = cause
            if self._task is not None:
                self._task.cancel()
        return True

    async def run(self) -> None:
        """Run the turn in a task of its own, so that cancelling it leaves the caller be."""
        self._task = asyncio.create_task(self._answer(), name=f"turn {self.turn.turn_id}")
        if self._cancel_cause is not None:
            self._task.cancel()
        try:
            await asyncio.wait({self._task})
        except asyncio.CancelledError:
            self.cancel(CancelCause.CLIENT_GONE)
            await asyncio.wait({self._task})
            raise
        finally:
            if self._task.cancelled():  # before its first step
                self._end_cancelled()

    async def _answer(self) -> None:
        self.turn.state = TurnState.RUNNING
        self._publish(TurnStarted(self.turn.user_text, self._limits), self.turn.change())
        request = TurnRequest(
            self.turn.user_text, self._session.history(), self._session.active_agent, self._limits
        )
        try:
            async with asyncio.timeout(self._limits.timeout.total_seconds()) as limit:
                async with aclosing(self._engine.run_turn(request)) as events:
                    async for event in events:
                        await self._publisher.room()
                        self._take(event)
        except asyncio.CancelledError:
            # This task is ours alone and ends here; whoever cancelled it awaits the event.
            self._end_cancelled()
        except Exception as error:  # noqa: BLE001  # a turn's failure is an event, whatever it is
            timed_out = isinstance(error, TimeoutError) and limit.expired()
            self._end_failed(self._timed_out() if timed_out else as_domain_error(error), error)

    def _take(self, event: EngineEvent) -> None:
        match event:
            case AgentActivated():
                self._complete_message()
                self._publish(event)
            case AgentHandoff() | ToolCallStarted():
                self._publish(event)
            case ToolCallFinished():
                self._tool_finished(event)
            case TextDelta(agent, text):
                self._delta(agent, text)
            case ModelUsed():
                self._usage.add_model_call(event)
            case TurnFinished():
                self._finished(event)

    def _tool_finished(self, event: ToolCallFinished) -> None:
        self._usage.tool_calls += 1
        for source in event.sources:
            self._sources.setdefault(source.resource_name, (source, event.call_id))
        arguments = orjson.dumps(dict(event.arguments)).decode()
        names = "; ".join(f"{source.resource_name} {source.title}" for source in event.sources)
        self._tool_lines.append(f"{event.tool}({arguments}): {event.summary} {names}".rstrip())
        self._publish(event)

    def _delta(self, agent: str, text: str) -> None:
        if not text:
            return
        self._answer_bytes += len(text.encode())
        if self._answer_bytes > MAX_ANSWER_BYTES:
            raise _answer_too_long()
        if agent != self._agent:
            self._complete_message()
        if not self._message_id:
            self._agent = agent
            self._message_id = self._new_id()
            self._publish(MessageStarted(self._message_id, agent))
            if self._usage.time_to_first_delta is None:
                self._usage.time_to_first_delta = timedelta(seconds=monotonic() - self._started)
        self._publish(MessageDelta(self._message_id, self._bytes, text))
        self._bytes += len(text.encode())
        self._text.append(text)

    def _complete_message(self) -> str:
        if not self._message_id:
            return ""
        text = "".join(self._text)
        citations = cited(text, self._sources, self._new_id)
        self._grounded = self._grounded or bool(citations)
        for citation in citations:
            self._publish(CitationAdded(self._message_id, citation))
        self._publish(MessageCompleted(self._message_id, self._agent, text, citations))
        self._message_id, self._text, self._bytes = "", [], 0
        return text

    def _finished(self, event: TurnFinished) -> None:
        if not self._message_id:
            self._delta(event.agent, event.text)
        answer = self._complete_message()
        self.turn.answer_text, self.turn.agent = answer, event.agent
        self.turn.tool_summary = "\n".join(self._tool_lines)[:MAX_TOOL_SUMMARY]
        self._session.active_agent = event.agent
        usage = self._used()
        self._publish(UsageUpdated(usage, self._session.usage.plus(usage)))
        grounded = self._grounded or not self._session.options.grounded_only
        self._end(
            TurnCompleted(event.agent, event.finish_reason, usage, grounded), TurnState.COMPLETED
        )

    def _end_cancelled(self) -> None:
        self._complete_message()
        # A task is also cancelled when the whole stream is: then the client is gone.
        cause = self._cancel_cause or CancelCause.CLIENT_GONE
        self._end(TurnCancelled(cause, self._used()), TurnState.CANCELLED)

    def _end_failed(self, error: DomainError, raised: Exception) -> None:
        if error.reason == "INTERNAL":
            self._log.error("turn failed", turn_id=str(self.turn.turn_id), exc_info=raised)
        self._complete_message()
        self._end(TurnFailed(error), TurnState.FAILED)

    def _end(self, event: TurnCompleted | TurnCancelled | TurnFailed, state: TurnState) -> None:
        if self._ended:  # what comes behind a turn's end does not change it
            return
        self._ended = True
        usage = self._used()
        self.turn.state = state
        self._session.usage = self._session.usage.plus(usage)
        self._publish(event, self.turn.change(usage))

    def _publish(self, event: Event, change: TurnChange | None = None) -> None:
        self._publisher.put(
            event, turn_id=self.turn.turn_id, in_reply_to=self._in_reply_to, change=change
        )

    def _used(self) -> Usage:
        if not self._ended:
            self._usage.total_time = timedelta(seconds=monotonic() - self._started)
        return self._usage.copy()

    def _timed_out(self) -> DomainError:
        seconds = self._limits.timeout.total_seconds()
        return DomainError(
            f"the turn took longer than {seconds:g} s; ask for less or set a longer timeout",
            reason="TURN_TIMEOUT",
            metadata={"turn_id": str(self.turn.turn_id), "timeout": f"{seconds:g}s"},
        )


def _answer_too_long() -> DomainError:
    limit = str(MAX_ANSWER_BYTES)
    return DomainError(
        "the answer became too long; ask for less at once",
        reason="TURN_BUDGET_EXHAUSTED",
        metadata={"budget": limit, "used": limit, "what": "answer_bytes"},
    )
