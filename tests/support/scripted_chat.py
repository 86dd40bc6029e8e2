"""Chats that a test scripts: events in short form, and a server that plays a whole turn."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc import status_pb2

from server.generated.interview.agent.v1 import chat_pb2, resources_pb2
from tests.support.scripted_server import Context, fail, ready

Event = chat_pb2.ChatResponse
BODIES: dict[str, type[Message]] = {
    field.name: getattr(chat_pb2, field.message_type.name)
    for field in Event.DESCRIPTOR.oneofs_by_name["event"].fields
    if field.message_type is not None
}


def event(kind: str, sequence: int = 0, turn_id: str = "", **more: Any) -> Event:
    """Return an event whose body is empty unless given by its kind's name."""
    body = more.pop(kind, None) or BODIES[kind]()
    members: dict[str, Any] = {kind: body, **more}
    return Event(sequence=sequence, turn_id=turn_id, **members)


def delta(text: str, sequence: int, turn_id: str) -> Event:
    """Return a piece of text."""
    body = chat_pb2.TextDelta(message_id="m", text=text)
    return Event(sequence=sequence, turn_id=turn_id, text_delta=body)


def rejected(frame_id: str, status: status_pb2.Status) -> Event:
    """Return the refusal of a frame."""
    return Event(in_reply_to=frame_id, frame_rejected=chat_pb2.FrameRejected(status=status))


def unknown(sequence: int, turn_id: str) -> Event:
    """Return an event of a kind that only a newer server knows (field 999)."""
    known = Event(sequence=sequence, turn_id=turn_id).SerializeToString()
    tag_and_length = bytes([0xBA, 0x3E, 0x00])
    return Event.FromString(known + tag_and_length)


def turn_of(turn_id: str, first: int, *pieces: str) -> list[Event]:
    """Return the events of a short turn, numbered from `first`."""
    kinds = [
        event("turn_started", first, turn_id),
        *(delta(text, first + 1 + n, turn_id) for n, text in enumerate(pieces)),
    ]
    kinds.append(event("turn_completed", first + 1 + len(pieces), turn_id))
    return kinds


class Parrot:
    """Answers every message with a turn that repeats it word by word; keeps all frames."""

    def __init__(self) -> None:
        self.frames: list[chat_pb2.ChatRequest] = []
        self.sequence = 0

    def next(self) -> int:
        """Return the next sequence number."""
        self.sequence += 1
        return self.sequence

    async def __call__(self, requests: Any, context: Context) -> AsyncIterator[Event]:
        """Play the server's side of a chat."""
        async for frame in requests:
            self.frames.append(frame)
            for answer in self.answers(frame):
                yield answer

    def answers(self, frame: chat_pb2.ChatRequest) -> list[Event]:
        """Return what a frame is answered with."""
        kind = frame.WhichOneof("frame")
        if kind in {"start", "resume"}:
            return [ready(resumed=kind == "resume")]
        if kind == "ping":
            return [event("pong", pong=chat_pb2.Pong(payload=frame.ping.payload))]
        if kind == "cancel_turn":
            cancelled = chat_pb2.TurnCancelled(cause=resources_pb2.CANCEL_CAUSE_CLIENT)
            turn_id = frame.cancel_turn.turn_id
            return [event("turn_cancelled", self.next(), turn_id, turn_cancelled=cancelled)]
        if kind == "user_message":
            words = frame.user_message.text.split()
            events = turn_of(frame.user_message.turn_id, self.sequence + 1, *words)
            self.sequence += len(events)
            return events
        return []


def playing(*events: Event, code: grpc.StatusCode | None = None) -> Any:
    """Send the events after the first frame, then end, badly if a code is given."""

    async def play(requests: Any, context: Context) -> AsyncIterator[Event]:
        await anext(requests)
        for one in events:
            yield one
        if code is not None:
            await fail(context, code, "TOKEN_REVOKED")

    return play


async def text_of(turn: AsyncIterator[Any]) -> list[str]:
    """Return the pieces of text of a turn."""
    return [one.text_delta.text async for one in turn if one.text_delta is not None]
