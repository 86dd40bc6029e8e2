"""Reading a stream of chat events: one task, a bounded queue, each event once."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import betterproto2
from grpc import aio

from .call_end import CallEnd, StreamEnded
from .generated.interview.agent.v1 import ChatRequest, ChatResponse, RunTurnRequest

EventCall = (
    aio.UnaryStreamCall[RunTurnRequest, ChatResponse]
    | aio.StreamStreamCall[ChatRequest, ChatResponse]
)

QUEUED_EVENTS = 256
"""Events read ahead of the consumer; beyond them the server is held up by flow control."""

TERMINAL = frozenset({"turn_completed", "turn_cancelled", "turn_failed"})
"""The kinds of event of which exactly one ends a turn."""


def kind_of(event: ChatResponse) -> str:
    """Return which member of the event is set, for example "text_delta"; "" if unknown here."""
    return betterproto2.which_one_of(event, "event")[0]


@dataclass(frozen=True, slots=True)
class _End:
    error: Exception | None


class EventReader:
    """Reads a call's events in a task of its own.

    A read of the call must never be cut short, because that would end the call; waiting for the
    queue may be, so `next` can be given up at any time. Events that came before are dropped, so
    are kinds that this version does not know; `last_sequence` counts both.
    """

    def __init__(
        self,
        call: EventCall,
        end: CallEnd,
        *,
        after_sequence: int = 0,
        notice: Callable[[ChatResponse], None] | None = None,
    ) -> None:
        self.last_sequence = after_sequence
        self._call = call
        self._call_end = end
        self._notice = notice
        self._queue: asyncio.Queue[ChatResponse | _End] = asyncio.Queue(QUEUED_EVENTS)
        self._end: _End | None = None
        self._task = asyncio.create_task(self._read())

    async def next(self) -> ChatResponse | None:
        """Return the next event, None after the last. Raises InterviewError if the call failed."""
        if self._end is None:
            item = await self._queue.get()
            if isinstance(item, ChatResponse):
                return item
            self._end = item
        if self._end.error is not None:
            raise self._end.error
        return None

    async def close(self) -> None:
        """End the call and the task. What was not yet taken is lost."""
        self._call.cancel()
        self._task.cancel()
        await asyncio.wait([self._task])
        while not self._queue.empty():
            self._queue.get_nowait()
        # Another task may still wait for the next event.
        self._queue.put_nowait(_End(StreamEnded("the stream was closed")))

    async def _read(self) -> None:
        error: Exception | None = None
        try:
            while True:
                event = await self._call.read()
                if not isinstance(event, ChatResponse):
                    break
                if self._is_new(event):
                    await self._queue.put(event)
        except aio.AioRpcError:
            error = await self._call_end.error()
        except Exception as failure:  # noqa: BLE001  # not lost: the consumer gets it
            error = failure
        await self._queue.put(_End(error))

    def _is_new(self, event: ChatResponse) -> bool:
        """Count the event; tell whether the consumer should get it."""
        repeated = 0 < event.sequence <= self.last_sequence
        self.last_sequence = max(self.last_sequence, event.sequence)
        if repeated or not kind_of(event):
            return False
        if self._notice is not None:
            self._notice(event)
        return True
