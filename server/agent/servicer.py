"""interview.agent.v1.AgentService: the chat, a single turn, a single answer, the agents."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from datetime import timedelta
from uuid import NAMESPACE_URL, UUID, uuid5

from structlog.typing import FilteringBoundLogger

from server.agent.answer import Answer
from server.agent.chat import ChatStream, first_frame
from server.agent.conversation import BusyPolicy
from server.agent.domain import QUEUE_LIMIT, Session, SessionOptions
from server.agent.engine import ChatEngine
from server.agent.live import LiveSession
from server.agent.mapping import agent_message, session_message
from server.agent.publisher import DELTA_INTERVAL
from server.agent.requests import (
    check_ask,
    check_resume,
    check_run_turn,
    check_start,
    heartbeat_of,
    limits_of,
    options_of,
    session_id_of,
)
from server.agent.sessions import Sessions
from server.core.clock import Clock
from server.core.errors import FieldViolation, ValidationFailed
from server.core.principal import FOREVER, Principal
from server.core.telemetry import Telemetry
from server.generated.interview.agent.v1 import agent_service_pb2, chat_pb2, resources_pb2
from server.rpc.auth import Authenticate
from server.rpc.call import Call
from server.rpc.well_known import duration, timestamp

REPLAY_BATCH = 200


@dataclass(frozen=True, slots=True)
class ChatParts:
    """What every stream needs.

    `engine` returns the engine, or raises MODEL_UNAVAILABLE while it is being loaded;
    `authorize` raises PermissionDenied where a caller may not chat;
    `draw_turn` raises RATE_LIMITED where the caller begins turns faster than it may.
    """

    engine: Callable[[], ChatEngine]
    sessions: Sessions
    authenticate: Authenticate
    authorize: Callable[[Principal], None]
    clock: Clock
    new_uuid: Callable[[], UUID]
    draining: asyncio.Event
    grace: timedelta
    log: FilteringBoundLogger
    telemetry: Telemetry
    draw_turn: Callable[[Principal], None]


@dataclass(frozen=True, slots=True)
class _Opening:
    """Which session a stream is for, with `new` options where it may have to be begun.

    `after` is the last event that the client has, None where it wants no replay.
    """

    session_id: UUID
    new: SessionOptions | None
    options: chat_pb2.StreamOptions
    after: int | None
    frame_id: str = ""


class AgentServicer:
    """Chats, turns, answers and agents."""

    def __init__(self, parts: ChatParts) -> None:
        self._parts = parts

    async def ListAgents(
        self, request: agent_service_pb2.ListAgentsRequest, call: Call
    ) -> agent_service_pb2.ListAgentsResponse:
        """Answer every agent; there are few, so there is one page."""
        if request.page_size < 0:
            raise ValidationFailed([FieldViolation("page_size", "must be 0 or more")])
        engine = self._parts.engine()
        return agent_service_pb2.ListAgentsResponse(agents=_agents(engine))

    async def Chat(
        self, requests: AsyncIterator[chat_pb2.ChatRequest], call: Call
    ) -> AsyncIterator[chat_pb2.ChatResponse]:
        """Hold a conversation on one stream."""
        engine = self._parts.engine()
        first = await first_frame(requests, self._parts.draining)
        opening = self._opening(first, engine)
        async with self._attached(opening, call) as session:
            through = session.last_sequence
            async with self._live(session, engine, call, opening.options) as live:
                yield self._ready(live, call, engine, opening)
                if opening.after is not None:
                    async for response in self._replay(session, opening.after, through):
                        yield response
                    yield chat_pb2.ChatResponse(
                        emit_time=timestamp(self._parts.clock()),
                        replay_completed=chat_pb2.ReplayCompleted(through_sequence=through),
                    )
                self._follow(live, requests, call)
                async with aclosing(live.responses(heartbeat_of(opening.options))) as responses:
                    async for response in responses:
                        yield response

    async def RunTurn(
        self, request: agent_service_pb2.RunTurnRequest, call: Call
    ) -> AsyncIterator[chat_pb2.ChatResponse]:
        """Run one turn and stream its events. A turn that is known is replayed, not run again."""
        engine = self._parts.engine()
        turn_id = check_run_turn(request)
        session_id, config = _session_of(request.session, f"turns/{turn_id}", call.principal)
        new = options_of(request.config, _names(engine)) if config else None
        opening = _Opening(session_id, new, request.options, request.after_sequence)
        async with self._attached(opening, call) as session:
            through = session.last_sequence
            async with self._live(session, engine, call, opening.options) as live:
                yield self._ready(live, call, engine, opening)
                turn = self._one_turn(live, turn_id, request.user_message, opening, through)
                async with aclosing(turn) as responses:
                    async for response in responses:
                        yield response

    async def Ask(
        self, request: agent_service_pb2.AskRequest, call: Call
    ) -> agent_service_pb2.AskResponse:
        """Answer one question in one message. The same request_id again is the same answer."""
        engine = self._parts.engine()
        check_ask(request)
        turn_id = UUID(request.request_id) if request.request_id else self._parts.new_uuid()
        session_id, config = _session_of(request.session, f"asks/{turn_id}", call.principal)
        new = options_of(request.config, _names(engine)) if config else None
        opening = _Opening(session_id, new, chat_pb2.StreamOptions(), 0)
        message = chat_pb2.UserMessageFrame(
            turn_id=str(turn_id), text=request.question, budget=request.budget
        )
        async with self._attached(opening, call) as session:
            answer = Answer(session.name, turn_id, request.question)
            through = session.last_sequence
            async with self._live(session, engine, call, opening.options) as live:
                turn = self._one_turn(live, turn_id, message, opening, through)
                async with aclosing(turn) as responses:
                    async for response in responses:
                        answer.add(response)
        return answer.message()

    def _opening(self, frame: chat_pb2.ChatRequest, engine: ChatEngine) -> _Opening:
        if frame.WhichOneof("frame") == "resume":
            resume = frame.resume
            session_id = check_resume(resume)
            return _Opening(session_id, None, resume.options, resume.after_sequence, frame.frame_id)
        session_id = check_start(frame.start) or self._parts.sessions.new_id()
        new = options_of(frame.start.config, _names(engine))
        return _Opening(session_id, new, frame.start.options, None, frame.frame_id)

    def _attached(self, opening: _Opening, call: Call) -> AbstractAsyncContextManager[Session]:
        owner = call.principal.user_id
        return self._parts.sessions.attached(owner, opening.session_id, opening.new)

    def _live(
        self, session: Session, engine: ChatEngine, call: Call, options: chat_pb2.StreamOptions
    ) -> LiveSession:
        if not session.active_agent:
            session.active_agent = session.options.entry_agent
        return LiveSession(
            session,
            engine,
            self._parts.sessions.repository,
            clock=self._parts.clock,
            new_id=lambda: str(self._parts.new_uuid()),
            log=self._parts.log,
            telemetry=self._parts.telemetry,
            request_id=call.request_id,
            revoked=lambda: call.stream is not None and call.stream.revoked,
            delta_interval=options.delta_interval.ToTimedelta() or None,
        )

    def _follow(
        self, live: LiveSession, requests: AsyncIterator[chat_pb2.ChatRequest], call: Call
    ) -> None:
        parts = self._parts
        assert call.stream is not None, "the boundary watches every stream with a caller"
        stream = ChatStream(
            live,
            call.stream,
            clock=parts.clock,
            authenticate=parts.authenticate,
            authorize=parts.authorize,
            request_id=call.request_id,
            draw_turn=parts.draw_turn,
        )
        live.run(stream.read(requests))
        live.run(stream.watch_credential())
        live.run(stream.watch_drain(parts.draining, parts.grace))
        if call.deadline_seconds is not None:
            live.run(stream.watch_deadline(call.deadline_seconds))

    async def _one_turn(
        self,
        live: LiveSession,
        turn_id: UUID,
        message: chat_pb2.UserMessageFrame,
        opening: _Opening,
        through: int,
    ) -> AsyncGenerator[chat_pb2.ChatResponse, None]:
        """Yield the events of a turn: of one that is known, those stored up to `through`."""
        limits = limits_of(message.budget, live.session.options.limits)
        fresh = live.conversation.submit(turn_id, message.text, BusyPolicy.REJECT, limits)
        live.conversation.close()
        if not fresh:
            async for response in self._replay(live.session, opening.after or 0, through):
                if response.turn_id == str(turn_id):
                    yield response
        async with aclosing(live.responses(heartbeat_of(opening.options))) as responses:
            async for response in responses:
                yield response

    async def _replay(
        self, session: Session, after: int, through: int
    ) -> AsyncIterator[chat_pb2.ChatResponse]:
        repository = self._parts.sessions.repository
        while after < through:
            size = min(REPLAY_BATCH, through - after)
            payloads = await repository.payloads_after(session.session_id, after, size)
            if not payloads:
                return
            for payload in payloads:
                response = chat_pb2.ChatResponse.FromString(payload)
                after = response.sequence
                if response.WhichOneof("event") not in session.options.muted:
                    response.replayed = True
                    yield response

    def _ready(
        self,
        live: LiveSession,
        call: Call,
        engine: ChatEngine,
        opening: _Opening,
    ) -> chat_pb2.ChatResponse:
        now = self._parts.clock()
        return chat_pb2.ChatResponse(
            emit_time=timestamp(now),
            in_reply_to=opening.frame_id,
            session_ready=chat_pb2.SessionReady(
                session=session_message(live.session),
                resumed=live.session.last_sequence > 0,
                agents=_agents(engine),
                effective_options=chat_pb2.StreamOptions(
                    delta_interval=duration(
                        opening.options.delta_interval.ToTimedelta() or DELTA_INTERVAL
                    ),
                    heartbeat_interval=duration(heartbeat_of(opening.options)),
                ),
                credential_expire_time=(
                    None
                    if call.principal.expire_time == FOREVER
                    else timestamp(call.principal.expire_time)
                ),
                stream_expire_time=(
                    None
                    if call.deadline_seconds is None
                    else timestamp(now + timedelta(seconds=call.deadline_seconds))
                ),
                queue_limit=QUEUE_LIMIT,
            ),
        )


def _session_of(name: str, purpose: str, principal: Principal) -> tuple[UUID, bool]:
    """Return the id of the session for a single turn, and whether it may have to be begun.

    A call that is repeated must meet the session that it began the first time, so the id of
    a new one is made from the turn's.
    """
    if name:
        return session_id_of(name), False
    return uuid5(NAMESPACE_URL, f"{principal.name}/{purpose}"), True


def _names(engine: ChatEngine) -> list[str]:
    return [card.name for card in engine.agents]


def _agents(engine: ChatEngine) -> list[resources_pb2.Agent]:
    return [agent_message(card, engine.model) for card in engine.agents]
