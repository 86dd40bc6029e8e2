"""A failed call as a client reads it, held against the contract's list of reasons."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

from server.generated.interview.catalogue.v1 import film_bulk_pb2
from server.rpc.details import DOMAIN, MAX_DETAILS_BYTES, MAX_MESSAGE_BYTES
from server.rpc.status import CODES

CONTRACT = Path(__file__).parents[2] / "protos/interview/errors/v1/error_reason.proto"
KINDS: tuple[type[Message], ...] = (
    details.ErrorInfo,
    details.RequestInfo,
    details.BadRequest,
    details.PreconditionFailure,
    details.QuotaFailure,
    details.ResourceInfo,
    details.RetryInfo,
    film_bulk_pb2.FilmImport,
)
ALWAYS = frozenset({"ErrorInfo", "RequestInfo"})
ANY = frozenset({"ResourceInfo", "RetryInfo", "FilmImport"})
"""What may be said of any error, where it is known."""


@dataclass(frozen=True)
class Documented:
    """What the contract says of a reason."""

    code: str
    details: frozenset[str]
    metadata: frozenset[str]


@dataclass(frozen=True)
class Told:
    """A status with its details by kind; `request_id` is the trailer."""

    code: grpc.StatusCode
    message: str
    by_kind: Mapping[str, Any]
    size: int
    request_id: str = ""

    @property
    def reason(self) -> str:
        """The reason of its ErrorInfo."""
        return str(self.by_kind["ErrorInfo"].reason)

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata of its ErrorInfo."""
        return dict(self.by_kind["ErrorInfo"].metadata)

    @property
    def bad_fields(self) -> list[str]:
        """The paths of the bad fields."""
        bad = self.by_kind.get("BadRequest", details.BadRequest())
        return [violation.field for violation in bad.field_violations]


def row(reason: str, cause: str, make: Any) -> Any:
    """Return the parameters of a test of one row; tests/unit counts these by their reason."""
    return pytest.param(reason, make, id=f"{reason}-{cause}")


def told_in(code: grpc.StatusCode, status: status_pb2.Status, request_id: str = "") -> Told:
    """Read a rich status, and hold against the rules what holds for each."""
    assert status.code == code.value[0]
    by_kind: dict[str, Any] = {}
    for packed in status.details:
        (kind,) = (kind for kind in KINDS if packed.Is(kind.DESCRIPTOR))
        detail = kind()
        packed.Unpack(detail)
        assert kind.DESCRIPTOR.name not in by_kind, "a kind of detail comes once"
        by_kind[kind.DESCRIPTOR.name] = detail
    assert by_kind["ErrorInfo"].domain == DOMAIN
    assert status.message.isprintable()
    assert 0 < len(status.message.encode()) <= MAX_MESSAGE_BYTES
    assert status.ByteSize() <= MAX_DETAILS_BYTES
    return Told(code, status.message, by_kind, status.ByteSize(), request_id)


def told_by(error: grpc.aio.AioRpcError) -> Told:
    """Read what a call ended with."""
    trailers = dict(error.trailing_metadata() or ())
    assert "grpc-status-details-bin" in trailers, error
    status = status_pb2.Status.FromString(bytes(trailers["grpc-status-details-bin"]))
    assert status.message == error.details()
    told = told_in(error.code(), status, str(trailers["x-request-id"]))
    assert told.by_kind["RequestInfo"].request_id == told.request_id
    assert ("grpc-retry-pushback-ms" in trailers) == ("RetryInfo" in told.by_kind)
    return told


async def refused(call: Any) -> Told:
    """Await a call that must fail, and read its status."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return told_by(caught.value)


def check_row(told: Told, reason: str) -> None:
    """Hold a status against what the contract says of its reason."""
    documented = contract()[reason]
    assert told.reason == reason, (told.reason, told.message)
    assert told.code is CODES[reason]
    assert told.code.name == documented.code
    kinds = set(told.by_kind)
    assert kinds >= ALWAYS | documented.details
    assert kinds <= ALWAYS | ANY | documented.details | _also(told.code)
    assert set(told.metadata) <= documented.metadata, told.metadata
    if reason == "INTERNAL":
        assert told.message == "internal error"
        assert told.metadata == {"request_id": told.request_id}


class HasLog(Protocol):
    """A server whose log can be read."""

    def access_lines(self) -> list[dict[str, Any]]:
        """Return the access log's fields, in order."""
        ...


async def check_call(running: HasLog, call: Any, reason: str) -> Told:
    """Hold a failing call against the contract and against its line in the access log."""
    told = await refused(call)
    check_row(told, reason)
    line = await line_of(running, told.request_id)
    assert (line["code"], line["reason"]) == (told.code.name, reason)
    return told


async def line_of(running: HasLog, request_id: str) -> dict[str, Any]:
    """Return a call's line in the access log, which is written behind its answer."""
    async with asyncio.timeout(5):
        while True:
            for line in running.access_lines():
                if line["request_id"] == request_id:
                    return line
            await asyncio.sleep(0.005)


@cache
def contract() -> Mapping[str, Documented]:
    """Read code, details and metadata of every reason from the comments of the contract."""
    text = CONTRACT.read_text("utf-8")
    comments = re.findall(r"((?:  //[^\n]*\n)+)  ERROR_REASON_(\w+) = ", text)
    return {
        reason: _documented(" ".join(line.strip("/ ") for line in comment.splitlines()))
        for comment, reason in comments
        if reason != "UNSPECIFIED"
    }


def _documented(comment: str) -> Documented:
    (code,) = re.findall(r"\bCode ([A-Z_]+)", comment)
    kinds = re.search(r"; details? ([\w, ]+)\.", comment)
    metadata = re.search(r"Metadata: ([\w, ]+)\.", comment)
    names = _names(kinds) - {"DebugInfo only in debug mode"}
    return Documented(code, names, _names(metadata))


def _names(found: re.Match[str] | None) -> frozenset[str]:
    return frozenset(found[1].split(", ")) if found else frozenset()


def _also(code: grpc.StatusCode) -> frozenset[str]:
    """Details that belong to a code, whatever the reason."""
    by_code = {
        grpc.StatusCode.INVALID_ARGUMENT: "BadRequest",
        grpc.StatusCode.FAILED_PRECONDITION: "PreconditionFailure",
        grpc.StatusCode.RESOURCE_EXHAUSTED: "QuotaFailure",
    }
    return frozenset({by_code[code]}) if code in by_code else frozenset()
