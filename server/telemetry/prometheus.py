"""Metrics in Prometheus' form, named after OpenTelemetry's semantic conventions.

Every label has few values: methods, statements, agents and tools are those that the program
has, and what comes beyond a limit is counted as `_OTHER`. No label names a caller.
"""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from server.core.telemetry import ModelCall, Silent
from server.rpc.call import Call
from server.rpc.methods import Method, Shape

OTHER = "_OTHER"
MAX_CHILDREN = 400
"""Label values of one metric, together; more come from a mistake or from mischief."""

_CALL_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 600)
_STATEMENT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_WAIT_SECONDS = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_MODEL_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80)
_TURN_SECONDS = (0.05, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144)
_LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)

M = TypeVar("M", bound=MetricWrapperBase)


class Family(Generic[M]):
    """A metric's children, kept: to look one up by its labels costs more than to count."""

    def __init__(self, metric: M) -> None:
        self._metric = metric
        self._children: dict[tuple[str, ...], M] = {}

    def child(self, *values: str) -> M:
        """Return the child with these values, or the one for all that came too late."""
        found = self._children.get(values)
        if found is None:
            if len(self._children) >= MAX_CHILDREN:
                values = (OTHER,) * len(values)
            found = self._metric.labels(*values) if values else self._metric
            self._children[values] = found
        return found


class Metrics(Silent):
    """Every metric of a server process. Implements Telemetry and CallMeter.

    Values live where prometheus_client decided when it was imported: in this process, or,
    where PROMETHEUS_MULTIPROC_DIR was set, in files that the supervisor adds up.
    """

    def __init__(self, registry: CollectorRegistry, build: Mapping[str, str]) -> None:
        make = _Maker(registry)
        self._calls = make.histogram(
            "rpc_server_call_duration_seconds",
            "Calls and their durations, from the headers to the status",
            ("rpc_method", "rpc_response_status_code"),
            _CALL_SECONDS,
        )
        self._active_calls = make.gauge(
            "rpc_server_active_calls", "Calls that run now", ("rpc_method",)
        )
        self._class_calls = make.gauge(
            "rpc_server_class_calls",
            "Calls that have a place of their class, or wait for one",
            ("call_class", "state"),
        )
        self._errors = make.counter(
            "rpc_server_errors_total",
            "Calls that ended with an error, by the reason that the caller was told",
            ("rpc_method", "reason"),
        )
        self._bytes = make.counter(
            "rpc_server_message_bytes_total",
            "Bytes of messages, as serialized",
            ("rpc_method", "direction"),
        )
        self._messages = make.counter(
            "rpc_server_stream_messages_total",
            "Messages of methods that stream",
            ("rpc_method", "direction"),
        )
        self._shed = make.counter(
            "rpc_server_shed_total",
            "Calls refused because the server had too much to do, or one caller wanted too much",
            ("call_class", "reason"),
        )
        self._make_database(make)
        self._make_agents(make)
        self._make_process(make, build)

    def _make_database(self, make: "_Maker") -> None:
        self._statements = make.histogram(
            "db_client_operation_duration_seconds",
            "SQL statements with the wait for a connection, by the statement's name",
            ("statement", "outcome"),
            _STATEMENT_SECONDS,
        )
        self._waits = make.histogram(
            "db_client_connection_wait_time_seconds",
            "Waiting for a connection; for `write` until the transaction has begun",
            ("pool", "outcome"),
            _WAIT_SECONDS,
        )
        self._connections = make.gauge(
            "db_client_connection_count", "Connections that are at work", ("pool",)
        )
        self._max_connections = make.gauge(
            "db_client_connection_max", "Connections that a pool may have", ("pool",)
        )

    def _make_agents(self, make: "_Maker") -> None:
        self._models = make.histogram(
            "gen_ai_client_operation_duration_seconds",
            "Requests to the language model",
            ("gen_ai_request_model", "outcome"),
            _MODEL_SECONDS,
        )
        self._first_tokens = make.histogram(
            "gen_ai_client_operation_time_to_first_chunk_seconds",
            "From a request to the model to the first text of its answer",
            ("gen_ai_request_model",),
            _MODEL_SECONDS,
        )
        self._tokens = make.histogram(
            "gen_ai_client_token_usage",
            "Tokens of one request to the model",
            ("gen_ai_request_model", "gen_ai_token_type"),
            _TOKENS,
        )
        self._tools = make.histogram(
            "agent_tool_call_duration_seconds",
            "Calls of tools by agents",
            ("tool", "outcome"),
            _STATEMENT_SECONDS,
        )
        self._turns = make.histogram(
            "agent_turn_duration_seconds",
            "Turns of chats, by the agent that had the floor at the end",
            ("agent", "outcome"),
            _TURN_SECONDS,
        )

    def _make_process(self, make: "_Maker", build: Mapping[str, str]) -> None:
        self._lag = make.histogram(
            "event_loop_lag_seconds", "How late the event loop runs what is due", (), _LAG_SECONDS
        ).child()
        self._health = make.gauge(
            "health_serving",
            "1 while the health service answers SERVING for the name, else 0",
            ("service",),
            "livemin",
        )
        told = make.gauge("interview_build_info", "Always 1", tuple(build), "livemax")
        told.child(*build.values()).set(1)

    def call_ended(self, call: Call, method: Method, seconds: float) -> None:
        """Count a call."""
        name = method_name(method.path)
        self._calls.child(name, call.code.name).observe(seconds)
        if call.reason:
            self._errors.child(name, call.reason).inc()
        self._bytes.child(name, "in").inc(call.bytes_in)
        self._bytes.child(name, "out").inc(call.bytes_out)
        if method.shape is not Shape.UNARY:
            self._messages.child(name, "in").inc(call.messages_in)
            self._messages.child(name, "out").inc(call.messages_out)

    def statement(self, name: str, seconds: float, outcome: str) -> None:
        """Count an SQL statement."""
        self._statements.child(name, outcome).observe(seconds)

    def connection_wait(self, pool: str, seconds: float, outcome: str) -> None:
        """Count a wait for a connection."""
        self._waits.child(pool, outcome).observe(seconds)

    def model_call(self, call: ModelCall) -> None:
        """Count a request to a model and its tokens."""
        self._models.child(call.model, call.outcome).observe(call.seconds)
        if call.first_token_seconds is not None:
            self._first_tokens.child(call.model).observe(call.first_token_seconds)
        if call.input_tokens or call.output_tokens:
            self._tokens.child(call.model, "input").observe(call.input_tokens)
            self._tokens.child(call.model, "output").observe(call.output_tokens)

    def tool_call(self, tool: str, seconds: float, outcome: str) -> None:
        """Count a tool's call."""
        self._tools.child(tool, outcome).observe(seconds)

    def turn(self, agent: str, seconds: float, outcome: str) -> None:
        """Count a turn."""
        self._turns.child(agent, outcome).observe(seconds)

    def shed(self, call_class: str, why: str) -> None:
        """Count a call that was refused for too much work."""
        self._shed.child(call_class, why).inc()

    def active_calls(self, running: Mapping[str, int]) -> None:
        """Note how many calls run now, by the method's path."""
        for path, number in running.items():
            self._active_calls.child(method_name(path)).set(number)

    def class_calls(self, call_class: str, running: int, waiting: int) -> None:
        """Note how many calls of a class run and wait now."""
        self._class_calls.child(call_class, "running").set(running)
        self._class_calls.child(call_class, "waiting").set(waiting)

    def connections(self, pool: str, size: int, used: int) -> None:
        """Note the state of a pool."""
        self._max_connections.child(pool).set(size)
        self._connections.child(pool).set(used)

    def health(self, service: str, *, serving: bool) -> None:
        """Note what the health service answers for a name."""
        self._health.child(service).set(serving)

    def loop_lag(self, seconds: float) -> None:
        """Note how late the event loop was."""
        self._lag.observe(seconds)


def method_name(path: str) -> str:
    """Return `package.Service/Method`; all calls that no method answers share one name."""
    return path[1:] if path.startswith("/") else OTHER


class _Maker:
    """Makes families in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def histogram(
        self, name: str, help_text: str, labels: tuple[str, ...], buckets: tuple[float, ...]
    ) -> Family[Histogram]:
        return Family(Histogram(name, help_text, labels, buckets=buckets, registry=self._registry))

    def counter(self, name: str, help_text: str, labels: tuple[str, ...]) -> Family[Counter]:
        return Family(Counter(name, help_text, labels, registry=self._registry))

    def gauge(
        self, name: str, help_text: str, labels: tuple[str, ...], across: Any = "livesum"
    ) -> Family[Gauge]:
        """`across`: how the values of several workers become one."""
        return Family(
            Gauge(name, help_text, labels, registry=self._registry, multiprocess_mode=across)
        )
