"""A chat over as many streams as it takes."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing

from interview_client.chat import ChatSession
from interview_client.client import InterviewClient
from interview_client.errors import (
    Cancelled,
    DeadlineExceeded,
    InterviewError,
    TokenExpired,
    Unavailable,
)
from interview_client.messages import Agent, ChatResponse, SessionReady

from .connection import Connection
from .failures import Failure

RESUME_PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0)
"""Seconds before each attempt to come back: a server that restarts is away for some."""

_STREAM_LOST = (Cancelled, TokenExpired, Unavailable)
"""How a stream ends that another one may go on from."""
_NEXT_TURN_RESUMES = (*_STREAM_LOST, DeadlineExceeded)
"""Ends that need not be told while nothing is asked: the stream was lost, or had its time."""


class Conversation:
    """One session: sends messages, yields their events, comes back when the stream is lost.

    `session` is a session to go on with, "" for a new one; `notice` is told what the person
    should know, `at_rest` that the server ended the chat while no turn ran. All errors come out
    as Failure.
    """

    def __init__(
        self,
        connection: Connection,
        session: str,
        notice: Callable[[str], None],
        at_rest: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._asked = session
        self._notice = notice
        self._at_rest = at_rest
        self._rest: asyncio.Task[None] | None = None
        self._closed = False
        self._told: InterviewError | None = None
        self.over: Failure | None = None
        """Why the server ended the chat since the last turn, where it cannot be gone on with."""
        self._client_stack = AsyncExitStack()
        self._stream_stack = AsyncExitStack()
        self._client: InterviewClient
        self._chat: ChatSession

    @property
    def session(self) -> str:
        """Resource name of the session."""
        return self._chat.session

    @property
    def agents(self) -> Sequence[Agent]:
        """The agents of the session."""
        return self._chat.ready.agents

    @property
    def ready(self) -> SessionReady:
        """What the server said at the start."""
        return self._chat.ready

    async def open(self) -> None:
        """Connect and open the session. Raises Failure."""
        self._client = await self._client_stack.enter_async_context(self._connection.client())
        try:
            await self._open_stream((self._asked, 0) if self._asked else None)
        except InterviewError as error:
            raise self._connection.explained(error) from error

    async def close(self) -> None:
        """End the stream and the connection."""
        self._closed = True
        await self._stop_rest()
        await self._stream_stack.aclose()
        await self._client_stack.aclose()

    async def history(self) -> AsyncGenerator[ChatResponse, None]:
        """Yield the events of a session that was gone on with. Raises Failure."""
        try:
            async for event in self._chat:
                if event.replay_completed is not None:
                    return
                yield event
        except InterviewError as error:
            raise self._connection.explained(error) from error

    async def rest(self) -> None:
        """Watch the stream from now on to the next turn."""
        await self._stop_rest()
        # A turn that is given up may end after the conversation.
        if not self._closed:
            self._rest = asyncio.create_task(self._wait_for_end())

    async def turn(self, text: str, turn_id: str) -> AsyncGenerator[ChatResponse, None]:
        """Send the message and yield its turn's events, then rest. Raises Failure."""
        await self._stop_rest()
        self.over = None
        try:
            async with aclosing(self._turn(text, turn_id)) as events:
                async for event in events:
                    yield event
        except InterviewError as error:
            self._told = error
            raise self._connection.explained(error) from error
        finally:
            await self.rest()

    async def cancel(self, turn_id: str) -> None:
        """Ask for the turn's end. Without a stream there is nothing to end."""
        try:
            await self._chat.cancel(turn_id)
        except InterviewError:
            self._notice("the connection is lost")

    async def _turn(self, text: str, turn_id: str) -> AsyncGenerator[ChatResponse, None]:
        if self._chat.go_away is not None:
            await self._resume("the server ended the stream")
        try:
            async with aclosing(self._chat.turn(text, turn_id)) as events:
                async for event in events:
                    yield event
        except _STREAM_LOST:
            await self._resume("the connection was lost")
            # The same turn again: the server knows whether it has it, and runs it once.
            async with aclosing(self._chat.turn(text, turn_id)) as events:
                async for event in events:
                    yield event

    async def _wait_for_end(self) -> None:
        try:
            await self._chat.rest()
        except _NEXT_TURN_RESUMES:
            return
        except InterviewError as error:
            # Each read of a stream that has ended raises the same again.
            if error is not self._told:
                self._told = error
                why = f"{error.message} ({error.reason or error.code.name})"
                self.over = Failure(f"the server ended the chat: {why}")
                self._at_rest(str(self.over))

    async def _stop_rest(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            await asyncio.wait([self._rest])

    async def _resume(self, why: str) -> None:
        self._notice(f"{why}; resuming {self.session}")
        resume = (self.session, self._chat.last_sequence)
        for pause in RESUME_PAUSES:
            await asyncio.sleep(pause)
            try:
                await self._open_stream(resume)
            except Unavailable as error:
                lost = error
            else:
                self._notice("the session goes on")
                return
        raise lost

    async def _open_stream(self, resume: tuple[str, int] | None) -> None:
        await self._stream_stack.aclose()
        self._chat = await self._stream_stack.enter_async_context(self._client.chat(resume=resume))
