"""What a raw client was told, held against what is documented: nothing else may come."""

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import grpc
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2
from h2.errors import ErrorCodes

from server.rpc.status import CODES
from tests.support.raw_http2 import Answer

HANDBOOK = Path(__file__).parents[2] / "docs/operations.md"
BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


def told(answer: Answer) -> str:
    """Name an answer: `OK`, `CODE REASON` of ours, `CODE gRPC`, or `reset CODE`.

    Raises:
        AssertionError: the contract does not know the reason, or the handbook does not know
            what gRPC answered by itself.
    """
    if answer.status is None:
        end = f"reset `{ErrorCodes(answer.reset).name}`" if answer.reset is not None else "closed"
        assert end in _ends(), answer
        return end.replace("`", "")
    code = BY_NUMBER[answer.status]
    message = unquote(answer.headers.get("grpc-message", b"nothing").decode("latin-1"))
    if code is grpc.StatusCode.OK:
        return "OK"
    if "grpc-status-details-bin" not in answer.headers:
        assert any(message.startswith(begin) for begin in _from_grpc()[code.name]), answer
        return f"{code.name} gRPC"
    status = _status(answer)
    (reason,) = _reasons(status)
    assert (status.code, status.message) == (answer.status, message)
    assert CODES[reason] is code
    return f"{code.name} {reason}"


def _status(answer: Answer) -> status_pb2.Status:
    encoded = answer.headers["grpc-status-details-bin"]
    return status_pb2.Status.FromString(b64decode(encoded + b"=" * (-len(encoded) % 4)))


def _reasons(status: status_pb2.Status) -> Sequence[str]:
    reasons = []
    for detail in status.details:
        info = details.ErrorInfo()
        if detail.Unpack(info):
            reasons.append(info.reason)
    return reasons


@cache
def _section() -> str:
    text = HANDBOOK.read_text("utf-8")
    return text.partition("## Statuses that gRPC answers itself")[2].partition("\n## ")[0]


@cache
def _from_grpc() -> Mapping[str, Sequence[str]]:
    """The beginnings of gRPC's own messages by code."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| `(.+?)`(?:, or (nothing))? \| ", _section(), re.M)
    begins: dict[str, list[str]] = {}
    for code, *alternatives in rows:
        begins.setdefault(code, []).extend(filter(None, alternatives))
    return begins


@cache
def _ends() -> frozenset[str]:
    rows = re.findall(r"^\| ((?:reset|goaway|closed)[^|]*?) \| ", _section(), re.MULTILINE)
    return frozenset(rows)
