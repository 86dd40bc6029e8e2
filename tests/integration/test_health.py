"""grpc.health.v1 as an orchestrator and a load balancer see it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy.engine import make_url

from server.generated.interview.agent.v1 import agent_service_pb2
from tests.support.caller import Caller
from tests.support.chat_driver import eventually
from tests.support.chat_driver import modelled as serving
from tests.support.databases import execute, postgres_copy
from tests.support.fake_openai import FakeOpenAI, Status, answer
from tests.support.raw_http2 import grpc_headers, message, raw_connection
from tests.support.running import Running, running_server
from tests.support.statuses import check_call, refused

AUTH = "interview.auth.v1.AuthService"
USERS = "interview.auth.v1.UserService"
CATALOGUE = "interview.catalogue.v1.CatalogueService"
AGENT = "interview.agent.v1.AgentService"
NAMES = {"", "liveness", "readiness", AUTH, USERS, CATALOGUE, AGENT}
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
WATCH = "/grpc.health.v1.Health/Watch"
QUESTION = agent_service_pb2.AskRequest(question="Which films are there?")


def _stub(server: Running) -> Any:
    return health_pb2_grpc.HealthStub(server.channel)  # type: ignore[no-untyped-call]  # the library's


async def _listed(server: Running) -> dict[str, int]:
    listed = await _stub(server).List(health_pb2.HealthListRequest(), timeout=5)
    return {name: response.status for name, response in listed.statuses.items()}


async def _away(server: Running) -> set[str]:
    """Return the names that are not SERVING, asked in both ways."""
    states = await _listed(server)
    for name, state in states.items():
        request = health_pb2.HealthCheckRequest(service=name)
        assert (await _stub(server).Check(request, timeout=5)).status == state
    assert set(states) == NAMES
    return {name for name, state in states.items() if state != SERVING}


async def _until_away(server: Running, names: set[str], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        # Asked in one way alone: a state that changes may be told in two.
        while {
            name for name, state in (await _listed(server)).items() if state != SERVING
        } != names:
            await asyncio.sleep(0.05)


def _watch(channel: grpc.aio.Channel, name: str) -> Any:
    request = health_pb2.HealthCheckRequest(service=name)
    stub: Any = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]  # the library's
    return stub.Watch(request, timeout=60)


async def test_every_name_is_served(modelled: Running) -> None:
    assert await _away(modelled) == set()


async def test_a_name_that_is_none(modelled: Running) -> None:
    request = health_pb2.HealthCheckRequest(service="interview.nobody")
    await check_call(modelled, _stub(modelled).Check(request), "RESOURCE_NOT_FOUND")
    watch = _watch(modelled.channel, "interview.nobody")
    assert (await watch.read()).status == UNKNOWN
    watch.cancel()


async def test_health_asks_for_no_credential_and_heeds_no_gate(
    sample_database_url: str, tmp_path: Path
) -> None:
    async with running_server(
        sample_database_url, tmp_path, read_rate=1, read_burst=1, max_running_reads=1
    ) as server:
        server.app._gate.closed.set()  # as in a server that stops
        for _ in range(50):
            request = health_pb2.HealthCheckRequest()
            metadata = (("authorization", "Bearer expired.and.broken"),)
            answered = await _stub(server).Check(request, metadata=metadata, timeout=5)
            assert answered.status == SERVING


async def test_the_database_takes_all_but_liveness_with_it(
    postgres_server: str, postgres_templates: dict[str, str], tmp_path: Path
) -> None:
    async with (
        postgres_copy(postgres_server, postgres_templates["sample"]) as url,
        running_server(url, tmp_path) as server,
    ):
        await server.app.agents_ready()
        watch = _watch(server.channel, "readiness")
        assert (await watch.read()).status == SERVING
        name = make_url(url).database
        await execute(postgres_server, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await execute(
            postgres_server,
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        )
        assert (await watch.read()).status == NOT_SERVING
        assert await _away(server) == NAMES - {"liveness"}
        await execute(postgres_server, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        assert (await watch.read()).status == SERVING
        assert await _away(server) == set()
        watch.cancel()


async def test_the_model_takes_only_the_agents_with_it(
    modelled: Running, model: FakeOpenAI
) -> None:
    caller = await Caller.signed_in(modelled)
    watch = _watch(modelled.channel, AGENT)
    assert (await watch.read()).status == SERVING
    model.script_with(lambda _: [Status(503)])
    for _ in range(3):
        assert await _away(modelled) == set()
        await refused(caller.Ask(QUESTION))
    assert (await watch.read()).status == NOT_SERVING
    assert await _away(modelled) == {AGENT}
    # The next answer brings it back.
    model.script_with(lambda _: answer("Many"))
    await caller.Ask(QUESTION)
    assert (await watch.read()).status == SERVING
    watch.cancel()


async def test_a_model_that_is_busy_is_not_away(modelled: Running, model: FakeOpenAI) -> None:
    caller = await Caller.signed_in(modelled)
    model.script_with(lambda _: [Status(429)])
    for _ in range(5):
        await refused(caller.Ask(QUESTION))
    assert await _away(modelled) == set()


async def test_a_probe_brings_the_agents_back(
    sqlite_templates: dict[str, Path], tmp_path: Path, model: FakeOpenAI
) -> None:
    async with serving(sqlite_templates["sample"], tmp_path, model) as server:
        await _probed(server, model)


async def _probed(server: Running, model: FakeOpenAI) -> None:
    caller = await Caller.signed_in(server)
    model.script_with(lambda _: [Status(503)])
    model.models, asked = Status(503), model.probes
    for _ in range(3):
        await refused(caller.Ask(QUESTION))
    turns = len(model.requests)
    await eventually(lambda: model.probes > asked, seconds=15)
    assert await _away(server) == {AGENT}
    model.models = Status(404)  # it has no such list, but it is there
    await _until_away(server, set())
    assert len(model.requests) == turns, "a probe asks for no answer"
    await refused(caller.Ask(QUESTION))
    assert await _away(server) == {AGENT}, "it is back on probation"
    model.script_with(lambda _: answer("Many"))
    await caller.Ask(QUESTION)
    assert await _away(server) == set()


@asynccontextmanager
async def _channels(target: str, number: int) -> AsyncIterator[Sequence[grpc.aio.Channel]]:
    async with AsyncExitStack() as stack:
        own = (("grpc.use_local_subchannel_pool", 1),)
        yield [
            await stack.enter_async_context(grpc.aio.insecure_channel(target, options=own))
            for _ in range(number)
        ]


async def test_many_watchers_see_every_state_and_end_with_the_server(
    sample_database_url: str, tmp_path: Path
) -> None:
    async with (
        running_server(sample_database_url, tmp_path) as server,
        _channels(server.target, 5) as channels,
    ):
        watches = [_watch(channel, "readiness") for channel in channels for _ in range(100)]
        seen = await asyncio.gather(*(watch.read() for watch in watches))
        assert {response.status for response in seen} == {SERVING}
        for state in (NOT_SERVING, SERVING):
            server.app.health.set("readiness", serving=state == SERVING)
            seen = await asyncio.gather(*(watch.read() for watch in watches))
            assert {response.status for response in seen} == {state}
        server.app.health.drain()
        server.app.health.end_watches()
        seen = await asyncio.gather(*(watch.read() for watch in watches))
        assert {getattr(response, "status", "end") for response in seen} == {NOT_SERVING}
        ends = await asyncio.gather(*(watch.code() for watch in watches))
        assert set(ends) == {grpc.StatusCode.OK}


async def test_a_watcher_that_reads_nothing_holds_nobody(embedded: Running) -> None:
    async with raw_connection(embedded.target, window=0) as slow:
        request = health_pb2.HealthCheckRequest(service="readiness").SerializeToString()
        stream = await slow.call(grpc_headers(WATCH), message(request))
        watch = _watch(embedded.channel, "readiness")
        assert (await watch.read()).status == SERVING
        for number in range(20):
            state = SERVING if number % 2 else NOT_SERVING
            embedded.app.health.set("readiness", serving=state == SERVING)
            assert (await watch.read()).status == state
        assert bytes(slow.answers[stream].body) == b""
        watch.cancel()
        await slow.reset(stream)
