"""The port of the metrics: what it shows while things happen, and how it opens and closes."""

import asyncio
import time
import urllib.error
from collections.abc import AsyncIterator
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from server.app import Application
from server.core.clock import utc_now
from server.settings import Settings
from server.telemetry import MetricsUnavailable
from server.telemetry.prometheus import MAX_CHILDREN, OTHER, Metrics
from tests.support.caller import Caller
from tests.support.chat_driver import Chat, eventually, modelled
from tests.support.fake_openai import running_fake_openai
from tests.support.metrics import scrape
from tests.support.running import SECRET, Running, capturing_log, running_server
from tests.support.server_process import free_port

CHAT = "interview.agent.v1.AgentService/Chat"
CALLS = "rpc_server_call_duration_seconds_count"
STATEMENTS = "db_client_operation_duration_seconds_count"


async def test_calls_that_run_and_connections_at_work_are_seen(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    port = free_port()
    async with (
        running_fake_openai() as model,
        modelled(sqlite_templates["sample"], tmp_path, model, metrics_port=port) as running,
    ):
        chats = [Chat(running.channel, await running.sign_in()) for _ in range(2)]
        for chat in chats:
            await chat.start()
        async with running.app.database.write():
            await asyncio.sleep(0.6)
            busy = await scrape(port)
        assert busy.value("rpc_server_active_calls", rpc_method=CHAT) == 2
        assert busy.value("db_client_connection_count", pool="write") == 1
        for chat in chats:
            await chat.leave()
        await eventually(lambda: running.app.running_calls == 0)
        await asyncio.sleep(0.6)
        idle = await scrape(port)
        assert idle.value("rpc_server_active_calls", rpc_method=CHAT) == 0
        assert idle.value(CALLS, rpc_method=CHAT, rpc_response_status_code="CANCELLED") == 2


async def test_both_databases_tell_the_same(sample_database_url: str, tmp_path: Path) -> None:
    port = free_port()
    async with running_server(sample_database_url, tmp_path, metrics_port=port) as running:
        await Caller.signed_in(running)
        told = await scrape(port)
    assert told.value(STATEMENTS, statement="users.find", outcome="ok") == 1
    assert told.value(STATEMENTS, statement="refresh_tokens.add", outcome="ok") == 1
    waits = "db_client_connection_wait_time_seconds_count"
    assert told.value(waits, pool="write", outcome="ok") == 5


async def test_a_loop_that_is_blocked_is_seen(embedded_with_metrics: tuple[Running, int]) -> None:
    _, port = embedded_with_metrics
    await asyncio.sleep(0.1)
    time.sleep(1.2)  # noqa: ASYNC251  # what must never happen is what is looked for
    await asyncio.sleep(0.1)
    told = await scrape(port)
    late = told.value("event_loop_lag_seconds_count") - told.value(
        "event_loop_lag_seconds_bucket", le="0.25"
    )
    assert late == 1


@pytest.fixture
async def embedded_with_metrics(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> AsyncIterator[tuple[Running, int]]:
    port, file = free_port(), tmp_path / "test.db"
    copy(sqlite_templates["sample"], file)
    url = f"sqlite+aiosqlite:///{file}"
    async with running_server(url, tmp_path, metrics_port=port) as running:
        yield running, port


async def test_a_port_that_is_taken_stops_the_start_with_a_sentence(
    embedded_with_metrics: tuple[Running, int],
) -> None:
    running, port = embedded_with_metrics
    log, _ = capturing_log()
    second = Application(running.app.settings, SECRET, utc_now, log)
    with pytest.raises(MetricsUnavailable, match=f"127.0.0.1:{port}.*another program"):
        await second.start()
    await second.close()
    # The first goes on as if nothing had been.
    assert (await scrape(port)).found("interview_build_info")


async def test_the_port_is_free_again_when_the_server_has_stopped(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    port = free_port()
    for number in range(2):
        file = tmp_path / f"{number}.db"
        copy(sqlite_templates["sample"], file)
        url = f"sqlite+aiosqlite:///{file}"
        async with running_server(url, tmp_path, metrics_port=port):
            assert (await scrape(port)).found("interview_build_info")
    with pytest.raises(urllib.error.URLError):
        await scrape(port)


def test_a_label_that_runs_wild_is_bounded() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, {"version": "1"})
    for number in range(MAX_CHILDREN + 100):
        metrics.tool_call(f"tool_{number}", 0.1, "succeeded")
    told = generate_latest(registry).decode()
    counts = [
        line
        for line in told.splitlines()
        if line.startswith("agent_tool_call_duration_seconds_count")
    ]
    assert len(counts) == MAX_CHILDREN + 1
    (rest,) = [line for line in counts if OTHER in line]
    assert rest.endswith(" 100.0")


def test_metrics_are_served_in_production_alone_unless_asked_for() -> None:
    def address(**settings: Any) -> tuple[str, int] | None:
        return Settings(_env_file=None, **settings).metrics_address

    assert address() is None
    assert address(environment="production") == ("127.0.0.1", 9464)
    assert address(environment="production", metrics_port=0) is None
    assert address(metrics_port=9000) == ("127.0.0.1", 9000)
    assert address(metrics_port=9000, host="0.0.0.0", metrics_host="10.0.0.1") == ("10.0.0.1", 9000)
