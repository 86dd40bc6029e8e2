"""Traces by OpenTelemetry: one span for each call, and below it what the call did.

Spans hold names, times, sizes and outcomes. There is no content in them: no SQL, no parameters,
no prompts, no arguments of tools, no texts of errors.

Only this module knows OpenTelemetry, and it is imported only where an endpoint is set. The
process-wide provider stays unset, so nothing that Semantic Kernel reports goes anywhere.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Thread
from uuid import uuid4

import grpc
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, StatusCode, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.typing import FilteringBoundLogger

from server.core.telemetry import ModelCall, Outcome, Silent
from server.rpc.call import Call, current_call
from server.rpc.methods import Method
from server.telemetry.delivery import Delivery

FLUSH_SECONDS = 3.0
"""How long the end of the process waits for spans to be taken."""
_ABORT_SECONDS = 0.5
_EXPORT_SECONDS = 5.0

_UNTRACED = "/grpc."
"""Health and reflection: probes would drown the rest."""

# Faults of the server, by OpenTelemetry's conventions for servers of gRPC.
_FAULTS = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
_NANOSECONDS = 1_000_000_000

_scope: ContextVar[Span] = ContextVar("_scope")
"""The turn or tool call that this task works for."""


class Tracing(Silent):
    """Makes spans of calls and of what is told. Implements Telemetry and Interceptor.

    Args:
        endpoint: URL of an OTLP receiver over gRPC; `https` for TLS.
        ratio: share of calls that are traced where the caller does not say (W3C traceparent).
        resource: attributes of this process.
        database: name of the database system.
        model_provider: name of who provides the language model.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        ratio: float,
        resource: Mapping[str, str],
        database: str,
        model_provider: str,
        log: FilteringBoundLogger,
    ) -> None:
        self._database = database
        self._model_provider = model_provider
        self._delivery = Delivery(OTLPSpanExporter(endpoint, timeout=_EXPORT_SECONDS), log)
        ours = Resource({**resource, "service.instance.id": str(uuid4())})
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)),
            # What the operator says by OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES counts.
            resource=ours.merge(OTELResourceDetector().detect()),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(self._delivery))
        self._tracer = self._provider.get_tracer("interview-server")
        self._propagator = TraceContextTextMapPropagator()

    def enter(self, call: Call, method: Method) -> None:
        """Begin the call's span, where it is to be traced."""
        if method.path.startswith(_UNTRACED):
            return
        name = method.path.removeprefix("/")
        span = self._tracer.start_span(
            name,
            self._context_of(call),
            SpanKind.SERVER,
            {"rpc.system.name": "grpc", "rpc.method": name},
        )
        if span.is_recording():
            call.trace = span
            call.trace_id = format_trace_id(span.get_span_context().trace_id)

    def leave(self, call: Call, method: Method) -> None:
        """End the call's span."""
        span = call.trace
        if not isinstance(span, Span):
            return
        span.set_attribute("rpc.response.status_code", call.code.name)
        if call.reason:
            span.set_attribute("error.type", call.reason)
        if call.code in _FAULTS:
            span.set_status(StatusCode.ERROR)
        span.end()

    def statement(self, name: str, seconds: float, outcome: str) -> None:
        """Add a statement."""
        attributes = {"db.system.name": self._database, "db.query.summary": name}
        self._add(name, SpanKind.CLIENT, seconds, attributes, outcome)

    def model_call(self, call: ModelCall) -> None:
        """Add a request to a model."""
        attributes: dict[str, str | int | float] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": self._model_provider,
            "gen_ai.request.model": call.model,
            "gen_ai.usage.input_tokens": call.input_tokens,
            "gen_ai.usage.output_tokens": call.output_tokens,
        }
        if call.first_token_seconds is not None:
            attributes["gen_ai.response.time_to_first_chunk"] = call.first_token_seconds
        self._add(f"chat {call.model}", SpanKind.CLIENT, call.seconds, attributes, call.outcome)

    def tool_call(self, tool: str, seconds: float, outcome: str) -> None:
        """Finish the scope of a tool call."""
        attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool}
        self._finish(f"execute_tool {tool}", seconds, attributes, outcome)

    def turn(self, agent: str, seconds: float, outcome: str) -> None:
        """Finish the scope of a turn."""
        attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent}
        self._finish(f"invoke_agent {agent}".rstrip(), seconds, attributes, outcome)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Begin a span that `turn` or `tool_call` finishes."""
        parent = _parent()
        if parent is None:
            yield
            return
        span = self._tracer.start_span("unfinished", set_span_in_context(parent, Context()))
        token = _scope.set(span)
        try:
            yield
        finally:
            _scope.reset(token)
            if span.is_recording():
                span.end()

    async def close(self) -> None:
        """Send what has not been sent, for as long as FLUSH_SECONDS."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def flush() -> None:
            self._provider.force_flush()
            self._provider.shutdown()
            if not loop.is_closed():
                loop.call_soon_threadsafe(done.set)

        # Not one of the loop's own threads: those are waited for without limit at the end.
        Thread(target=flush, name="traces-flush", daemon=True).start()
        if not await _within(FLUSH_SECONDS, done):
            self._delivery.abort()
            await _within(_ABORT_SECONDS, done)

    def _context_of(self, call: Call) -> Context:
        """Return the caller's trace; an empty context where it sends none."""
        parent = call.text("traceparent")
        if not parent:
            return Context()
        carrier = {"traceparent": parent, "tracestate": call.text("tracestate")}
        return self._propagator.extract(carrier, Context())

    def _add(
        self,
        name: str,
        kind: SpanKind,
        seconds: float,
        attributes: Mapping[str, str | int | float],
        outcome: str,
    ) -> None:
        parent = _parent()
        if parent is None:
            return
        end = time.time_ns()
        start = end - int(seconds * _NANOSECONDS)
        context = set_span_in_context(parent, Context())
        span = self._tracer.start_span(name, context, kind, attributes, start_time=start)
        _note_outcome(span, outcome)
        span.end(end)

    def _finish(
        self, name: str, seconds: float, attributes: Mapping[str, str], outcome: str
    ) -> None:
        span = _scope.get(None)
        if span is None or not span.is_recording():
            self._add(name, SpanKind.INTERNAL, seconds, attributes, outcome)
            return
        span.update_name(name)
        span.set_attributes(attributes)
        _note_outcome(span, outcome)
        span.end()


def _parent() -> Span | None:
    span = _scope.get(None)
    if span is not None:
        return span
    call = current_call.get(None)
    trace = None if call is None else call.trace
    return trace if isinstance(trace, Span) else None


def _note_outcome(span: Span, outcome: str) -> None:
    if outcome in {Outcome.OK, "completed", "succeeded"}:
        return
    span.set_attribute("error.type", outcome)
    if outcome != Outcome.CANCELLED:
        span.set_status(StatusCode.ERROR)


async def _within(seconds: float, event: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
