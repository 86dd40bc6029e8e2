"""A server that stops while a chat still runs: what callers meet until the port is closed."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from server.generated.interview.catalogue.v1 import catalogue_service_pb2_grpc, film_pb2
from tests.support.chat_driver import another_server, eventually, modelled, problem_of, talk
from tests.support.fake_openai import Pause, running_fake_openai, words
from tests.support.running import running_server

REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, 2


async def _health(channel: grpc.aio.Channel, name: str) -> int:
    method: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
    raw = await method(health_pb2.HealthCheckRequest(service=name).SerializeToString(), timeout=5)
    return int(health_pb2.HealthCheckResponse.FromString(raw).status)


async def test_callers_are_told_to_go_elsewhere_until_a_second_signal_cuts_all(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    async with (
        running_fake_openai() as model,
        modelled(sqlite_templates["sample"], tmp_path, model) as first,
        another_server(first) as stopping,
    ):
        model.script([*words("Once "), Pause(30)])
        chat = await talk(stopping)
        metadata = await stopping.sign_in()
        await chat.start()
        await chat.say("Go")
        await chat.until("text_delta")
        hurry = asyncio.Event()
        stop = asyncio.create_task(stopping.app.stop(hurry))
        await chat.until("go_away")
        async with grpc.aio.insecure_channel(stopping.target) as late:
            stub = catalogue_service_pb2_grpc.CatalogueServiceStub(late)
            request = film_pb2.GetFilmRequest(name="films/1")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.GetFilm(request, metadata=metadata, timeout=5)
            told = problem_of(refused.value)
            assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")
            assert told.retry_delay is not None
            assert await _health(late, "readiness") == NOT_SERVING
            assert await _health(late, "liveness") == SERVING
        hurry.set()
        await chat.rest()
        end = await chat.end()
        assert (end.code, end.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")
        await stop
        await eventually(lambda: model.open_streams == 0, seconds=1)


async def test_a_stream_that_asks_for_contracts_holds_up_no_stop(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    file = tmp_path / "held.db"
    file.write_bytes(sqlite_templates["sample"].read_bytes())
    async with running_server(f"sqlite+aiosqlite:///{file}", tmp_path, grace_seconds=60) as server:
        reflection: Any = server.channel.stream_stream(REFLECTION)
        held = reflection()
        await held.write(b"\x3a\x01*")  # list_services: "*"
        assert await held.read()
        async with asyncio.timeout(30):
            await server.app.stop(asyncio.Event())
        assert await held.code() is grpc.StatusCode.UNAVAILABLE
