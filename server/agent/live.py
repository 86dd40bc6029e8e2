"""A session attached to one stream: its tasks, and the queue of what is to be sent."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Self

from structlog.typing import FilteringBoundLogger

from server.agent.conversation import Conversation
from server.agent.domain import Session, SessionRepository
from server.agent.engine import ChatEngine
from server.agent.events import CancelCause, SessionEvent
from server.agent.mapping import response_message
from server.agent.publisher import DELTA_INTERVAL, Publisher
from server.core.clock import Clock
from server.core.errors import DomainError, PermissionDenied
from server.core.telemetry import Telemetry
from server.generated.interview.agent.v1 import chat_pb2
from server.rpc.well_known import timestamp

OUTBOX_EVENTS = 256
OUTBOX_BYTES = 256 * 1024
_STORE_SECONDS = 3.0
"""How long the last events of a stream that was cut may take to be stored."""


class Outbox:
    """What is to be sent, in order; bounded for whoever asks for room first."""

    def __init__(self) -> None:
        self._items: deque[chat_pb2.ChatResponse] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False
        self._discarding = False
        self._error: Exception | None = None

    def put(self, response: chat_pb2.ChatResponse) -> None:
        """Queue a response."""
        if self._discarding:
            return
        self._items.append(response)
        self._bytes += response.ByteSize()
        if len(self._items) >= OUTBOX_EVENTS or self._bytes >= OUTBOX_BYTES:
            self._room.clear()
        self._filled.set()

    def discard(self) -> None:
        """Nobody reads any more: take everything and keep nothing."""
        self._discarding = True
        self._items.clear()
        self._room.set()

    async def room(self) -> None:
        """Wait until the reader has caught up."""
        await self._room.wait()

    def close(self, error: Exception | None = None) -> None:
        """End the stream behind what is queued, with an error or well. The first end counts."""
        if not self._closed:
            self._closed, self._error = True, error
            self._filled.set()

    async def filled(self, silence: timedelta) -> bool:
        """Wait for a response or the end; False where neither came for so long."""
        if self._items or self._closed:
            return True
        self._filled.clear()
        try:
            async with asyncio.timeout(silence.total_seconds()):
                await self._filled.wait()
        except TimeoutError:
            return False
        return True

    def take(self) -> chat_pb2.ChatResponse | None:
        """Return the next response; None at the end of the stream.

        Raises:
            Exception: the error that the stream was closed with.
        """
        if not self._items:
            if self._error is not None:
                raise self._error
            return None
        response = self._items.popleft()
        self._bytes -= response.ByteSize()
        if len(self._items) < OUTBOX_EVENTS and self._bytes < OUTBOX_BYTES:
            self._room.set()
        return response


class LiveSession:
    """Runs a session's turns for as long as the stream's block lasts.

    When the block ends, however it ends, the running turn is cancelled, its model call is
    stopped, no task is left, and what had happened is stored. `revoked` tells whether it ends
    because its caller's right to it did.
    """

    def __init__(  # noqa: PLR0913  # what a stream is made of, nearly all of it by name
        self,
        session: Session,
        engine: ChatEngine,
        repository: SessionRepository,
        *,
        clock: Clock,
        new_id: Callable[[], str],
        log: FilteringBoundLogger,
        telemetry: Telemetry,
        request_id: str,
        revoked: Callable[[], bool],
        delta_interval: timedelta | None = None,
    ) -> None:
        self.session = session
        self.outbox = Outbox()
        self._repository = repository
        self._clock = clock
        self._request_id = request_id
        self._revoked = revoked
        self._publisher = Publisher(session, self._deliver, clock, delta_interval or DELTA_INTERVAL)
        self.conversation = Conversation(
            session, engine, self._publisher, new_id=new_id, log=log, telemetry=telemetry
        )
        self.sent_sequence = session.last_sequence
        """The last event that was stored and handed to the stream."""
        self.final_error: Exception | None = None
        """What the stream ends with once its turns are done; None ends it well."""
        self._publishing: asyncio.Task[None]
        self._others: list[asyncio.Task[None]] = []
        self._ending = False
        self._cut_cause = CancelCause.CLIENT_GONE

    async def __aenter__(self) -> Self:
        """Start the tasks."""
        # Before anybody can submit a turn: what is unfinished now, nobody will finish.
        self.conversation.fail_lost_turns()
        self._publishing = self._spawn(self._publisher.run())
        self._others.append(self._spawn(self._converse()))
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Stop everything. What happened is stored, though nobody reads it any more."""
        closing = asyncio.create_task(self._close())
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:  # once more, by another of the ways in which a call ends
            await asyncio.wait({closing})
            raise

    async def _close(self) -> None:
        cause = CancelCause.PRINCIPAL_REVOKED if self._revoked() else self._cut_cause
        self.conversation.close(cause)
        self.conversation.cancel(None, cause)
        for task in self._others:
            task.cancel()
        await asyncio.gather(*self._others, return_exceptions=True)
        self.outbox.discard()
        # Never cut in the middle of a transaction: its events would be lost to the log.
        flush = asyncio.create_task(self._publisher.flush())
        either = asyncio.FIRST_COMPLETED
        await asyncio.wait({flush, self._publishing}, timeout=_STORE_SECONDS, return_when=either)
        for task in (flush, self._publishing):
            task.cancel()
        await asyncio.gather(flush, self._publishing, return_exceptions=True)

    def run(self, work: Coroutine[None, None, None]) -> None:
        """Run something beside the turns for as long; its error ends the stream."""
        self._others.append(self._spawn(work))

    def drain(self) -> None:
        """Let the running turn end and cancel those that wait; then the stream ends."""
        self._cut_cause = CancelCause.SERVER_DRAINING
        self.conversation.close(CancelCause.SERVER_DRAINING)

    def end_session(self) -> None:
        """Cancel every turn, say that the session ended, and end the stream."""
        self._ending = True
        self.conversation.end()

    def send(self, **fields: object) -> None:
        """Queue a frame of the stream itself: it has no sequence number and is not stored."""
        now = timestamp(self._clock())
        self.outbox.put(chat_pb2.ChatResponse(emit_time=now, **fields))  # type: ignore[arg-type]  # checked by protobuf

    async def responses(self, heartbeat: timedelta) -> AsyncGenerator[chat_pb2.ChatResponse, None]:
        """Yield what is to be sent until the stream ends; raise what it ends with."""
        while True:
            if not await self.outbox.filled(heartbeat):
                self.send(heartbeat=chat_pb2.Heartbeat(last_sequence=self.sent_sequence))
            response = self.outbox.take()
            if response is None:
                return
            yield response

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            # By us when the stream is over already; by anybody else it must not hang.
            self.outbox.close(DomainError("internal error", reason="INTERNAL"))
        elif (error := task.exception()) is not None:
            if isinstance(error, PermissionDenied):
                self._cut_cause = CancelCause.PRINCIPAL_REVOKED
            self.outbox.close(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    async def _converse(self) -> None:
        await self.conversation.run()
        if self._ending:
            self.conversation.publish_end()
        await self._publisher.flush()
        self.outbox.close(self.final_error)

    async def _deliver(self, events: Sequence[SessionEvent]) -> None:
        responses = [response_message(event, self._request_id) for event in events]
        payloads = [response.SerializeToString() for response in responses]
        await self._repository.append(self.session, events, payloads)
        for response in responses:
            if response.WhichOneof("event") not in self.session.options.muted:
                await self.outbox.room()
                self.outbox.put(response)
            self.sent_sequence = response.sequence
