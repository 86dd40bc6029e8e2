"""What /metrics says of a server that has met one of everything."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from server.telemetry.prometheus import OTHER
from server.telemetry.supervision import observed_workers
from tests.support.chat_driver import modelled
from tests.support.deployment import ROOT
from tests.support.driven import PLANTED, SETTINGS, drive, wait_in_vain
from tests.support.fake_openai import running_fake_openai
from tests.support.metrics import Scrape, scrape
from tests.support.promql import OF_THE_SCRAPE, Query, alert_queries, dashboard_queries
from tests.support.server_process import free_port

# One worker for all: the server is driven once.
pytestmark = pytest.mark.xdist_group("telemetry-metrics")

CALLS = "rpc_server_call_duration_seconds_count"
ERRORS = "rpc_server_errors_total"
STATEMENTS = "db_client_operation_duration_seconds_count"
AUTH = "interview.auth.v1.AuthService"
CATALOGUE = "interview.catalogue.v1.CatalogueService"
AGENT = "interview.agent.v1.AgentService"


@pytest.fixture(scope="module")
async def told(
    sqlite_templates: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scrape]:
    """What is told after one of everything."""
    folder, port = tmp_path_factory.mktemp("metrics"), free_port()
    async with (
        running_fake_openai() as model,
        modelled(
            sqlite_templates["sample"], folder, model, metrics_port=port, **SETTINGS
        ) as running,
    ):
        await drive(running, model, folder / "chat.db")
        await wait_in_vain(running, folder / "chat.db")
        await asyncio.sleep(0.6)  # what is looked at twice a second has been looked at
        yield await scrape(port)


@pytest.fixture(scope="module")
async def told_of_workers() -> Scrape:
    """What a supervisor tells beyond that."""
    port = free_port()
    with observed_workers(("127.0.0.1", port)) as observer:
        observer.started(1, os.getpid())
        return await scrape(port)


@pytest.mark.parametrize(
    ("method", "code", "times"),
    [
        (f"{AUTH}/Login", "OK", 6),
        (f"{AUTH}/Login", "UNAUTHENTICATED", 1),
        (f"{AUTH}/RefreshToken", "OK", 1),
        (f"{AUTH}/RefreshToken", "UNAUTHENTICATED", 1),
        (f"{CATALOGUE}/ListFilms", "OK", 1),
        (f"{CATALOGUE}/ListFilms", "UNAUTHENTICATED", 1),
        (f"{CATALOGUE}/GetFilm", "NOT_FOUND", 1),
        (f"{CATALOGUE}/GetFilm", "INVALID_ARGUMENT", 1),
        (f"{CATALOGUE}/GetFilm", "INTERNAL", 1),
        (f"{AGENT}/Chat", "OK", 1),
        (f"{AGENT}/Ask", "OK", 1),
        (f"{AGENT}/Ask", "RESOURCE_EXHAUSTED", 1),
        (OTHER, "UNIMPLEMENTED", 1),
        ("grpc.health.v1.Health/Check", "OK", 1),
    ],
)
def test_each_call_is_counted_by_method_and_code(
    told: Scrape, method: str, code: str, times: int
) -> None:
    assert told.value(CALLS, rpc_method=method, rpc_response_status_code=code) == times


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        (f"{AUTH}/Login", "LOGIN_FAILED"),
        (f"{AUTH}/RefreshToken", "REFRESH_TOKEN_REUSED"),
        (f"{CATALOGUE}/ListFilms", "CREDENTIAL_MISSING"),
        (f"{CATALOGUE}/GetFilm", "RESOURCE_NOT_FOUND"),
        (f"{CATALOGUE}/GetFilm", "INTERNAL"),
        (OTHER, "METHOD_UNKNOWN"),
    ],
)
def test_each_error_is_counted_by_its_reason(told: Scrape, method: str, reason: str) -> None:
    assert told.value(ERRORS, rpc_method=method, reason=reason) == 1


def test_what_was_shed_and_what_has_a_place(told: Scrape) -> None:
    shed, classes = "rpc_server_shed_total", "rpc_server_class_calls"
    assert told.value(shed) == told.value(shed, call_class="chat", reason="full") == 1
    assert told.values_of(classes, "call_class") == {
        *("login", "read", "write", "chat", "watch", "bulk")
    }
    assert told.values_of(classes, "state") == {"running", "waiting"}
    assert told.value(classes) == 0


def test_bytes_and_messages_are_counted_both_ways(told: Scrape) -> None:
    size, number = "rpc_server_message_bytes_total", "rpc_server_stream_messages_total"
    film, chat = f"{CATALOGUE}/GetFilm", f"{AGENT}/Chat"
    assert told.value(size, rpc_method=film, direction="out") > 100
    assert told.value(size, rpc_method=film, direction="in") == sum(
        2 + len(name) for name in ("films/1", f"films/{PLANTED}", "films/999999", "films/2")
    )
    # One that starts, three messages, one cancellation.
    assert told.value(number, rpc_method=chat, direction="in") == 5
    assert told.value(number, rpc_method=chat, direction="out") > 10
    assert told.found(number, rpc_method=film) == []


def test_statements_are_counted_by_name_and_none_lacks_one(told: Scrape) -> None:
    names = told.values_of(STATEMENTS, "statement")
    assert {
        "users.find",
        "refresh_tokens.use",
        "films.get",
        "films.list",
        "films.search",
        "chat_sessions.add",
        "chat_events.add",
        "chat_turns.put",
    } <= names
    assert "unnamed" not in names
    assert told.value(STATEMENTS, statement="films.get", outcome="failed") == 1
    assert told.value(STATEMENTS, statement="films.search", outcome="ok") == 2
    assert told.values_of(STATEMENTS, "outcome") == {"ok", "failed"}


def test_pools_and_the_wait_for_them(told: Scrape) -> None:
    waits = "db_client_connection_wait_time_seconds_count"
    assert told.value("db_client_connection_max", pool="read") == 2
    assert told.value("db_client_connection_max", pool="write") == 1
    assert told.value("db_client_connection_count") == 0
    assert told.value(waits, pool="read", outcome="ok") > 5
    assert told.value(waits, pool="write", outcome="ok") > 5
    assert told.value(waits, pool="write", outcome="failed") >= 1


def test_model_tools_and_turns(told: Scrape) -> None:
    model, turns = "gen_ai_client_operation_duration_seconds_count", "agent_turn_duration_seconds"
    assert told.value(model, gen_ai_request_model="fake-model", outcome="ok") == 3
    assert told.value(model, outcome="500") == 1
    assert told.value(model, outcome="cancelled") == 1
    # Tools and answer, and the question: 10 tokens in and 5 out each.
    tokens = "gen_ai_client_token_usage_sum"
    assert told.value(tokens, gen_ai_token_type="input") == 30
    assert told.value(tokens, gen_ai_token_type="output") == 15
    assert told.value("gen_ai_client_operation_time_to_first_chunk_seconds_count") == 2
    tools = "agent_tool_call_duration_seconds_count"
    assert told.value(tools, tool="search_films", outcome="succeeded") == 1
    assert told.value(tools, tool="unknown_tool", outcome="failed") == 1
    outcomes = {name: told.value(f"{turns}_count", outcome=name) for name in _TURNS}
    assert outcomes == _TURNS
    assert told.values_of(f"{turns}_count", "agent") == {"SearchAgent"}


_TURNS = {"completed": 2, "failed": 1, "cancelled": 1}


def test_health_build_loop_and_process(told: Scrape) -> None:
    assert told.value("health_serving", service="readiness") == 1
    assert told.value("health_serving", service=AGENT) == 1
    (build,) = told.found("interview_build_info")
    assert build.value == 1
    assert set(build.labels) == {"version", "python_version", "grpc_version"}
    assert told.value("event_loop_lag_seconds_count") >= 1
    assert told.value("process_resident_memory_bytes") > 1_000_000
    assert told.value("python_gc_collections_total", generation="2") >= 0
    assert told.found("python_info")


def test_nothing_that_anybody_said_is_told(told: Scrape) -> None:
    assert PLANTED not in told.text.lower()
    assert "@" not in told.text
    assert "users/" not in told.text


def test_a_type_and_a_help_stand_over_each_metric(told: Scrape) -> None:
    lines = told.text.splitlines()
    typed = {line.split()[2] for line in lines if line.startswith("# TYPE ")}
    explained = {
        line.split()[2] for line in lines if line.startswith("# HELP ") and line.split()[3:]
    }
    assert typed == explained
    assert not [name for name in typed if name.endswith("_created")]


DEPLOY = ROOT / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/interview.json").read_text("utf-8"))
RULES = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text("utf-8"))
QUERIES = [*dashboard_queries(DASHBOARD), *alert_queries(RULES)]
OF_PROMETHEUS = {"up"}


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.title)
def test_dashboard_and_alerts_ask_for_what_there_is(
    query: Query, told: Scrape, told_of_workers: Scrape
) -> None:
    samples = (*told.samples, *told_of_workers.samples)

    def labels_of(name: str, equal: dict[str, str]) -> set[str]:
        labels: set[str] = set()
        for sample in samples:
            here = sample.labels.keys() | OF_THE_SCRAPE
            wanted = {k: v for k, v in equal.items() if k not in OF_THE_SCRAPE}
            if sample.name == name and wanted.items() <= sample.labels.items():
                labels |= here
        return labels

    selected = [each for each in query.selected() if each.name not in OF_PROMETHEUS]
    known: set[str] = set(OF_THE_SCRAPE)
    for each in selected:
        labels = labels_of(each.name, each.equal)
        assert labels, f"no sample of {each.name} with {each.equal}"
        assert each.labels <= labels
        known |= labels
    for kept, below in query.grouped():
        for each in below:
            if each.name not in OF_PROMETHEUS:
                assert kept <= labels_of(each.name, each.equal)
    assert query.shown <= known


def test_each_metric_of_ours_is_on_the_dashboard_or_in_an_alert(told: Scrape) -> None:
    asked = {each.name for query in QUERIES for each in query.selected()}
    names = {line.split()[2] for line in told.text.splitlines() if line.startswith("# TYPE ")}
    ours = {name for name in names if not name.startswith(("python_", "process_"))}
    unseen = {name for name in ours if not any(each.startswith(name) for each in asked)}
    assert unseen == set()


def test_the_handbook_lists_each_metric_with_its_labels(
    told: Scrape, told_of_workers: Scrape
) -> None:
    handbook = (ROOT / "docs/operations.md").read_text("utf-8")
    rows = {
        name: set(re.findall(r"`(\w+)`", columns[3]))
        for columns in (line.split("|") for line in handbook.splitlines() if line.startswith("|"))
        for name in re.findall(r"`(\w+)`", columns[1])
        if columns[2].strip() in {"counter", "gauge", "histogram"}
    }
    found: dict[str, set[str]] = {}
    for sample in (*told.samples, *told_of_workers.samples):
        name = re.sub(r"_(bucket|count|sum)$", "", sample.name)
        name = sample.name if sample.name in rows else name
        if not name.startswith(("python_", "process_")):
            found.setdefault(name, set()).update(sample.labels.keys() - {"le"})
    assert found == rows
