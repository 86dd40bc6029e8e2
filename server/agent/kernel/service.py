"""A chat completion service over a ModelStream.

Text goes straight from the model to the turn's events: Semantic Kernel's own callback is one
piece late and costs ten times more. It gets each reply whole, which is all it needs to call
functions and to hand over.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import PrivateAttr
from semantic_kernel.connectors.ai.chat_completion_client_base import ChatCompletionClientBase
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import (
    AuthorRole,
    ChatHistory,
    StreamingChatMessageContent,
    StreamingTextContent,
)

from server.agent.agents import AgentDefinition
from server.agent.engine import AgentActivated, AgentHandoff, FinishReason, ModelUsed
from server.agent.kernel.functions import as_function_call
from server.agent.kernel.meter import ModelMeter
from server.agent.kernel.turn import CURRENT_TURN, Turn
from server.agent.model_stream import (
    HANDOFF_PREFIX,
    MessageRole,
    ModelFinish,
    ModelMessage,
    ModelRequest,
    ModelStream,
    TokenUsage,
    ToolRequest,
    ToolSpec,
)
from server.core.errors import DomainError

_UNANSWERED = "I could not finish this within the limits of one turn. Please ask for less at once."

_HANDOFF_PARAMETERS = {
    "type": "object",
    "properties": {"reason": {"type": "string", "description": "Why, in a few words"}},
}


@dataclass(slots=True)
class _Reply:
    text: str
    requests: tuple[ToolRequest, ...]
    finish: ModelFinish
    usage: TokenUsage


class ModelService(ChatCompletionClientBase):
    """The model as one agent uses it."""

    SUPPORTS_FUNCTION_CALLING: ClassVar[bool] = True

    _stream: ModelStream = PrivateAttr()
    _agent: AgentDefinition = PrivateAttr()
    _specs: tuple[ToolSpec, ...] = PrivateAttr()

    def __init__(self, stream: ModelStream, agent: AgentDefinition) -> None:
        super().__init__(ai_model_id=stream.model)
        self._stream = stream
        self._agent = agent
        self._specs = tuple(_specs(agent))

    async def _inner_get_streaming_chat_message_contents(
        self,
        chat_history: ChatHistory,
        settings: PromptExecutionSettings,
        function_invoke_attempt: int = 0,
    ) -> AsyncGenerator[list[StreamingChatMessageContent], Any]:
        """Call the model once and yield its reply as one message.

        `chat_history` is not read: it misses what other agents said and looked up in this
        turn, and is empty when an agent gets the turn back. The turn's transcript has it all.
        """
        turn = CURRENT_TURN.get()
        await self._take_floor(turn)
        offered = self._offered(turn)
        reply = await self._read(turn, offered)
        await self._settle(turn, reply, offered=bool(offered))
        content = StreamingChatMessageContent(
            role=AuthorRole.ASSISTANT,
            choice_index=0,
            ai_model_id=self.ai_model_id,
            function_invoke_attempt=function_invoke_attempt,
            items=[StreamingTextContent(choice_index=0, text=reply.text), *self._calls(reply)],
        )
        yield [content]

    async def _take_floor(self, turn: Turn) -> None:
        # Here and not when the call is made, so that calls made beside it end before it.
        if turn.next_agent is None:
            return
        source, (target, reason) = turn.agent, turn.next_agent
        turn.switch_agent(target)
        await turn.emit(AgentHandoff(source, target, reason))
        await turn.emit(AgentActivated(target))

    def _offered(self, turn: Turn) -> tuple[ToolSpec, ...]:
        if turn.must_answer:
            return ()
        if turn.may_hand_over:
            return self._specs
        return tuple(spec for spec in self._specs if not spec.name.startswith(HANDOFF_PREFIX))

    async def _read(self, turn: Turn, offered: tuple[ToolSpec, ...]) -> _Reply:
        system = ModelMessage(MessageRole.SYSTEM, self._agent.instructions)
        request = ModelRequest([system, *turn.transcript], offered, _tokens_left(turn))
        texts: list[str] = []
        requests: list[ToolRequest] = []
        finish = ModelFinish.STOP
        with ModelMeter(turn.telemetry, self._stream.model) as meter:
            async with aclosing(self._stream.stream(request)) as chunks:
                async for chunk in chunks:
                    if chunk.text:
                        meter.text_came()
                        texts.append(chunk.text)
                        await turn.say(chunk.text)
                    requests.extend(chunk.tool_requests)
                    finish, meter.usage = chunk.finish or finish, chunk.usage or meter.usage
        turn.count_usage(meter.usage)
        await turn.emit(_model_used(self._stream.model, meter.usage))
        own = tuple(ToolRequest(turn.new_id(), r.name, r.arguments) for r in requests)
        return _Reply("".join(texts), own, finish, meter.usage)

    async def _settle(self, turn: Turn, reply: _Reply, *, offered: bool) -> None:
        """Decide what the reply means: calls to make, or the end of the turn."""
        if reply.finish in (ModelFinish.LENGTH, ModelFinish.CONTENT_FILTER):
            reply.requests = ()  # their arguments may be cut off
            turn.finish = _cut_short(turn, reply.finish)
        elif reply.requests and offered:
            turn.begin_round(reply.text, reply.requests)
        else:
            if reply.requests:  # it calls what it was not offered: there is nothing to wait for
                turn.withdraw_tools()
            reply.requests = ()
            await self._finish(turn)

    async def _finish(self, turn: Turn) -> None:
        if turn.must_answer:
            turn.finish = FinishReason.MAX_TOOL_CALLS
        if turn.text:
            return
        if not turn.must_answer:
            raise DomainError(
                "the language model gave an empty answer; try again",
                reason="MODEL_UNAVAILABLE",
                metadata={"model": self.ai_model_id, "status": "empty"},
                retry_delay=timedelta(seconds=1),
            )
        await turn.say(_UNANSWERED)

    def _calls(self, reply: _Reply) -> list[Any]:
        card = self._agent.card
        targets = [edge.target for edge in card.handoffs]
        return [
            as_function_call(request, card.name, card.tools, targets) for request in reply.requests
        ]


def _specs(agent: AgentDefinition) -> list[ToolSpec]:
    """Return an agent's tools and handoffs as the model is offered them."""
    tools = [ToolSpec(t.name, t.description, t.parameters) for t in agent.card.tools]
    handoffs = [
        ToolSpec(
            f"{HANDOFF_PREFIX}{edge.target}",
            f"Hand the conversation over to {edge.target}. {edge.description}",
            _HANDOFF_PARAMETERS,
        )
        for edge in agent.card.handoffs
    ]
    return [*tools, *handoffs]


def _tokens_left(turn: Turn) -> int:
    if turn.output_tokens_left <= 0:
        raise _out_of_tokens(turn)
    return turn.output_tokens_left


def _out_of_tokens(turn: Turn) -> DomainError:
    limit = str(turn.limits.max_output_tokens)
    return DomainError(
        "the turn used up its output tokens before it could answer; allow more or ask for less",
        reason="TURN_BUDGET_EXHAUSTED",
        metadata={"budget": limit, "used": limit, "what": "output_tokens"},
    )


def _cut_short(turn: Turn, finish: ModelFinish) -> FinishReason:
    if finish is ModelFinish.LENGTH:
        if not turn.text:
            raise _out_of_tokens(turn)
        return FinishReason.MAX_OUTPUT_TOKENS
    if not turn.text:
        raise DomainError(
            "the language model's provider refused to answer this",
            reason="CONTENT_BLOCKED",
            metadata={"category": "provider"},
        )
    return FinishReason.CONTENT_BLOCKED


def _model_used(model: str, usage: TokenUsage) -> ModelUsed:
    return ModelUsed(model, usage.input_tokens, usage.output_tokens, usage.cached_input_tokens)
