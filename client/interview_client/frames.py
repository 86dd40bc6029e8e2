"""Writing a stream's frames: one task, in order."""

import asyncio
from dataclasses import dataclass, field

from grpc import aio

from .call_end import CallEnd, StreamEnded
from .generated.interview.agent.v1 import ChatRequest, ChatResponse

ChatCall = aio.StreamStreamCall[ChatRequest, ChatResponse]


def _future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True)
class _Outgoing:
    """A frame on its way; None half-closes. `sent` is done when the transport has it."""

    frame: ChatRequest | None
    sent: asyncio.Future[None] = field(default_factory=_future)

    def fail(self, error: Exception) -> None:
        if not self.sent.done():
            self.sent.set_exception(error)


class FrameWriter:
    """Writes a call's frames in a task of its own, one at a time.

    A write of the call must never be cut short, because that would end the call; waiting for it
    may be.
    """

    def __init__(self, call: ChatCall, end: CallEnd) -> None:
        self._call = call
        self._end = end
        self._queue: asyncio.Queue[_Outgoing] = asyncio.Queue()
        self._closed = False
        self._task = asyncio.create_task(self._write())

    async def send(self, frame: ChatRequest | None) -> None:
        """Hand the frame to the transport. Raises StreamEnded, or why the call failed.

        A frame whose sender gives up before its turn has come is not sent.
        """
        if self._closed:
            raise StreamEnded("this side of the stream is closed")
        if frame is None:
            self._closed = True
        outgoing = _Outgoing(frame)
        self._queue.put_nowait(outgoing)
        await outgoing.sent

    async def close(self) -> None:
        """End the task; frames that were not written fail with StreamEnded."""
        self._closed = True
        self._task.cancel()
        await asyncio.wait([self._task])
        while not self._queue.empty():
            self._queue.get_nowait().fail(StreamEnded("the stream was closed"))

    async def _write(self) -> None:
        while True:
            outgoing = await self._queue.get()
            if outgoing.sent.cancelled():
                continue
            try:
                await self._write_one(outgoing.frame)
            except (aio.AioRpcError, asyncio.InvalidStateError):
                outgoing.fail(await self._end.error() or StreamEnded("the stream has ended"))
            except asyncio.CancelledError:
                outgoing.fail(StreamEnded("the stream was closed"))
                raise
            except Exception as error:  # noqa: BLE001  # not lost: the sender gets it
                outgoing.fail(error)
            else:
                if not outgoing.sent.done():
                    outgoing.sent.set_result(None)

    async def _write_one(self, frame: ChatRequest | None) -> None:
        if frame is None:
            await self._call.done_writing()
        else:
            await self._call.write(frame)
