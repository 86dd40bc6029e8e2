"""Turns that fail, are stopped, or run in great numbers: nothing stays behind."""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from semantic_kernel.agents.orchestration.orchestration_base import OrchestrationResult
from semantic_kernel.agents.runtime import (
    MessageContext,
    RoutedAgent,
    TopicId,
    TypeSubscription,
    message_handler,
)

from server.agent.agents import LLM_AGENT
from server.agent.engine import (
    AgentActivated,
    FinishReason,
    TextDelta,
    ToolCallStarted,
    ToolResult,
    TurnFinished,
    TurnLimits,
    TurnRequest,
)
from server.agent.kernel.runtime import TurnRuntime
from server.core.errors import DomainError
from tests.support.engine_bench import (
    TO_LLM,
    Bench,
    Lookup,
    of,
    run_to_error,
    running_bench,
    spoken,
    tasks,
)
from tests.support.fake_openai import Cut, Status, Step, answer, calls, words


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with running_bench() as running:
        yield running


async def test_a_failure_in_the_first_agent_ends_the_turn(bench: Bench) -> None:
    bench.server.script([Status(401, '{"error": {"message": "key sk-secret is wrong"}}')])
    with pytest.raises(DomainError) as failure:
        await bench.run()
    assert failure.value.reason == "MODEL_UNAVAILABLE"
    assert failure.value.metadata == {"model": "fake-model", "status": "401"}
    assert "sk-secret" not in failure.value.message


async def test_a_failure_in_the_second_agent_ends_the_turn_after_its_events(bench: Bench) -> None:
    bench.server.script(calls(TO_LLM), [Status(500, "boom")], [Status(500, "boom")])
    before = tasks()
    async with asyncio.timeout(5):
        seen, error = await run_to_error(bench.engine)
    assert isinstance(error, DomainError)
    assert error.metadata["status"] == "500"
    assert seen[-1] == AgentActivated(LLM_AGENT)
    assert tasks() == before


async def test_text_before_a_cut_is_delivered_and_then_the_error(bench: Bench) -> None:
    bench.server.script([*words("Hello", " wor"), Cut()])
    seen, error = await run_to_error(bench.engine)
    assert spoken(seen) == "Hello wor"
    assert isinstance(error, DomainError)
    assert error.metadata["status"] == "truncated"
    assert len(bench.server.requests) == 1


async def test_the_deadline_ends_the_turn_and_the_models_stream(bench: Bench) -> None:
    bench.server.script(answer(*["w "] * 1000, pause=0.01))
    before = tasks()
    started = time.perf_counter()
    with pytest.raises(DomainError) as failure:
        await bench.run(TurnRequest("Hi", limits=TurnLimits(timedelta(seconds=0.3))))
    assert failure.value.reason == "TURN_TIMEOUT"
    assert 0.29 < time.perf_counter() - started < 3
    assert tasks() == before
    assert await bench.stopped() < 0.1
    assert bench.server.aborted_streams == 1


@pytest.mark.parametrize("handoff", [False, True], ids=["first agent", "after a handoff"])
@pytest.mark.parametrize("ending", ["close", "cancel"])
async def test_stopping_the_reader_stops_the_models_stream(
    bench: Bench, ending: str, handoff: bool
) -> None:
    slow = answer(*["w "] * 1000, pause=0.01)
    bench.server.script(*([calls(TO_LLM), slow] if handoff else [slow]))
    before = tasks()
    spoken = asyncio.Event()

    async def read() -> None:
        async with aclosing(bench.engine.run_turn(TurnRequest("Hi"))) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    spoken.set()
                    if ending == "close":
                        return

    reader = asyncio.create_task(read())
    await spoken.wait()
    if ending == "cancel":
        await asyncio.sleep(0.05)
        reader.cancel()
    await asyncio.wait({reader})
    assert tasks() == before
    assert await bench.stopped() < 0.1
    assert bench.server.aborted_streams == 1


class _SlowTool(Lookup):
    """A tool that never ends by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.started, self.stopped = asyncio.Event(), asyncio.Event()

    async def __call__(self, arguments: Mapping[str, object]) -> ToolResult:
        self.started.set()
        try:
            await asyncio.sleep(3600)
        finally:
            self.stopped.set()
        raise AssertionError("nobody stopped it")


async def test_stopping_during_a_tool_stops_the_tool() -> None:
    tool = _SlowTool()
    async with running_bench(tool) as bench:
        bench.server.script(calls(("search_films", "{}")))
        before = tasks()
        reader = asyncio.create_task(bench.run())
        await tool.started.wait()
        reader.cancel()
        await asyncio.wait({reader})
        assert tool.stopped.is_set()
        assert tasks() == before


async def test_a_stop_logs_no_error_and_no_turn_logs_what_was_said(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench.server.script(
        calls(("search_films", '{"query": "my card is 4111"}')),
        calls(TO_LLM),
        answer("your card is 4111", *["w "] * 1000, pause=0.01),
    )
    request = TurnRequest("my card is 4111", limits=TurnLimits(timedelta(seconds=0.3)))
    with pytest.raises(DomainError):
        await bench.run(request)
    assert "4111" not in caplog.text
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []


async def test_a_slow_reader_slows_the_model_down(bench: Bench) -> None:
    bench.server.script(answer(*["x" * 16_384] * 2_000))
    async with aclosing(bench.engine.run_turn(TurnRequest("Hi"))) as events:
        await anext(events)
        await anext(events)
        await asyncio.sleep(0.5)
        assert bench.server.open_streams == 1
        async for _ in events:
            pass
    assert bench.server.aborted_streams == 0


async def test_fifty_sessions_do_not_mix(bench: Bench) -> None:
    def reply(request: dict[str, Any]) -> list[Step]:
        user = next(m["content"] for m in request["messages"] if m["role"] == "user")
        used = [call["function"]["name"] for m in request["messages"] for call in _calls(m)]
        if "search_films" not in used:
            return calls(("search_films", f'{{"query": "{user}"}}'))
        if TO_LLM[0] not in used:
            return calls(TO_LLM)
        return answer(*[f"{user} "] * 5, pause=0.002)

    bench.server.script_with(reply)
    before = tasks()
    turns = await asyncio.gather(*[bench.run(TurnRequest(f"u{n}")) for n in range(50)])
    for number, events in enumerate(turns):
        assert events[-1] == TurnFinished(LLM_AGENT, f"u{number} " * 5, FinishReason.STOP)
        assert of(events, ToolCallStarted)[0].arguments == {"query": f"u{number}"}
    assert len(bench.lookup.calls) == 50
    assert tasks() == before


def _calls(message: dict[str, Any]) -> list[dict[str, Any]]:
    return message.get("tool_calls") or []


async def test_turns_leave_nothing_behind(bench: Bench) -> None:
    def reply(request: dict[str, Any]) -> list[Step]:
        return answer("Hi.") if request["messages"][-1]["role"] == "tool" else calls(TO_LLM)

    bench.server.script_with(reply)

    async def objects_after(turns: int) -> int:
        for _ in range(turns):
            await bench.run()
        bench.server.requests.clear()
        bench.server.headers.clear()
        gc.collect()
        return len(gc.get_objects())

    await objects_after(10)
    first = await objects_after(10)
    second = await objects_after(40)
    assert second - first < 400, "about ten objects a turn stay behind"
    assert bench.server.connections == 1


@dataclass
class _Note:
    text: str


class _Failing(RoutedAgent):
    @message_handler
    async def on_note(self, message: _Note, ctx: MessageContext) -> None:
        raise LookupError(message.text)


async def test_what_a_published_message_raises_ends_the_orchestration() -> None:
    """The hole in the runtime that TurnRuntime closes: without it the wait below never ends."""
    runtime = TurnRuntime()
    result: OrchestrationResult[Any] = OrchestrationResult()
    runtime.report_to(result)
    await _Failing.register(runtime, "failing", lambda: _Failing("fails"))
    await runtime.add_subscription(TypeSubscription("default", "failing"))
    before = tasks()
    runtime.start()
    await runtime.publish_message(_Note("boom"), TopicId("default", "all"))
    async with asyncio.timeout(2):
        await result.event.wait()
    assert isinstance(result.exception, LookupError)
    await runtime.abort()
    assert tasks() == before
