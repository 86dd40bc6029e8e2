"""The rules that the chat's requests must meet, and what they ask for in the domain's words."""

from collections.abc import Collection
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from pydantic import AfterValidator, BaseModel, Field

from server.agent.conversation import BusyPolicy
from server.agent.domain import (
    MAX_HANDOFFS,
    MAX_OUTPUT_TOKENS,
    MAX_TIMEOUT,
    MAX_TOOL_CALLS,
    SessionOptions,
)
from server.agent.engine import TurnLimits
from server.agent.mapping import MUTABLE_EVENTS
from server.core.errors import FieldViolation, ValidationFailed
from server.generated.interview.agent.v1 import agent_service_pb2, chat_pb2, resources_pb2
from server.rpc.validation import validated

MAX_TEXT_BYTES = 32_768
MAX_FRAME_ID = 64
DEFAULT_HEARTBEAT = timedelta(seconds=15)
MIN_HEARTBEAT = timedelta(milliseconds=100)

_BUSY = {
    chat_pb2.BUSY_POLICY_UNSPECIFIED: BusyPolicy.QUEUE,
    chat_pb2.BUSY_POLICY_QUEUE: BusyPolicy.QUEUE,
    chat_pb2.BUSY_POLICY_INTERRUPT: BusyPolicy.INTERRUPT,
    chat_pb2.BUSY_POLICY_REJECT: BusyPolicy.REJECT,
}


def _uuid(value: str) -> str:
    try:
        UUID(value)
    except ValueError:
        raise ValueError("must be a UUID, for example from uuidgen") from None
    return value


def _text(value: str) -> str:
    size = len(value.encode())
    if not value.strip():
        raise ValueError("must not be empty")
    if size > MAX_TEXT_BYTES:
        raise ValueError(f"must have at most {MAX_TEXT_BYTES} bytes, this has {size}")
    if "\x00" in value:  # PostgreSQL's text cannot hold it
        raise ValueError("must not contain the character U+0000")
    return value


def _session_name(value: str) -> str:
    collection, _, number = value.partition("/")
    if collection != "sessions":
        raise ValueError("must be a name like sessions/{uuid}")
    _uuid(number)
    return value


Uuid = Annotated[str, AfterValidator(_uuid)]
Text = Annotated[str, AfterValidator(_text)]
SessionName = Annotated[str, AfterValidator(_session_name)]


class Budget(BaseModel):
    """Rules of TurnBudget; 0 is the default."""

    timeout: Annotated[timedelta, Field(ge=timedelta(), le=MAX_TIMEOUT)]
    max_output_tokens: Annotated[int, Field(ge=0, le=MAX_OUTPUT_TOKENS)]
    max_tool_calls: Annotated[int, Field(ge=0, le=MAX_TOOL_CALLS)]
    max_handoffs: Annotated[int, Field(ge=0, le=MAX_HANDOFFS)]


class Config(BaseModel):
    """Rules of SessionConfig."""

    locale: Annotated[str, Field(max_length=35)]
    default_budget: Budget
    muted_event_classes: list[Annotated[int, Field(ge=1, le=max(MUTABLE_EVENTS))]]


class Options(BaseModel):
    """Rules of StreamOptions."""

    delta_interval: Annotated[timedelta, Field(ge=timedelta(), le=timedelta(seconds=1))]
    heartbeat_interval: Annotated[timedelta, Field(ge=timedelta(), le=timedelta(seconds=300))]


class Start(BaseModel):
    """Rules of StartFrame."""

    session_id: Uuid | None
    config: Config
    options: Options


class Resume(BaseModel):
    """Rules of ResumeFrame."""

    session: SessionName
    after_sequence: Annotated[int, Field(ge=0)]
    options: Options


class UserMessage(BaseModel):
    """Rules of UserMessageFrame."""

    turn_id: Uuid
    text: Text
    busy_policy: Annotated[int, Field(ge=0, le=max(_BUSY))]
    budget: Budget


class RunTurn(BaseModel):
    """Rules of RunTurnRequest."""

    session: SessionName | None
    config: Config
    user_message: UserMessage
    after_sequence: Annotated[int, Field(ge=0)]
    options: Options


class Ask(BaseModel):
    """Rules of AskRequest."""

    session: SessionName | None
    question: Text
    config: Config
    budget: Budget
    request_id: Uuid | None


def check_frame(frame: chat_pb2.ChatRequest) -> None:
    """Check what all frames have in common.

    Raises:
        ValidationFailed: the frame_id is too long.
    """
    if len(frame.frame_id) > MAX_FRAME_ID:
        description = f"must have at most {MAX_FRAME_ID} characters"
        raise ValidationFailed([FieldViolation("frame_id", description)])


def check_start(frame: chat_pb2.StartFrame) -> UUID | None:
    """Check a StartFrame and return the id that the client chose; None where it chose none."""
    command = validated(
        Start,
        {
            "session_id": frame.session_id or None,
            "config": _config(frame.config),
            "options": _options(frame.options),
        },
    )
    return UUID(command.session_id) if command.session_id else None


def check_resume(frame: chat_pb2.ResumeFrame) -> UUID:
    """Check a ResumeFrame and return the session's id."""
    validated(
        Resume,
        {
            "session": frame.session,
            "after_sequence": frame.after_sequence,
            "options": _options(frame.options),
        },
    )
    return session_id_of(frame.session)


def check_user_message(frame: chat_pb2.UserMessageFrame) -> UUID:
    """Check a UserMessageFrame and return its turn's id."""
    validated(UserMessage, _user_message(frame))
    return UUID(frame.turn_id)


def check_run_turn(request: agent_service_pb2.RunTurnRequest) -> UUID:
    """Check a RunTurnRequest and return its turn's id."""
    validated(
        RunTurn,
        {
            "session": request.session or None,
            "config": _config(request.config),
            "user_message": _user_message(request.user_message),
            "after_sequence": request.after_sequence,
            "options": _options(request.options),
        },
    )
    return UUID(request.user_message.turn_id)


def check_ask(request: agent_service_pb2.AskRequest) -> None:
    """Check an AskRequest."""
    validated(
        Ask,
        {
            "session": request.session or None,
            "question": request.question,
            "config": _config(request.config),
            "budget": _budget(request.budget),
            "request_id": request.request_id or None,
        },
    )


def busy_policy(frame: chat_pb2.UserMessageFrame) -> BusyPolicy:
    """Return what is to happen while another turn runs."""
    return _BUSY[frame.busy_policy]


def session_id_of(name: str) -> UUID:
    """Return the id in a checked session name."""
    return UUID(name.removeprefix("sessions/"))


def limits_of(budget: resources_pb2.TurnBudget, default: TurnLimits) -> TurnLimits:
    """Return a turn's limits: what the budget sets, else the default."""
    return TurnLimits(
        budget.timeout.ToTimedelta() or default.timeout,
        budget.max_output_tokens or default.max_output_tokens,
        budget.max_tool_calls or default.max_tool_calls,
        budget.max_handoffs or default.max_handoffs,
    )


def options_of(config: resources_pb2.SessionConfig, agents: Collection[str]) -> SessionOptions:
    """Return a session's options.

    Raises:
        ValidationFailed: the entry agent is not one of the agents.
    """
    entry = config.entry_agent.removeprefix("agents/")
    if entry and entry not in agents:
        known = ", ".join(f"agents/{agent}" for agent in agents)
        raise ValidationFailed([FieldViolation("config.entry_agent", f"must be one of {known}")])
    muted = (MUTABLE_EVENTS[kind] for kind in config.muted_event_classes)
    return SessionOptions(
        entry,
        config.locale,
        limits_of(config.default_budget, TurnLimits()),
        frozenset().union(*muted),
        config.grounded_only,
    )


def heartbeat_of(options: chat_pb2.StreamOptions) -> timedelta:
    """Return after how much silence a Heartbeat comes; never so little that they flood."""
    asked = options.heartbeat_interval.ToTimedelta() or DEFAULT_HEARTBEAT
    return max(asked, MIN_HEARTBEAT)


def _span(duration: Duration) -> timedelta:
    try:
        return duration.ToTimedelta()
    except OverflowError:  # longer than any rule allows, so that rule answers it
        return timedelta.max if duration.seconds > 0 else timedelta.min


def _budget(budget: resources_pb2.TurnBudget) -> dict[str, object]:
    return {
        "timeout": _span(budget.timeout),
        "max_output_tokens": budget.max_output_tokens,
        "max_tool_calls": budget.max_tool_calls,
        "max_handoffs": budget.max_handoffs,
    }


def _config(config: resources_pb2.SessionConfig) -> dict[str, object]:
    return {
        "locale": config.locale,
        "default_budget": _budget(config.default_budget),
        "muted_event_classes": list(config.muted_event_classes),
    }


def _options(options: chat_pb2.StreamOptions) -> dict[str, object]:
    return {
        "delta_interval": _span(options.delta_interval),
        "heartbeat_interval": _span(options.heartbeat_interval),
    }


def _user_message(frame: chat_pb2.UserMessageFrame) -> dict[str, object]:
    return {
        "turn_id": frame.turn_id,
        "text": frame.text,
        "busy_policy": frame.busy_policy,
        "budget": _budget(frame.budget),
    }
