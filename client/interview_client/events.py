"""Reading a stream of chat events: one task, a bounded queue, each event once."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import betterproto2
import grpc
from grpc import aio

from .errors import InterviewError, Unavailable, error_of_call
from .generated.interview.agent.v1 import ChatRequest, ChatResponse, RunTurnRequest

T = TypeVar("T")
EventCall = (
    aio.UnaryStreamCall[RunTurnRequest, ChatResponse]
    | aio.StreamStreamCall[ChatRequest, ChatResponse]
)

QUEUED_EVENTS = 256
"""Events read ahead of the consumer; beyond them the server is held up by flow control."""

TERMINAL = frozenset({"turn_completed", "turn_cancelled", "turn_failed"})
"""The kinds of event of which exactly one ends a turn."""


class StreamEnded(Unavailable):
    """The stream is over although something was still expected of it; resume the session."""


def kind_of(event: ChatResponse) -> str:
    """Return which member of the event is set, for example "text_delta"; "" if unknown here."""
    return betterproto2.which_one_of(event, "event")[0]


class CallEnd:
    """What a call ended with, kept at the moment when it ends.

    Asking later is too late: a write that meets the end of its call makes grpc.aio replace what
    the server said by INTERNAL.
    """

    def __init__(self, call: EventCall) -> None:
        self._call = call
        self._code: grpc.StatusCode | None = None
        self._error: InterviewError | None = None
        call.add_done_callback(self._keep)

    async def error(self) -> InterviewError | None:
        """Wait for the end and return its typed error; None where the call ended well."""
        await self._call.code()
        return self._error

    def _keep(self, call: EventCall) -> None:
        if self._code is not None:
            return
        self._code = _at_once(call.code())
        if self._code is not grpc.StatusCode.OK:
            trailers, text = _at_once(call.trailing_metadata()), _at_once(call.details())
            failure = aio.AioRpcError(self._code, aio.Metadata(), trailers, text)
            self._error = error_of_call(failure, idempotent=False)


def _at_once(answer: Coroutine[Any, Any, T]) -> T:
    """Return a coroutine's result; for the questions to a call that do not wait once it is over."""
    try:
        answer.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise RuntimeError("the call is not over")


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
