"""Chats driven frame by frame over a real channel, and servers whose model is scripted."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

from server.app import Application
from server.core.clock import utc_now
from server.generated.interview.agent.v1 import agent_service_pb2_grpc, chat_pb2
from tests.support.fake_openai import FakeOpenAI
from tests.support.running import SECRET, Running, capturing_log, running_server

Event = chat_pb2.ChatResponse
Metadata = Sequence[tuple[str, str]]
TERMINAL = ("turn_completed", "turn_cancelled", "turn_failed")
DETAILS_KEY = "grpc-status-details-bin"
PATIENCE = 15.0
"""Seconds after which a test says that an event does not come."""


@dataclass(frozen=True)
class Problem:
    """A status as a client reads it."""

    code: grpc.StatusCode
    message: str = ""
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_delay: timedelta | None = None


def problem(code: grpc.StatusCode, status: status_pb2.Status) -> Problem:
    """Read a rich status."""
    info, retry = details.ErrorInfo(), details.RetryInfo()
    delay = None
    for detail in status.details:
        detail.Unpack(info)
        if detail.Unpack(retry):
            delay = retry.retry_delay.ToTimedelta()
    return Problem(code, status.message, info.reason, dict(info.metadata), delay)


def problem_of(error: grpc.aio.AioRpcError) -> Problem:
    """Read what a call ended with."""
    for key, value in error.trailing_metadata():
        if key == DETAILS_KEY and isinstance(value, bytes):
            return problem(error.code(), status_pb2.Status.FromString(value))
    return Problem(error.code(), error.details() or "")


def reason_of(status: status_pb2.Status) -> str:
    """Return the reason in a status that an event carries."""
    return problem(grpc.StatusCode.UNKNOWN, status).reason


def kind(event: Event) -> str:
    """Return the name of what happened."""
    return event.WhichOneof("event") or ""


def kinds(events: Sequence[Event]) -> list[str]:
    """Return what happened; pieces of text that follow one another count once."""
    names: list[str] = []
    for event in events:
        if kind(event) != "text_delta" or names[-1:] != ["text_delta"]:
            names.append(kind(event))
    return names


def text_of(events: Sequence[Event]) -> str:
    """Return the pieces of text, joined."""
    return "".join(event.text_delta.text for event in events if kind(event) == "text_delta")


class Chat:
    """One stream. `seen` keeps every event that was read."""

    def __init__(self, channel: grpc.aio.Channel, who: Metadata, seconds: float | None = None):
        stub = agent_service_pb2_grpc.AgentServiceStub(channel)
        self.call: Any = stub.Chat(metadata=who, timeout=seconds)
        self.seen: list[Event] = []

    async def send(self, frame_id: str = "", **frame: Any) -> None:
        """Send a frame."""
        await self.call.write(chat_pb2.ChatRequest(frame_id=frame_id, **frame))

    async def start(self, **start: Any) -> Event:
        """Open a session and return SessionReady."""
        await self.send("first", start=chat_pb2.StartFrame(**start))
        return await self.expect("session_ready")

    async def resume(self, session: str, after: int = 0, **resume: Any) -> list[Event]:
        """Go on with a session; return what comes up to ReplayCompleted."""
        frame = chat_pb2.ResumeFrame(session=session, after_sequence=after, **resume)
        await self.send("first", resume=frame)
        return await self.until("replay_completed")

    async def say(self, text: str, turn_id: str = "", frame_id: str = "", **message: Any) -> str:
        """Send a user's message and return its turn's id."""
        turn_id = turn_id or str(uuid4())
        frame = chat_pb2.UserMessageFrame(turn_id=turn_id, text=text, **message)
        await self.send(frame_id, user_message=frame)
        return turn_id

    async def turn(self, text: str, **message: Any) -> list[Event]:
        """Send a user's message and return its events to the terminal one."""
        await self.say(text, **message)
        return await self.until(*TERMINAL)

    async def cancel(self, turn_id: str = "", frame_id: str = "cancel") -> None:
        """Ask for a turn to be cancelled."""
        await self.send(frame_id, cancel_turn=chat_pb2.CancelTurnFrame(turn_id=turn_id))

    async def ping(self, payload: bytes = b"are you there") -> None:
        """Ask for a Pong."""
        await self.send("ping", ping=chat_pb2.PingFrame(payload=payload))

    async def read(self, patience: float = PATIENCE) -> Event | None:
        """Return the next event; None where the stream ended, well or not."""
        try:
            async with asyncio.timeout(patience):
                event = await self.call.read()
        except grpc.aio.AioRpcError:
            return None
        if event is grpc.aio.EOF:
            return None
        self.seen.append(event)
        read: Event = event
        return read

    async def until(self, *wanted: str) -> list[Event]:
        """Return the events up to one of a kind."""
        events: list[Event] = []
        while (event := await self.read()) is not None:
            events.append(event)
            if kind(event) in wanted:
                return events
        raise AssertionError(f"no {wanted} in {kinds(events)}: {await self.end()}")

    async def expect(self, wanted: str) -> Event:
        """Return the next event, which must be of a kind."""
        event = await self.read()
        assert event is not None, await self.end()
        assert kind(event) == wanted, event
        return event

    async def rest(self) -> list[Event]:
        """Return the events to the stream's end."""
        events: list[Event] = []
        while (event := await self.read()) is not None:
            events.append(event)
        return events

    async def half_close(self) -> None:
        """Say that no more frames come."""
        await self.call.done_writing()

    async def end(self) -> Problem:
        """Return the status that the stream ended with."""
        async with asyncio.timeout(PATIENCE):
            code = await self.call.code()
        trailers = dict(await self.call.trailing_metadata() or ())
        raw = trailers.get(DETAILS_KEY)
        if raw is None:
            return Problem(code, await self.call.details() or "")
        return problem(code, status_pb2.Status.FromString(bytes(raw)))

    async def leave(self) -> None:
        """Cancel the stream, as a client that goes away."""
        self.call.cancel()
        try:
            await self.call.code()
        except asyncio.CancelledError:
            assert self.call.cancelled()


async def talk(
    server: Running, email: str = "viewer@example.com", seconds: float | None = None
) -> Chat:
    """Sign in and open a stream."""
    await server.app.agents_ready()
    return Chat(server.channel, await server.sign_in(email), seconds)


async def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def modelled(
    template: Path, folder: Path, model: FakeOpenAI, **settings: Any
) -> AsyncIterator[Running]:
    """A server over a copy of the template database, whose agents ask the scripted model."""
    file = folder / "chat.db"
    if not file.exists():
        shutil.copy(template, file)
    chosen = {
        "openai_base_url": model.base_url,
        "openai_api_key": "sk-test",
        "openai_model": "fake-model",
        **settings,
    }
    async with running_server(f"sqlite+aiosqlite:///{file}", folder, **chosen) as server:
        await server.app.agents_ready()
        yield server


@asynccontextmanager
async def another_server(first: Running) -> AsyncIterator[Running]:
    """One more server over the same database, as after a restart or beside the first."""
    log, lines = capturing_log()
    app = Application(first.app.settings, SECRET, utc_now, log)
    port = await app.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            await app.agents_ready()
            yield Running(app, port, channel, lines)
        finally:
            await channel.close()
            hurry = asyncio.Event()
            hurry.set()
            await app.stop(hurry)


def tasks() -> set["asyncio.Task[Any]"]:
    """Return all tasks but those of the scripted model and the one in which gRPC listens."""
    listening = ("FakeOpenAI", "_request_call")
    return {
        task for task in asyncio.all_tasks() if not any(name in repr(task) for name in listening)
    }
