"""The listener: what it changes in grpc.aio still does what it is there for.

A small service stands behind it, on a real port.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import pytest

from server.rpc.listener import Listener, Route
from server.rpc.options import ServerOptions
from tests.support.raw_http2 import grpc_headers, message, raw_connection

ECHO, STREAM = "/test.Test/Echo", "/test.Test/Stream"
LARGE = 200_000


async def _echo(_requests: object, context: Any) -> bytes:
    return bytes(await context.read())


async def _stream(_requests: object, context: Any) -> None:
    # As ours does, it gives up a write that takes too long.
    with suppress(TimeoutError):
        while (raw := await context.read()) is not grpc.aio.EOF:
            async with asyncio.timeout(0.5):
                await context.write(raw)


async def _unknown(_requests: object, context: Any) -> None:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no such method")


@asynccontextmanager
async def _listening(take_seconds: float = 60) -> AsyncIterator[str]:
    listener = Listener(
        {ECHO: Route(_echo, answers_once=True), STREAM: Route(_stream, answers_once=False)},
        Route(_unknown, answers_once=True),
        ServerOptions().arguments(),
        take_seconds=take_seconds,
    )
    port = listener.add_insecure_port("127.0.0.1:0")
    await listener.start()
    yield f"127.0.0.1:{port}"
    await listener.stop(0)


@pytest.mark.parametrize(
    "path",
    [b"/\xff", b"\xff\xfe", b"/test.Test/Echo\xc3", b"\xed\xa0\x80", b"", b"/", b"/test.Test/No"],
)
async def test_a_path_that_no_method_has_is_unimplemented_whatever_its_bytes(path: bytes) -> None:
    async with _listening() as target, raw_connection(target) as connection:
        for _ in range(3):
            strange = await connection.call(grpc_headers(path), message(b"a"))
            assert (await connection.answer(strange)).status == 12
        proper = await connection.call(grpc_headers(ECHO), message(b"b"))
        assert (await connection.answer(proper)).body == message(b"b")


async def test_calls_of_all_kinds_are_answered_at_the_same_time() -> None:
    async with _listening() as target, grpc.aio.insecure_channel(target) as channel:
        once: Any = channel.unary_unary(ECHO)
        many: Any = channel.stream_stream(STREAM)

        async def talk(number: int) -> list[bytes]:
            call = many(iter([b"%d" % number] * 5))
            return [raw async for raw in call]

        answers = await asyncio.gather(*(once(b"%d" % number) for number in range(50)))
        streams = await asyncio.gather(*(talk(number) for number in range(50)))
    assert answers == [b"%d" % number for number in range(50)]
    assert streams == [[b"%d" % number] * 5 for number in range(50)]


@pytest.mark.parametrize("path", [ECHO, STREAM])
async def test_an_answer_that_is_not_taken_is_let_go_of(path: str) -> None:
    async with _listening(take_seconds=0.3) as target:
        async with raw_connection(target, window=10) as connection:
            stream = await connection.call(grpc_headers(path), message(b"x" * LARGE))
            answer = await connection.answer(stream)
            assert answer.status == 1
            assert len(answer.body) == 10
        async with raw_connection(target) as connection:
            stream = await connection.call(grpc_headers(path), message(b"x" * LARGE))
            answer = await connection.answer(stream)
            assert (answer.status, len(answer.body)) == (0, LARGE + 5)


async def test_a_call_that_is_over_is_held_by_nobody() -> None:
    async with _listening() as target, raw_connection(target) as connection:
        before = len(asyncio.all_tasks())
        for _ in range(20):
            stream = await connection.call(grpc_headers(ECHO), message(b"a"))
            assert (await connection.answer(stream)).status == 0
        async with asyncio.timeout(5):
            while len(asyncio.all_tasks()) > before:
                await asyncio.sleep(0.01)


async def test_a_stop_lets_a_running_call_end() -> None:
    listener = Listener(
        {STREAM: Route(_stream, answers_once=False)}, Route(_unknown, answers_once=True), ()
    )
    port = listener.add_insecure_port("127.0.0.1:0")
    await listener.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        method: Any = channel.stream_stream(STREAM)
        call = method()
        await call.write(b"before")
        assert await call.read() == b"before"
        stopping = asyncio.create_task(listener.stop(10))
        await asyncio.sleep(0.1)
        await call.write(b"after")
        assert await call.read() == b"after"
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK
        async with asyncio.timeout(5):
            await stopping
