"""What a stream ended with."""

from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc
from grpc import aio

from .errors import InterviewError, Unavailable, error_of_call

T = TypeVar("T")
AnyCall = (
    aio.UnaryStreamCall[Any, Any] | aio.StreamUnaryCall[Any, Any] | aio.StreamStreamCall[Any, Any]
)


class StreamEnded(Unavailable):
    """The stream is over although something was still expected of it; resume the session."""


class CallEnd:
    """What a call ended with, kept at the moment when it ends.

    Asking later is too late: a write that meets the end of its call makes grpc.aio replace what
    the server said by INTERNAL.
    """

    def __init__(self, call: AnyCall, *, idempotent: bool = False) -> None:
        self._call = call
        self._idempotent = idempotent
        self._code: grpc.StatusCode | None = None
        self._error: InterviewError | None = None
        call.add_done_callback(self._keep)

    async def error(self) -> InterviewError | None:
        """Wait for the end and return its typed error; None where the call ended well."""
        await self._call.code()
        return self._error

    def _keep(self, call: AnyCall) -> None:
        if self._code is not None:
            return
        self._code = _at_once(call.code())
        if self._code is not grpc.StatusCode.OK:
            trailers, text = _at_once(call.trailing_metadata()), _at_once(call.details())
            failure = aio.AioRpcError(self._code, aio.Metadata(), trailers, text)
            self._error = error_of_call(failure, idempotent=self._idempotent)


def _at_once(answer: Coroutine[Any, Any, T]) -> T:
    """Return a coroutine's result; for the questions to a call that do not wait once it is over."""
    try:
        answer.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise RuntimeError("the call is not over")
