"""A chat engine over a scripted model's server, with what tests look at."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from server.agent.agents import LLM_AGENT, SEARCH_AGENT
from server.agent.engine import (
    EngineEvent,
    SourceRef,
    TextDelta,
    Tool,
    ToolResult,
    TurnFinished,
    TurnRequest,
)
from server.agent.kernel import OpenAIModel, SemanticKernelEngine, build_engine
from tests.support.fake_openai import FakeOpenAI, running_fake_openai

E = TypeVar("E")

TO_LLM = (f"transfer_to_{LLM_AGENT}", '{"reason": "it is a general question"}')
TO_SEARCH = (f"transfer_to_{SEARCH_AGENT}", "{}")


@dataclass
class Lookup:
    """A tool that notes its calls and answers, or raises."""

    name: str = "search_films"
    failure: Exception | None = None
    calls: list[dict[str, object]] = field(default_factory=list)
    text: str = "X"
    description: str = "Find films."
    permission: str = "films.read"
    parameters: Mapping[str, object] = field(
        default_factory=lambda: {"type": "object", "properties": {"query": {"type": "string"}}}
    )

    async def __call__(self, arguments: Mapping[str, object]) -> ToolResult:
        self.calls.append(dict(arguments))
        if self.failure is not None:
            raise self.failure
        data = {"films": [{"name": "films/1", "title": self.text}]}
        return ToolResult(data, "Found 1 film", (SourceRef("films/1", self.text),))


@dataclass
class Bench:
    """An engine, the server its model is at, and the one tool of its search agent."""

    engine: SemanticKernelEngine
    server: FakeOpenAI
    lookup: Lookup

    async def run(self, request: TurnRequest | None = None) -> list[EngineEvent]:
        """Return all events of a turn."""
        return await run(self.engine, request)

    async def stopped(self) -> float:
        """Wait for the server to have no open stream; return how many seconds that took."""
        started = time.perf_counter()
        async with asyncio.timeout(2):
            while self.server.open_streams:  # the server is left as simple as it is
                await asyncio.sleep(0.001)
        return time.perf_counter() - started


@asynccontextmanager
async def running_bench(tool: Tool | None = None) -> AsyncIterator[Bench]:
    """Yield a bench whose search agent has the tool, or a Lookup."""
    lookup = Lookup()
    async with running_fake_openai() as server:
        model = OpenAIModel(model="fake-model", api_key="sk-test", base_url=server.base_url)
        engine = build_engine(model=model, catalogue_tools=[tool or lookup])
        try:
            yield Bench(engine, server, lookup)
        finally:
            await engine.close()


async def run(
    engine: SemanticKernelEngine, request: TurnRequest | None = None
) -> list[EngineEvent]:
    """Return all events of a turn."""
    async with aclosing(engine.run_turn(request or TurnRequest("Which films?"))) as events:
        return [event async for event in events]


async def run_to_error(
    engine: SemanticKernelEngine, request: TurnRequest | None = None
) -> tuple[list[EngineEvent], Exception]:
    """Return the events of a turn that fails, and its error."""
    seen: list[EngineEvent] = []
    try:
        async with aclosing(engine.run_turn(request or TurnRequest("Which films?"))) as events:
            async for event in events:
                seen.append(event)  # noqa: PERF401  # what came before the error is wanted
    except Exception as error:  # noqa: BLE001  # the caller looks at it
        return seen, error
    raise AssertionError(f"the turn ended without an error: {seen}")


def of(events: Sequence[EngineEvent], kind: type[E]) -> list[E]:
    """Return the events of a kind."""
    return [event for event in events if isinstance(event, kind)]


def spoken(events: Sequence[EngineEvent]) -> str:
    """Return all text of a turn."""
    return "".join(event.text for event in of(events, TextDelta))


def finished(events: Sequence[EngineEvent]) -> TurnFinished:
    """Return the last event, which must end the turn."""
    last = events[-1]
    assert isinstance(last, TurnFinished)
    return last


def tasks() -> set[asyncio.Task[Any]]:
    """Return all tasks but the scripted server's."""
    return {task for task in asyncio.all_tasks() if "FakeOpenAI" not in repr(task.get_coro())}
