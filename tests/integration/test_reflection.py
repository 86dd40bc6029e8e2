"""Server reflection as tools use it, and as somebody who only wants to be a nuisance."""

import asyncio
import json
import sys
from datetime import timedelta
from pathlib import Path
from shutil import copy
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2

from server.rpc import reflection
from tests.support.running import Running, running_server
from tests.support.statuses import check_call, refused

V1 = "grpc.reflection.v1.ServerReflection"
V1ALPHA = "grpc.reflection.v1alpha.ServerReflection"
VERSIONS = pytest.mark.parametrize("version", [V1, V1ALPHA])
SERVICES = {
    "grpc.health.v1.Health",
    V1,
    V1ALPHA,
    "interview.agent.v1.AgentService",
    "interview.auth.v1.AuthService",
    "interview.auth.v1.UserService",
    "interview.catalogue.v1.CatalogueService",
}
BIN = Path(sys.executable).parent
Request = reflection_pb2.ServerReflectionRequest
NOT_FOUND = grpc.StatusCode.NOT_FOUND.value[0]
INVALID = grpc.StatusCode.INVALID_ARGUMENT.value[0]


# What it tells is the same over any database.
pytestmark = pytest.mark.parametrize("shared_url", ["sqlite"], indirect=True, scope="module")


class Stream:
    """One reflection stream."""

    def __init__(self, server: Running, version: str) -> None:
        method: Any = server.channel.stream_stream(
            f"/{version}/ServerReflectionInfo",
            request_serializer=Request.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        self.call = method(timeout=30)

    async def ask(self, **fields: Any) -> Any:
        """Send a request and return its answer."""
        await self.call.write(Request(**fields))
        return await self.call.read()


@pytest.fixture
def empty_url(sqlite_templates: dict[str, Path], tmp_path: Path, shared_url: str) -> str:
    """A database of the test's own, without films."""
    copy(sqlite_templates["migrated"], tmp_path / "test.db")
    return f"sqlite+aiosqlite:///{tmp_path / 'test.db'}"


async def _tool(*command: str | Path) -> tuple[str, str]:
    """Run a tool and return what it wrote to both outputs."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, error = await process.communicate()
    return out.decode(), error.decode()


async def _grpcurl(server: Running, *arguments: str) -> tuple[str, str]:
    return await _tool(BIN / "grpcurl", "-plaintext", server.target, *arguments)


@VERSIONS
async def test_services_and_files(shared: Running, version: str) -> None:
    stream = Stream(shared, version)
    listed = await stream.ask(list_services="")
    assert {service.name for service in listed.list_services_response.service} == SERVICES
    for symbol in ("interview.catalogue.v1.Film", "interview.agent.v1.AgentService.Chat", version):
        answer = await stream.ask(file_containing_symbol=symbol)
        files = answer.file_descriptor_response.file_descriptor_proto
        packages = {FileDescriptorProto.FromString(file).package for file in files}
        assert symbol.rpartition(".")[0].removesuffix(".AgentService") in packages
    stream.call.cancel()


@VERSIONS
async def test_what_is_not_there_is_told_in_band(shared: Running, version: str) -> None:
    stream = Stream(shared, version)
    extension = reflection_pb2.ExtensionRequest(containing_type="nobody.Nothing")
    for fields in (
        {"file_containing_symbol": "nobody.Nothing"},
        {"file_containing_symbol": ""},
        {"file_containing_symbol": "interview.catalogue.v1.Film.no_such_field"},
        {"file_containing_symbol": "\0\n' OR 1=1"},
        {"file_by_filename": "../../etc/passwd"},
        {"file_containing_extension": extension},
        {"all_extension_numbers_of_type": "nobody.Nothing"},
    ):
        answer = await stream.ask(**fields)
        assert answer.error_response.error_code == NOT_FOUND, fields
    assert (await stream.ask()).error_response.error_code == INVALID
    await stream.call.done_writing()
    assert await stream.call.code() is grpc.StatusCode.OK


@VERSIONS
async def test_bytes_that_are_no_request(shared: Running, version: str) -> None:
    method: Any = shared.channel.stream_stream(f"/{version}/ServerReflectionInfo")
    for message in (b"\xff\xff", Request(file_by_filename="x" * 5000).SerializeToString()):
        call = method(timeout=10)
        await call.write(message)
        await check_call(shared, call.read(), "VALIDATION_FAILED")


async def test_too_many_streams(shared: Running) -> None:
    streams = [Stream(shared, V1) for _ in range(32)]
    for stream in streams:
        assert await stream.ask(list_services="")
    one_more = Stream(shared, V1ALPHA)
    await check_call(shared, one_more.call.read(), "TOO_MANY_STREAMS")
    streams.pop().call.cancel()
    async with asyncio.timeout(5):
        while not await _answers(shared):
            await asyncio.sleep(0.01)
    for stream in streams:
        stream.call.cancel()


async def _answers(server: Running) -> bool:
    stream = Stream(server, V1)
    try:
        await stream.ask(list_services="")
    except grpc.aio.AioRpcError:
        return False
    stream.call.cancel()
    return True


async def test_too_many_messages(shared: Running) -> None:
    stream = Stream(shared, V1)
    for _ in range(1000):
        assert await stream.ask(list_services="")
    await check_call(shared, stream.call.read(), "RATE_LIMITED")


async def test_a_stream_is_not_held_for_ever(
    empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflection, "_LIFETIME", timedelta(seconds=0.5))
    async with running_server(empty_url, tmp_path) as server:
        stream = Stream(server, V1)
        assert await stream.ask(list_services="")
        await check_call(server, stream.call.read(), "DEADLINE_EXCEEDED")


@pytest.mark.parametrize("settings", [{"reflection": False}, {"environment": "production"}])
async def test_where_it_is_off_it_is_unknown(
    empty_url: str, tmp_path: Path, settings: dict[str, Any]
) -> None:
    async with running_server(empty_url, tmp_path, **settings) as server:
        for version in (V1, V1ALPHA):
            told = await refused(Stream(server, version).call.read())
            assert told.reason == "METHOD_UNKNOWN"
        _, error = await _grpcurl(server, "list")
        assert "reflection" in error


async def test_grpcurl_shows_services_methods_and_access_rules(shared: Running) -> None:
    listed, _ = await _grpcurl(shared, "list")
    assert set(listed.split()) == SERVICES
    described, _ = await _grpcurl(shared, "describe", "interview.catalogue.v1.CatalogueService")
    assert "rpc GetFilm" in described
    assert "interview.options.v1.access" in described
    assert "films.read" in described
    _, error = await _grpcurl(shared, "describe", "interview.catalogue.v1.Nothing")
    assert "not found" in error.lower()


@pytest.mark.parametrize("protocol", ["grpc-v1", "grpc-v1alpha"])
async def test_buf_curl_finds_the_schema_by_itself(shared: Running, protocol: str) -> None:
    out, error = await _tool(
        BIN / "buf",
        *("curl", "--http2-prior-knowledge", "--reflect-protocol", protocol),
        *("--protocol", "grpc", "-d", "{}"),
        f"http://{shared.target}/grpc.health.v1.Health/Check",
    )
    assert json.loads(out) == {"status": "SERVING"}, error
