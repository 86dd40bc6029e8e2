"""Clients that hold what they were given: each is ended in its time, and nobody waits for them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from hyperframe.frame import DataFrame

from server.generated.interview.agent.v1 import chat_pb2
from server.generated.interview.catalogue.v1 import catalogue_service_pb2_grpc, film_pb2
from tests.support.amount import amount
from tests.support.answers import told
from tests.support.load import load
from tests.support.raw_http2 import Header, grpc_headers, message, raw_connection
from tests.support.rpcs import METHODS
from tests.support.running import ADMIN, Running

CHAT = "/interview.agent.v1.AgentService/Chat"
LIST = "/interview.catalogue.v1.CatalogueService/ListFilms"
GET = "/interview.catalogue.v1.CatalogueService/GetFilm"
ALL_FILMS = message(film_pb2.ListFilmsRequest(page_size=1000).SerializeToString())
START = message(chat_pb2.ChatRequest(start=chat_pb2.StartFrame()).SerializeToString())
FILM = message(film_pb2.GetFilmRequest(name="films/1").SerializeToString())

LATE = "DEADLINE_EXCEEDED DEADLINE_EXCEEDED"
MANY = 300
SURPLUS = MANY - 100
"""The server lets a connection have 100 at a time."""

Attack = Callable[[Running, Header], Coroutine[None, None, None]]


@asynccontextmanager
async def _undisturbed(running: Running) -> AsyncIterator[Header]:
    """Let another caller call all the while; raises AssertionError unless all are answered."""
    await running.app.agents_ready()
    stub = catalogue_service_pb2_grpc.CatalogueServiceStub(running.channel)
    metadata = await running.sign_in(ADMIN)
    request = film_pb2.GetFilmRequest(name="films/1")

    async def call() -> None:
        await stub.GetFilm(request, metadata=metadata, timeout=10)

    async with load({"films": call}) as record:
        yield metadata[0][0].encode(), metadata[0][1].encode()
        await record.answered("films", since=asyncio.get_running_loop().time())
    assert record.errors == []
    async with asyncio.timeout(10):
        while running.app.running_calls:
            await asyncio.sleep(0.01)


async def _headers_alone(running: Running, credential: Header) -> None:
    """Every method ends a call whose message does not come, by its own deadline at the latest."""
    slow = {CHAT: "INVALID_ARGUMENT PROTOCOL_VIOLATION"}
    methods = METHODS if amount(0, 1) else METHODS.keys() - slow.keys()
    async with raw_connection(running.target) as connection:
        streams = {path: await connection.open(grpc_headers(path, credential)) for path in methods}
        answers = {
            path: told(await connection.answer(stream, 40)) for path, stream in streams.items()
        }
    assert answers == {path: slow.get(path, LATE) for path in methods}


async def _byte_by_byte(running: Running, credential: Header) -> None:
    """A message that comes slower than the method's deadline does not come."""
    async with raw_connection(running.target) as connection:
        stream = await connection.open(grpc_headers(GET, credential))
        answer = connection.answers[stream]
        for byte in FILM:
            await connection.send(DataFrame(stream, bytes([byte])))
            await asyncio.sleep(0.8)
        assert told(answer) == LATE
        # On the same connection a slow one that comes in time is answered.
        stream = await connection.open(grpc_headers(GET, credential))
        for byte in FILM:
            await connection.send(DataFrame(stream, bytes([byte])))
            await asyncio.sleep(0.05)
        assert told(await connection.answer(stream)) == "OK"


async def _an_answer_not_taken(running: Running, credential: Header) -> None:
    async with raw_connection(running.target, window=10) as connection:
        stream = await connection.call(grpc_headers(LIST, credential), ALL_FILMS)
        answer = await connection.answer(stream, 60)
        assert (told(answer), len(answer.body)) == ("CANCELLED gRPC", 10)


async def _a_chat_not_taken(running: Running, credential: Header) -> None:
    async with raw_connection(running.target, window=10) as connection:
        stream = await connection.call(grpc_headers(CHAT, credential), START, end=False)
        answer = await connection.answer(stream, 90)
        assert (told(answer), len(answer.body)) == ("CANCELLED gRPC", 10)
    chats = [line for line in running.access_lines() if line["method"] == CHAT]
    assert ("CANCELLED", "SLOW_CONSUMER") in [(line["code"], line.get("reason")) for line in chats]


@pytest.mark.long
async def test_what_is_slow_is_ended_in_its_time(embedded: Running) -> None:
    attacks: list[Attack] = [_headers_alone, _byte_by_byte]
    if amount(0, 1):
        attacks += [_an_answer_not_taken, _a_chat_not_taken]
    async with _undisturbed(embedded) as credential, asyncio.TaskGroup() as group:
        for attack in attacks:
            group.create_task(attack(embedded, credential))


@pytest.mark.parametrize("listening", [True, False], ids=["window of 0", "socket not read"])
async def test_clients_that_take_nothing_hold_nobody_up(embedded: Running, listening: bool) -> None:
    window = 0 if listening else 2**31 - 1
    async with _undisturbed(embedded) as credential, AsyncExitStack() as stack:
        for number in range(1, amount(10, 100) + 1):
            connection = await stack.enter_async_context(
                raw_connection(embedded.target, window=window, listening=listening)
            )
            for _ in range(4):
                stream = await connection.open(grpc_headers(LIST, credential))
                await connection.send(DataFrame(stream, ALL_FILMS, flags=["END_STREAM"]))
            # Not too many at a time: what the answers do that stay is asked here.
            async with asyncio.timeout(20):
                while _answered(embedded, LIST) < 4 * number:
                    await asyncio.sleep(0.01)


def _answered(running: Running, path: str) -> int:
    return sum(line["method"] == path for line in running.access_lines())


@pytest.mark.parametrize("acknowledging", [True, False])
async def test_streams_beyond_the_limit_are_refused(embedded: Running, acknowledging: bool) -> None:
    refused = f"reset {'REFUSED_STREAM' if acknowledging else 'ENHANCE_YOUR_CALM'}"
    async with (
        _undisturbed(embedded) as credential,
        raw_connection(embedded.target, acknowledging=acknowledging) as connection,
    ):
        streams = [await connection.open(grpc_headers(LIST, credential)) for _ in range(MANY)]
        async with asyncio.timeout(10):
            while sum(connection.answers[stream].over.is_set() for stream in streams) < SURPLUS:
                await asyncio.sleep(0.01)
        ended = [answer for answer in connection.answers.values() if answer.over.is_set()]
        assert Counter(map(told, ended)) == {refused: SURPLUS}
