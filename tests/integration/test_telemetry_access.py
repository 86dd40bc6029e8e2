"""Every call has one line in the access log and one count, however it ends."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from random import Random
from shutil import copy
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server.generated.interview.catalogue.v1 import catalogue_service_pb2_grpc, film_pb2
from tests.support.amount import amount
from tests.support.caller import Caller
from tests.support.chat_driver import Chat, eventually
from tests.support.metrics import scrape
from tests.support.running import Running, running_server
from tests.support.server_process import free_port

LIST = "/interview.catalogue.v1.CatalogueService/ListFilms"
CHAT = "/interview.agent.v1.AgentService/Chat"
CALLS = "rpc_server_call_duration_seconds_count"


@pytest.fixture
async def server(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> AsyncIterator[tuple[Running, int]]:
    """A server that waits a moment for calls when it stops, and the port of its metrics."""
    file, port = tmp_path / "test.db", free_port()
    copy(sqlite_templates["sample"], file)
    url = f"sqlite+aiosqlite:///{file}"
    async with running_server(url, tmp_path, metrics_port=port) as running:
        await running.app.agents_ready()
        yield running, port


async def _ended(call: Any) -> grpc.StatusCode:
    with suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
        await call
    code: grpc.StatusCode = await call.code()
    return code


def _line(running: Running, method: str) -> dict[str, Any]:
    (line,) = [line for line in running.access_lines() if line["method"] == method]
    return line


async def test_an_answer_and_a_refusal_tell_their_sizes(server: tuple[Running, int]) -> None:
    running, _ = server
    viewer = await Caller.signed_in(running)
    request = film_pb2.ListFilmsRequest(page_size=2)
    answer = await viewer.ListFilms(request)
    line = _line(running, LIST)
    assert line["code"] == "OK"
    assert (line["bytes_in"], line["bytes_out"]) == (request.ByteSize(), answer.ByteSize())
    assert line["principal"].startswith("users/")
    assert line["level"] == "info"
    assert line["duration_ms"] > 0
    assert line["request_id"]
    assert line["peer"].startswith("ipv4:127.0.0.1:")
    path = LIST.replace("ListFilms", "GetFilm")
    assert await _ended(viewer.raw(path, b"\xff\xff")) is grpc.StatusCode.INVALID_ARGUMENT
    line = _line(running, path)
    assert (line["code"], line["reason"]) == ("INVALID_ARGUMENT", "VALIDATION_FAILED")
    assert (line["bytes_in"], line["bytes_out"]) == (2, 0)


async def test_a_stranger_and_an_unknown_method_have_a_line(server: tuple[Running, int]) -> None:
    running, _ = server
    nobody = Caller(running)
    assert await _ended(nobody.raw(LIST, b"")) is grpc.StatusCode.UNAUTHENTICATED
    assert await _ended(nobody.raw("/a.B/C", b"")) is grpc.StatusCode.UNIMPLEMENTED
    assert _line(running, LIST)["reason"] == "CREDENTIAL_MISSING"
    assert "principal" not in _line(running, LIST)
    assert _line(running, "(unknown)")["reason"] == "METHOD_UNKNOWN"


async def test_a_client_that_leaves_and_one_whose_time_is_up(server: tuple[Running, int]) -> None:
    running, _ = server
    who = await running.sign_in()
    chat = Chat(running.channel, who)
    await chat.start()
    await chat.leave()
    await eventually(lambda: running.app.running_calls == 0)
    line = _line(running, CHAT)
    assert line["code"] == "CANCELLED"
    assert line["bytes_out"] > 100
    late = Chat(running.channel, who, seconds=0.3)
    await late.start()
    assert (await late.end()).code is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: running.app.running_calls == 0)
    _, line = [line for line in running.access_lines() if line["method"] == CHAT]
    assert line["code"] == "DEADLINE_EXCEEDED"


async def test_calls_that_meet_the_end_of_the_server(server: tuple[Running, int]) -> None:
    running, _ = server
    who = await running.sign_in()
    chat = Chat(running.channel, who)
    await chat.start()
    hurry = asyncio.Event()
    stopping = asyncio.create_task(running.app.stop(hurry))
    await chat.rest()
    assert (await chat.end()).reason == "SERVER_DRAINING"
    assert _line(running, CHAT)["reason"] == "SERVER_DRAINING"
    hurry.set()
    await stopping


async def test_probes_are_written_at_debug_level_alone(server: tuple[Running, int]) -> None:
    running, _ = server
    make: Any = health_pb2_grpc.HealthStub
    await make(running.channel).Check(health_pb2.HealthCheckRequest())
    assert _line(running, "/grpc.health.v1.Health/Check")["level"] == "debug"


async def test_calls_given_up_at_any_moment_leave_a_line_and_a_count_each(
    server: tuple[Running, int],
) -> None:
    running, port = server
    who = await running.sign_in()
    stub = catalogue_service_pb2_grpc.CatalogueServiceStub(running.channel)
    chance = Random(7)

    async def give_up() -> None:
        call = stub.ListFilms(film_pb2.ListFilmsRequest(), metadata=who)
        await asyncio.sleep(chance.choice((0, 0.0005, 0.002, 0.01, 0.05)))
        call.cancel()
        await _ended(call)

    for _ in range(amount(5, 100)):
        await asyncio.gather(*(give_up() for _ in range(20)))
    await eventually(lambda: running.app.running_calls == 0)
    await asyncio.sleep(0.6)  # for what is looked at twice a second
    lines = Counter(line["code"] for line in running.access_lines() if line["method"] == LIST)
    told = await scrape(port)
    counted = {
        code: told.value(CALLS, rpc_method=LIST[1:], rpc_response_status_code=code)
        for code in lines
    }
    assert counted == lines
    assert lines["CANCELLED"] > 5
    assert told.value(CALLS, rpc_method=LIST[1:]) == lines.total()
    assert told.value("rpc_server_active_calls") == 0
