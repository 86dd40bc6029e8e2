"""What a stream ended with."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import grpc
from grpc import aio

from .errors import InterviewError, Unavailable, error_of_call

TOLD_SECONDS = 1.0
"""How long to wait for the server's own words on why a write failed."""
OF_A_WRITE = "Internal error from Core"
"""What grpc.aio makes of a write that met the end of its call."""

T = TypeVar("T")
AnyCall = (
    aio.UnaryStreamCall[Any, Any] | aio.StreamUnaryCall[Any, Any] | aio.StreamStreamCall[Any, Any]
)


class StreamEnded(Unavailable):
    """The stream is over although something was still expected of it; resume the session."""


class CallEnd:
    """What a call ended with, kept at the moment when it ends.

    Asking later is too late: a write that meets the end of its call makes grpc.aio replace what
    the server said by INTERNAL. Where the write is the first to meet it, what the server said
    follows in a moment.
    """

    def __init__(self, call: AnyCall, *, idempotent: bool = False) -> None:
        self._call = call
        self._idempotent = idempotent
        self._is_told = asyncio.Event()
        self._error: InterviewError | None = None
        call.add_done_callback(self._keep)

    async def error(self) -> InterviewError | None:
        """Wait for the end and return its typed error; None where the call ended well."""
        await self._call.code()
        with suppress(TimeoutError):
            async with asyncio.timeout(TOLD_SECONDS):
                await self._is_told.wait()
        return self._error

    def _keep(self, call: AnyCall) -> None:
        if self._is_told.is_set():
            return
        code, text = _at_once(call.code()), _at_once(call.details())
        if code is not grpc.StatusCode.OK:
            failure = aio.AioRpcError(
                code, aio.Metadata(), _at_once(call.trailing_metadata()), text
            )
            self._error = error_of_call(failure, idempotent=self._idempotent)
        if not (code is grpc.StatusCode.INTERNAL and text == OF_A_WRITE):
            self._is_told.set()


def _at_once(answer: Coroutine[Any, Any, T]) -> T:
    """Return a coroutine's result; for the questions to a call that do not wait once it is over."""
    try:
        answer.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise RuntimeError("the call is not over")
