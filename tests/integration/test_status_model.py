"""What a caller is told when the language model does not do as it should: one test per row."""

from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from server.generated.interview.agent.v1 import agent_service_pb2, resources_pb2
from tests.support.caller import Caller
from tests.support.fake_openai import (
    DONE,
    Cut,
    FakeOpenAI,
    Pause,
    Raw,
    Status,
    Step,
    delta,
    usage,
    words,
)
from tests.support.running import Running
from tests.support.statuses import Told, check_call, row

WORDS = "Internal words of sk-planted-0123456789 about hunter2"
BODY = f'{{"error": {{"message": "{WORDS}", "type": "{WORDS}", "code": "rate_limit_exceeded"}}}}'
SHORT = Duration(nanos=500_000_000)


async def _asked(server: Running, reason: str, **fields: Any) -> Told:
    caller = await Caller.signed_in(server)
    request = agent_service_pb2.AskRequest(question="Which films are there?", **fields)
    told = await check_call(server, caller.Ask(request), reason)
    for word in ("Internal", "planted", "hunter2", "openai", "127.0.0.1"):
        assert word not in f"{told.message}{told.by_kind}"
    return told


ROWS = [
    row("RATE_LIMITED", "429", [Status(429, BODY, headers={"retry-after": "7"})]),
    row("MODEL_UNAVAILABLE", "401", [Status(401, BODY)]),
    row("MODEL_UNAVAILABLE", "404", [Status(404, BODY)]),
    row("MODEL_UNAVAILABLE", "503", [Status(503, BODY)]),
    row("MODEL_UNAVAILABLE", "cut", [*words("Once "), Cut()]),
    row("MODEL_UNAVAILABLE", "without an end", words("Once ")),
    row("MODEL_UNAVAILABLE", "a web page", [Status(200, f"<p>{WORDS}</p>", "text/html")]),
    row("MODEL_UNAVAILABLE", "an error event", [Raw(f"data: {BODY}\n\n".encode()), DONE]),
    row("MODEL_UNAVAILABLE", "nothing", [delta({}, "stop"), usage(), DONE]),
    row("CONTENT_BLOCKED", "a filter of the provider", [delta({}, "content_filter"), DONE]),
    row("TURN_BUDGET_EXHAUSTED", "no tokens left", [delta({}, "length"), usage(), DONE]),
]


@pytest.mark.parametrize(("reason", "steps"), ROWS)
async def test_row(
    modelled: Running, model: FakeOpenAI, reason: str, steps: Sequence[Step]
) -> None:
    model.script_with(lambda _: steps)
    told = await _asked(modelled, reason)
    if reason == "RATE_LIMITED":
        assert told.metadata == {"bucket": "model"}
        assert told.by_kind["RetryInfo"].retry_delay.seconds == 7


async def test_a_model_that_hangs(modelled: Running, model: FakeOpenAI) -> None:
    model.script_with(lambda _: [Pause(60)])
    budget = resources_pb2.TurnBudget(timeout=SHORT)
    told = await _asked(modelled, "TURN_TIMEOUT", budget=budget)
    assert told.metadata["timeout"] == "0.5s"


async def test_a_model_at_whose_port_nobody_listens(modelled: Running, model: FakeOpenAI) -> None:
    async with model.gone():
        told = await _asked(modelled, "MODEL_UNAVAILABLE")
    assert told.metadata["status"] == "unreachable"


async def test_agents_that_are_still_loaded(
    modelled: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modelled.app, "_engine", None)  # as it is until they are
    told = await _asked(modelled, "MODEL_UNAVAILABLE")
    assert told.metadata["status"] == "loading"
