"""Bytes and messages that no proper client sends, to every method, from everybody."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from server.app import AUTH, HEALTH
from tests.support.amount import amount
from tests.support.answers import told
from tests.support.random_messages import mutated, random_message
from tests.support.raw_http2 import Header, RawConnection, grpc_headers, message, raw_connection
from tests.support.rpcs import METHODS, PUBLIC
from tests.support.running import ADMIN, VIEWER, Running, running_server

MALFORMED = {
    "garbage": b"\xff\xff\xff",
    "an unknown wire type": b"\x0f\x01",
    "a number cut off": b"\x08\x80",
    "a number of eleven bytes": b"\x08" + b"\xff" * 11,
    "a length past the end": b"\x0a\x05ab",
    "a length of four gigabytes": b"\x0a\xff\xff\xff\xff\x0f",
    "an endless length": b"\x0a" + b"\xff" * 20,
    "a group that does not end": b"\x0b\x08\x01",
    "a group that did not begin": b"\x0c",
    "a group that another one ends": b"\x0b\x14",
    "groups 10,000 deep": b"\x0b" * 10_000 + b"\x0c" * 10_000,
    "groups in an unknown field": b"\xfb\x3f" * 200 + b"\xfc\x3f" * 200,
}
BUCKETS = ("read", "write", "login", "agent", "watch", "bulk")
SOON = (b"grpc-timeout", b"5S")
LOGOUT, WATCH = f"/{AUTH.full_name}/Logout", f"/{HEALTH.full_name}/Watch"
TURNS = [sorted(METHODS.keys() - {LOGOUT, WATCH}), [LOGOUT]]
"""Logout takes the credential away, so it comes last; what Watch answers does not end."""


@pytest.fixture
async def unlimited(sample_database_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    """A server over the sample films, on each kind of database, that lets in all who come."""
    rates: dict[str, Any] = {f"{bucket}_rate": 0 for bucket in BUCKETS}
    async with running_server(sample_database_url, tmp_path, **rates) as server:
        yield server


async def _answer(connection: RawConnection, path: str, raw: bytes, *more: Header) -> str:
    stream = await connection.call(grpc_headers(path, *more), message(raw))
    return told(await connection.answer(stream))


async def _credential(running: Running, email: str = VIEWER) -> Header:
    ((name, value),) = await running.sign_in(email)
    return name.encode(), value.encode()


async def test_bytes_that_do_not_parse_are_an_invalid_argument_of_every_method(
    unlimited: Running,
) -> None:
    await unlimited.app.agents_ready()
    credential = await _credential(unlimited, ADMIN)
    async with raw_connection(unlimited.target) as connection:
        for path in METHODS:
            answers = {
                name: await _answer(connection, path, raw, credential)
                for name, raw in MALFORMED.items()
            }
            assert answers == dict.fromkeys(MALFORMED, "INVALID_ARGUMENT VALIDATION_FAILED"), path


async def test_a_stranger_is_not_told_whether_its_bytes_parse(embedded: Running) -> None:
    async with raw_connection(embedded.target) as connection:
        for path in METHODS.keys() - PUBLIC:
            for raw in (b"", *MALFORMED.values()):
                answer = await _answer(connection, path, raw)
                assert answer == "UNAUTHENTICATED CREDENTIAL_MISSING", path


async def test_text_that_is_not_utf_8_is_an_invalid_argument_wherever_it_stands(
    embedded: Running,
) -> None:
    await embedded.app.agents_ready()
    credential, tried = await _credential(embedded, ADMIN), 0
    async with raw_connection(embedded.target) as connection:
        for path, method in METHODS.items():
            for field in method.input_type.fields:
                if field.type == field.TYPE_STRING:
                    raw = bytes([field.number << 3 | 2]) + b"\x02\xc3\x28"
                    answer = await _answer(connection, path, raw, credential)
                    assert answer == "INVALID_ARGUMENT VALIDATION_FAILED", field.full_name
                    tried += 1
    assert tried > len(METHODS)


@pytest.mark.long
@pytest.mark.timeout(amount(120, 3_600))
async def test_no_message_makes_a_method_fail_inside(unlimited: Running) -> None:
    running = unlimited
    await running.app.agents_ready()
    chance, answers = random.Random(5), Counter[str]()
    async with raw_connection(running.target) as connection:

        async def attack(path: str, method: MethodDescriptor, credential: Header) -> None:
            raw = random_message(method.input_type, chance).SerializeToString()
            if chance.random() < 0.3:
                raw = mutated(raw, chance)
            answer = await _answer(connection, path, raw, credential, SOON)
            answers[answer] += 1
            if not _parses(method, raw) and answer != "PERMISSION_DENIED PERMISSION_DENIED":
                assert answer == "INVALID_ARGUMENT VALIDATION_FAILED", (path, raw)
            assert not answer.startswith(("INTERNAL", "UNKNOWN", "UNAVAILABLE")), (path, raw)

        for _ in range(amount(20, 2_000)):
            credential = await _credential(running, chance.choice((VIEWER, ADMIN)))
            for paths in TURNS:
                async with asyncio.TaskGroup() as group:
                    for path in paths:
                        group.create_task(attack(path, METHODS[path], credential))
            assert not [line for line in running.lines if line.kwargs["level"] == "error"]
            running.lines.clear()
    assert {"OK", "INVALID_ARGUMENT VALIDATION_FAILED"} < set(answers)
    assert len(answers) > 4, "messages that all end alike prove little"


def _parses(method: MethodDescriptor, raw: bytes) -> bool:
    try:
        GetMessageClass(method.input_type).FromString(raw)
    except DecodeError:
        return False
    return True
