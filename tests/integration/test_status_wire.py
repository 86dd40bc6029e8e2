"""Whether a status arrives whole: with every client, every time, however much went wrong."""

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from server.core.errors import DomainError, FieldViolation, QuotaViolation, ResourceRef
from server.generated.interview.catalogue.v1 import film_pb2
from server.rpc.details import MAX_DETAILS_BYTES
from tests.support.amount import amount
from tests.support.caller import Caller
from tests.support.raw_http2 import grpc_headers, message, raw_connection
from tests.support.running import Running
from tests.support.small_service import CHECK, Small, small_service
from tests.support.statuses import check_call, refused

GRPCURL = Path(sys.executable).with_name("grpcurl")
PEER_LIMIT = 8192
"""Bytes of headers that a client takes by default (C core, grpc-java), base64 included."""
STRICT = (("grpc.max_metadata_size", PEER_LIMIT), ("grpc.absolute_max_metadata_size", PEER_LIMIT))
BATCH = "/interview.catalogue.v1.CatalogueService/BatchGetFilms"
NAMES = {
    "short": [f"film/{number}" for number in range(1000)],
    "long": ["films/" + "x" * 400] * 1000,
    "of other alphabets": ["films/" + "ж漢🎬" * 30] * 1000,
    "empty": [""] * 1000,
}


def _worst(text: str) -> DomainError:
    """Return an error that has as much of everything as the limits let through."""
    return DomainError(
        text * 2000,
        reason="VALIDATION_FAILED",
        metadata={f"key_{number}": text * 2000 for number in range(8)},
        violations=[FieldViolation(f"{text * 50}[{number}]", text * 40) for number in range(1000)],
        quota=QuotaViolation(text * 2000, text * 2000),
        resource=ResourceRef("interview-api/Film", text * 2000),
    )


def _act(small: Small, text: str) -> None:
    def act() -> None:
        raise _worst(text)

    small.service.act = act


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES.keys())
async def test_a_thousand_bad_names_are_told(shared: Running, names: list[str]) -> None:
    caller = await Caller.signed_in(shared)
    call = caller.BatchGetFilms(film_pb2.BatchGetFilmsRequest(names=names))
    told = await check_call(shared, call, "VALIDATION_FAILED")
    left_out = int(told.metadata["violations_truncated"])
    assert len(told.bad_fields) + left_out == int(told.metadata["violation_count"]) == 1000
    assert told.bad_fields[0] == "names[0]"
    assert len(told.bad_fields) >= 10
    assert told.size > MAX_DETAILS_BYTES * 0.8, "there was room for more"


@pytest.mark.parametrize("text", ["a", "%", "ж", "🎬"])
@pytest.mark.parametrize("options", [(), STRICT], ids=["by default", "strict"])
async def test_the_worst_status_arrives_every_time(text: str, options: Any) -> None:
    async with small_service(options=options) as small:
        _act(small, text)
        for _ in range(amount(50, 200)):
            told = await refused(small.check())
            assert told.code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("text", ["a", "%", "ж", "🎬"])
async def test_the_trailers_fit_with_base64(text: str) -> None:
    async with small_service() as small:
        _act(small, text)
        async with raw_connection(f"127.0.0.1:{small.port}") as connection:
            request_id = (b"x-request-id", b"r" * 64)
            headers = grpc_headers(CHECK, request_id)
            answer = await connection.answer(await connection.call(headers, message(b"")))
    details = answer.headers["grpc-status-details-bin"]
    assert len(base64.b64decode(details + b"==")) > MAX_DETAILS_BYTES * 0.8
    # As RFC 9113, 6.5.2 counts.
    size = sum(len(name) + len(value) + 32 for name, value in answer.headers.items())
    assert size <= PEER_LIMIT


async def test_grpcurl_shows_the_details(embedded: Running) -> None:
    ((_, token),) = await embedded.sign_in()
    request = json.dumps({"names": NAMES["of other alphabets"]})
    process = await asyncio.create_subprocess_exec(
        *(GRPCURL, "-plaintext", "-format-error", "-d", "@"),
        *("-H", f"authorization: {token}", embedded.target, BATCH.strip("/")),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, shown = await process.communicate(request.encode())
    status = json.loads(shown)
    kinds = [detail["@type"].rpartition(".")[2] for detail in status["details"]]
    assert status["code"] == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert kinds == ["ErrorInfo", "RequestInfo", error_details_pb2.BadRequest.DESCRIPTOR.name]
    assert status["details"][2]["field_violations"][0]["field"] == "names[0]"


async def test_what_a_caller_sent_is_not_sent_back_whole(shared: Running) -> None:
    caller = await Caller.signed_in(shared)
    long = "q" * 100_000
    for call in (
        caller.GetFilm(film_pb2.GetFilmRequest(name=long)),
        caller.ListFilms(film_pb2.ListFilmsRequest(filter=f"{long[:2000]} = 1")),
        caller.ListFilms(film_pb2.ListFilmsRequest(order_by=long[:250])),
        caller.ListFilms(film_pb2.ListFilmsRequest(page_token=long[:2000])),
        caller.SearchFilms(film_pb2.SearchFilmsRequest(query=long)),
    ):
        told = await refused(call)
        assert told.code is grpc.StatusCode.INVALID_ARGUMENT
        assert "q" * 101 not in f"{told.message}{told.by_kind}"
