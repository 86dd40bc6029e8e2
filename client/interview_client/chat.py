"""A chat over one bidirectional stream."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from uuid import uuid4

from .call_end import CallEnd, StreamEnded
from .calls import CredentialSource
from .errors import InterviewError, error_of_status
from .events import TERMINAL, EventReader, kind_of
from .frames import ChatCall, FrameWriter
from .generated.google.rpc import Status
from .generated.interview.agent.v1 import (
    BusyPolicy,
    CancelTurnFrame,
    ChatRequest,
    ChatResponse,
    GoAway,
    PingFrame,
    RefreshCredentialFrame,
    SessionReady,
    TurnBudget,
    UserMessageFrame,
)


class ChatSession:
    """A conversation: send messages, iterate over the server's events.

    Made by `InterviewClient.chat`. Events come in order and once; kinds that this version does
    not know are left out. One task may iterate at a time; any may send. To go on after the
    stream has ended, open another one with `resume=(chat.session, chat.last_sequence)`.
    """

    def __init__(
        self, call: ChatCall, token: str | None, source: CredentialSource, after_sequence: int
    ) -> None:
        self._token = token
        self._source = source
        end = CallEnd(call)
        self._reader = EventReader(call, end, after_sequence=after_sequence, notice=self._notice)
        self._writer = FrameWriter(call, end)
        self._held: deque[ChatResponse] = deque()
        self._renewals: set[asyncio.Task[None]] = set()
        self.ready = SessionReady()
        """The server's first answer: the session, its agents, the options in force."""
        self.go_away: GoAway | None = None
        """Set when the server says that the stream ends soon."""

    async def open(self, first: ChatRequest) -> None:
        """Send the first frame and wait until the server takes messages.

        Raises InterviewError. `InterviewClient.chat` has done this already.
        """
        await self._writer.send(first)
        async for event in self:
            if event.session_ready is not None:
                self.ready = event.session_ready
                return
            if event.frame_rejected is not None:
                raise _rejection(event.frame_rejected.status)
        raise StreamEnded("the stream has ended before the session was ready")

    async def close(self) -> None:
        """End the stream. A running turn is cancelled."""
        for renewal in self._renewals:
            renewal.cancel()
        await self._writer.close()
        await self._reader.close()

    @property
    def session(self) -> str:
        """Resource name of the session, "sessions/{session}"."""
        return "" if self.ready.session is None else self.ready.session.name

    @property
    def last_sequence(self) -> int:
        """Sequence of the newest event read from the server, unknown kinds included."""
        return self._reader.last_sequence

    def __aiter__(self) -> AsyncIterator[ChatResponse]:
        """Yield events until the stream ends. Raises InterviewError if it ends badly."""
        return self

    async def __anext__(self) -> ChatResponse:
        """Return the next event. Giving up the wait loses nothing."""
        event = self._held.popleft() if self._held else await self._reader.next()
        if event is None:
            raise StopAsyncIteration
        return event

    async def send(
        self,
        text: str,
        turn_id: str | None = None,
        *,
        busy_policy: BusyPolicy = BusyPolicy.UNSPECIFIED,
        budget: TurnBudget | None = None,
    ) -> str:
        """Send a message and return its turn's id, a new UUID unless given.

        The same id and text sent again is the same turn and runs once.
        """
        turn_id = turn_id or str(uuid4())
        message = UserMessageFrame(
            turn_id=turn_id,
            text=text,
            busy_policy=busy_policy,
            budget=budget,
        )
        await self.send_frame(ChatRequest(frame_id=turn_id, user_message=message))
        return turn_id

    async def cancel(self, turn_id: str = "") -> None:
        """Cancel a turn, by default the one that runs; TurnCancelled follows."""
        await self.send_frame(ChatRequest(cancel_turn=CancelTurnFrame(turn_id=turn_id)))

    async def ping(self, payload: bytes = b"") -> None:
        """Ask for a Pong with the payload, at most 64 bytes."""
        await self.send_frame(ChatRequest(ping=PingFrame(payload=payload)))

    async def send_frame(self, frame: ChatRequest) -> None:
        """Send any frame of the protocol. Raises InterviewError when the stream has ended."""
        await self._writer.send(frame)

    async def half_close(self) -> None:
        """Say that no more frames come; turns that wait still run, then the stream ends."""
        await self._writer.send(None)

    async def turn(
        self, text: str, turn_id: str | None = None
    ) -> AsyncGenerator[ChatResponse, None]:
        """Send a message and yield its turn's events, the terminal one last.

        A failed turn is an event, `turn_failed`; a message that the server refuses raises its
        InterviewError, a stream that ends before the turn does StreamEnded. Events of other
        turns wait for the next iteration over the chat.
        """
        turn_id = await self.send(text, turn_id)
        while True:
            event = self._held_event(turn_id) or await self._turn_event(turn_id)
            yield event
            if kind_of(event) in TERMINAL:
                return

    async def rest(self) -> None:
        """Wait for the stream's end while no turn runs. Raises InterviewError if it ends badly.

        What comes meanwhile is kept as `turn` does it. Giving up the wait loses nothing.
        """
        while (event := await self._reader.next()) is not None:
            self._hold(event)

    def _held_event(self, turn_id: str) -> ChatResponse | None:
        for event in self._held:
            if event.turn_id == turn_id:
                self._held.remove(event)
                return event
        return None

    async def _turn_event(self, turn_id: str) -> ChatResponse:
        while (event := await self._reader.next()) is not None:
            rejected = event.frame_rejected
            if rejected is not None and event.in_reply_to == turn_id:
                raise _rejection(rejected.status)
            if event.turn_id == turn_id:
                return event
            self._hold(event)
        raise StreamEnded("the stream has ended before the turn")

    def _hold(self, event: ChatResponse) -> None:
        # Heartbeats and the like belong to the stream and mean nothing later.
        if event.turn_id or event.frame_rejected is not None:
            self._held.append(event)

    def _notice(self, event: ChatResponse) -> None:
        """Look at an event before the consumer does."""
        if event.go_away is not None:
            self.go_away = event.go_away
        if event.credential_expiring is not None:
            renewal = asyncio.create_task(self._renew_credential())
            self._renewals.add(renewal)
            renewal.add_done_callback(self._renewed)

    async def _renew_credential(self) -> None:
        self._token = await self._source(rejected=self._token)
        if self._token is not None:
            frame = RefreshCredentialFrame(access_token=self._token)
            await self.send_frame(ChatRequest(refresh_credential=frame))

    def _renewed(self, renewal: asyncio.Task[None]) -> None:
        self._renewals.discard(renewal)
        if not renewal.cancelled():
            # Without a new credential the server ends the stream, and the reader says why.
            renewal.exception()


def _rejection(status: Status | None) -> InterviewError:
    return error_of_status(status or Status())
