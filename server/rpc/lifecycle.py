"""The gRPC server of one process: its options, its start, and its orderly end."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import grpc

from server.rpc.boundary import Boundary
from server.rpc.drain import DrainGate
from server.rpc.health import Health

CLEANUP_SECONDS = 5.0

_MEBIBYTE = 1024 * 1024
SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", _MEBIBYTE),
    ("grpc.max_send_message_length", 4 * _MEBIBYTE),
    # Soft and hard limit alike: between the two, metadata is refused at random.
    ("grpc.max_metadata_size", 8192),
    ("grpc.absolute_max_metadata_size", 8192),
    ("grpc.max_concurrent_streams", 100),
    # Two servers on one port by accident would share its calls.
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 30_000),
    # grpc.keepalive_timeout_ms alone has no effect: a dead peer would be kept for a minute.
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_connection_idle_ms", 15 * 60_000),
    ("grpc.max_connection_age_ms", 30 * 60_000),
    # Longer than any turn, so that age never cuts an answer.
    ("grpc.max_connection_age_grace_ms", 310_000),
    ("grpc.server_handshake_timeout_ms", 10_000),
)


class AddressInUse(Exception):
    """Another process listens on the address already."""


@dataclass(frozen=True, slots=True)
class DrainTimes:
    """`delay` lets load balancers look away; `grace` lets running calls end."""

    delay: timedelta
    grace: timedelta


class GrpcServer:
    """Serves a boundary's methods until it is told to stop."""

    def __init__(
        self, boundary: Boundary, health: Health, gate: DrainGate, times: DrainTimes
    ) -> None:
        self._boundary = boundary
        self._health = health
        self._gate = gate
        self._times = times
        self._server = grpc.aio.server(options=SERVER_OPTIONS)
        self._server.add_generic_rpc_handlers((boundary,))

    async def start(self, host: str, port: int) -> int:
        """Listen and return the port; 0 asks for a free one.

        Raises:
            AddressInUse: the address is taken or cannot be listened on.
        """
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            bound = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise AddressInUse(f"cannot listen on {address}: is another server running?") from error
        await self._server.start()
        return bound

    async def drain(self, hurry: asyncio.Event) -> None:
        """End in order, losing nothing that can be finished; `hurry` cuts all waiting short.

        Readiness goes first, so that clients look away; then chats are told and finish
        their turn; then new calls are refused; then running calls get their grace; at last
        the handlers that were cut clean up before anybody closes the database.
        """
        self._health.drain()
        self._gate.draining.set()
        await _wait(hurry, self._times.delay)
        self._gate.closed.set()
        self._health.end_watches()
        grace = 0.0 if hurry.is_set() else self._times.grace.total_seconds()
        stop = asyncio.ensure_future(self._server.stop(grace))
        hurried = asyncio.ensure_future(hurry.wait())
        await asyncio.wait({stop, hurried}, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        # A second stop beside one without grace can meet a server that is destroyed already,
        # which ends the process.
        if grace and not stop.done():
            await self._server.stop(0)
        await stop
        if self._boundary.tasks:
            await asyncio.wait(self._boundary.tasks, timeout=CLEANUP_SECONDS)


async def _wait(event: asyncio.Event, span: timedelta) -> None:
    try:
        async with asyncio.timeout(span.total_seconds()):
            await event.wait()
    except TimeoutError:
        pass
