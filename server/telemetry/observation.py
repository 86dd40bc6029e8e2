"""Metrics and traces as they are asked for; silence where they are not."""

from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from structlog.typing import FilteringBoundLogger

from server.core.telemetry import Silent, Telemetry
from server.database.engine import Database
from server.rpc.admission import Admission
from server.rpc.boundary import Interceptor
from server.rpc.health import Health
from server.rpc.policy import CallClass
from server.telemetry.both import Both

if TYPE_CHECKING:
    from server.telemetry.metering import Metering
    from server.telemetry.tracing import Tracing

_DISTRIBUTION = "interview-server"


@dataclass(frozen=True, slots=True)
class TelemetryOptions:
    """What is to be observed.

    Args:
        metrics: host and port where metrics are served; None counts nothing.
        one_of_several: the supervisor serves the metrics of this worker, not itself.
        otlp_endpoint: URL where traces are sent; empty makes none.
        sample_ratio: share of calls that are traced where the caller does not say.
        database: name of the database system.
        model_provider: name of who provides the language model.
    """

    metrics: tuple[str, int] | None
    one_of_several: bool
    otlp_endpoint: str
    sample_ratio: float
    database: str
    model_provider: str


class Observation:
    """`telemetry` is for the layers and `interceptors` for the chain."""

    def __init__(self, options: TelemetryOptions, log: FilteringBoundLogger) -> None:
        self._closing = AsyncExitStack()
        self._metering = None if options.metrics is None else _metering(options, log)
        tracing = _tracing(options, log) if options.otlp_endpoint else None
        self.interceptors: list[Interceptor] = []
        self.telemetry: Telemetry = Silent()
        if self._metering is not None:
            self.telemetry = self._metering.metrics
            self.interceptors.append(self._metering.calls)
            self._closing.push_async_callback(self._metering.close)
        if tracing is not None:
            first = self.telemetry
            self.telemetry = tracing if self._metering is None else Both(first, tracing)
            self.interceptors.append(tracing)
            self._closing.push_async_callback(tracing.close)

    async def start(self, database: Database, health: Health, admission: Admission) -> None:
        """Open the port of the metrics and look at what tells nothing by itself.

        Raises:
            MetricsUnavailable: the port is taken or the host is no address of this machine.
        """
        if self._metering is not None:
            await self._metering.start(
                lambda: _classes(admission), lambda: database.pools, lambda: health.serving
            )

    async def close(self) -> None:
        """Send the traces that wait and close the port; takes a few seconds at most."""
        await self._closing.aclose()


def _classes(admission: Admission) -> Iterable[tuple[str, int, int]]:
    for name in CallClass:
        if name is not CallClass.PROBE:  # always gets in
            yield name, admission.running(name), admission.waiting(name)


def _metering(options: TelemetryOptions, log: FilteringBoundLogger) -> "Metering":
    from server.telemetry.metering import Metering  # noqa: PLC0415  # loaded where it is used

    address = None if options.one_of_several else options.metrics
    return Metering(address, version(_DISTRIBUTION), log)


def _tracing(options: TelemetryOptions, log: FilteringBoundLogger) -> "Tracing":
    from server.telemetry.tracing import Tracing  # noqa: PLC0415  # an extra that may be absent

    return Tracing(
        options.otlp_endpoint,
        ratio=options.sample_ratio,
        resource={"service.name": _DISTRIBUTION, "service.version": version(_DISTRIBUTION)},
        database=options.database,
        model_provider=options.model_provider,
        log=log,
    )
