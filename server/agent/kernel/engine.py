"""The chat engine: one orchestration of Semantic Kernel per turn."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from uuid import uuid4

from semantic_kernel.agents import (
    Agent,
    ChatCompletionAgent,
    HandoffOrchestration,
    OrchestrationHandoffs,
)
from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
from semantic_kernel.contents import AuthorRole, ChatMessageContent
from semantic_kernel.filters import FilterTypes
from semantic_kernel.kernel import Kernel

from server.agent.agents import AgentDefinition, film_agents
from server.agent.engine import AgentActivated, AgentCard, EngineEvent, Tool, TurnRequest
from server.agent.kernel.events import EventQueue
from server.agent.kernel.functions import guard_call, tools_plugin
from server.agent.kernel.runtime import TurnRuntime
from server.agent.kernel.service import ModelService
from server.agent.kernel.turn import CURRENT_TURN, Turn
from server.agent.model_stream import ModelStream
from server.core.errors import DomainError
from server.core.telemetry import Silent, Telemetry

# These log whole messages, or tracebacks of what the turn reports itself.
_LOGGERS = {
    "semantic_kernel": logging.WARNING,
    "semantic_kernel.kernel": logging.CRITICAL,
    "semantic_kernel.agents.orchestration": logging.CRITICAL,
    "in_process_runtime": logging.CRITICAL,
    "in_process_runtime.events": logging.CRITICAL,
}


class SemanticKernelEngine:
    """Answers turns with agents that hand over to one another. Implements ChatEngine."""

    def __init__(
        self,
        model: ModelStream,
        definitions: Sequence[AgentDefinition],
        *,
        queue_capacity: int = 64,
        max_rounds: int = 5,
        clock: Callable[[], float] = time.monotonic,
        new_id: Callable[[], str] = lambda: f"call_{uuid4().hex}",
        telemetry: Telemetry | None = None,
    ) -> None:
        self._model = model
        self._definitions = tuple(definitions)
        self._queue_capacity = queue_capacity
        self._max_rounds = max_rounds
        self._clock = clock
        self._new_id = new_id
        self._telemetry = telemetry or Silent()
        self._members = {d.name: self._member(d) for d in self._definitions}
        self._handoffs = _handoffs(self._definitions)

    @property
    def model(self) -> str:
        """The model's id."""
        return self._model.model

    @property
    def agents(self) -> Sequence[AgentCard]:
        """The agents, the entry agent first."""
        return tuple(definition.card for definition in self._definitions)

    async def run_turn(self, request: TurnRequest) -> AsyncGenerator[EngineEvent, None]:
        """Answer one message; see ChatEngine.run_turn."""
        events = EventQueue(self._queue_capacity)
        turn = Turn(
            request,
            self._first_agent(request),
            events,
            max_rounds=self._max_rounds,
            clock=self._clock,
            new_id=self._new_id,
            telemetry=self._telemetry,
        )
        work = asyncio.create_task(self._work(turn, events), name="agent-turn")
        try:
            while (event := await events.get()) is not None:
                yield event
        finally:
            work.cancel()
            await asyncio.wait({work})

    async def close(self) -> None:
        """Close the model's connections."""
        await self._model.close()

    async def _work(self, turn: Turn, events: EventQueue) -> None:
        CURRENT_TURN.set(turn)
        runtime = TurnRuntime()
        error: BaseException | None = None
        try:
            await self._answer(turn, runtime)
        except Exception as raised:  # noqa: BLE001  # it is raised again where the events are read
            error = raised
        finally:
            await runtime.abort()
            events.close(error)

    async def _answer(self, turn: Turn, runtime: TurnRuntime) -> None:
        seconds = turn.limits.timeout.total_seconds()
        try:
            async with asyncio.timeout(seconds) as deadline:
                await turn.emit(AgentActivated(turn.agent))
                await self._orchestrate(turn, runtime)
                await turn.emit(turn.finished())
        except TimeoutError:
            if not deadline.expired():
                raise
            raise DomainError(
                f"the answer was not ready within {seconds:g} seconds; ask for less or allow more",
                reason="TURN_TIMEOUT",
                metadata={"timeout": f"{seconds:g}s"},
            ) from None

    async def _orchestrate(self, turn: Turn, runtime: TurnRuntime) -> None:
        # The start agent is always the first member.
        members = sorted(self._members.values(), key=lambda member: member.name != turn.agent)
        orchestration: HandoffOrchestration[list[ChatMessageContent], list[ChatMessageContent]] = (
            HandoffOrchestration(members=members, handoffs=self._handoffs)
        )
        task = [ChatMessageContent(role=AuthorRole.USER, content=turn.user_text)]
        runtime.start()
        result = await orchestration.invoke(task, runtime)
        runtime.report_to(result)
        # Its value is a note about the task's completion, not the answer: that is in the turn.
        await result.event.wait()
        if result.exception is not None:
            raise result.exception

    def _first_agent(self, request: TurnRequest) -> str:
        known = request.active_agent in self._members
        return request.active_agent if known else self._definitions[0].name

    def _member(self, definition: AgentDefinition) -> Agent:
        kernel = Kernel()
        kernel.add_plugin(tools_plugin(definition.card.tools))
        # A plain function: a clone of the kernel, one per turn, deep-copies its filters.
        kernel.add_filter(FilterTypes.AUTO_FUNCTION_INVOCATION, guard_call)
        return ChatCompletionAgent(
            name=definition.name,
            description=definition.card.description,
            instructions=definition.instructions,
            kernel=kernel,
            service=ModelService(self._model, definition),
            # More than the turn allows: it is the turn that takes the tools away.
            function_choice_behavior=FunctionChoiceBehavior.Auto(
                maximum_auto_invoke_attempts=self._max_rounds + 2
            ),
        )


def build_engine(
    *,
    model: ModelStream,
    catalogue_tools: Sequence[Tool],
    queue_capacity: int = 64,
    max_rounds: int = 5,
    telemetry: Telemetry | None = None,
) -> SemanticKernelEngine:
    """Return the engine with the film agents, and silence what Semantic Kernel logs."""
    for name, level in _LOGGERS.items():
        logging.getLogger(name).setLevel(level)
    return SemanticKernelEngine(
        model,
        film_agents(catalogue_tools),
        queue_capacity=queue_capacity,
        max_rounds=max_rounds,
        telemetry=telemetry,
    )


def _handoffs(definitions: Sequence[AgentDefinition]) -> OrchestrationHandoffs:
    # As a mapping: add() with names drops the descriptions.
    edges = OrchestrationHandoffs()
    for definition in definitions:
        described = {edge.target: edge.description for edge in definition.card.handoffs}
        edges.add_many(definition.name, described)
    return edges
