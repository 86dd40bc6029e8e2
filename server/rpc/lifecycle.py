"""The gRPC server of one process: its start and its orderly end."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import grpc

from server.rpc.boundary import Boundary
from server.rpc.drain import DrainGate
from server.rpc.health import Health
from server.rpc.listener import Listener
from server.rpc.options import ServerOptions

CLEANUP_SECONDS = 5.0
STOP_SECONDS = 1.0
"""For grpc itself, once no call runs any more."""


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
        self,
        boundary: Boundary,
        health: Health,
        gate: DrainGate,
        times: DrainTimes,
        options: ServerOptions,
    ) -> None:
        self._boundary = boundary
        self._health = health
        self._gate = gate
        self._times = times
        self._server = Listener(boundary.routes(), boundary.unknown(), options.arguments())

    async def start(
        self, host: str, port: int, credentials: grpc.ServerCredentials | None = None
    ) -> int:
        """Listen and return the port; 0 asks for a free one. Without credentials in the clear.

        Raises:
            AddressInUse: the address is taken or cannot be listened on.
        """
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if credentials is None:
                bound: int = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise AddressInUse(
                f"cannot listen on {address}: another program has the port, or HOST is no"
                " address of this machine"
            ) from error
        await self._server.start()
        return bound

    async def drain(self, hurry: asyncio.Event) -> None:
        """End in order, losing nothing that can be finished; `hurry` cuts all waiting short.

        Readiness goes first, so that clients look away; then chats are told and finish
        their turn; then new calls are refused, while health still answers and running calls
        get their grace; what is left is cut with a status of ours and cleans up before
        anybody closes the database. The port is closed last: a caller that comes late is told
        to go elsewhere, instead of meeting a closed door.
        """
        self._health.drain()
        self._gate.draining.set()
        await _wait(hurry, self._times.delay)
        self._gate.closed.set()
        self._health.end_watches()
        await self._idle(hurry)
        await self._boundary.cut(CLEANUP_SECONDS)
        await self._server.stop(STOP_SECONDS)

    async def _idle(self, hurry: asyncio.Event) -> None:
        """Wait until no call runs, the grace is over or there is a hurry."""
        idle = asyncio.ensure_future(self._boundary.idle())
        hurried = asyncio.ensure_future(hurry.wait())
        await asyncio.wait(
            {idle, hurried},
            timeout=self._times.grace.total_seconds(),
            return_when=asyncio.FIRST_COMPLETED,
        )
        for waiting in (idle, hurried):
            waiting.cancel()


async def _wait(event: asyncio.Event, span: timedelta) -> None:
    try:
        async with asyncio.timeout(span.total_seconds()):
            await event.wait()
    except TimeoutError:
        pass
