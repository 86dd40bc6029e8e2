"""Traces as a receiver of OTLP gets them: what belongs to what, and what is not in them."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from server.generated.interview.catalogue.v1 import catalogue_service_pb2_grpc, film_pb2
from tests.support.caller import Caller
from tests.support.chat_driver import eventually, modelled
from tests.support.driven import PLANTED, SETTINGS, drive
from tests.support.fake_openai import running_fake_openai
from tests.support.otlp import Receiver, attributes, receiving
from tests.support.running import PASSWORD, VIEWER, Running, running_server
from tests.support.server_process import free_port

# One worker for all: the server is driven once.
pytestmark = pytest.mark.xdist_group("telemetry-traces")

CATALOGUE = "interview.catalogue.v1.CatalogueService"
CHAT = "interview.agent.v1.AgentService/Chat"
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


@pytest.fixture(scope="module")
async def told(
    sqlite_templates: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Receiver, list[dict[str, Any]]]]:
    """All spans of one of everything, and the lines of the access log."""
    folder = tmp_path_factory.mktemp("traces")
    async with receiving() as receiver, running_fake_openai() as model:
        settings: dict[str, Any] = {
            **SETTINGS,
            "otel_exporter_otlp_endpoint": receiver.endpoint,
            "trace_sample_ratio": 1,
        }
        async with modelled(sqlite_templates["sample"], folder, model, **settings) as running:
            await drive(running, model, folder / "chat.db")
        yield receiver, running.access_lines()


@pytest.fixture
def receiver(told: tuple[Receiver, list[dict[str, Any]]]) -> Receiver:
    return told[0]


def _calls(receiver: Receiver, method: str) -> list[Span]:
    return sorted(receiver.named(method), key=lambda span: span.start_time_unix_nano)


def test_a_call_is_a_span_with_method_and_status(receiver: Receiver) -> None:
    found, malformed, missing, broken = _calls(receiver, f"{CATALOGUE}/GetFilm")
    assert found.kind == Span.SPAN_KIND_SERVER
    assert found.parent_span_id == b""
    assert attributes(found) == {
        "rpc.system.name": "grpc",
        "rpc.method": f"{CATALOGUE}/GetFilm",
        "rpc.response.status_code": "OK",
    }
    codes = [attributes(span)["rpc.response.status_code"] for span in (malformed, missing, broken)]
    assert codes == ["INVALID_ARGUMENT", "NOT_FOUND", "INTERNAL"]
    assert attributes(missing)["error.type"] == "RESOURCE_NOT_FOUND"
    # A caller's mistake is no fault of the server.
    faults = [span.status.code == Status.STATUS_CODE_ERROR for span in (found, missing, broken)]
    assert faults == [False, False, True]


def test_statements_are_below_the_call_that_ran_them(receiver: Receiver) -> None:
    found, *_, broken = _calls(receiver, f"{CATALOGUE}/GetFilm")
    (statement,) = receiver.children(found)
    assert statement.name == "films.get"
    assert statement.kind == Span.SPAN_KIND_CLIENT
    assert attributes(statement) == {
        "db.system.name": "sqlite",
        "db.query.summary": "films.get",
    }
    assert found.start_time_unix_nano <= statement.start_time_unix_nano
    assert statement.end_time_unix_nano <= found.end_time_unix_nano
    (failed,) = receiver.children(broken)
    assert attributes(failed)["error.type"] == "failed"
    assert failed.status.code == Status.STATUS_CODE_ERROR
    login, *_ = _calls(receiver, "interview.auth.v1.AuthService/Login")
    names = [span.name for span in receiver.children(login)]
    added = ["login_sessions.add", "refresh_tokens.add", "audit.add"]
    assert names == ["users.find", "users.note_login", *added]


def test_a_turn_holds_its_model_calls_and_tools(receiver: Receiver) -> None:
    (chat,) = _calls(receiver, CHAT)
    below = receiver.children(chat)
    turns = [span for span in below if span.name.startswith("invoke_agent")]
    assert [attributes(turn).get("error.type", "") for turn in turns] == ["", "failed", "cancelled"]
    first, failed, cancelled = turns
    assert attributes(first) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "SearchAgent",
    }
    # What is stored while a turn runs is the stream's own work.
    assert "chat_events.add" in {span.name for span in below}
    asked, *tools, answered = [span.name for span in receiver.children(first)]
    assert asked == answered == "chat fake-model"
    # They run side by side.
    assert sorted(tools) == ["execute_tool search_films", "execute_tool unknown_tool"]
    assert [attributes(span)["error.type"] for span in receiver.children(failed)] == ["500"]
    assert [attributes(span)["error.type"] for span in receiver.children(cancelled)] == [
        "cancelled"
    ]
    assert failed.status.code == Status.STATUS_CODE_ERROR
    assert cancelled.status.code != Status.STATUS_CODE_ERROR


def test_a_request_to_the_model_tells_its_tokens(receiver: Receiver) -> None:
    (chat,) = _calls(receiver, CHAT)
    first = next(s for s in receiver.children(chat) if s.name.startswith("invoke_agent"))
    *_, answer = receiver.children(first)
    told = attributes(answer)
    assert 0 < told.pop("gen_ai.response.time_to_first_chunk") < 10
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "fake-model",
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
    }


def test_a_tool_holds_the_statements_that_it_ran(receiver: Receiver) -> None:
    (tool,) = receiver.named("execute_tool search_films")
    assert attributes(tool)["gen_ai.tool.name"] == "search_films"
    # One of the words is in no film, so what may have been meant is looked for as well.
    found = {"films.search", "search_words.found", "search_words.similar"}
    assert {span.name for span in receiver.children(tool)} == found


def test_a_question_is_a_call_with_a_turn(receiver: Receiver) -> None:
    refused, ask = _calls(receiver, "interview.agent.v1.AgentService/Ask")
    assert attributes(refused)["error.type"] == "RATE_LIMITED"
    assert receiver.children(refused) == []
    (turn,) = [span for span in receiver.children(ask) if span.name.startswith("invoke_agent")]
    assert [span.name for span in receiver.children(turn)] == ["chat fake-model"]


def test_every_span_belongs_to_a_call_and_none_is_unfinished(receiver: Receiver) -> None:
    ids = {span.span_id for span in receiver.spans}
    orphans = [
        span.name
        for span in receiver.spans
        if span.kind != Span.SPAN_KIND_SERVER and span.parent_span_id not in ids
    ]
    assert orphans == []
    assert "unfinished" not in {span.name for span in receiver.spans}
    assert not any(span.name.startswith("grpc.") for span in receiver.spans)


def test_nothing_that_anybody_said_is_in_them(receiver: Receiver) -> None:
    assert len(receiver.spans) > 50
    for secret in (PLANTED, PASSWORD, VIEWER, "films/1", "SELECT", "127.0.0.1"):
        assert secret.lower().encode() not in bytes(receiver.raw).lower(), secret
    assert not any(span.events for span in receiver.spans)


def test_the_process_is_named(receiver: Receiver) -> None:
    resource = receiver.resources[0]
    assert resource["service.name"] == "interview-server"
    assert resource["service.version"]
    assert resource["service.instance.id"]


def test_the_access_line_names_the_trace(
    told: tuple[Receiver, list[dict[str, Any]]],
) -> None:
    receiver, lines = told
    traces = {span.trace_id.hex(): span.name for span in receiver.spans if not span.parent_span_id}
    named = {
        line["trace_id"]: line["method"].removeprefix("/") for line in lines if "trace_id" in line
    }
    assert traces == {
        trace: "_OTHER" if PLANTED in method else method for trace, method in named.items()
    }
    untraced = {line["method"] for line in lines if "trace_id" not in line}
    assert all(method.startswith("/grpc.health.v1.") for method in untraced)


@asynccontextmanager
async def _traced(
    template: Path, folder: Path, endpoint: str, ratio: float
) -> AsyncIterator[Running]:
    """A server that traces a share of calls; at its end everything has been sent."""
    file = folder / "test.db"
    copy(template, file)
    settings: dict[str, Any] = {
        "otel_exporter_otlp_endpoint": endpoint,
        "trace_sample_ratio": ratio,
    }
    async with running_server(f"sqlite+aiosqlite:///{file}", folder, **settings) as running:
        yield running


async def _get(running: Running, *pairs: tuple[str, str]) -> None:
    stub = catalogue_service_pb2_grpc.CatalogueServiceStub(running.channel)
    who = await running.sign_in()
    await stub.GetFilm(film_pb2.GetFilmRequest(name="films/1"), metadata=(*who, *pairs))


async def test_a_caller_that_is_traced_is_followed_whatever_the_share(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    async with receiving() as receiver:
        async with _traced(sqlite_templates["sample"], tmp_path, receiver.endpoint, 0) as running:
            sent = f"00-{TRACE}-{CALLER}-01"
            await _get(running, ("traceparent", sent), ("tracestate", "vendor=1"))
            await _get(running)
        (call,) = receiver.named(f"{CATALOGUE}/GetFilm")
        assert call.trace_id.hex() == TRACE
        assert call.parent_span_id.hex() == CALLER
        assert call.trace_state == "vendor=1"
        (statement,) = receiver.children(call)
        assert statement.trace_id.hex() == TRACE
        assert len(receiver.spans) == 2


async def test_a_caller_that_is_not_traced_is_not_and_nonsense_is_no_caller(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    nonsense = ["x", "00-0-0-01", f"00-{TRACE}-{CALLER}", f"ff-{TRACE}-{CALLER}-01"]
    async with receiving() as receiver:
        async with _traced(sqlite_templates["sample"], tmp_path, receiver.endpoint, 1) as running:
            await _get(running, ("traceparent", f"00-{TRACE}-{CALLER}-00"))
            for parent in nonsense:
                await _get(running, ("traceparent", parent))
        calls = receiver.named(f"{CATALOGUE}/GetFilm")
        assert len(calls) == len(nonsense)
        assert {call.parent_span_id for call in calls} == {b""}
        assert TRACE not in {call.trace_id.hex() for call in calls}


async def test_a_receiver_that_is_away_costs_callers_nothing_and_is_told_of_once(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    async with _traced(sqlite_templates["sample"], tmp_path, nobody, 1) as running:
        viewer = await Caller.signed_in(running)
        for _ in range(300):  # more spans than a batch, which is sent while calls go on
            await viewer.GetFilm(film_pb2.GetFilmRequest(name="films/1"))
        began = time.monotonic()
    assert time.monotonic() - began < 8
    codes = {line["code"] for line in running.access_lines()}
    assert codes == {"OK"}
    told = [line.kwargs for line in running.lines if "traces" in str(line.kwargs.get("event"))]
    assert len(told) <= 1
    assert all(line["lost"] >= 1 for line in told)


def _threads() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith(("traces-", "OtelBatch"))]


async def test_a_receiver_that_hangs_holds_nobody_up(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    over = asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    listening = await asyncio.start_server(hang, "127.0.0.1", 0)
    hanging = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with _traced(sqlite_templates["sample"], tmp_path, hanging, 1) as running:
        await Caller.signed_in(running)
        began = time.monotonic()
    assert time.monotonic() - began < 8
    # What was being sent has been given up, not left to a thread.
    await eventually(lambda: not _threads(), seconds=0.5)
    over.set()
    listening.close()
