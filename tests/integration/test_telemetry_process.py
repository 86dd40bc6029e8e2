"""What telemetry is to a process: absent where nobody asks, refused plainly, summed up."""

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import AsyncExitStack, ExitStack, closing
from pathlib import Path

import pytest
from interview_client import InterviewClient

from server.telemetry.supervision import observed_workers
from tests.support.driven import PLANTED
from tests.support.fake_openai import answer, calls, running_fake_openai
from tests.support.metrics import scrape
from tests.support.otlp import receiving
from tests.support.server_process import free_port, run_program, serving

pytestmark = pytest.mark.e2e

_LIBRARIES = ("prometheus_client", "opentelemetry")

_STARTED = """
import asyncio, os, pathlib, sys
from server.app import Application
from server.core.clock import utc_now
from server.database import migrate
from server.log import logger
from server.settings import Settings

async def main():
    pepper = "p" * 32
    settings = Settings(
        _env_file=None, port=0, data_dir=pathlib.Path(sys.argv[1]), password_pepper=pepper
    )
    await migrate.upgrade(settings.effective_database_url)
    app = Application(settings, b"s" * 32, utc_now, logger("test"))
    await app.start()
    # Semantic Kernel, which is loaded next, brings OpenTelemetry's interface itself.
    names = sorted(name for name in sys.modules if name.startswith(LIBRARIES))
    print(names, flush=True)
    os._exit(0)  # without waiting until it is loaded

asyncio.run(main())
"""

_WITHOUT_THE_EXTRA = """
import sys
sys.modules["opentelemetry.exporter"] = None
from server.composition import telemetry_options
from server.settings import Settings, SettingsError
try:
    telemetry_options(Settings(_env_file=None, otel_exporter_otlp_endpoint="http://127.0.0.1:1"))
except SettingsError as error:
    print(error)
"""

_COUNTING = """
import sys
from prometheus_client import CollectorRegistry
from server.telemetry.prometheus import Metrics
metrics = Metrics(CollectorRegistry(), {"version": "1"})
metrics.tool_call("search_films", 0.01, "succeeded")
metrics.active_calls({"/a.B/C": 3})
metrics.connections("read", 8, 2)
metrics.health("readiness", serving=sys.argv[1] == "ready")
print("counted", flush=True)
sys.stdin.read()
"""


def _python(script: str, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _said(process: "subprocess.Popen[str]") -> str:
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out


def test_where_nobody_asks_nothing_of_it_is_loaded(tmp_path: Path) -> None:
    script = _STARTED.replace("LIBRARIES", repr(_LIBRARIES))
    assert _said(_python(script, str(tmp_path))).splitlines()[-1] == "[]"


def test_traces_without_the_extra_are_refused_with_what_to_install() -> None:
    assert "install the extra `tracing`" in _said(_python(_WITHOUT_THE_EXTRA))


def test_a_port_of_metrics_that_is_taken_is_one_clear_line(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        done = run_program("serve", folder=tmp_path, METRICS_PORT=port)
    assert done.returncode == 1
    *_, line = done.stderr.splitlines()
    assert line.startswith(f"error: cannot serve metrics on 127.0.0.1:{port}: another program has")


def test_an_endpoint_without_a_scheme_is_refused(tmp_path: Path) -> None:
    done = run_program("serve", folder=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="localhost:4317")
    assert done.returncode == 1
    assert "error: OTEL_EXPORTER_OTLP_ENDPOINT: must begin with http:// or https://" in done.stderr


async def test_workers_count_into_one_port_and_the_dead_leave_what_they_did() -> None:
    port = free_port()
    with ExitStack() as stack:
        observer = stack.enter_context(observed_workers(("127.0.0.1", port)))
        workers = []
        for number, state in ((1, "ready"), (2, "not")):
            worker = _python(_COUNTING, state, **observer.environment)
            stack.callback(worker.communicate, timeout=60)
            assert worker.stdout is not None
            assert worker.stdout.readline() == "counted\n"
            observer.started(number, worker.pid)
            workers.append(worker)
        told = await scrape(port)
        assert told.value("agent_tool_call_duration_seconds_count", tool="search_films") == 2
        assert told.value("rpc_server_active_calls", rpc_method="a.B/C") == 6
        assert told.value("db_client_connection_max", pool="read") == 16
        assert told.value("health_serving", service="readiness") == 0
        assert told.value("interview_build_info") == 1
        assert {s.labels["worker"] for s in told.found("process_open_fds")} == {"1", "2"}
        workers[1].kill()
        workers[1].wait()
        observer.ended(2, workers[1].pid)
        told = await scrape(port)
        assert told.value("agent_tool_call_duration_seconds_count", tool="search_films") == 2
        assert told.value("rpc_server_active_calls", rpc_method="a.B/C") == 3
        assert told.value("health_serving", service="readiness") == 1
        assert {s.labels["worker"] for s in told.found("process_open_fds")} == {"1"}
        assert told.value("interview_worker_starts_total") == 2


async def test_what_semantic_kernel_could_tell_of_a_chat_goes_nowhere(tmp_path: Path) -> None:
    """Even where an operator switches its diagnostics on, with content."""
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(receiving())
        model = await stack.enter_async_context(running_fake_openai())
        tool = calls(("search_films", f'{{"query": "{PLANTED}"}}'))
        model.script(tool, answer(f"No {PLANTED}."))
        served = serving(
            tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
            TRACE_SAMPLE_RATIO="1",
            OPENAI_BASE_URL=model.base_url,
            LOG_LEVEL="DEBUG",
            SEMANTICKERNEL_EXPERIMENTAL_GENAI_ENABLE_OTEL_DIAGNOSTICS="true",
            SEMANTICKERNEL_EXPERIMENTAL_GENAI_ENABLE_OTEL_DIAGNOSTICS_SENSITIVE="true",
        )
        # In threads: the model and the receiver answer in this loop.
        server = await asyncio.to_thread(served.__enter__)
        try:
            async with InterviewClient(server.target) as client:
                await client.sign_in(server.viewer.email, server.viewer.password)
                async with client.chat() as chat:
                    events = [event async for event in chat.turn(f"Any {PLANTED}?")]
            assert PLANTED in repr(events)
        finally:
            await asyncio.to_thread(served.__exit__, None, None, None)
    assert len(receiver.named("chat gpt-4o-mini")) == 2
    assert PLANTED.encode() not in bytes(receiver.raw)
    assert PLANTED not in server.log
