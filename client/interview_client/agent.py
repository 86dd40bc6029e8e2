"""The agents: ask, run one turn, chat."""
# ruff: noqa: ASYNC109  # a timeout here is the call's deadline, which the server is told

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from .call_end import CallEnd
from .calls import RENEWABLE, Calls, bearer
from .chat import ChatSession
from .errors import Unauthenticated
from .events import EventReader
from .generated.interview.agent.v1 import (
    Agent,
    AskRequest,
    AskResponse,
    ChatRequest,
    ChatResponse,
    ListAgentsRequest,
    ResumeFrame,
    RunTurnRequest,
    SessionConfig,
    StartFrame,
    StreamOptions,
    TurnBudget,
    UserMessageFrame,
)
from .generated.interview.agent.v1.agent_service_stub import AgentServiceStub
from .generated.methods import AgentService as Methods
from .paging import Page, PageIterator


class AgentCalls:
    """Calls of the agents. Each raises InterviewError; `timeout` is in seconds."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._stub = AgentServiceStub(calls.channel)
        self._ask = calls.unary(self._stub.ask, Methods.ASK)
        self._list_agents = calls.unary(self._stub.list_agents, Methods.LIST_AGENTS)

    async def ask(
        self,
        question: str,
        *,
        session: str = "",
        config: SessionConfig | None = None,
        budget: TurnBudget | None = None,
        request_id: str = "",
        timeout: float | None = None,
    ) -> AskResponse:
        """Ask and return the whole answer with its citations.

        `session` goes on with the session of an earlier answer. The same `request_id` sent
        again does not ask twice.
        """
        request = AskRequest(
            session=session,
            question=question,
            config=config,
            budget=budget,
            request_id=request_id,
        )
        return await self._ask(request, timeout)

    def list_agents(
        self, *, page_size: int = 0, page_token: str = "", timeout: float | None = None
    ) -> PageIterator[Agent]:
        """Return the agents and what they can do; `timeout` is for each page."""

        async def fetch(token: str) -> Page[Agent]:
            request = ListAgentsRequest(page_size=page_size, page_token=token)
            response = await self._list_agents(request, timeout)
            return Page(response.agents, response.next_page_token)

        return PageIterator(fetch, page_token)

    async def run_turn(
        self,
        text: str,
        *,
        session: str = "",
        config: SessionConfig | None = None,
        turn_id: str | None = None,
        budget: TurnBudget | None = None,
        after_sequence: int = 0,
        timeout: float | None = None,
    ) -> AsyncGenerator[ChatResponse, None]:
        """Run one turn and yield its events until the server ends the stream.

        Leaving early ends the stream; `aclose()` does it at once.
        """
        message = UserMessageFrame(turn_id=turn_id or str(uuid4()), text=text, budget=budget)
        request = RunTurnRequest(
            session=session, config=config, user_message=message, after_sequence=after_sequence
        )
        call = self._stub.run_turn(
            request,
            timeout=Methods.RUN_TURN.default_timeout if timeout is None else timeout,
            metadata=await self._calls.metadata(),
        )
        reader = EventReader(call, CallEnd(call), after_sequence=after_sequence)
        try:
            while (event := await reader.next()) is not None:
                yield event
        finally:
            await reader.close()

    @asynccontextmanager
    async def chat(
        self,
        *,
        config: SessionConfig | None = None,
        session_id: str = "",
        resume: tuple[str, int] | None = None,
        options: StreamOptions | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[ChatSession]:
        """Open a chat, or go on with one: `resume` is its session and last sequence.

        `timeout` bounds the stream, not the turns; None: no bound.
        """
        if resume is None:
            start = StartFrame(session_id=session_id, config=config, options=options)
            first, after_sequence = ChatRequest(start=start), 0
        else:
            session, after_sequence = resume
            first = ChatRequest(
                resume=ResumeFrame(session=session, after_sequence=after_sequence, options=options)
            )
        chat = await self._opened(first, after_sequence, timeout)
        try:
            yield chat
        finally:
            await chat.close()

    async def _opened(
        self, first: ChatRequest, after_sequence: int, timeout: float | None
    ) -> ChatSession:
        token = await self._calls.source()
        try:
            return await self._attempt(first, after_sequence, timeout, token)
        except Unauthenticated as error:
            if error.reason not in RENEWABLE:
                raise
            renewed = await self._calls.source(rejected=token)
            if renewed is None or renewed == token:
                raise
        return await self._attempt(first, after_sequence, timeout, renewed)

    async def _attempt(
        self, first: ChatRequest, after_sequence: int, timeout: float | None, token: str | None
    ) -> ChatSession:
        call = self._stub.chat(timeout=timeout, metadata=bearer(token))
        chat = ChatSession(call, token, self._calls.source, after_sequence)
        try:
            await chat.open(first)
        except BaseException:
            await chat.close()
            raise
        return chat
