"""The real boundary on a real port before a service of one unary and one streaming method.

What the methods do is the test's: `act` of the service is called for each.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import grpc
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)

from server.core.clock import utc_now
from server.core.errors import DomainError, Unauthenticated
from server.core.principal import Principal
from server.core.telemetry import Silent
from server.rpc.access_log import AccessLog
from server.rpc.admission import Admission
from server.rpc.boundary import Boundary, Interceptor
from server.rpc.call import Call
from server.rpc.chain import request_ids
from server.rpc.listener import Listener
from server.rpc.methods import Method, methods_of
from server.rpc.options import ServerOptions
from server.rpc.policy import MethodPolicy
from server.rpc.stream_watch import StreamWatch
from tests.support.running import capturing_log

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
_SERVING = HealthCheckResponse(status=HealthCheckResponse.SERVING)


class Service:
    """Does what `act` does; then answers."""

    def __init__(self) -> None:
        self.act: Callable[[], Any] = lambda: None

    async def Check(self, request: HealthCheckRequest, call: Call) -> HealthCheckResponse:
        """Act, then answer what `act` returned, if it returned anything."""
        return self.act() or _SERVING

    async def List(self, request: HealthListRequest, call: Call) -> HealthListResponse:
        """Answer nothing."""
        return HealthListResponse()

    async def Watch(
        self, request: HealthCheckRequest, call: Call
    ) -> AsyncIterator[HealthCheckResponse]:
        """Answer once, then act."""
        yield _SERVING
        self.act()


@dataclass
class Small:
    """The running service, its log and where it listens."""

    service: Service
    channel: grpc.aio.Channel
    port: int
    lines: list[Any]

    def check(self) -> Any:
        """Call the unary method."""
        method: Any = self.channel.unary_unary(CHECK)
        return method(b"", timeout=10)

    def watch(self) -> Any:
        """Call the streaming method."""
        method: Any = self.channel.unary_stream(WATCH)
        return method(b"", timeout=10)

    def access_lines(self) -> list[dict[str, Any]]:
        """Return the access log's fields, in order."""
        calls = (line.kwargs for line in self.lines if line.kwargs.get("event") == "call")
        return list(calls)


@asynccontextmanager
async def small_service(
    *steps: Interceptor, options: Sequence[tuple[str, int]] = ()
) -> AsyncIterator[Small]:
    """Serve until the block ends; calls pass the access log and then the `steps`.

    `options` are those of the client's channel.
    """
    log, lines = capturing_log()
    service = Service()
    descriptor = health_pb2.DESCRIPTOR.services_by_name["Health"]
    boundary = Boundary(
        methods_of(descriptor, service, policy=_policy),
        (AccessLog(log), *steps),
        admission=Admission({}, monotonic=lambda: 0.0, random=lambda: 0.5, telemetry=Silent()),
        audit=Unaudited(),
        streams=StreamWatch(Everlasting(), clock=utc_now),
        log=log,
        request_id=request_ids(secrets.token_bytes),
        max_answer_bytes=1_000_000,
    )
    server = Listener(boundary.routes(), boundary.unknown(), ServerOptions().arguments())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        yield Small(service, channel, port, lines)
    await server.stop(0)


def _policy(method: MethodDescriptor) -> MethodPolicy:
    return MethodPolicy(
        f"/{method.containing_service.full_name}/{method.name}",
        public=True,
        permissions=frozenset(),
        default_deadline=timedelta(seconds=5),
        max_deadline=timedelta(seconds=10),
        max_request_bytes=1000,
    )


class Everlasting:
    """Lets every credential count until its own end."""

    def over(self, principal: Principal) -> Unauthenticated | None:
        """None is over."""

    def outdated(self, principal: Principal) -> Unauthenticated | None:
        """None has to be refreshed."""

    def listen(self, listener: Callable[[UUID | None], None]) -> None:
        """There is no news."""


class Unaudited:
    """Keeps no audit trail."""

    def begin(self, call: Call, method: Method) -> None:
        """Nothing to open."""

    async def end(self, call: Call, error: DomainError | None) -> None:
        """Nothing to store."""
