"""The one way in which calls are made: credential, deadline and typed errors."""
# ruff: noqa: ASYNC109  # a timeout here is the call's deadline, which the server is told

from typing import Generic, Protocol, TypeVar

from grpc import aio

from .errors import Unauthenticated, error_of_call
from .generated.methods import Method

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")

RENEWABLE = frozenset({"TOKEN_EXPIRED", "CREDENTIAL_INVALID"})
"""Refusals that another access token mends: this one is old, or its key is gone."""

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


class UnaryCall(Generic[RequestT, ResponseT]):
    """A method with one request and one response."""

    def __init__(
        self,
        method: aio.UnaryUnaryMultiCallable[RequestT, ResponseT],
        facts: Method,
        source: CredentialSource,
    ) -> None:
        self._method = method
        self._facts = facts
        self._source = source

    async def __call__(self, request: RequestT, timeout: float | None = None) -> ResponseT:
        """Call and return the response; `timeout` in seconds, None for the method's default.

        When the server does not take the token, it is renewed and the call made once more: the
        first one was refused before it did anything. Raises InterviewError.
        """
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
        seconds = self._facts.default_timeout if timeout is None else timeout
        try:
            return await self._method(request, timeout=seconds, metadata=bearer(token))
        except aio.AioRpcError as failure:
            raise error_of_call(failure, idempotent=self._facts.idempotent) from failure


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

    async def metadata(self) -> Metadata:
        """Return the metadata that a stream starts with."""
        return bearer(await self.source())
