"""The metrics of this process: counted, looked at twice a second, and served."""

import asyncio
import platform
from collections.abc import Callable, Iterable, Mapping

import grpc
from structlog.typing import FilteringBoundLogger

from server.database.reads import PoolState
from server.rpc.metrics import CallMetrics
from server.telemetry.exposition import MetricsPort, process_registry
from server.telemetry.prometheus import Metrics

INTERVAL_SECONDS = 0.5

Classes = Callable[[], Iterable[tuple[str, int, int]]]
"""Returns the classes of calls, and how many of each run and wait."""
Pools = Callable[[], Iterable[PoolState]]
Names = Callable[[], Mapping[str, bool]]
"""Returns whether each name of the health service is SERVING."""


class Metering:
    """Counts from when it is made; `start` opens the port at `address`, where there is one."""

    def __init__(
        self, address: tuple[str, int] | None, version: str, log: FilteringBoundLogger
    ) -> None:
        build = {
            "version": version,
            "python_version": platform.python_version(),
            "grpc_version": grpc.__version__,
        }
        self._registry = process_registry()
        self._address = address
        self._log = log
        self._port: MetricsPort | None = None
        self._sampling: asyncio.Task[None] | None = None
        self.metrics = Metrics(self._registry, build)
        self.calls = CallMetrics(self.metrics)

    async def start(self, classes: Classes, pools: Pools, health: Names) -> None:
        """Serve, and look at these and at the calls that run until closed.

        Raises:
            MetricsUnavailable: the port is taken or the host is no address of this machine.
        """
        if self._address is not None:
            host, port = self._address
            self._port = await asyncio.to_thread(MetricsPort, self._registry, host, port)
            self._log.info("metrics served", host=host, port=port)
        self._sampling = asyncio.create_task(self._sample(classes, pools, health), name="metrics")

    async def close(self) -> None:
        """Stop looking and close the port."""
        if self._sampling is not None:
            self._sampling.cancel()
            await asyncio.wait({self._sampling})
        if self._port is not None:
            await asyncio.to_thread(self._port.close)

    async def _sample(self, classes: Classes, pools: Pools, health: Names) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self.metrics.active_calls(self.calls.running)
            for call_class, running, waiting in classes():
                self.metrics.class_calls(call_class, running, waiting)
            for pool in pools():
                self.metrics.connections(pool.name, pool.size, pool.used)
            for name, serving in health().items():
                self.metrics.health(name or "server", serving=serving)
            # At kept times; a loop that hung for long is one late sample and no more.
            due = max(due + INTERVAL_SECONDS, loop.time())
            await asyncio.sleep(due - loop.time())
            self.metrics.loop_lag(max(0.0, loop.time() - due))
