"""A local HTTP server that speaks OpenAI's chat completions as a test scripts it.

Each request is answered by the next reply of the script, or by what a function of the request
returns. A reply is a list of steps; the server records requests and open streams.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Raw:
    """Bytes sent as they are, as a body's part."""

    data: bytes


@dataclass(frozen=True)
class Pause:
    """Silence."""

    seconds: float


@dataclass(frozen=True)
class Until:
    """Silence until the test says so."""

    told: asyncio.Event


@dataclass(frozen=True)
class Cut:
    """The connection breaks here."""


@dataclass(frozen=True)
class Status:
    """Instead of a stream: a status and a body."""

    code: int
    body: str = ""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


Step = Raw | Pause | Until | Cut | Status
Script = Callable[[dict[str, Any]], Sequence[Step]]

DONE = Raw(b"data: [DONE]\n\n")


def event(chunk: dict[str, Any]) -> Raw:
    """One server-sent event."""
    return Raw(b"data: " + json.dumps(chunk).encode() + b"\n\n")


def delta(content: dict[str, Any], finish: str | None = None) -> Raw:
    """One chunk of a reply."""
    choice = {"index": 0, "delta": content, "finish_reason": finish}
    return event({"id": "c", "object": "chat.completion.chunk", "choices": [choice]})


def words(*texts: str, pause: float = 0.0) -> list[Step]:
    """Pieces of text, with a pause before each."""
    steps: list[Step] = []
    for text in texts:
        steps += [Pause(pause), delta({"content": text})] if pause else [delta({"content": text})]
    return steps


def usage(input_tokens: int = 10, output_tokens: int = 5, cached: int = 0) -> Raw:
    """The chunk that says what the call used."""
    return event(
        {
            "choices": [],
            "usage": {
                "prompt_tokens": input_tokens,
                "completion_tokens": output_tokens,
                "prompt_tokens_details": {"cached_tokens": cached},
            },
        }
    )


def answer(*texts: str, pause: float = 0.0) -> list[Step]:
    """A whole reply of text."""
    start = delta({"role": "assistant", "content": ""})
    return [start, *words(*texts, pause=pause), delta({}, "stop"), usage(), DONE]


def calls(*requests: tuple[str, str], pieces: int = 2, text: str = "") -> list[Step]:
    """A whole reply of tool calls (name, arguments as JSON), each split over several chunks."""
    steps: list[Step] = [delta({"content": text})] if text else []
    for index, (name, arguments) in enumerate(requests):
        head = {"name": name, "arguments": ""}
        steps.append(_call(index, {"id": f"model_{index}", "type": "function", "function": head}))
        size = max(1, -(-len(arguments) // pieces))
        for start in range(0, len(arguments), size):
            part = arguments[start : start + size]
            steps.append(_call(index, {"function": {"arguments": part}}))
    return [*steps, delta({}, "tool_calls"), usage(), DONE]


def _call(index: int, part: dict[str, Any]) -> Raw:
    return delta({"tool_calls": [{"index": index, **part}]})


class FakeOpenAI:
    """The server: what it was asked, and how many answers it is sending right now."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self.open_streams = 0
        self.aborted_streams = 0
        self.hang_after_done = False
        self.models: Status | None = Status(200, '{"object": "list", "data": []}')
        """The answer to who asks for the models; None breaks the connection."""
        self.probes = 0
        self._script: list[Sequence[Step]] | Script = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def base_url(self) -> str:
        """Where the server listens."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}/v1"

    def script(self, *replies: Sequence[Step]) -> None:
        """Answer the next requests so, in order."""
        self._script = list(replies)

    def script_with(self, script: Script) -> None:
        """Answer every request with what the function returns for it."""
        self._script = script

    async def start(self, port: int = 0) -> None:
        """Listen on a port; 0 is a free one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)

    @asynccontextmanager
    async def gone(self) -> AsyncIterator[None]:
        """Be away for the block, then be back at the same port."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        await self.stop()
        yield
        await self.start(port)

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        assert self._server is not None
        self._server.close()
        await self.hang_up()

    async def hang_up(self) -> None:
        """End every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _next_reply(self, request: dict[str, Any]) -> Sequence[Step]:
        if callable(self._script):
            return self._script(request)
        return self._script.pop(0) if self._script else [Status(500, '{"error": "no script"}')]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._answer(reader, writer):
                    pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = [line.split(": ", 1) for line in head[1:] if ": " in line]
        headers = {name.lower(): value for name, value in pairs}
        if head[0].startswith("GET "):
            return await self._list_models(writer)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        request = json.loads(body)
        self.requests.append(request)
        self.headers.append(headers)
        steps = self._next_reply(request)
        if steps and isinstance(steps[0], Status):
            await _send_status(writer, steps[0])
            return True
        return await self._stream(reader, writer, steps)

    async def _list_models(self, writer: asyncio.StreamWriter) -> bool:
        self.probes += 1
        if self.models is None:
            return False
        await _send_status(writer, self.models)
        return True

    async def _stream(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, steps: Sequence[Step]
    ) -> bool:
        """Send the steps, unless the client goes away first: then stop at once."""
        self.open_streams += 1
        sending = asyncio.create_task(self._send(writer, steps))
        leaving = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                self.aborted_streams += 1
                return False
            return await sending and not leaving.done()
        finally:
            self.open_streams -= 1
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send(self, writer: asyncio.StreamWriter, steps: Sequence[Step]) -> bool:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        for step in steps:
            match step:
                case Pause(seconds):
                    await asyncio.sleep(seconds)
                case Until(told):
                    await told.wait()
                case Raw(data):
                    writer.write(b"%x\r\n%s\r\n" % (len(data), data))
                    await writer.drain()
                case Cut():
                    writer.transport.abort()
                    return False
                case Status():
                    raise AssertionError("a status must be the first step")
        if self.hang_after_done:
            await asyncio.sleep(3600)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


async def _send_status(writer: asyncio.StreamWriter, status: Status) -> None:
    body = status.body.encode()
    extra = "".join(f"{name}: {value}\r\n" for name, value in status.headers.items())
    writer.write(
        f"HTTP/1.1 {status.code} X\r\ncontent-type: {status.content_type}\r\n"
        f"content-length: {len(body)}\r\n{extra}\r\n".encode()
        + body
    )
    await writer.drain()


@asynccontextmanager
async def running_fake_openai() -> AsyncIterator[FakeOpenAI]:
    """Yield a server that listens, and stop it afterwards."""
    server = FakeOpenAI()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
