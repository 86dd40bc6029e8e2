"""The one way in and out: raw bytes to a servicer's method and its answer to raw bytes.

grpc.aio itself answers a handler's exception with UNKNOWN and its text, and bytes that do
not parse with the parser's class name; so nothing but this module, `listener` and `messages`
meets grpc.aio. It takes the four call shapes, runs the interceptors of `chain`, parses, calls the
method, and turns every error into a status of `status`.

Every handler reads by itself, also where the client sends one message: grpc.aio would wait
for that message without a deadline, and would answer nothing where it never comes.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn, Protocol

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from structlog.typing import FilteringBoundLogger

from server.core.errors import DomainError
from server.rpc.call import Call, current_call
from server.rpc.details import one_line, rich_status
from server.rpc.drain import server_draining
from server.rpc.listener import Route
from server.rpc.messages import Context, parsed, read_all, read_one, serialized, write_all
from server.rpc.methods import Method, Shape
from server.rpc.policy import CallClass, infrastructure
from server.rpc.status import as_domain_error, code_of
from server.rpc.stream_watch import StreamWatch

ASKED_ONCE = frozenset({Shape.UNARY, Shape.SERVER_STREAM})
ANSWERED_ONCE = frozenset({Shape.UNARY, Shape.CLIENT_STREAM})

PROBE_SECONDS = 1.0
"""What health watches and reflection get to end by themselves when nothing else runs."""

DEADLINE_SLACK_SECONDS = 0.1
"""A call that is cut with less left than this was cut by its deadline."""


class Interceptor(Protocol):
    """A step around every call."""

    def enter(self, call: Call, method: Method) -> Awaitable[None] | None:
        """Let the call pass or raise a DomainError. Only headers are known.

        What is returned is awaited; a step that need not wait returns None.
        """
        ...

    def leave(self, call: Call, method: Method) -> None:
        """See a call end that `enter` let pass."""
        ...


class Audit(Protocol):
    """Keeps the audit trail."""

    def begin(self, call: Call, method: Method) -> None:
        """Open the record of a call that is to be audited."""
        ...

    async def end(self, call: Call, error: DomainError | None) -> None:
        """Store the record unless that is done, before the call is answered. Must not raise."""
        ...


class Admission(Protocol):
    """Who may start to work now. `leave` follows each `enter` that returned."""

    async def enter(self, call: Call, method: Method) -> None:
        """Wait for a place, or raise a DomainError."""
        ...

    def leave(self, call: Call, method: Method) -> None:
        """Give the place back."""
        ...


class Boundary:
    """Routes calls to methods. `tasks` holds each running call, for the shutdown to await."""

    def __init__(
        self,
        methods: Sequence[Method],
        interceptors: Sequence[Interceptor],
        *,
        admission: Admission,
        audit: Audit,
        streams: StreamWatch,
        log: FilteringBoundLogger,
        request_id: Callable[[Mapping[str, str | bytes]], str],
        max_answer_bytes: int,
    ) -> None:
        self._methods = {method.path: method for method in methods}
        self._interceptors = tuple(interceptors)
        self._admission = admission
        self._audit = audit
        self._streams = streams
        self._log = log
        self._request_id = request_id
        self._max_answer_bytes = max_answer_bytes
        self.tasks: set[asyncio.Task[Any]] = set()
        self._awaited: set[asyncio.Task[Any]] = set()
        self._cutting = False

    async def idle(self) -> None:
        """Wait until no call runs; for probes, which may be held open for nothing, not long."""
        while self._awaited:
            await asyncio.wait(self._awaited)
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=PROBE_SECONDS)

    async def cut(self, seconds: float) -> None:
        """End every call with SERVER_DRAINING and wait so long for them to clean up."""
        self._cutting = True
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=seconds)

    def routes(self) -> Mapping[str, Route]:
        """Return what answers each path."""
        return {path: self._route(method) for path, method in self._methods.items()}

    def unknown(self) -> Route:
        """Return what answers all other paths."""
        return self._route(UNKNOWN_METHOD)

    def _route(self, method: Method) -> Route:
        return Route(partial(self._run, method), method.shape in ANSWERED_ONCE)

    async def _enter(self, method: Method, call: Call) -> None:
        """Decide by the headers alone, before a message is waited for.

        So a refusal needs no message: a client that never sends one cannot hold a place, and
        no bytes of a stranger are parsed.
        """
        self._audit.begin(call, method)
        for interceptor in self._interceptors:
            waiting = interceptor.enter(call, method)
            if waiting is not None:
                await waiting
            call.entered += 1

    async def _body(self, method: Method, call: Call, context: Context) -> bytes | None:
        """Take the request, get a place, call the method, answer."""
        # The place is asked for when there is something to do: a client that is slow to
        # send must not hold one.
        single = method.shape in ASKED_ONCE
        raw = await read_one(context) if single else b""
        await self._admission.enter(call, method)
        try:
            request = parsed(method, call, raw) if single else read_all(method, call, context)
            if method.shape in ANSWERED_ONCE:
                answer = await method.function(request, call)
                return serialized(call, answer, self._max_answer_bytes)
            answers = method.function(request, call)
            await write_all(call, answers, self._max_answer_bytes, context)
        finally:
            self._admission.leave(call, method)
        return None

    async def _watched(
        self, method: Method, call: Call, context: Context, cancel: Callable[[], object]
    ) -> bytes | None:
        """Do as `_body`, and cut a long call when its caller's right to it ends."""
        long = method.shape is not Shape.UNARY or method.policy.call_class is CallClass.CHAT
        if call.caller is None or not long:
            return await self._body(method, call, context)
        bounded = method.policy.max_deadline is not None
        with self._streams.open(call.caller, cancel, bounded=bounded) as call.stream:
            return await self._body(method, call, context)

    async def _run(self, method: Method, _requests: object, context: Context) -> bytes | None:
        """Run a call under its deadline; whatever happens, end it with a proper status."""
        task = asyncio.current_task()
        assert task is not None, "grpc.aio runs every handler in a task"
        metadata = _headers(tuple(context.invocation_metadata() or ()))
        call = Call(method.path, metadata, self._request_id(metadata), peer=context.peer())
        self.tasks.add(task)
        if method.policy.call_class is not CallClass.PROBE:
            self._awaited.add(task)
        current_call.set(call)
        try:
            seconds = _own_deadline(method, call, context.time_remaining())
            async with asyncio.timeout(seconds):
                await self._enter(method, call)
                answer = await self._watched(method, call, context, task.cancel)
                await self._audit.end(call, None)
        except asyncio.CancelledError as error:
            # Cancelled from inside, by code of ours: grpc.aio would send no status at all and
            # the client would wait for ever. Cancelled from outside: the client is gone.
            if not task.cancelling():
                await self._abort(call, context, error)
            if call.stream is not None and call.stream.cut_error and not context.cancelled():
                await self._abort(call, context, call.stream.cut_error)
            if self._cutting and not context.cancelled():
                await self._abort(call, context, server_draining())
            _note_end(call, context)
            raise
        except grpc.aio.InternalError:
            _note_end(call, context)
            raise asyncio.CancelledError from None
        except Exception as error:  # noqa: BLE001  # nothing may leave as UNKNOWN
            await self._abort(call, context, error)
        else:
            remaining = context.time_remaining()
            if remaining is not None and remaining <= 0:
                _note_end(call, context)  # the answer comes too late to be sent
            context.set_trailing_metadata((("x-request-id", call.request_id), *call.trailers))
            return answer
        finally:
            self.tasks.discard(task)
            self._awaited.discard(task)
            self._leave(method, call)

    def _leave(self, method: Method, call: Call) -> None:
        """Let each step that let the call pass see its end, the innermost first."""
        for interceptor in self._interceptors[call.entered - 1 :: -1] if call.entered else ():
            try:
                interceptor.leave(call, method)
            except Exception as error:  # noqa: BLE001  # the answer stands; gRPC would tell this
                self._log.error("step failed", request_id=call.request_id, exc_info=error)

    async def _abort(self, call: Call, context: Context, error: BaseException) -> NoReturn:
        told = as_domain_error(error)
        call.code, call.reason = code_of(told), told.reason
        if told.reason == "INTERNAL":
            self._log.error(
                "call failed", method=call.method, request_id=call.request_id, exc_info=error
            )
        await self._audit.end(call, told)
        status = rich_status(told, call.request_id)
        trailers = _error_trailers(call, told, status)
        try:
            await context.abort(call.code, one_line(told.message), trailers)
        except grpc.aio.InternalError:
            _note_end(call, context)
            if told.reason == "SLOW_CONSUMER":
                # No status can pass what the client does not take, but the log can tell.
                call.reason = told.reason
            raise asyncio.CancelledError from None


def _note_end(call: Call, context: Context) -> None:
    """Note that a call has ended without an answer of ours.

    Its client left, its deadline passed, or gRPC answered by itself, a message that is too
    large for instance: we are not told which, and what we send then fails with InternalError.
    """
    # The client's own clock may be a moment ahead of ours.
    remaining = context.time_remaining()
    expired = remaining is not None and remaining < DEADLINE_SLACK_SECONDS
    call.code = grpc.StatusCode.DEADLINE_EXCEEDED if expired else grpc.StatusCode.CANCELLED
    call.reason = ""


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


async def _unknown(_requests: AsyncIterator[Message], _call: Call) -> NoReturn:
    raise DomainError(
        "this server has no such method; its contracts and its version may differ from yours",
        reason="METHOD_UNKNOWN",
    )


UNKNOWN_METHOD = Method(
    "(unknown)", Shape.CLIENT_STREAM, Empty, _unknown, infrastructure("(unknown)")
)
"""Answers a path that no method has, so that such a call too has a status and a line of ours."""


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
