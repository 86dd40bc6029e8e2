"""Turns of the engine: what they say, look up and hand over."""

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta

import pytest

from server.agent.agents import LLM_AGENT, SEARCH_AGENT
from server.agent.engine import (
    AgentActivated,
    AgentHandoff,
    FinishReason,
    HistoryMessage,
    ModelUsed,
    Role,
    SourceRef,
    TextDelta,
    ToolCallFinished,
    ToolCallStarted,
    ToolOutcome,
    TurnFinished,
    TurnLimits,
    TurnRequest,
)
from server.agent.kernel import build_engine
from server.agent.offline import OfflineModel
from server.agent.tools import catalogue_tools
from tests.support.engine_bench import (
    TO_LLM,
    TO_SEARCH,
    Bench,
    finished,
    of,
    run,
    running_bench,
    spoken,
)
from tests.support.fake_openai import DONE, Pause, answer, calls, delta, usage, words
from tests.support.small_catalogue import SmallCatalogue


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with running_bench() as running:
        yield running


async def test_a_plain_answer(bench: Bench) -> None:
    bench.server.script(answer("Hello", " wor", "ld", pause=0.05))
    events = await bench.run()
    assert events[0] == AgentActivated(SEARCH_AGENT)
    assert [event.text for event in of(events, TextDelta)] == ["Hello", " wor", "ld"]
    assert of(events, ModelUsed) == [ModelUsed("fake-model", 10, 5, 0)]
    assert events[-1] == TurnFinished(SEARCH_AGENT, "Hello world", FinishReason.STOP)


async def test_a_tool_is_called_and_its_result_goes_to_the_model(bench: Bench) -> None:
    bench.server.script(
        calls(("search_films", '{"query": "dinosaur"}'), pieces=5, text="Let me look."),
        answer("One film: X."),
    )
    events = await bench.run()
    started, finished = of(events, ToolCallStarted)[0], of(events, ToolCallFinished)[0]
    assert (started.tool, started.agent, started.arguments) == (
        "search_films",
        SEARCH_AGENT,
        {"query": "dinosaur"},
    )
    assert finished.call_id == started.call_id
    assert finished.outcome is ToolOutcome.SUCCEEDED
    assert finished.summary == "Found 1 film"
    assert list(finished.sources) == [SourceRef("films/1", "X")]
    assert finished.duration >= timedelta(0)
    assert bench.lookup.calls == [{"query": "dinosaur"}]
    sent = bench.server.requests[1]["messages"]
    assert sent[-2]["content"] == "Let me look."
    assert sent[-1]["role"] == "tool"
    assert sent[-1]["tool_call_id"] == sent[-2]["tool_calls"][0]["id"]
    assert "films/1" in sent[-1]["content"]
    # Text before a call and the answer are two pieces, each once; usage once per model call.
    assert spoken(events) == "Let me look.\n\nOne film: X."
    assert events[-1] == TurnFinished(SEARCH_AGENT, spoken(events), FinishReason.STOP)
    assert len(of(events, ModelUsed)) == 2


async def test_two_calls_at_once(bench: Bench) -> None:
    bench.server.script(
        calls(("search_films", '{"query": "a"}'), ("search_films", '{"query": "b"}')),
        answer("Both."),
    )
    events = await bench.run()
    assert [event.outcome for event in of(events, ToolCallFinished)] == [ToolOutcome.SUCCEEDED] * 2
    assert bench.lookup.calls == [{"query": "a"}, {"query": "b"}]
    asked = [call["id"] for call in bench.server.requests[1]["messages"][-3]["tool_calls"]]
    answered = [message["tool_call_id"] for message in bench.server.requests[1]["messages"][-2:]]
    assert sorted(asked) == sorted(answered)
    assert len(set(asked)) == 2


async def test_the_first_piece_is_not_held_back(bench: Bench) -> None:
    bench.server.script([delta({"content": "first"}), Pause(4), *answer(" last")])
    started = time.perf_counter()
    async with aclosing(bench.engine.run_turn(TurnRequest("Hi"))) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    assert event == TextDelta(SEARCH_AGENT, "first")
    assert time.perf_counter() - started < 3


async def test_text_comes_before_the_call_that_follows_it_without_a_usage_chunk(
    bench: Bench,
) -> None:
    steps = [s for s in calls(("search_films", "{}"), text="Let me look.") if s != usage()]
    bench.server.script(steps, [*words("Done."), delta({}, "stop"), DONE])
    events = await bench.run()
    kinds = [type(e) for e in events if isinstance(e, TextDelta | ToolCallFinished)]
    assert kinds == [TextDelta, ToolCallFinished, TextDelta]
    assert of(events, ModelUsed) == [ModelUsed("fake-model", 0, 0)] * 2


async def test_history_and_tool_summaries_are_sent(bench: Bench) -> None:
    bench.server.script(answer("Yes."))
    history = (
        HistoryMessage(Role.USER, "dinosaur films?"),
        HistoryMessage(Role.AGENT, "ACADEMY DINOSAUR.", SEARCH_AGENT, "films/1 is a film"),
    )
    await bench.run(TurnRequest("Is it long?", history))
    sent = bench.server.requests[0]["messages"]
    assert [message["role"] for message in sent] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]
    assert [sent[1]["content"], sent[3]["content"], sent[4]["content"], sent[5]["content"]] == [
        "dinosaur films?",
        "films/1 is a film",
        "ACADEMY DINOSAUR.",
        "Is it long?",
    ]


async def test_an_endless_history_is_cut_at_its_old_end(bench: Bench) -> None:
    bench.server.script(answer("Yes."))
    history = [HistoryMessage(Role.USER, f"{number} " + "x" * 1000) for number in range(100)]
    await bench.run(TurnRequest("last", history))
    sent = [message["content"] for message in bench.server.requests[0]["messages"][1:]]
    assert sent[-1] == "last"
    assert sent[-2].startswith("99 ")
    assert sum(map(len, sent)) < 25_000


async def test_a_handoff_is_offered_with_its_description_and_nothing_ends_the_task(
    bench: Bench,
) -> None:
    bench.server.script(answer("Hi."))
    await bench.run()
    offered = {t["function"]["name"]: t["function"] for t in bench.server.requests[0]["tools"]}
    assert set(offered) == {"search_films", f"transfer_to_{LLM_AGENT}"}
    assert "general" in offered[f"transfer_to_{LLM_AGENT}"]["description"]


async def test_the_second_agent_answers_and_sees_what_the_first_found(bench: Bench) -> None:
    bench.server.script(
        calls(("search_films", '{"query": "x"}')), calls(TO_LLM, text="One moment."), answer("42")
    )
    events = await bench.run()
    assert [e for e in events if isinstance(e, AgentActivated | AgentHandoff)] == [
        AgentActivated(SEARCH_AGENT),
        AgentHandoff(SEARCH_AGENT, LLM_AGENT, "it is a general question"),
        AgentActivated(LLM_AGENT),
    ]
    # The answer is the second agent's alone, and not a note about a completed task.
    assert events[-1] == TurnFinished(LLM_AGENT, "42", FinishReason.STOP)
    second = bench.server.requests[2]
    assert any("films/1" in str(m["content"]) for m in second["messages"] if m["role"] == "tool")
    assert second["messages"][0]["content"] != bench.server.requests[0]["messages"][0]["content"]


async def test_the_turn_starts_at_the_agent_that_answered_last(bench: Bench) -> None:
    bench.server.script(answer("Hi."))
    events = await bench.run(TurnRequest("And you?", active_agent=LLM_AGENT))
    assert events[0] == AgentActivated(LLM_AGENT)
    assert events[-1] == TurnFinished(LLM_AGENT, "Hi.", FinishReason.STOP)
    offered = [tool["function"]["name"] for tool in bench.server.requests[0]["tools"]]
    assert offered == [f"transfer_to_{SEARCH_AGENT}"], "another agent was asked"


async def test_an_agent_that_gets_the_turn_back_still_knows_the_question(bench: Bench) -> None:
    bench.server.script(calls(TO_LLM), calls(TO_SEARCH), answer("Back."))
    events = await bench.run(TurnRequest("the question"))
    assert events[-1] == TurnFinished(SEARCH_AGENT, "Back.", FinishReason.STOP)
    assert {"role": "user", "content": "the question"} in bench.server.requests[2]["messages"]


async def test_handoffs_are_limited(bench: Bench) -> None:
    bench.server.script_with(
        lambda request: next(
            (
                calls((tool["function"]["name"], "{}"))
                for tool in request.get("tools", [])
                if tool["function"]["name"].startswith("transfer_to_")
            ),
            answer("Enough."),
        )
    )
    events = await bench.run(TurnRequest("Hi", limits=TurnLimits(max_handoffs=2)))
    assert len(of(events, AgentHandoff)) == 2
    assert events[-1] == TurnFinished(SEARCH_AGENT, "Enough.", FinishReason.STOP)


async def test_of_two_handoffs_at_once_one_counts(bench: Bench) -> None:
    bench.server.script(calls(TO_LLM, TO_LLM), answer("Hi."))
    events = await bench.run()
    assert len(of(events, AgentHandoff)) == 1
    assert events[-1] == TurnFinished(LLM_AGENT, "Hi.", FinishReason.STOP)
    results = [m["content"] for m in bench.server.requests[1]["messages"] if m["role"] == "tool"]
    assert sorted(results) == [f"handed over to {LLM_AGENT}", "not handed over; answer yourself"]


async def test_a_call_beside_a_handoff_ends_before_it(bench: Bench) -> None:
    bench.server.script(calls(TO_LLM, ("search_films", "{}")), answer("Hi."))
    events = await bench.run()
    order = [type(e) for e in events if isinstance(e, ToolCallFinished | AgentHandoff)]
    assert order == [ToolCallFinished, AgentHandoff]


async def test_the_offline_rules_run_in_the_same_engine() -> None:
    catalogue = SmallCatalogue()
    engine = build_engine(
        model=OfflineModel(catalogue.names), catalogue_tools=catalogue_tools(catalogue, catalogue)
    )
    events = await run(engine, TurnRequest("shortest comedy"))
    assert of(events, ToolCallStarted)[0].tool == "list_films"
    assert finished(events).text.startswith(
        "The shortest film (category Comedy) is AIRPLANE SIERRA"
    )
    assert of(events, ToolCallFinished)[0].sources == [SourceRef("films/7", "AIRPLANE SIERRA")]
    assert of(events, ModelUsed) == [ModelUsed("offline-rules", 0, 0)] * 2
    general = await run(engine, TurnRequest("What is the capital of France?"))
    assert len(of(general, AgentHandoff)) == 1
    assert "OPENAI_API_KEY" in finished(general).text
    assert engine.model == "offline-rules"
    assert [card.name for card in engine.agents] == [SEARCH_AGENT, LLM_AGENT]
