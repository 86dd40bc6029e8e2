"""Streams that are opened again where they were cut."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from time import monotonic
from typing import TypeVar

from grpc import aio

from .calls import FIRST_PAUSE, RENEWABLE, CredentialSource, Metadata, bearer, pause_before
from .errors import (
    DeadlineExceeded,
    InterviewError,
    SlowConsumer,
    Unauthenticated,
    Unavailable,
    error_of_call,
)

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")
Sleep = Callable[[float], Awaitable[None]]

PATIENCE = 300.0
"""How long, in seconds, a stream is opened again and again without getting on."""
LONGEST_PAUSE = 10.0
FULL_PATIENCE = 5.0
"""How long, in seconds, a first stream waits for the place of one that has just ended."""

_PASSING = frozenset({"TOO_MANY_STREAMS", "RATE_LIMITED", "TRANSACTION_CONFLICT"})
"""The server may still count the stream that was cut, or be busy with those of others."""
_OF_A_PROXY = frozenset({"INTERNAL", "UNKNOWN", "CANCELLED"})
"""Codes of a connection that was cut on the way, where no reason comes with them."""


class Resumption:
    """Tells whether a stream that was cut is opened again, and waits before it is.

    A stream that has not brought anything yet is not: its error is raised, as that of any call.
    But the server may still count one that this caller has just left, so TOO_MANY_STREAMS is
    waited out for a moment.
    """

    def __init__(
        self,
        source: CredentialSource,
        patience: float = PATIENCE,
        *,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._source = source
        self._patience = patience
        self._sleep = sleep
        self._clock = clock
        self._token: str | None = None
        self._refused: str | None = None
        self._begun = False
        self._got_on = False
        self._was_cut = False
        self._failures = 0
        self._since: float | None = None

    async def metadata(self) -> Metadata:
        """Return the metadata of the next stream, with a token that was not refused."""
        self._token = await self._source(rejected=self._refused)
        return bearer(self._token)

    def begin(self) -> None:
        """Note that the server takes the stream, which is opened again from now on."""
        self._begun = True

    def progress(self) -> None:
        """Note that the stream gets on."""
        self.begin()
        self._got_on = True
        self._failures = 0
        self._since = None

    async def wait(self, error: InterviewError) -> None:
        """Wait until it is time for another stream; raise the error where none is to follow."""
        if isinstance(error, Unauthenticated):
            self._renew(error)
            return
        patience = self._patience_with(error)
        now = self._clock()
        self._since = now if self._since is None else self._since
        left = self._since + patience - now
        if left < 0:
            raise error
        self._failures += 1
        await self._sleep(self._pause_after(error, left))

    def _patience_with(self, error: InterviewError) -> float:
        """Return how long this error may go on; raise it where it is not waited for."""
        if self._is_first and error.reason == "TOO_MANY_STREAMS":
            return min(self._patience, FULL_PATIENCE)
        if not (self._begun and is_passing(error)) or (self._is_first and error.reason in _PASSING):
            raise error
        self._was_cut = True
        return self._patience

    def _pause_after(self, error: InterviewError, left: float) -> float:
        if self._is_first:
            # A place that is about to be free is so long before the server's RetryInfo says.
            return min(pause_before(self._failures, 1.0), max(left, FIRST_PAUSE))
        told = error.retry_delay.total_seconds() if error.retry_delay else 0.0
        return max(told, pause_before(self._failures, LONGEST_PAUSE))

    @property
    def _is_first(self) -> bool:
        """Whether no stream before this one was taken and cut."""
        return not (self._got_on or self._was_cut)

    def _renew(self, error: Unauthenticated) -> None:
        """Have the token replaced, unless this one is new already."""
        if error.reason not in RENEWABLE or self._token in {None, self._refused}:
            raise error
        self._refused = self._token


def is_passing(error: InterviewError) -> bool:
    """Tell whether a stream that ended with this error may go on where it was cut."""
    if isinstance(error, Unavailable | DeadlineExceeded | SlowConsumer):
        return True
    if error.reason:
        return error.reason in _PASSING
    return error.code.name in _OF_A_PROXY


async def received(
    method: aio.UnaryStreamMultiCallable[RequestT, ResponseT],
    request: RequestT,
    timeout: float | None,  # noqa: ASYNC109  # the call's deadline, which the server is told
    metadata: Metadata,
) -> AsyncGenerator[ResponseT, None]:
    """Yield the messages of one stream, and end it when this generator ends.

    Raises InterviewError.
    """
    call = method(request, timeout=timeout, metadata=metadata)
    try:
        async for message in call:
            yield message
    except aio.AioRpcError as failure:
        raise error_of_call(failure, idempotent=True) from failure
    finally:
        call.cancel()
