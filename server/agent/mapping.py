"""From the chat's things to its messages."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.struct_pb2 import Struct

from server.agent import engine, events
from server.agent.domain import Session, SessionOptions
from server.generated.interview.agent.v1 import chat_pb2, resources_pb2
from server.rpc.details import rich_status
from server.rpc.well_known import duration, timestamp

_FINISH = {
    engine.FinishReason.STOP: resources_pb2.FINISH_REASON_STOP,
    engine.FinishReason.MAX_OUTPUT_TOKENS: resources_pb2.FINISH_REASON_MAX_OUTPUT_TOKENS,
    engine.FinishReason.MAX_TOOL_CALLS: resources_pb2.FINISH_REASON_MAX_TOOL_CALLS,
    engine.FinishReason.CONTENT_BLOCKED: resources_pb2.FINISH_REASON_CONTENT_BLOCKED,
}
_CAUSE = {
    events.CancelCause.CLIENT: resources_pb2.CANCEL_CAUSE_CLIENT,
    events.CancelCause.INTERRUPTED_BY_NEW_TURN: (
        resources_pb2.CANCEL_CAUSE_INTERRUPTED_BY_NEW_TURN
    ),
    events.CancelCause.CLIENT_GONE: resources_pb2.CANCEL_CAUSE_CLIENT_GONE,
    events.CancelCause.SESSION_ENDED: resources_pb2.CANCEL_CAUSE_SESSION_ENDED,
    events.CancelCause.SERVER_DRAINING: resources_pb2.CANCEL_CAUSE_SERVER_DRAINING,
    events.CancelCause.PRINCIPAL_REVOKED: resources_pb2.CANCEL_CAUSE_PRINCIPAL_REVOKED,
}
_OUTCOME = {
    engine.ToolOutcome.SUCCEEDED: resources_pb2.TOOL_CALL_STATE_SUCCEEDED,
    engine.ToolOutcome.FAILED: resources_pb2.TOOL_CALL_STATE_FAILED,
    engine.ToolOutcome.DENIED: resources_pb2.TOOL_CALL_STATE_DENIED,
}
MUTABLE_EVENTS = {
    resources_pb2.EVENT_CLASS_TEXT_DELTA: frozenset({"text_delta"}),
    resources_pb2.EVENT_CLASS_TOOL: frozenset({"tool_call_started", "tool_call_finished"}),
    resources_pb2.EVENT_CLASS_CITATION: frozenset({"citation_added"}),
    resources_pb2.EVENT_CLASS_USAGE: frozenset({"usage_updated"}),
}
"""The events of each class that a client may mute, by the name of their oneof member."""


def agent_name(agent: str) -> str:
    """Return an agent's resource name; empty for no agent."""
    return f"agents/{agent}" if agent else ""


def struct(values: Mapping[str, Any]) -> Struct:
    """Turn JSON-ready values into a Struct."""
    message = Struct()
    message.update(dict(values))
    return message


def usage_message(usage: events.Usage) -> resources_pb2.Usage:
    """Turn what was used into its message."""
    first = usage.time_to_first_delta
    return resources_pb2.Usage(
        input_tokens=sum(tokens for tokens, _ in usage.models.values()),
        cached_input_tokens=usage.cached_input_tokens,
        output_tokens=sum(tokens for _, tokens in usage.models.values()),
        model_calls=usage.model_calls,
        tool_calls=usage.tool_calls,
        time_to_first_delta=None if first is None else duration(first),
        total_time=duration(usage.total_time),
        models=[
            resources_pb2.ModelUsage(model=model, input_tokens=given, output_tokens=made)
            for model, (given, made) in usage.models.items()
        ],
    )


def citation_message(citation: events.Citation) -> resources_pb2.Citation:
    """Turn a citation into its message; every one of ours names a row that a tool read."""
    return resources_pb2.Citation(
        citation_id=citation.citation_id,
        resource_name=citation.resource_name,
        title=citation.title,
        start_byte=citation.start_byte,
        end_byte=citation.end_byte,
        field_paths=["title"],
        tool_call_id=citation.tool_call_id,
        verified=True,
    )


def budget_message(limits: engine.TurnLimits) -> resources_pb2.TurnBudget:
    """Turn a turn's limits into its budget."""
    return resources_pb2.TurnBudget(
        timeout=duration(limits.timeout),
        max_output_tokens=limits.max_output_tokens,
        max_tool_calls=limits.max_tool_calls,
        max_handoffs=limits.max_handoffs,
    )


def config_message(options: SessionOptions) -> resources_pb2.SessionConfig:
    """Turn a session's options into its config, defaults filled in."""
    return resources_pb2.SessionConfig(
        entry_agent=agent_name(options.entry_agent),
        locale=options.locale,
        default_budget=budget_message(options.limits),
        muted_event_classes=[
            kind for kind, names in MUTABLE_EVENTS.items() if names <= options.muted
        ],
        grounded_only=options.grounded_only,
    )


def session_message(session: Session, active_turn_id: str = "") -> resources_pb2.Session:
    """Turn a session into its message."""
    running = bool(active_turn_id)
    return resources_pb2.Session(
        name=session.name,
        owner=f"users/{session.owner_id}",
        state=resources_pb2.SESSION_STATE_RUNNING if running else resources_pb2.SESSION_STATE_IDLE,
        config=config_message(session.options),
        last_sequence=session.last_sequence,
        first_replayable_sequence=1 if session.last_sequence else 0,
        active_turn_id=active_turn_id,
        active_agent=agent_name(session.active_agent),
        usage=usage_message(session.usage),
        create_time=timestamp(session.create_time),
        update_time=timestamp(session.update_time),
    )


def agent_message(card: engine.AgentCard, model: str) -> resources_pb2.Agent:
    """Turn an agent's card into its message."""
    return resources_pb2.Agent(
        name=agent_name(card.name),
        display_name=card.display_name,
        description=card.description,
        tools=[
            resources_pb2.ToolDescriptor(
                tool=tool.name,
                description=tool.description,
                parameters_schema=struct(tool.parameters),
                permission=tool.permission,
            )
            for tool in card.tools
        ],
        handoffs=[
            resources_pb2.HandoffEdge(
                target_agent=agent_name(edge.target), description=edge.description
            )
            for edge in card.handoffs
        ],
        model=model,
        available=True,
        examples=card.examples,
    )


def response_message(event: events.SessionEvent, request_id: str) -> chat_pb2.ChatResponse:
    """Turn an event in its place into the message that is stored and sent."""
    message = chat_pb2.ChatResponse(
        sequence=event.sequence,
        turn_id=str(event.turn_id) if event.turn_id else "",
        emit_time=timestamp(event.emit_time),
        in_reply_to=event.in_reply_to,
    )
    _fill(event.event, message, request_id)
    return message


def _fill(event: events.Event, message: chat_pb2.ChatResponse, request_id: str) -> None:
    """Set the message's oneof member."""
    match event:
        case engine.AgentActivated() | engine.AgentHandoff():
            _fill_agent(event, message)
        case engine.ToolCallStarted() | engine.ToolCallFinished():
            _fill_tool(event, message)
        case (
            events.MessageStarted()
            | events.MessageDelta()
            | events.CitationAdded()
            | events.MessageCompleted()
        ):
            _fill_text(event, message)
        case _:
            _fill_turn(event, message, request_id)


def _fill_agent(
    event: engine.AgentActivated | engine.AgentHandoff, message: chat_pb2.ChatResponse
) -> None:
    match event:
        case engine.AgentActivated(agent):
            message.agent_activated.agent = agent_name(agent)
        case engine.AgentHandoff(source, target, reason):
            message.agent_handoff.handoff.CopyFrom(
                resources_pb2.Handoff(
                    source_agent=agent_name(source),
                    target_agent=agent_name(target),
                    reason=reason,
                    handoff_time=message.emit_time,
                )
            )


def _fill_tool(
    event: engine.ToolCallStarted | engine.ToolCallFinished, message: chat_pb2.ChatResponse
) -> None:
    call = resources_pb2.ToolCall(
        tool_call_id=event.call_id,
        tool=event.tool,
        agent=agent_name(event.agent),
        arguments=struct(event.arguments),
    )
    match event:
        case engine.ToolCallStarted():
            call.state = resources_pb2.TOOL_CALL_STATE_RUNNING
            message.tool_call_started.tool_call.CopyFrom(call)
        case engine.ToolCallFinished():
            call.state = _OUTCOME[event.outcome]
            call.summary = event.summary
            call.result.CopyFrom(struct(event.result))
            call.duration.CopyFrom(duration(event.duration))
            message.tool_call_finished.tool_call.CopyFrom(call)


def _fill_text(
    event: (
        events.MessageStarted | events.MessageDelta | events.CitationAdded | events.MessageCompleted
    ),
    message: chat_pb2.ChatResponse,
) -> None:
    match event:
        case events.MessageDelta(message_id, offset, text):
            message.text_delta.message_id = message_id
            message.text_delta.offset_byte = offset
            message.text_delta.text = text
        case events.MessageStarted(message_id, agent):
            message.message_started.message_id = message_id
            message.message_started.agent = agent_name(agent)
        case events.CitationAdded(message_id, citation):
            message.citation_added.message_id = message_id
            message.citation_added.citation.CopyFrom(citation_message(citation))
        case events.MessageCompleted():
            message.message_completed.message.CopyFrom(
                resources_pb2.Message(
                    message_id=event.message_id,
                    role=resources_pb2.MESSAGE_ROLE_AGENT,
                    agent=agent_name(event.agent),
                    text=event.text,
                    citations=[citation_message(citation) for citation in event.citations],
                    create_time=message.emit_time,
                )
            )


def _fill_turn(event: events.Event, message: chat_pb2.ChatResponse, request_id: str) -> None:
    match event:
        case events.TurnQueued(position):
            message.turn_queued.position = position
        case events.TurnStarted(text, limits):
            message.turn_started.budget.CopyFrom(budget_message(limits))
            user = message.turn_started.user_message
            user.role, user.text = resources_pb2.MESSAGE_ROLE_USER, text
            user.message_id = message.turn_id
            user.create_time.CopyFrom(message.emit_time)
        case events.UsageUpdated(turn, session):
            message.usage_updated.turn_usage.CopyFrom(usage_message(turn))
            message.usage_updated.session_usage.CopyFrom(usage_message(session))
        case events.TurnCompleted(agent, reason, usage, grounded):
            message.turn_completed.agent = agent_name(agent)
            message.turn_completed.finish_reason = (
                _FINISH[reason] if grounded else resources_pb2.FINISH_REASON_NO_GROUNDED_ANSWER
            )
            message.turn_completed.usage.CopyFrom(usage_message(usage))
        case events.TurnCancelled(cause, usage):
            message.turn_cancelled.cause = _CAUSE[cause]
            message.turn_cancelled.usage.CopyFrom(usage_message(usage))
        case events.TurnFailed(error):
            message.turn_failed.status.CopyFrom(rich_status(error, request_id))
            message.turn_failed.retryable = event.retryable
            if error.retry_delay is not None:
                message.turn_failed.retry_delay.CopyFrom(duration(error.retry_delay))
        case events.SessionEnded(usage):
            message.session_ended.usage.CopyFrom(usage_message(usage))
