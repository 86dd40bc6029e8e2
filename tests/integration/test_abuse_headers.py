"""Headers that no proper client sends: each has an answer, the same one every time."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import pytest
from hpack.hpack import encode_integer
from hyperframe.frame import ContinuationFrame, HeadersFrame

from tests.support.amount import amount
from tests.support.answers import told
from tests.support.raw_http2 import (
    MAX_FRAME,
    Header,
    RawConnection,
    grpc_headers,
    header_block,
    message,
    raw_connection,
)
from tests.support.running import Running

LIST = "/interview.catalogue.v1.CatalogueService/ListCategories"
CHECK = "/grpc.health.v1.Health/Check"
LIMIT = 8192
TIMES = 20
ENTRY = 32
"""HTTP/2 counts so many bytes for each header beside its name and value (RFC 9113, 6.5.2)."""

Name = TypeVar("Name", str, bytes)

OK, BROKEN = "OK", "INTERNAL gRPC"
ADDED: dict[str, tuple[Sequence[Header], str]] = {
    "nothing": ([], OK),
    "not ASCII": ([(b"x-a", b"\xff\xfe")], OK),
    "UTF-8": ([(b"x-a", "ü".encode())], OK),
    "control characters": ([(b"x-a", b"a\0\r\nb: c\x7f")], OK),
    "an empty value": ([(b"x-a", b"")], OK),
    "no name": ([(b"", b"a")], BROKEN),
    "an upper-case name": ([(b"X-A", b"a")], BROKEN),
    "a space in the name": ([(b"x a", b"a")], BROKEN),
    "a name that is not ASCII": ([(b"x\xff", b"a")], BROKEN),
    "an unknown pseudo header": ([(b":a", b"a")], BROKEN),
    "a second authority": ([(b":authority", b"a")], BROKEN),
    "no base64": ([(b"x-a-bin", b"!!!!")], BROKEN),
    "cut base64": ([(b"x-a-bin", b"A")], BROKEN),
    "base64": ([(b"x-a-bin", b"AAAA")], OK),
    "a status": ([(b"grpc-status", b"2")], OK),
    "no number as status": ([(b"grpc-status", b"two")], BROKEN),
    "too many attempts": ([(b"grpc-previous-rpc-attempts", b"9" * 20)], BROKEN),
    "trailers of ours": ([(b"grpc-status-details-bin", b"AAAA"), (b"x-request-id", b"a")], OK),
    "a request id that is none": ([(b"x-request-id", b"\xff" * 200)], OK),
    "two request ids": ([(b"x-request-id", b"a"), (b"x-request-id", b"b")], OK),
    "no language of HTTP/1": ([(b"connection", b"close"), (b"transfer-encoding", b"chunked")], OK),
    "a false length": ([(b"content-length", b"3")], OK),
    "encodings that are none": ([(b"grpc-accept-encoding", b"\xff,,;;")], OK),
    "150 headers of a name": ([(b"x-a", b"")] * 150, OK),
}
REPLACED: dict[str, tuple[Header, str]] = {
    "GET": ((b":method", b"GET"), "reset INTERNAL_ERROR"),
    "PUT": ((b":method", b"PUT"), "reset INTERNAL_ERROR"),
    "a method that is none": ((b":method", b"\xff"), BROKEN),
    "another scheme": ((b":scheme", b"ftp"), BROKEN),
    "no trailers": ((b"te", b"gzip"), BROKEN),
    "JSON": ((b"content-type", b"application/json"), OK),
    "gRPC-Web": ((b"content-type", b"application/grpc-web"), OK),
}
NEEDED = (b":method", b":scheme", b":path", b":authority", b"te")
TIMEOUTS = {
    **dict.fromkeys((b"0S", b"0n"), "DEADLINE_EXCEEDED gRPC"),
    **dict.fromkeys((b"99999999H", b"100000000H", b"9" * 21 + b"S", b"00000001M", b" 1 M "), OK),
    **dict.fromkeys((b"-1S", b"1", b"S", b"", b"abc", b"1.5S", b"1x", b"\xff", b"1S1S"), BROKEN),
}
PATHS = (b"", b"/", b"a", b"/a/b", LIST.encode() + b"/", LIST.encode() + b"?a=b", LIST.encode()[1:])
MANGLED = (LIST.upper().encode(), LIST.encode() + b"\0", LIST.encode() + b"\n", b"/" + b"a" * 7000)
NOT_UTF8 = (b"/\xff", b"\xff", LIST.encode() + b"\xc3", b"/\xed\xa0\x80/b")


async def _answer(connection: RawConnection, headers: Iterable[Header]) -> str:
    stream = await connection.call(headers, message(b""))
    return told(await connection.answer(stream))


async def _answers(running: Running, calls: Mapping[Name, Iterable[Header]]) -> Mapping[Name, str]:
    """Make the calls at the same time: gRPC takes a while to refuse what it cannot read."""
    async with raw_connection(running.target) as connection:
        answers = [_answer(connection, headers) for headers in calls.values()]
        return dict(zip(calls, await asyncio.gather(*answers), strict=True))


async def _credential(running: Running) -> Header:
    ((name, value),) = await running.sign_in()
    return name.encode(), value.encode()


async def test_headers_more_than_usual_have_one_answer_each(embedded: Running) -> None:
    proper = grpc_headers(LIST, await _credential(embedded))
    answers = await _answers(
        embedded, {name: [*proper, *more] for name, (more, _) in ADDED.items()}
    )
    assert answers == {name: answer for name, (_, answer) in ADDED.items()}


async def test_headers_other_than_usual_have_one_answer_each(embedded: Running) -> None:
    proper = dict(grpc_headers(LIST, await _credential(embedded)))
    calls = {name: (proper | dict([header])).items() for name, (header, _) in REPLACED.items()}
    assert await _answers(embedded, calls) == {
        name: answer for name, (_, answer) in REPLACED.items()
    }


async def test_headers_that_are_needed_are_missed(embedded: Running) -> None:
    proper = grpc_headers(LIST, await _credential(embedded))
    calls = {name: [header for header in proper if header[0] != name] for name in NEEDED}
    answers = await _answers(embedded, {**calls, b"all": []})
    assert set(answers.values()) == {"reset INTERNAL_ERROR"}


async def test_every_deadline_is_kept_or_refused(embedded: Running) -> None:
    proper = grpc_headers(LIST, await _credential(embedded))
    calls = {timeout: [*proper, (b"grpc-timeout", timeout)] for timeout in TIMEOUTS}
    assert await _answers(embedded, calls) == TIMEOUTS


async def test_a_path_that_no_method_has_is_unimplemented(embedded: Running) -> None:
    credential = await _credential(embedded)
    for path in (*PATHS, *MANGLED, *NOT_UTF8):
        async with raw_connection(embedded.target) as connection:
            answer = await _answer(connection, grpc_headers(path, credential))
            assert answer == "UNIMPLEMENTED METHOD_UNKNOWN", path
            assert await _answer(connection, grpc_headers(LIST, credential)) == OK
    lines = [line for line in embedded.access_lines() if line["code"] == "UNIMPLEMENTED"]
    assert {line["method"] for line in lines} == {"(unknown)"}
    assert len(lines) == len(PATHS) + len(MANGLED) + len(NOT_UTF8)


@pytest.mark.parametrize("pieces", [1, 16], ids=["one header", "many headers"])
async def test_headers_of_a_size_have_the_same_outcome_every_time(
    embedded: Running, pieces: int
) -> None:
    proper = grpc_headers(CHECK)
    base = sum(len(name) + len(value) + ENTRY for name, value in proper)

    async def outcomes(size: int) -> Counter[str]:
        value = b"a" * ((size - base) // pieces - ENTRY - len(b"x-00"))
        headers = [*proper, *((b"x-%02d" % number, value) for number in range(pieces))]
        answers = await _answers(embedded, {b"%d" % time: headers for time in range(TIMES)})
        return Counter(answers.values())

    sizes = range(512, 32 * 1024, amount(1024, 512))
    found = await asyncio.gather(*map(outcomes, sizes))
    assert dict(zip(sizes, found, strict=True)) == {
        size: {OK if size < LIMIT else "RESOURCE_EXHAUSTED gRPC": TIMES} for size in sizes
    }


@pytest.mark.parametrize("acknowledging", [True, False])
async def test_a_header_repeated_by_its_index_counts_each_time(
    embedded: Running, acknowledging: bool
) -> None:
    # One entry of the table (RFC 7541, 6.2.1), then 15,000 bytes that each repeat it: 58 MiB.
    value = b"a" * 4000
    entry = b"\x40\x03x-a" + bytes(encode_integer(len(value), 7)) + value
    block = header_block(grpc_headers(CHECK)) + entry + b"\xbe" * 15_000
    pieces = [block[at : at + MAX_FRAME] for at in range(0, len(block), MAX_FRAME)]
    async with raw_connection(embedded.target, acknowledging=acknowledging) as connection:
        for _ in range(3):
            stream = connection.new_stream()
            await connection.send(
                HeadersFrame(stream, pieces[0]),
                ContinuationFrame(stream, pieces[1], flags=["END_HEADERS"]),
            )
            assert told(await connection.answer(stream)) == "RESOURCE_EXHAUSTED gRPC"
        assert await _answer(connection, grpc_headers(CHECK)) == OK
