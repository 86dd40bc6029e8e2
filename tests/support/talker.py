"""A client that keeps a chat going over streams that end, and remembers all that it was told."""

import asyncio
import dataclasses
from contextlib import AsyncExitStack
from uuid import uuid4

from interview_client import (
    TERMINAL,
    ChatSession,
    FailedPrecondition,
    InterviewClient,
    InterviewError,
    StreamEnded,
    Unavailable,
    error_of_status,
    kind_of,
)
from interview_client.messages import ChatResponse, Status

RETRY_SECONDS = 0.1
TO_BE_REPEATED = ("WRONG_STATE", "SESSION_ATTACHED_ELSEWHERE")
"""Reasons of a frame or stream that was refused before anything happened: the stream was ending
already, or the one before it has not quite ended."""


@dataclasses.dataclass
class Turn:
    """A turn of which nobody knows more than the client was told."""

    text: str
    turn_id: str = dataclasses.field(default_factory=lambda: str(uuid4()))
    end: str = ""
    """The kind of its terminal event; empty: not known."""
    reason: str = ""
    """Why it failed."""
    sent: int = 0
    """How often its message was sent."""


class Talker:
    """One session. `told` has every stored event that came, by its sequence."""

    def __init__(self, client: InterviewClient) -> None:
        self._client = client
        self._open = AsyncExitStack()
        self._chat: ChatSession | None = None
        self._session_id = str(uuid4())
        self.session = ""
        self.told: dict[int, ChatResponse] = {}
        self.turns: list[Turn] = []
        self.streams = 0
        self.go_aways = 0
        self.ends: list[InterviewError] = []
        """What streams ended with."""

    @property
    def unfinished(self) -> Turn | None:
        """The turn whose end is not known."""
        return next((turn for turn in self.turns if not turn.end), None)

    async def turn(self, text: str) -> Turn:
        """Say something and stay with it, over as many streams as it takes, until it ends."""
        turn = Turn(text)
        self.turns.append(turn)
        while not turn.end:
            try:
                await self.go_on(turn)
            except InterviewError as error:
                if not isinstance(error, Unavailable) and error.reason not in TO_BE_REPEATED:
                    raise
                await asyncio.sleep(RETRY_SECONDS)
        return turn

    async def go_on(self, turn: Turn) -> None:
        """Send the turn's message on a stream that is open, and read until the turn's end.

        Raises InterviewError when the stream ends first; the turn may have begun or not.
        """
        chat = await self._stream()
        try:
            if not turn.end:  # the replay may have told it
                turn.sent += 1
                await chat.send(turn.text, turn.turn_id)
            while not turn.end:
                await self._read(chat)
        except InterviewError as error:
            await self._left(error)
            raise

    async def listen(self) -> InterviewError:
        """Read to the end of the stream and return what it ended with."""
        chat = self._chat or await self._stream()
        try:
            while True:
                await self._read(chat)
        except InterviewError as error:
            await self._left(error)
            return error

    async def open(self) -> None:
        """Have a stream that is open."""
        await self._stream()

    async def close(self) -> None:
        """Leave."""
        await self._left(None)

    async def stored(self, *again: Turn) -> list[ChatResponse]:
        """Return all that the server keeps of the session, in order.

        Before that the messages of these turns are sent again.
        """
        await self.close()
        while True:
            try:
                async with self._client.chat(resume=(self.session, 0)) as chat:
                    for turn in again:
                        await chat.send(turn.text, turn.turn_id)
                    await chat.half_close()
                    return [
                        dataclasses.replace(e, replayed=False) async for e in chat if e.sequence
                    ]
            except FailedPrecondition as error:
                # The server has not seen yet that the stream before this one is over.
                if error.reason not in TO_BE_REPEATED:
                    raise
                await asyncio.sleep(RETRY_SECONDS)

    async def _stream(self) -> ChatSession:
        if self._chat is not None and self._chat.go_away is None:
            return self._chat
        await self._left(None)
        resume = (self.session, max(self.told, default=0)) if self.session else None
        # The id is chosen once: an opening whose answer is lost is not a second session.
        opening = self._client.chat(resume=resume, session_id="" if resume else self._session_id)
        self._chat = await self._open.enter_async_context(opening)
        self.streams += 1
        self.session = self._chat.session
        if resume is not None:
            while (await self._read(self._chat)).replay_completed is None:
                pass
        return self._chat

    async def _read(self, chat: ChatSession) -> ChatResponse:
        event = await anext(chat, None)
        if event is None:
            raise StreamEnded("the stream has ended")
        if event.sequence:
            self.told[event.sequence] = dataclasses.replace(event, replayed=False)
        if event.go_away is not None:
            self.go_aways += 1
        if event.frame_rejected is not None:
            raise error_of_status(event.frame_rejected.status or Status())
        kind = kind_of(event)
        if kind in TERMINAL:
            for turn in self.turns:
                if turn.turn_id == event.turn_id:
                    assert not turn.end, f"turn {turn.turn_id} ended twice"
                    turn.end = kind
                    turn.reason = _reason(event)
        return event

    async def _left(self, error: InterviewError | None) -> None:
        if error is not None:
            self.ends.append(error)
        self._chat = None
        await self._open.aclose()


def _reason(event: ChatResponse) -> str:
    if event.turn_failed is None:
        return ""
    return error_of_status(event.turn_failed.status or Status()).reason
