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

MAX_TOOL_SUMMARY = 4_000


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
        self._sources: dict[str, tuple[SourceRef, str]] = {}
        self._tool_lines: list[str] = []
        self._grounded = False
        self._task: asyncio.Task[None] | None = None
        self._cancel_cause: CancelCause | None = None

    def cancel(self, cause: CancelCause) -> None:
        """Stop the turn and its model call; it ends with TurnCancelled."""
        if self._cancel_cause is None:
            self._cancel_cause = cause
            if self._task is not None:
                self._task.cancel()

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
                self._end(TurnCancelled(self._cause(), self._used()), TurnState.CANCELLED)

    async def _answer(self) -> None:
        self._publish(TurnStarted(self.turn.user_text, self._limits), TurnChange(TurnState.RUNNING))
        request = TurnRequest(
            self.turn.user_text, self._session.history(), self._session.active_agent, self._limits
        )
        try:
            async with asyncio.timeout(self._limits.timeout.total_seconds()):
                async with aclosing(self._engine.run_turn(request)) as events:  # type: ignore[type-var]  # an async generator
                    async for event in events:
                        await self._publisher.room()
                        self._take(event)
        except asyncio.CancelledError:
            # This task is ours alone and ends here; whoever cancelled it awaits the event.
            self._end(TurnCancelled(self._cause(), self._used()), TurnState.CANCELLED)
        except TimeoutError:
            self._end(TurnFailed(self._timed_out()), TurnState.FAILED)
        except DomainError as error:
            self._end(TurnFailed(error), TurnState.FAILED)
        except Exception as error:  # noqa: BLE001  # a turn's failure is an event, whatever it is
            self._log.error("turn failed", turn_id=str(self.turn.turn_id), exc_info=error)
            failure = DomainError("internal error", reason="INTERNAL")
            self._end(TurnFailed(failure), TurnState.FAILED)

    def _take(self, event: EngineEvent) -> None:
        match event:
            case AgentActivated():
                if self._message_id:
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
        if self._message_id and agent != self._agent:
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
        answer = self._complete_message() if self._message_id else ""
        self.turn.answer_text, self.turn.agent = answer, event.agent
        self.turn.tool_summary = "\n".join(self._tool_lines)[:MAX_TOOL_SUMMARY]
        self._session.active_agent = event.agent
        usage = self._used()
        self._publish(UsageUpdated(usage, self._session.usage.plus(usage)))
        grounded = self._grounded or not self._session.options.grounded_only
        self._end(
            TurnCompleted(event.agent, event.finish_reason, usage, grounded), TurnState.COMPLETED
        )

    def _end(self, event: TurnCompleted | TurnCancelled | TurnFailed, state: TurnState) -> None:
        if self._message_id:
            self._complete_message()
        usage = self._used()
        self.turn.state = state
        self._session.usage = self._session.usage.plus(usage)
        self._publish(
            event,
            TurnChange(
                state,
                answer_text=self.turn.answer_text,
                agent=self.turn.agent,
                tool_summary=self.turn.tool_summary,
                usage=usage,
            ),
        )

    def _publish(self, event: Event, change: TurnChange | None = None) -> None:
        self._publisher.put(
            event, turn_id=self.turn.turn_id, in_reply_to=self._in_reply_to, change=change
        )

    def _used(self) -> Usage:
        self._usage.total_time = timedelta(seconds=monotonic() - self._started)
        return self._usage

    def _cause(self) -> CancelCause:
        return self._cancel_cause or CancelCause.CLIENT_GONE

    def _timed_out(self) -> DomainError:
        seconds = self._limits.timeout.total_seconds()
        return DomainError(
            f"the turn took longer than {seconds:g} s; ask for less or set a longer timeout",
            reason="TURN_TIMEOUT",
            metadata={"turn_id": str(self.turn.turn_id), "timeout": f"{seconds:g}s"},
        )
