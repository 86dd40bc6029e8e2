"""An HTTP/2 client without manners: it sends whatever headers, bytes and frames it is told.

No state machine stands between a test and the wire, so that streams can be opened, broken and
abandoned as no decent client does. The frames and HPACK are those of the libraries below h2.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from struct import pack

from hpack import Decoder
from hpack.hpack import encode_integer
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME = 16384
MAX_WINDOW = 2**31 - 1
FIRST_WINDOW = 65535
CANCEL = 8

Header = tuple[bytes, bytes]


def grpc_headers(path: str | bytes, *more: Header) -> list[Header]:
    """Return the headers of a proper gRPC call, and what is to come after them."""
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path if isinstance(path, bytes) else path.encode()),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *more,
    ]


def header_block(headers: Iterable[Header]) -> bytes:
    """Encode headers as literals that enter no table: a block means the same wherever it goes."""
    strings = (string for header in headers for string in header)
    sized = [bytes(encode_integer(len(string), 7)) + string for string in strings]
    return b"".join(
        b"\x00" + name + value for name, value in zip(sized[::2], sized[1::2], strict=True)
    )


def message(payload: bytes, *, compressed: bool = False, length: int | None = None) -> bytes:
    """Put gRPC's five bytes before a message. `length` may lie."""
    return pack(">BI", compressed, len(payload) if length is None else length) + payload


@dataclass
class Answer:
    """What came back on one stream so far. `reset` is the error code if the server cut it."""

    headers: dict[str, bytes] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    reset: int | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def status(self) -> int | None:
        """The gRPC status code; None where there is none."""
        found = self.headers.get("grpc-status")
        return None if found is None else int(found)


class RawConnection:
    """One connection. Its streams are numbered as a client's are: 1, 3, 5, ..."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.answers: dict[int, Answer] = {}
        self.goaway: GoAwayFrame | None = None
        self.taken: Counter[type[Frame]] = Counter()
        """How many frames of each kind have come."""
        self.settled = asyncio.Event()
        self.closed = asyncio.Event()
        self.acknowledging = True
        self._reader, self._writer = reader, writer
        self._decoder = Decoder()
        self._block = bytearray()
        self._next_stream = 1
        self._first_window = FIRST_WINDOW
        self._windows = {0: FIRST_WINDOW}
        self._wider = asyncio.Event()

    def new_stream(self) -> int:
        """Return the number of a stream that nothing was sent on."""
        stream = self._next_stream
        self._next_stream += 2
        self.answers[stream] = Answer()
        self._windows[stream] = self._first_window
        return stream

    async def write(self, data: bytes) -> None:
        """Send bytes as they are; a connection that the server has closed swallows them."""
        if not self._writer.is_closing() and not self.closed.is_set():
            with suppress(ConnectionError):
                self._writer.write(data)
                await self._writer.drain()

    async def send(self, *frames: Frame) -> None:
        """Send frames as they are."""
        await self.write(b"".join(frame.serialize() for frame in frames))

    async def open(self, headers: Iterable[Header], *, end: bool = False) -> int:
        """Open a stream with these headers, in as many frames as they need."""
        stream, block = self.new_stream(), header_block(headers)
        pieces = [block[at : at + MAX_FRAME] for at in range(0, len(block) or 1, MAX_FRAME)]
        frames: list[Frame] = [HeadersFrame(stream, pieces[0], flags=["END_STREAM"] * end)]
        frames += [ContinuationFrame(stream, piece) for piece in pieces[1:]]
        frames[-1].flags.add("END_HEADERS")
        await self.send(*frames)
        return stream

    async def data(self, stream: int, payload: bytes, *, end: bool = False) -> None:
        """Send data as fast as the server's windows allow, until the server ends the stream."""
        at = 0
        while at < len(payload):
            size = await self._room(stream, min(len(payload) - at, MAX_FRAME))
            if not size:
                return
            await self.send(DataFrame(stream, payload[at : at + size]))
            at += size
        if end:
            await self.send(DataFrame(stream, b"", flags=["END_STREAM"]))

    async def reset(self, stream: int) -> None:
        """Cancel a stream."""
        await self.send(RstStreamFrame(stream, CANCEL))

    async def call(
        self, headers: Iterable[Header], payload: bytes = b"", *, end: bool = True
    ) -> int:
        """Open a stream and send this data on it; return the stream."""
        stream = await self.open(headers, end=end and not payload)
        if payload:
            await self.data(stream, payload, end=end)
        return stream

    async def answer(self, stream: int, seconds: float = 10) -> Answer:
        """Wait for the stream's end; raises TimeoutError if the server never ends it."""
        answer = self.answers[stream]
        async with asyncio.timeout(seconds):
            await answer.over.wait()
        return answer

    async def _room(self, stream: int, wanted: int) -> int:
        """Take so much of the windows as there is; 0 where nothing more is wanted."""
        answer = self.answers[stream]
        while True:
            size = min(wanted, self._windows[0], self._windows[stream])
            if answer.over.is_set() or self.closed.is_set() or size > 0:
                break
            self._wider.clear()
            await self._wider.wait()
        self._windows[0] -= size
        self._windows[stream] -= size
        return 0 if answer.over.is_set() or self.closed.is_set() else size

    async def listen(self) -> None:
        """Take in what the server sends until it closes."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await self._reader.readexactly(9)
                frame, length = Frame.parse_frame_header(memoryview(head))
                frame.parse_body(memoryview(await self._reader.readexactly(length)))
                await self._take(frame)
        self.closed.set()
        self.settled.set()
        self._wider.set()
        for answer in self.answers.values():
            answer.over.set()

    async def _take(self, frame: Frame) -> None:
        self.taken[type(frame)] += 1
        match frame:
            case SettingsFrame() if "ACK" not in frame.flags:
                self._settle(frame)
                if self.acknowledging:
                    await self.send(SettingsFrame(flags=["ACK"]))
                self.settled.set()
            case PingFrame() if "ACK" not in frame.flags:
                await self.send(PingFrame(opaque_data=frame.opaque_data, flags=["ACK"]))
            case WindowUpdateFrame():
                window = self._windows.get(frame.stream_id, self._first_window)
                self._windows[frame.stream_id] = window + frame.window_increment
            case GoAwayFrame():
                self.goaway = frame
            case _:
                self._take_answer(frame, self.answers.get(frame.stream_id, Answer()))
        self._wider.set()

    def _take_answer(self, frame: Frame, answer: Answer) -> None:
        match frame:
            case HeadersFrame() | ContinuationFrame():
                self._block += frame.data
                if "END_HEADERS" in frame.flags:
                    answer.headers |= self._decoded()
            case DataFrame():
                answer.body += frame.data
            case RstStreamFrame():
                answer.reset = frame.error_code
                answer.over.set()
        if "END_STREAM" in frame.flags:
            answer.over.set()

    def _settle(self, frame: SettingsFrame) -> None:
        window = frame.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, self._first_window)
        for stream in self._windows:
            self._windows[stream] += (window - self._first_window) if stream else 0
        self._first_window = window

    def _decoded(self) -> dict[str, bytes]:
        block, self._block = bytes(self._block), bytearray()
        headers = self._decoder.decode(block, raw=True)
        return {bytes(name).decode(): bytes(value) for name, value in headers}


@asynccontextmanager
async def raw_connection(
    target: str,
    *,
    window: int = MAX_WINDOW,
    greeting: bool = True,
    listening: bool = True,
    acknowledging: bool = True,
) -> AsyncIterator[RawConnection]:
    """Connect as HTTP/2 asks for: both sides have told their settings.

    Args:
        window: how many bytes of each stream the server may send.
        greeting: False for a client that says nothing by itself.
        listening: False for a client that takes nothing off the wire.
        acknowledging: False for a client that never says that it knows the server's settings.
    """
    host, _, port = target.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    connection = RawConnection(reader, writer)
    connection.acknowledging = acknowledging and greeting
    if greeting:
        settings = SettingsFrame(settings={SettingsFrame.INITIAL_WINDOW_SIZE: window})
        await connection.write(PREFACE)
        await connection.send(settings, WindowUpdateFrame(0, MAX_WINDOW - FIRST_WINDOW))
    listener = asyncio.create_task(connection.listen()) if listening else None
    try:
        if greeting and listening:
            await connection.settled.wait()
        yield connection
    finally:
        if listener is not None:
            listener.cancel()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
