"""The port where Prometheus fetches metrics, served by a thread of its own."""

from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.registry import Collector

from server.telemetry import MetricsUnavailable


class MetricsPort:
    """Serves a registry over HTTP from when it is made until it is closed.

    Making and closing it blocks for a moment: for a thread.

    Raises:
        MetricsUnavailable: the address is taken or cannot be listened on.
    """

    def __init__(self, registry: Collector, host: str, port: int) -> None:
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        # The time at which each series began would double what is sent; nobody reads it.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # has no annotations
        self._server: WSGIServer
        self._thread: Thread
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as error:
            raise MetricsUnavailable(
                f"cannot serve metrics on {address}: another program has the port, or"
                " METRICS_HOST is no address of this machine (METRICS_PORT=0 serves none)"
            ) from error

    def close(self) -> None:
        """Close the port; a scrape that has begun is not waited for."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def process_registry() -> CollectorRegistry:
    """Return a registry that has what Python and the kernel tell of this process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
