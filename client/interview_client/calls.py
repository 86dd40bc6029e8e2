"""The one way in which calls are made: credential, deadline and typed errors."""
# ruff: noqa: ASYNC109  # a timeout here is the call's deadline, which the server is told

import asyncio
from random import uniform
from time import monotonic
from typing import Generic, Protocol, TypeVar

from grpc import aio

from .errors import InterviewError, Unauthenticated, Unavailable, error_of_call
from .generated.methods import Method

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")

RENEWABLE = frozenset({"TOKEN_EXPIRED", "CREDENTIAL_INVALID"})
"""Refusals that another access token mends: this one is old, or its key is gone."""

ATTEMPTS = 4
"""As often as the service config has gRPC make a call that changes nothing."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
_IN_THE_WAY = frozenset({"REQUEST_ID_IN_FLIGHT", "TRANSACTION_CONFLICT"})

Metadata = tuple[tuple[str, str], ...]


class CredentialSource(Protocol):
    """Where calls get their access token from."""

    async def __call__(self, *, rejected: str | None = None) -> str | None:
        """Return a good token, another one than `rejected`; None for an anonymous call."""
        ...


async def anonymous(*, rejected: str | None = None) -> str | None:
    """Return no token: the source of calls that need none."""
    del rejected
    return None


def bearer(token: str | None) -> Metadata:
    """Return the metadata that carries the token."""
    return () if token is None else (("authorization", f"Bearer {token}"),)


def pause_before(attempt: int, longest: float = LONGEST_PAUSE) -> float:
    """Return how long to wait, in seconds, before the second attempt (1), the third (2)...

    Callers that failed together do not come back together: half of it is chance.
    """
    # Past 2 ** 10 every pause is the longest; larger powers would overflow.
    whole = min(longest, FIRST_PAUSE * 2 ** min(attempt, 10))
    return uniform(whole / 2, whole)  # noqa: S311  # spreads load and keeps no secret


class UnaryCall(Generic[RequestT, ResponseT]):
    """A method with one request and one response.

    A `named` one changes something, and its requests have a request_id by which the server
    knows a call that comes again. It is repeated here as gRPC repeats those that change nothing.
    """

    def __init__(
        self,
        method: aio.UnaryUnaryMultiCallable[RequestT, ResponseT],
        facts: Method,
        source: CredentialSource,
        *,
        named: bool = False,
    ) -> None:
        self._method = method
        self._facts = facts
        self._source = source
        self._named = named

    async def __call__(self, request: RequestT, timeout: float | None = None) -> ResponseT:
        """Call and return the response; `timeout` in seconds, None for the method's default.

        When the server does not take the token, it is renewed and the call made once more: the
        first one was refused before it did anything. Raises InterviewError.
        """
        seconds = self._facts.default_timeout if timeout is None else timeout
        if not self._named or seconds is None:
            return await self._authorized(request, seconds)
        end, attempt = monotonic() + seconds, 1
        while True:
            try:
                return await self._authorized(request, end - monotonic())
            except InterviewError as error:
                pause = _pause_after(error, attempt)
                if pause is None or monotonic() + pause >= end:
                    raise
            await asyncio.sleep(pause)
            attempt += 1

    async def _authorized(self, request: RequestT, timeout: float | None) -> ResponseT:
        token = await self._source()
        try:
            return await self._attempt(request, token, timeout)
        except Unauthenticated as error:
            if error.reason not in RENEWABLE:
                raise
            renewed = await self._source(rejected=token)
            if renewed is None or renewed == token:
                raise
            return await self._attempt(request, renewed, timeout)

    async def _attempt(
        self, request: RequestT, token: str | None, timeout: float | None
    ) -> ResponseT:
        repeatable = self._facts.idempotent or self._named
        try:
            return await self._method(request, timeout=timeout, metadata=bearer(token))
        except aio.AioRpcError as failure:
            raise error_of_call(failure, idempotent=repeatable) from failure


def _pause_after(error: InterviewError, attempt: int) -> float | None:
    """Return how long to wait before a named call is repeated, None where it is not."""
    if attempt >= ATTEMPTS:
        return None
    if not isinstance(error, Unavailable) and error.reason not in _IN_THE_WAY:
        return None
    told = error.retry_delay.total_seconds() if error.retry_delay else 0.0
    return max(told, pause_before(attempt))


class Calls:
    """Makes calls over one channel with the tokens of one source."""

    def __init__(self, channel: aio.Channel, source: CredentialSource) -> None:
        self.channel = channel
        self.source = source

    def unary(
        self, method: aio.UnaryUnaryMultiCallable[RequestT, ResponseT], facts: Method
    ) -> UnaryCall[RequestT, ResponseT]:
        """Return the method with credential, deadline and typed errors."""
        return UnaryCall(method, facts, self.source)

    def named(
        self, method: aio.UnaryUnaryMultiCallable[RequestT, ResponseT], facts: Method
    ) -> UnaryCall[RequestT, ResponseT]:
        """Return the method, repeated when the server is not available.

        Only for methods whose requests all have a request_id.
        """
        return UnaryCall(method, facts, self.source, named=True)

    async def metadata(self) -> Metadata:
        """Return the metadata that a stream starts with."""
        return bearer(await self.source())
