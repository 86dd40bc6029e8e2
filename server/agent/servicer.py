"""interview.agent.v1.AgentService: the chat, a single turn, a single answer, the agents."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import NAMESPACE_URL, UUID, uuid5

from structlog.typing import FilteringBoundLogger

from server.agent.answer import Answer
from server.agent.chat import ChatStream, protocol_violation
from server.agent.conversation import BusyPolicy
from server.agent.domain import QUEUE_LIMIT, Session
from server.agent.engine import ChatEngine
from server.agent.live import LiveSession
from server.agent.mapping import agent_message, duration, session_message, timestamp
from server.agent.publisher import DELTA_INTERVAL
from server.agent.requests import (
    DEFAULT_HEARTBEAT,
    check_ask,
    check_resume,
    check_run_turn,
    check_start,
    limits_of,
    options_of,
    session_id_of,
)
from server.agent.sessions import Sessions
from server.core.clock import Clock
from server.core.errors import FieldViolation, ValidationFailed
from server.core.principal import Principal
from server.generated.interview.agent.v1 import agent_service_pb2, chat_pb2, resources_pb2
from server.rpc.call import Call

REPLAY_BATCH = 200


@dataclass(frozen=True, slots=True)
class ChatParts:
    """What every stream needs.

    `engine` returns the engine, or raises MODEL_UNAVAILABLE while it is being loaded.
    """

    engine: Callable[[], ChatEngine]
    sessions: Sessions
    authenticate: Callable[[str], Principal]
    clock: Clock
    new_uuid: Callable[[], UUID]
    draining: asyncio.Event
    grace: timedelta
    log: FilteringBoundLogger


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
        first = await anext(requests, None)
        kind = None if first is None else first.WhichOneof("frame")
        if first is None or kind not in {"start", "resume"}:
            raise protocol_violation("start or resume", kind)
        session, options, after = await self._open(first, call.principal, engine)
        with self._parts.sessions.attached(session.session_id):
            async with self._live(session, engine, call, options) as live:
                yield self._ready(live, call, engine, first, options)
                through = session.last_sequence
                if after is not None:
                    async for response in self._replay(session.session_id, after, through):
                        yield response
                    yield chat_pb2.ChatResponse(
                        replay_completed=chat_pb2.ReplayCompleted(through_sequence=through)
                    )
                self._follow(live, requests, call)
                async for response in live.responses(_heartbeat(options)):
                    yield response

    async def RunTurn(
        self, request: agent_service_pb2.RunTurnRequest, call: Call
    ) -> AsyncIterator[chat_pb2.ChatResponse]:
        """Run one turn and stream its events. A turn that is known is replayed, not run again."""
        engine = self._parts.engine()
        turn_id = check_run_turn(request)
        options = options_of(request.config, _names(engine))
        owner = call.principal.user_id
        if request.session:
            session = await self._parts.sessions.resume(owner, session_id_of(request.session))
        else:
            session = await self._parts.sessions.start(owner, None, options)
        with self._parts.sessions.attached(session.session_id):
            async with self._live(session, engine, call, request.options) as live:
                yield self._ready(live, call, engine, None, request.options)
                async for response in self._one_turn(
                    live, turn_id, request.user_message, request.after_sequence, request.options
                ):
                    yield response

    async def Ask(
        self, request: agent_service_pb2.AskRequest, call: Call
    ) -> agent_service_pb2.AskResponse:
        """Answer one question in one message. The same request_id again is the same answer."""
        engine = self._parts.engine()
        check_ask(request)
        turn_id = UUID(request.request_id) if request.request_id else self._parts.new_uuid()
        session = await self._session_of(request, call.principal, turn_id, engine)
        message = chat_pb2.UserMessageFrame(
            turn_id=str(turn_id), text=request.question, budget=request.budget
        )
        options = chat_pb2.StreamOptions()
        answer = Answer(session.name, turn_id, request.question)
        with self._parts.sessions.attached(session.session_id):
            async with self._live(session, engine, call, options) as live:
                async for response in self._one_turn(live, turn_id, message, 0, options):
                    answer.add(response)
        return answer.message()

    async def _session_of(
        self,
        request: agent_service_pb2.AskRequest,
        principal: Principal,
        turn_id: UUID,
        engine: ChatEngine,
    ) -> Session:
        sessions = self._parts.sessions
        if request.session:
            return await sessions.resume(principal.user_id, session_id_of(request.session))
        options = options_of(request.config, _names(engine))
        # A repeated request must meet the session of the first one.
        session_id = uuid5(NAMESPACE_URL, f"{principal.name}/asks/{turn_id}")
        return await sessions.start(principal.user_id, session_id, options)

    async def _open(
        self, frame: chat_pb2.ChatRequest, principal: Principal, engine: ChatEngine
    ) -> tuple[Session, chat_pb2.StreamOptions, int | None]:
        """Return the session, the stream's options, and after which event to replay."""
        owner = principal.user_id
        if frame.WhichOneof("frame") == "resume":
            session = await self._parts.sessions.resume(owner, check_resume(frame.resume))
            return session, frame.resume.options, frame.resume.after_sequence
        session_id = check_start(frame.start)
        options = options_of(frame.start.config, _names(engine))
        session = await self._parts.sessions.start(owner, session_id, options)
        return session, frame.start.options, None

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
            request_id=call.request_id,
            delta_interval=options.delta_interval.ToTimedelta() or None,
        )

    def _follow(
        self, live: LiveSession, requests: AsyncIterator[chat_pb2.ChatRequest], call: Call
    ) -> None:
        parts = self._parts
        stream = ChatStream(
            live,
            call.principal,
            clock=parts.clock,
            authenticate=parts.authenticate,
            request_id=call.request_id,
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
        after: int,
        options: chat_pb2.StreamOptions,
    ) -> AsyncIterator[chat_pb2.ChatResponse]:
        through = live.session.last_sequence
        limits = limits_of(message.budget, live.session.options.limits)
        fresh = live.conversation.submit(turn_id, message.text, BusyPolicy.REJECT, limits)
        live.conversation.close()
        if not fresh:
            async for response in self._replay(live.session.session_id, after, through):
                if response.turn_id == str(turn_id):
                    yield response
        async for response in live.responses(_heartbeat(options)):
            yield response

    async def _replay(
        self, session_id: UUID, after: int, through: int
    ) -> AsyncIterator[chat_pb2.ChatResponse]:
        repository = self._parts.sessions.repository
        while after < through:
            size = min(REPLAY_BATCH, through - after)
            payloads = await repository.payloads_after(session_id, after, size)
            if not payloads:
                return
            for payload in payloads:
                response = chat_pb2.ChatResponse.FromString(payload)
                response.replayed = True
                after = response.sequence
                yield response

    def _ready(
        self,
        live: LiveSession,
        call: Call,
        engine: ChatEngine,
        frame: chat_pb2.ChatRequest | None,
        options: chat_pb2.StreamOptions,
    ) -> chat_pb2.ChatResponse:
        now = self._parts.clock()
        return chat_pb2.ChatResponse(
            emit_time=timestamp(now),
            in_reply_to=frame.frame_id if frame is not None else "",
            session_ready=chat_pb2.SessionReady(
                session=session_message(live.session),
                resumed=live.session.last_sequence > 0,
                agents=_agents(engine),
                effective_options=chat_pb2.StreamOptions(
                    delta_interval=duration(options.delta_interval.ToTimedelta() or DELTA_INTERVAL),
                    heartbeat_interval=duration(_heartbeat(options)),
                ),
                credential_expire_time=timestamp(call.principal.expire_time),
                stream_expire_time=(
                    None
                    if call.deadline_seconds is None
                    else timestamp(now + timedelta(seconds=call.deadline_seconds))
                ),
                queue_limit=QUEUE_LIMIT,
            ),
        )


def _heartbeat(options: chat_pb2.StreamOptions) -> timedelta:
    return options.heartbeat_interval.ToTimedelta() or DEFAULT_HEARTBEAT


def _names(engine: ChatEngine) -> list[str]:
    return [card.name for card in engine.agents]


def _agents(engine: ChatEngine) -> list[resources_pb2.Agent]:
    return [agent_message(card, engine.model) for card in engine.agents]
