"""The one way in and out: raw bytes to a servicer's method and its answer to raw bytes.

grpc.aio itself answers a handler's exception with UNKNOWN and its text, and bytes that do
not parse with the parser's class name; so nothing but this module meets grpc.aio. It takes
the four call shapes, runs the interceptors of `chain`, parses, calls the method, and turns
every error into a status of `status`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, NoReturn, Protocol

import grpc
from google.protobuf.message import DecodeError, Message
from structlog.typing import FilteringBoundLogger

from server.core.errors import DomainError, FieldViolation, ValidationFailed
from server.rpc.call import Call
from server.rpc.drain import server_draining
from server.rpc.methods import Method, Shape
from server.rpc.status import as_domain_error, code_of, one_line, rich_status

Context = grpc.aio.ServicerContext[Any, Any]
Body = Callable[[Context], Awaitable[bytes | None]]

WRITE_SECONDS = 20.0
"""A client that takes nothing for so long loses its stream."""

DEADLINE_SLACK_SECONDS = 0.1
"""A call that is cut with less left than this was cut by its deadline."""


class Interceptor(Protocol):
    """A step around every call."""

    def enter(self, call: Call, method: Method) -> None:
        """Let the call pass or raise a DomainError. Only headers are known; must not wait."""
        ...

    def leave(self, call: Call, method: Method) -> None:
        """See a call end that `enter` let pass."""
        ...


class Boundary(grpc.GenericRpcHandler):
    """Routes calls to methods. `tasks` holds each running call, for the shutdown to await."""

    def __init__(
        self,
        methods: Sequence[Method],
        interceptors: Sequence[Interceptor],
        *,
        log: FilteringBoundLogger,
        request_id: Callable[[Mapping[str, str | bytes]], str],
    ) -> None:
        self._methods = {method.path: method for method in methods}
        self._interceptors = tuple(interceptors)
        self._log = log
        self._request_id = request_id
        self.tasks: set[asyncio.Task[Any]] = set()
        self._cutting = False

    async def idle(self) -> None:
        """Wait until no call runs."""
        while self.tasks:
            await asyncio.wait(self.tasks)

    async def cut(self, seconds: float) -> None:
        """End every call with SERVER_DRAINING and wait so long for them to clean up."""
        self._cutting = True
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=seconds)

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Decide by the headers alone, before a message is waited for.

        A refusal is answered as a stream: it then needs no body, so a client that never
        sends one cannot hold a place, and no bytes of a stranger are parsed.
        """
        method = self._methods.get(handler_call_details.method)
        if method is None:
            return None
        metadata = _headers(handler_call_details.invocation_metadata or ())
        call = Call(method.path, metadata, self._request_id(metadata))
        try:
            for interceptor in self._interceptors:
                interceptor.enter(call, method)
                call.entered += 1
        except Exception as error:  # noqa: BLE001  # every error becomes a status, here too
            refusal = partial(self._run, method, call, partial(_refuse, error))
            return grpc.stream_stream_rpc_method_handler(_streaming(refusal))
        return self._handler(method, call)

    def _handler(self, method: Method, call: Call) -> "grpc.RpcMethodHandler[Any, Any]":
        if method.shape is Shape.UNARY:
            return grpc.unary_unary_rpc_method_handler(partial(self._unary, method, call))
        if method.shape is Shape.SERVER_STREAM:
            return grpc.unary_stream_rpc_method_handler(partial(self._server_stream, method, call))
        if method.shape is Shape.CLIENT_STREAM:
            return grpc.stream_unary_rpc_method_handler(partial(self._client_stream, method, call))
        return grpc.stream_stream_rpc_method_handler(partial(self._bidi, method, call))

    async def _unary(
        self, method: Method, call: Call, raw: bytes, context: Context
    ) -> bytes | None:
        async def body(_context: Context) -> bytes:
            return _serialized(call, await method.function(_parse(method, call, raw), call))

        return await self._run(method, call, body, context)

    async def _server_stream(
        self, method: Method, call: Call, raw: bytes, context: Context
    ) -> None:
        async def body(context: Context) -> None:
            answers = method.function(_parse(method, call, raw), call)
            await _write_all(call, answers, context)

        await self._run(method, call, body, context)

    async def _client_stream(
        self, method: Method, call: Call, _requests: object, context: Context
    ) -> bytes | None:
        async def body(context: Context) -> bytes:
            requests = _read_all(method, call, context)
            return _serialized(call, await method.function(requests, call))

        return await self._run(method, call, body, context)

    async def _bidi(self, method: Method, call: Call, _requests: object, context: Context) -> None:
        async def body(context: Context) -> None:
            answers = method.function(_read_all(method, call, context), call)
            await _write_all(call, answers, context)

        await self._run(method, call, body, context)

    async def _run(self, method: Method, call: Call, body: Body, context: Context) -> bytes | None:
        """Run a call's body under its deadline; whatever happens, end with a proper status."""
        task = asyncio.current_task()
        assert task is not None, "grpc.aio runs every handler in a task"
        self.tasks.add(task)
        call.peer = context.peer()
        try:
            async with asyncio.timeout(_own_deadline(method, call, context.time_remaining())):
                answer = await body(context)
        except asyncio.CancelledError as error:
            # Cancelled from inside, by code of ours: grpc.aio would send no status at all and
            # the client would wait for ever. Cancelled from outside: the client is gone.
            if not task.cancelling():
                await self._abort(call, context, error)
            if self._cutting and not context.cancelled():
                await self._abort(call, context, server_draining())
            # The client's own clock may be a moment ahead of ours.
            remaining = context.time_remaining()
            expired = remaining is not None and remaining < DEADLINE_SLACK_SECONDS
            call.code = grpc.StatusCode.DEADLINE_EXCEEDED if expired else grpc.StatusCode.CANCELLED
            raise
        except Exception as error:  # noqa: BLE001  # nothing may leave as UNKNOWN
            await self._abort(call, context, error)
        else:
            context.set_trailing_metadata((("x-request-id", call.request_id), *call.trailers))
            return answer
        finally:
            self.tasks.discard(task)
            for interceptor in self._interceptors[call.entered - 1 :: -1] if call.entered else ():
                interceptor.leave(call, method)

    async def _abort(self, call: Call, context: Context, error: BaseException) -> NoReturn:
        told = as_domain_error(error)
        call.code, call.reason = code_of(told), told.reason
        if told.reason == "INTERNAL":
            self._log.error(
                "call failed", method=call.method, request_id=call.request_id, exc_info=error
            )
        status = rich_status(told, call.request_id)
        await context.abort(call.code, one_line(told.message), _error_trailers(call, told, status))


def _headers(pairs: Sequence[tuple[str, str | bytes]]) -> dict[str, str | bytes]:
    """Return the headers by name; a name that comes again is one list (RFC 9110, 5.3).

    So a second credential makes the first one invalid, whichever of them is good.
    """
    headers = dict(pairs)
    if len(headers) < len(pairs):
        for name in headers:
            values = [value for key, value in pairs if key == name]
            if len(values) > 1 and all(isinstance(value, str) for value in values):
                headers[name] = ", ".join(map(str, values))
    return headers


def _error_trailers(call: Call, error: DomainError, status: Message) -> tuple[Any, ...]:
    trailers: list[tuple[str, str | bytes]] = [
        ("x-request-id", call.request_id),
        ("grpc-status-details-bin", status.SerializeToString()),
    ]
    if error.retry_delay is not None:
        milliseconds = int(error.retry_delay.total_seconds() * 1000)
        trailers.append(("grpc-retry-pushback-ms", str(milliseconds)))
    return (*trailers, *call.trailers)


def _streaming(run: Callable[[Context], Awaitable[bytes | None]]) -> Callable[..., Awaitable[None]]:
    async def handler(_requests: object, context: Context) -> None:
        await run(context)

    return handler


async def _refuse(error: Exception, _context: Context) -> bytes | None:
    raise error


def _own_deadline(method: Method, call: Call, remaining: float | None) -> float | None:
    """Return the seconds after which we end the call; None where the client's own end is sooner.

    A client without a deadline gets the method's default; one with a longer deadline than
    the method's maximum gets the maximum.
    """
    policy = method.policy
    limit = policy.default_deadline if remaining is None else policy.max_deadline
    if limit is None:
        call.deadline_seconds = remaining
        return None
    seconds = limit.total_seconds()
    if remaining is not None and remaining <= seconds:
        call.deadline_seconds = remaining
        return None
    call.deadline_seconds = seconds
    return seconds


def _parse(method: Method, call: Call, raw: bytes) -> Message:
    call.messages_in += 1
    call.bytes_in += len(raw)
    limit = method.policy.max_request_bytes
    if limit and len(raw) > limit:
        raise ValidationFailed([FieldViolation("message", f"must have at most {limit} bytes")])
    try:
        return method.request.FromString(raw)
    except DecodeError:
        name = method.request.DESCRIPTOR.name
        description = f"is not a well-formed {name} (broken protobuf, or text that is not UTF-8)"
        raise ValidationFailed([FieldViolation("message", description)]) from None


def _serialized(call: Call, answer: Message) -> bytes:
    raw = answer.SerializeToString()
    call.messages_out += 1
    call.bytes_out += len(raw)
    return raw


async def _read_all(method: Method, call: Call, context: Context) -> AsyncIterator[Message]:
    # A read that is cancelled loses the message it waited for and every later one, so it
    # has no time limit here: whoever needs one puts a queue in between.
    while (raw := await context.read()) is not grpc.aio.EOF:
        yield _parse(method, call, raw)


async def _write_all(call: Call, answers: AsyncIterator[Message], context: Context) -> None:
    async with aclosing(answers):  # type: ignore[type-var]  # servicers are async generators
        async for answer in answers:
            raw = _serialized(call, answer)
            try:
                async with asyncio.timeout(WRITE_SECONDS):
                    await context.write(raw)
            except TimeoutError:
                raise DomainError(
                    "the client reads too slowly; resume when it can keep up",
                    reason="SLOW_CONSUMER",
                ) from None
