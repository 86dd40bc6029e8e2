"""The boundary against faults from inside and hostile input from outside.

A small service with known faults stands behind the real boundary on a real port.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)

from server.core.clock import utc_now
from server.core.errors import DomainError, Unauthenticated
from server.core.telemetry import Silent
from server.rpc.access_log import AccessLog
from server.rpc.admission import Admission
from server.rpc.boundary import Boundary
from server.rpc.call import Call
from server.rpc.chain import request_ids
from server.rpc.listener import Listener
from server.rpc.methods import Method, methods_of
from server.rpc.options import ServerOptions
from server.rpc.policy import MethodPolicy
from server.rpc.stream_watch import StreamWatch
from tests.support.running import capturing_log
from tests.support.small_service import Everlasting, Unaudited

SECRET = "postgresql://admin:hunter2@db.internal/films"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"


class FaultyServicer:
    """Does what the request's service name says."""

    async def Check(self, request: HealthCheckRequest, call: Call) -> HealthCheckResponse:
        match request.service:
            case "crash":
                raise RuntimeError(SECRET)
            case "cancelled inside":
                inner = asyncio.create_task(asyncio.sleep(60))
                inner.cancel()
                await inner
            case "slow":
                await asyncio.sleep(60)
            case "refuse":
                raise DomainError("not now", reason="WRONG_STATE", metadata={"state": "odd"})
        return HealthCheckResponse(status=HealthCheckResponse.SERVING)

    async def List(self, request: HealthListRequest, call: Call) -> HealthListResponse:
        return HealthListResponse()

    async def Watch(
        self, request: HealthCheckRequest, call: Call
    ) -> AsyncIterator[HealthCheckResponse]:
        yield HealthCheckResponse(status=HealthCheckResponse.SERVING)
        if request.service == "crash":
            raise RuntimeError(SECRET)
        await asyncio.sleep(60)


class Stranger:
    """Refuses every call whose path ends in List, as authentication would."""

    def enter(self, call: Call, method: Method) -> None:
        if method.path.endswith("List"):
            raise Unauthenticated("sign in first", reason="CREDENTIAL_MISSING")

    def leave(self, call: Call, method: Method) -> None:
        """Nothing to undo."""


@dataclass
class House:
    """The running service and its log."""

    channel: grpc.aio.Channel
    boundary: Boundary
    lines: list[Any]

    def unary(self, path: str = CHECK) -> Any:
        return self.channel.unary_unary(path)

    def watch(self, service: str) -> Any:
        method: Any = self.channel.unary_stream(WATCH)
        return method(_asked(service), timeout=5)

    async def line(self) -> dict[str, Any]:
        """Return the one call's line; it is written after the answer is sent."""
        async with asyncio.timeout(2):
            while True:
                for line in self.lines:
                    if line.kwargs.get("event") == "call":
                        return dict(line.kwargs)
                await asyncio.sleep(0.01)


def _policy(method: Any) -> MethodPolicy:
    return MethodPolicy(
        f"/{method.containing_service.full_name}/{method.name}",
        public=True,
        permissions=frozenset(),
        default_deadline=timedelta(milliseconds=300),
        max_deadline=timedelta(milliseconds=600),
        max_request_bytes=1000,
    )


@asynccontextmanager
async def _serving() -> AsyncIterator[House]:
    log, lines = capturing_log()
    service = health_pb2.DESCRIPTOR.services_by_name["Health"]
    boundary = Boundary(
        methods_of(service, FaultyServicer(), policy=_policy),
        (AccessLog(log), Stranger()),
        admission=Admission({}, monotonic=lambda: 0.0, random=lambda: 0.5, telemetry=Silent()),
        audit=Unaudited(),
        streams=StreamWatch(Everlasting(), clock=utc_now),
        log=log,
        request_id=request_ids(lambda size: b"\x01" * size),
        max_answer_bytes=1000,
    )
    server = Listener(boundary.routes(), boundary.unknown(), ServerOptions().arguments())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield House(channel, boundary, lines)
    await server.stop(0)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with _serving() as serving:
        yield serving


def _asked(service: str) -> bytes:
    return HealthCheckRequest(service=service).SerializeToString()


async def _failure(call: Any) -> tuple[grpc.aio.AioRpcError, error_details_pb2.ErrorInfo]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = caught.value
    trailers = dict(error.trailing_metadata() or ())
    info = error_details_pb2.ErrorInfo()
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    assert status.details[0].Unpack(info)
    assert status.message == error.details()
    return error, info


async def test_a_crash_is_internal_and_says_nothing_but_the_request_id(house: House) -> None:
    error, info = await _failure(house.unary()(_asked("crash"), timeout=5))
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "internal error")
    assert info.reason == "INTERNAL"
    assert info.metadata["request_id"] == "01" * 8
    assert "hunter2" not in repr(error)
    logged = [line.kwargs for line in house.lines if line.kwargs["event"] == "call failed"]
    assert "RuntimeError" in str(logged[0]["exception"])


async def test_a_stream_that_crashes_is_internal_too(house: House) -> None:
    call = house.watch("crash")
    assert await call.read()
    error, _ = await _failure(call.read())
    assert error.code() is grpc.StatusCode.INTERNAL


async def test_a_cancellation_from_inside_answers_at_once(house: House) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    error, _ = await _failure(house.unary()(_asked("cancelled inside"), timeout=0.5))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert loop.time() - began < 0.25


async def test_a_domain_error_keeps_its_reason_and_metadata(house: House) -> None:
    error, info = await _failure(house.unary()(_asked("refuse"), timeout=5))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert (info.reason, info.metadata["state"]) == ("WRONG_STATE", "odd")
    assert (await house.line())["reason"] == "WRONG_STATE"


@pytest.mark.parametrize(
    "raw",
    [b"\xff\xff\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe", b"\x0a" + b"\xff" * 20],
    ids=["garbage", "cut off", "not UTF-8", "endless length"],
)
async def test_bytes_that_do_not_parse_are_an_invalid_argument(house: House, raw: bytes) -> None:
    error, info = await _failure(house.unary()(raw, timeout=5))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info.reason == "VALIDATION_FAILED"
    assert "DecodeError" not in str(error)


async def test_a_message_over_the_methods_limit_is_an_invalid_argument(house: House) -> None:
    error, _ = await _failure(house.unary()(_asked("x" * 1001), timeout=5))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_message_over_the_servers_limit_is_refused(house: House) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await house.unary()(_asked("x" * (1024 * 1024 + 1)), timeout=5)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await house.unary()(_asked(""), timeout=5)


async def test_without_a_deadline_the_methods_default_ends_the_call(house: House) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    error, info = await _failure(house.unary()(_asked("slow")))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert info.reason == "DEADLINE_EXCEEDED"
    assert 0.25 < loop.time() - began < 5


async def test_a_longer_deadline_is_cut_to_the_methods_maximum(house: House) -> None:
    error, info = await _failure(house.unary()(_asked("slow"), timeout=30))
    assert (error.code(), info.reason) == (
        grpc.StatusCode.DEADLINE_EXCEEDED,
        "DEADLINE_EXCEEDED",
    )


async def test_a_refusal_does_not_wait_for_a_body(house: House) -> None:
    method: Any = house.channel.stream_unary("/grpc.health.v1.Health/List")
    error, info = await _failure(method(timeout=5))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert info.reason == "CREDENTIAL_MISSING"


async def test_a_refused_caller_learns_nothing_about_its_bytes(house: House) -> None:
    error, _ = await _failure(house.unary("/grpc.health.v1.Health/List")(b"\xff\xff", timeout=5))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_an_unknown_method_is_unimplemented_and_leaves_its_line(house: House) -> None:
    error, info = await _failure(house.unary("/grpc.health.v1.Health/Nothing")(b"", timeout=5))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert info.reason == "METHOD_UNKNOWN"
    line = await house.line()
    assert (line["code"], line["method"]) == ("UNIMPLEMENTED", "(unknown)")


@pytest.mark.parametrize("path", [CHECK, WATCH], ids=["unary", "server stream"])
async def test_a_call_that_ends_without_a_request_is_told_so(house: House, path: str) -> None:
    method: Any = house.channel.stream_unary(path)
    error, info = await _failure(method(iter(()), timeout=5))
    assert (error.code(), info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED")
    assert (await house.line())["code"] == "INVALID_ARGUMENT"


async def test_a_call_of_headers_alone_ends_with_the_methods_own_deadline(house: House) -> None:
    method: Any = house.channel.stream_unary(CHECK)
    error, info = await _failure(method())
    assert (error.code(), info.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    assert not house.boundary.tasks


async def test_the_request_id_of_the_client_comes_back(house: House) -> None:
    call = house.unary()(_asked(""), metadata=(("x-request-id", "order-17"),), timeout=5)
    assert await call
    assert dict(await call.trailing_metadata())["x-request-id"] == "order-17"
    assert (await house.line())["request_id"] == "order-17"


async def test_a_request_id_that_is_no_plain_word_is_replaced(house: House) -> None:
    call = house.unary()(_asked(""), metadata=(("x-request-id", "a b{}" * 30),), timeout=5)
    assert await call
    assert dict(await call.trailing_metadata())["x-request-id"] == "01" * 8


async def test_every_call_leaves_one_line(house: House) -> None:
    assert await house.unary()(_asked(""), timeout=5)
    line = await house.line()
    assert (line["method"], line["code"]) == (CHECK, "OK")
    assert line["duration_ms"] > 0
    assert line["bytes_out"] == 2
    assert line["peer"].startswith("ipv4:127.0.0.1")


async def test_a_call_that_the_client_gives_up_leaves_its_line_and_no_task(house: House) -> None:
    call = house.watch("")
    assert await call.read()
    call.cancel()
    async with asyncio.timeout(2):
        while house.boundary.tasks:
            await asyncio.sleep(0.01)
    assert (await house.line())["code"] == "CANCELLED"


@pytest.mark.parametrize(("size", "accepted"), [(4000, True), (9000, False), (14000, False)])
async def test_metadata_is_accepted_or_refused_but_never_by_chance(
    house: House, size: int, accepted: bool
) -> None:
    outcomes = set()
    for _ in range(10):
        call = house.unary()(_asked(""), metadata=(("x-big", "x" * size),), timeout=5)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            outcomes.add(error.code())
        else:
            outcomes.add(grpc.StatusCode.OK)
    assert outcomes == {grpc.StatusCode.OK if accepted else grpc.StatusCode.RESOURCE_EXHAUSTED}
