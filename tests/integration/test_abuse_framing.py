"""Frames and messages that no proper client sends: each has an answer, and a true line."""

import asyncio
import gzip
import random
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import pytest
from hyperframe.frame import DataFrame

from server.generated.interview.catalogue.v1 import film_pb2
from tests.support.amount import amount
from tests.support.answers import BY_NUMBER, told
from tests.support.raw_http2 import (
    Answer,
    Header,
    RawConnection,
    grpc_headers,
    message,
    raw_connection,
)
from tests.support.running import Running

GET = "/interview.catalogue.v1.CatalogueService/GetFilm"
CHAT = "/interview.agent.v1.AgentService/Chat"
MEBIBYTE = 1024 * 1024
FILM = film_pb2.GetFilmRequest(name="films/1").SerializeToString()
SOON = (b"grpc-timeout", b"300m")

Attack = tuple[Sequence[Header], bytes, bool]
"""Headers beside the usual ones, data, and whether the client ends its side."""


def _encoded(name: bytes) -> list[Header]:
    return [(b"grpc-encoding", name)]


BOMB = message(gzip.compress(bytes(50 * MEBIBYTE)), compressed=True)
ATTACKS: Mapping[str, tuple[Attack, str]] = {
    "a proper call": (([], message(FILM), True), "OK"),
    "a side that stays open": (([], message(FILM), False), "OK"),
    "no message": (([], b"", True), "INVALID_ARGUMENT VALIDATION_FAILED"),
    "a prefix cut off": (([], bytes(3), True), "INVALID_ARGUMENT VALIDATION_FAILED"),
    "a message cut off": (
        ([], message(FILM, length=100), True),
        "INVALID_ARGUMENT VALIDATION_FAILED",
    ),
    "headers alone": (([SOON], b"", False), "DEADLINE_EXCEEDED gRPC"),
    "a message that never ends": (
        ([SOON], message(FILM, length=100), False),
        "DEADLINE_EXCEEDED gRPC",
    ),
    "two messages": (([], message(FILM) * 2, True), "OK"),
    "a second message cut off": (([], message(FILM) + bytes(3), True), "OK"),
    "a thousand messages": (([], message(FILM) * 1000, True), "OK"),
    "a large second message": (([], message(FILM) + message(bytes(2 * MEBIBYTE)), True), "OK"),
    "just too large": (([], message(bytes(MEBIBYTE + 1)), True), "RESOURCE_EXHAUSTED gRPC"),
    "four gigabytes": (([], message(b"ab", length=2**32 - 1), True), "RESOURCE_EXHAUSTED gRPC"),
    "four gigabytes to come": (
        ([], message(b"ab", length=2**32 - 1), False),
        "RESOURCE_EXHAUSTED gRPC",
    ),
    "compressed by nothing": (([], message(FILM, compressed=True), True), "INTERNAL gRPC"),
    "by an unknown encoding": (
        (_encoded(b"snappy"), message(FILM, compressed=True), True),
        "INTERNAL gRPC",
    ),
    "gzip": ((_encoded(b"gzip"), message(gzip.compress(FILM), compressed=True), True), "OK"),
    "deflate": ((_encoded(b"deflate"), message(zlib.compress(FILM), compressed=True), True), "OK"),
    "no gzip": ((_encoded(b"gzip"), message(FILM, compressed=True), True), "INTERNAL gRPC"),
    "gzip cut off": (
        (_encoded(b"gzip"), message(gzip.compress(FILM)[:-6], compressed=True), True),
        "INTERNAL gRPC",
    ),
    "a gzip bomb": ((_encoded(b"gzip"), BOMB, True), "RESOURCE_EXHAUSTED gRPC"),
}


async def _attack(connection: RawConnection, path: str, attack: Attack, *more: Header) -> Answer:
    headers, data, end = attack
    stream = await connection.call(grpc_headers(path, *more, *headers), data, end=end)
    return await connection.answer(stream)


def _credential(metadata: Iterable[tuple[str, str]]) -> Header:
    ((name, value),) = metadata
    return name.encode(), value.encode()


@pytest.mark.parametrize("path", [GET, CHAT])
async def test_each_has_the_same_answer_wherever_it_comes_from(
    embedded: Running, path: str
) -> None:
    credential = _credential(await embedded.sign_in())
    expected = {name: answer for name, (_, answer) in ATTACKS.items()}
    if path is CHAT:
        await embedded.app.agents_ready()
        # A chat reads one frame after the other; a film's name opens none.
        replaced = "INVALID_ARGUMENT PROTOCOL_VIOLATION"
        expected = {
            name: replaced if answer == "OK" or answer.startswith("INVALID") else answer
            for name, answer in expected.items()
        }
    answers = {}
    async with raw_connection(embedded.target) as connection:
        for name, (attack, _) in ATTACKS.items():
            answers[name] = told(await _attack(connection, path, attack, credential))
    assert answers == expected


async def test_a_stranger_gets_one_answer_to_all_of_them(embedded: Running) -> None:
    async with raw_connection(embedded.target) as connection:
        answers = {
            name: told(await _attack(connection, GET, attack))
            for name, (attack, _) in ATTACKS.items()
            if "by an unknown" not in name  # a header of gRPC's own, which is read before any
        }
    assert set(answers.values()) == {"UNAUTHENTICATED CREDENTIAL_MISSING"}


async def test_the_access_log_never_says_other_than_the_client_was_told(embedded: Running) -> None:
    credential = _credential(await embedded.sign_in())
    for name, (attack, _) in ATTACKS.items():
        embedded.lines.clear()
        async with raw_connection(embedded.target) as connection:
            answer = await _attack(connection, GET, attack, credential)
            line = await _line(embedded)
        assert answer.status is not None
        code = BY_NUMBER[answer.status].name
        ended_by_grpc = told(answer).endswith(" gRPC") and code != "DEADLINE_EXCEEDED"
        assert line["code"] == ("CANCELLED" if ended_by_grpc else code), name
        assert ("reason" in line) == ("grpc-status-details-bin" in answer.headers), name
        await _quiet(embedded)


async def test_data_in_pieces_of_any_size_is_one_message(embedded: Running) -> None:
    credential, chance = _credential(await embedded.sign_in()), random.Random(3)
    async with raw_connection(embedded.target) as connection:
        for _ in range(amount(20, 500)):
            data = message(FILM)
            stream = await connection.open(grpc_headers(GET, credential))
            while data:
                size = chance.randint(0, 4)
                await connection.send(DataFrame(stream, data[:size]))
                data = data[size:]
                await asyncio.sleep(0)
            await connection.send(DataFrame(stream, b"", flags=["END_STREAM"]))
            assert told(await connection.answer(stream)) == "OK"


async def test_random_frames_break_their_own_connection_at_most(embedded: Running) -> None:
    credential, chance = _credential(await embedded.sign_in()), random.Random(4)
    for _ in range(amount(60, 3_000)):
        async with raw_connection(embedded.target) as connection:
            stream = await connection.open(grpc_headers(GET, credential))
            for _ in range(chance.randint(1, 4)):
                kind, flags = chance.choice([*range(11), 250]), chance.choice([0, 1, 4, 5, 8, 255])
                number = chance.choice([0, stream, stream + 2, stream + 1, 2**31 - 1])
                payload = chance.randbytes(chance.choice([0, 1, 4, 5, 6, 8, 30]))
                head = len(payload).to_bytes(3, "big") + bytes([kind, flags])
                await connection.write(head + number.to_bytes(4, "big") + payload)
            with suppress(TimeoutError):
                await connection.answer(stream, seconds=0.02)
            answer = connection.answers[stream]
            if answer.status is not None or answer.reset:
                told(answer)
    async with raw_connection(embedded.target) as connection:
        proper: Attack = ([], message(FILM), True)
        assert told(await _attack(connection, GET, proper, credential)) == "OK"
    await _quiet(embedded)


async def _line(running: Running) -> dict[str, object]:
    async with asyncio.timeout(5):
        while not running.access_lines():
            await asyncio.sleep(0.005)
    (line,) = running.access_lines()
    return line


async def _quiet(running: Running) -> None:
    async with asyncio.timeout(10):
        while running.app.running_calls:
            await asyncio.sleep(0.005)
