"""The conversation as the model gets it."""

from collections.abc import Iterator, Sequence

from server.agent.engine import HistoryMessage, Role, TurnRequest
from server.agent.model_stream import MessageRole, ModelMessage, ToolRequest

MAX_HISTORY_CHARACTERS = 24_000
"""What of the earlier conversation is sent; a model reads about a quarter as many tokens."""


def opening(request: TurnRequest) -> list[ModelMessage]:
    """Return the newest part of the history and the user's message."""
    messages = [
        message for earlier in _recent(request.history) for message in _as_messages(earlier)
    ]
    return [*messages, ModelMessage(MessageRole.USER, request.text)]


def _recent(history: Sequence[HistoryMessage]) -> list[HistoryMessage]:
    kept: list[HistoryMessage] = []
    room = MAX_HISTORY_CHARACTERS
    for message in reversed(history):
        room -= len(message.text) + len(message.tool_summary)
        if room < 0:
            break
        kept.append(message)
    return kept[::-1]


def _as_messages(message: HistoryMessage) -> Iterator[ModelMessage]:
    if message.role is Role.USER:
        yield ModelMessage(MessageRole.USER, message.text)
        return
    if message.tool_summary:
        # What tools returned stays a tool's message: as text of the assistant the model would
        # learn to write such summaries, as text of the system it would be an instruction.
        call_id = f"earlier_{abs(hash(message))}"
        lookup = ToolRequest(call_id, "earlier_lookup", "{}")
        yield ModelMessage(MessageRole.ASSISTANT, tool_requests=(lookup,))
        yield ModelMessage(MessageRole.TOOL, message.tool_summary, call_id=call_id)
    yield ModelMessage(MessageRole.ASSISTANT, message.text)
