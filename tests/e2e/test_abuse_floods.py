"""Floods against a server process: other callers are answered all the while, memory returns."""

import asyncio
import random
import resource
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress

import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.support.amount import amount
from tests.support.answers import told
from tests.support.attacked import FILM, GET_FILM, attack
from tests.support.raw_http2 import (
    CANCEL,
    PREFACE,
    RawConnection,
    grpc_headers,
    header_block,
    message,
    raw_connection,
)
from tests.support.server_process import ServerProcess, serving

WATCH = "/grpc.health.v1.Health/Watch"
MEBIBYTE = 1024 * 1024
RESETS = amount(5_000, 100_000)
FRAMES = amount(20_000, 1_000_000)
STREAMS = amount(2_000, 45_000)
OWN_FILES = 8
"""What the server may open meanwhile for itself: a connection to SQLite has three files."""

IDLE = amount(500, 5_000)
BATCH = 50

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.long,
    pytest.mark.timeout(amount(120, 1_800)),
    pytest.mark.xdist_group("abuse"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of its own, whose clients have 2 seconds for their handshakes."""
    folder = tmp_path_factory.mktemp("attacked")
    with serving(folder, HANDSHAKE_TIMEOUT_SECONDS="2") as process:
        yield process


async def _pour(connection: RawConnection, data: bytes, times: int) -> None:
    """Send the data so many times, or until the server closes the connection."""
    for _ in range(times):
        if connection.closed.is_set():
            return
        await connection.write(data)
        await asyncio.sleep(0)


@pytest.mark.parametrize("kind", ["stranger", "headers", "message"])
async def test_streams_that_are_reset_at_once(server: ServerProcess, kind: str) -> None:
    async with attack(server) as attacked:
        credential = [] if kind == "stranger" else [attacked.credential]
        block = header_block(grpc_headers(GET_FILM, *credential))

        async def flood() -> None:
            async with raw_connection(server.target) as connection:
                for _ in range(RESETS // BATCH):
                    frames: list[Frame] = []
                    for stream in (connection.new_stream() for _ in range(BATCH)):
                        frames.append(HeadersFrame(stream, block, flags=["END_HEADERS"]))
                        if kind == "message":
                            frames.append(DataFrame(stream, FILM, flags=["END_STREAM"]))
                        frames.append(RstStreamFrame(stream, CANCEL))
                    await connection.send(*frames)
                    # What is reset before it starts costs nothing: let some of them start.
                    await asyncio.sleep(0.001)
                # The last of them may still stand in the way.
                while (answer := await attacked.answers(connection)) != "OK":
                    assert answer == "reset REFUSED_STREAM"

        await attacked.keeps_memory(flood, within=16 * MEBIBYTE)
        ended = [line for line in attacked.log if line["event"] == "call"]
        expected = {"OK", "CANCELLED", "UNAUTHENTICATED", "RESOURCE_EXHAUSTED"}
        assert {line["code"] for line in ended} <= expected
        assert len([line for line in ended if line["code"] != "OK"]) > RESETS // 100


@pytest.mark.parametrize(
    "frame",
    [
        SettingsFrame(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 65_535}),
        WindowUpdateFrame(0, 1),
        PriorityFrame(1, depends_on=3, stream_weight=9),
    ],
    ids=lambda frame: type(frame).__name__,
)
async def test_frames_that_carry_nothing(server: ServerProcess, frame: Frame) -> None:
    async with attack(server) as attacked:

        async def flood() -> None:
            async with raw_connection(server.target) as connection:
                await connection.open(grpc_headers(WATCH))
                await _pour(connection, frame.serialize() * BATCH, FRAMES // BATCH)
                assert await attacked.answers(connection) == "OK"
                assert connection.taken[SettingsFrame] > FRAMES * isinstance(frame, SettingsFrame)

        await attacked.keeps_memory(flood, within=8 * MEBIBYTE)


@pytest.mark.parametrize(
    ("frame", "times"),
    # The server answers pings, then slowly, then with the end: more only make the client wait.
    [(DataFrame(1, b""), FRAMES), (PingFrame(opaque_data=b"12345678"), 500)],
    ids=["empty data", "pings"],
)
async def test_frames_that_end_their_connection(
    server: ServerProcess, frame: Frame, times: int
) -> None:
    async with attack(server) as attacked:

        async def flood() -> None:
            for _ in range(amount(2, 50)):
                async with raw_connection(server.target) as connection:
                    stream = await connection.open(grpc_headers(WATCH))
                    await _pour(connection, frame.serialize() * BATCH, times // BATCH)
                    answer = told(await connection.answer(stream, 30))
                    assert answer in {"UNAVAILABLE gRPC", "closed"}
                    async with asyncio.timeout(30):
                        await connection.closed.wait()

        await attacked.keeps_memory(flood, within=8 * MEBIBYTE)


async def test_headers_that_never_end(server: ServerProcess) -> None:
    first = header_block(grpc_headers(GET_FILM))
    more = header_block([(b"x-a", b"a" * 1000)] * 10)
    async with attack(server) as attacked:

        async def flood() -> None:
            for _ in range(amount(5, 100)):
                async with raw_connection(server.target) as connection:
                    stream = connection.new_stream()
                    await connection.send(HeadersFrame(stream, first))
                    await _pour(connection, ContinuationFrame(stream, more).serialize(), 1_000)
                    assert connection.answers[stream].status in {None, 8}

        await attacked.keeps_memory(flood, within=16 * MEBIBYTE)


async def test_connections_that_speak_something_else(server: ServerProcess) -> None:
    chance = random.Random(6)
    host, _, port = server.target.rpartition(":")

    async def connect(number: int) -> None:
        said = (
            chance.randbytes(3_000),
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
            b"\x16\x03\x01\x02\x00" + chance.randbytes(512),
            PREFACE + chance.randbytes(500),
            PREFACE[:10],
            b"",
        )
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(said[number % len(said)])
        with suppress(ConnectionError):
            # The server ends it: at once, or when the time for the handshake is over.
            async with asyncio.timeout(10):
                await reader.read(-1)
        writer.close()

    async with attack(server) as attacked:

        async def flood() -> None:
            for _ in range(amount(1, 20)):
                await asyncio.gather(*(connect(number) for number in range(120)))

        files = attacked.open_files
        await attacked.keeps_memory(flood, within=8 * MEBIBYTE)
        async with asyncio.timeout(20):
            while attacked.open_files > files + OWN_FILES:
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("greeting", [True, False], ids=["after the greeting", "at all"])
async def test_connections_that_say_nothing(server: ServerProcess, greeting: bool) -> None:
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > IDLE + 500, "raise `ulimit -n`"
    async with attack(server) as attacked:
        files = attacked.open_files

        async def flood() -> None:
            before = attacked.memory
            async with AsyncExitStack() as stack, asyncio.timeout(60):
                idle = [
                    await stack.enter_async_context(
                        raw_connection(server.target, greeting=greeting)
                    )
                    for _ in range(IDLE)
                ]
                if greeting:
                    assert attacked.open_files >= files + IDLE - BATCH
                else:
                    # The server waits for its greeting, but not for ever.
                    await asyncio.gather(*(connection.closed.wait() for connection in idle))
                assert attacked.memory - before < 16 * MEBIBYTE + IDLE * 48 * 1024
            async with asyncio.timeout(30):
                while attacked.open_files > files + OWN_FILES:
                    await asyncio.sleep(0.05)

        await attacked.keeps_memory(flood, within=16 * MEBIBYTE)


async def test_a_client_that_never_acknowledges_the_settings(server: ServerProcess) -> None:
    async with attack(server) as attacked:

        async def flood() -> None:
            async with raw_connection(server.target, acknowledging=False) as connection:
                # Until then the limit on headers is not kept.
                large = grpc_headers(WATCH, (b"x-a", bytes(MEBIBYTE)))
                for _ in range(20):
                    await connection.open(large)
                async with asyncio.timeout(10):
                    await connection.closed.wait()
                assert connection.goaway is not None
                assert connection.goaway.error_code == ErrorCodes.SETTINGS_TIMEOUT

        await attacked.keeps_memory(flood, within=16 * MEBIBYTE)


async def test_server_streams_that_are_cancelled_leave_no_memory(server: ServerProcess) -> None:
    async with attack(server) as attacked:

        async def flood() -> None:
            async with raw_connection(server.target) as connection:
                for _ in range(STREAMS // BATCH):
                    streams = [
                        await connection.call(grpc_headers(WATCH), message(b""))
                        for _ in range(BATCH)
                    ]
                    async with asyncio.timeout(10):
                        while not all(connection.answers[stream].body for stream in streams):
                            await asyncio.sleep(0.001)
                    await connection.send(*(RstStreamFrame(stream, CANCEL) for stream in streams))
                    for stream in streams:
                        del connection.answers[stream]

        await attacked.keeps_memory(flood, within=3 * MEBIBYTE)


async def test_the_log_of_all_this_is_lines_of_json_without_any_header(
    server: ServerProcess,
) -> None:
    strange = (b"authorization", b"Bearer hunter2\xff"), (b"grpc-timeout", b"hunter2")
    async with attack(server) as attacked, raw_connection(server.target) as connection:
        answers = set()
        for header in strange:
            stream = await connection.call(grpc_headers(GET_FILM, header), FILM)
            answers.add(told(await connection.answer(stream)))
        assert answers == {"UNAUTHENTICATED CREDENTIAL_INVALID", "INTERNAL gRPC"}
        lines = attacked.log
    assert len(lines) > 5
    assert "hunter2" not in str(lines)
    assert [line for line in lines if line["level"] == "error"] == []
