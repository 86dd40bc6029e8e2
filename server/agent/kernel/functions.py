"""Tools as kernel functions, and the filter around every call of one."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import orjson
import structlog
from semantic_kernel.contents import FunctionCallContent
from semantic_kernel.filters import AutoFunctionInvocationContext
from semantic_kernel.functions import (
    FunctionResult,
    KernelFunctionFromMethod,
    KernelPlugin,
    kernel_function,
)

from server.agent.engine import (
    SourceRef,
    Tool,
    ToolCallFinished,
    ToolCallStarted,
    ToolError,
    ToolOutcome,
)
from server.agent.kernel.turn import CURRENT_TURN, Turn
from server.agent.model_stream import HANDOFF_PREFIX, ToolRequest
from server.agent.tools import MAX_RESULT_BYTES, TOOL_FAILED
from server.core.errors import DomainError
from server.core.telemetry import Timed

TOOLS_PLUGIN = "Tools"
HANDOFF_PLUGIN = "Handoff"  # the name Semantic Kernel gives to the functions it adds
UNKNOWN_TOOL = "unknown_tool"

log = structlog.get_logger(__name__)

Next = Callable[[AutoFunctionInvocationContext], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Reply:
    """What came of a call; `text` is for the model."""

    outcome: ToolOutcome
    text: str
    summary: str
    data: Mapping[str, object]
    sources: Sequence[SourceRef] = ()


def tools_plugin(tools: Sequence[Tool]) -> KernelPlugin:
    """Return the tools of an agent as a plugin, with one that answers for all others."""
    names = ", ".join(tool.name for tool in tools) or "none"
    unknown = f"there is no such tool; the tools are: {names}"
    functions = [_function(tool.name, tool.description, _caller(tool)) for tool in tools]
    functions.append(_function(UNKNOWN_TOOL, "", _refuser(unknown)))
    return KernelPlugin(name=TOOLS_PLUGIN, functions=functions)


def as_function_call(
    request: ToolRequest, agent: str, tools: Sequence[Tool], targets: Sequence[str]
) -> FunctionCallContent:
    """Return the request as a call that always gets as far as the filter.

    Semantic Kernel answers calls with bad arguments or unknown names by itself, unseen. So the
    model's JSON travels as one string and is checked by the tool, and a name that the agent
    does not have goes to a function that says so: also `complete_task`, which Semantic Kernel
    adds to every agent and which would end the turn without an answer.
    """
    metadata = {"agent": agent, "tool": request.name, "arguments": request.arguments}
    if request.name.removeprefix(HANDOFF_PREFIX) in targets:
        name, arguments = f"{HANDOFF_PLUGIN}-{request.name}", {}
    else:
        known = request.name in {tool.name for tool in tools}
        name = f"{TOOLS_PLUGIN}-{request.name if known else UNKNOWN_TOOL}"
        arguments = {"arguments_json": request.arguments}
    return FunctionCallContent(
        id=request.call_id, name=name, arguments=arguments, metadata=metadata
    )


async def guard_call(context: AutoFunctionInvocationContext, next: Next) -> None:  # noqa: A002  # Semantic Kernel passes it by this name
    """Filter around every function call: limits, events, the text for the model."""
    turn = CURRENT_TURN.get()
    call = context.function_call_content
    if call is None:
        raise RuntimeError("a function was called without a call of the model")
    if context.function.plugin_name == HANDOFF_PLUGIN:
        text = await _hand_over(turn, call, context, next)
    else:
        text = await _call_tool(turn, call, context, next)
    turn.answered(str(call.id), text)
    context.function_result = FunctionResult(function=context.function.metadata, value=text)


async def _hand_over(
    turn: Turn, call: FunctionCallContent, context: AutoFunctionInvocationContext, next_: Next
) -> str:
    if not turn.may_hand_over:
        return "not handed over; answer yourself"
    target = str(call.metadata["tool"]).removeprefix(HANDOFF_PREFIX)
    arguments = _json_object(str(call.metadata["arguments"])) or {}
    turn.hand_over(target, str(arguments.get("reason", ""))[:300])
    await next_(context)
    return f"handed over to {target}"


async def _call_tool(
    turn: Turn, call: FunctionCallContent, context: AutoFunctionInvocationContext, next_: Next
) -> str:
    call_id, started = str(call.id), turn.clock()
    tool, agent = str(call.metadata["tool"])[:64], str(call.metadata["agent"])
    arguments = _json_object(str(call.metadata["arguments"])) or {}
    await turn.emit(ToolCallStarted(call_id, tool, agent, arguments))
    refusal = turn.refusal(tool, arguments or str(call.metadata["arguments"]))
    # By the function's name: what else the model wrote may be anything.
    with turn.telemetry.scope(), Timed(turn.telemetry.tool_call, context.function.name) as timed:
        if refusal is None:
            await next_(context)
            reply = _reply_of(context.function_result)
        else:
            reply = _Reply(ToolOutcome.DENIED, refusal, refusal, {})
        timed.outcome = reply.outcome
    await turn.emit(
        ToolCallFinished(
            call_id,
            tool,
            agent,
            arguments,
            reply.outcome,
            reply.summary,
            reply.data,
            reply.sources,
            timedelta(seconds=turn.clock() - started),
        )
    )
    return reply.text


def _reply_of(result: FunctionResult | None) -> _Reply:
    if result is not None and isinstance(result.value, _Reply):
        return result.value
    log.error("tool_gave_no_reply")
    return _failed(TOOL_FAILED)


def _function(
    name: str, description: str, call: Callable[[str], Awaitable[_Reply]]
) -> KernelFunctionFromMethod:
    async def invoke(arguments_json: str) -> object:
        return await call(arguments_json)

    decorated = kernel_function(name=name, description=description)(invoke)
    return KernelFunctionFromMethod(method=decorated, plugin_name=TOOLS_PLUGIN)


def _caller(tool: Tool) -> Callable[[str], Awaitable[_Reply]]:
    async def call(arguments_json: str) -> _Reply:
        arguments = _json_object(arguments_json)
        if arguments is None:
            return _failed("the arguments must be one JSON object")
        try:
            result = await tool(arguments)
            text = orjson.dumps(result.data).decode()
        except ToolError as error:
            return _failed(str(error))
        except DomainError as error:
            return _failed(error.message)
        except Exception:
            # Semantic Kernel would send the exception's text to the model.
            log.exception("tool_failed", tool=tool.name)
            return _failed(TOOL_FAILED)
        if len(text.encode()) > MAX_RESULT_BYTES:
            log.error("tool_result_too_large", tool=tool.name, bytes=len(text))
            return _failed("the result is too large; ask for less")
        return _Reply(ToolOutcome.SUCCEEDED, text, result.summary, result.data, result.sources)

    return call


def _refuser(sentence: str) -> Callable[[str], Awaitable[_Reply]]:
    async def call(_: str) -> _Reply:
        return _failed(sentence)

    return call


def _failed(sentence: str) -> _Reply:
    text = orjson.dumps({"error": sentence}).decode()
    return _Reply(ToolOutcome.FAILED, text, sentence, {})


def _json_object(text: str) -> dict[str, object] | None:
    """Return the object, None if the text is something else. No text at all means no arguments."""
    try:
        value = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
