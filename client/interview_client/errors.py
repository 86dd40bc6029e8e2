"""Errors of calls, by status code and by reason.

Every failed call raises an `InterviewError`. Its class follows the reason where the table
`BY_REASON` knows it, else the status code, so a new reason of a newer server still has the
class of its code. Branch on the class or on `reason`, never on `message`.
"""

from typing import TypeVar, cast

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from .errors_by_code import (
    BY_CODE,
    Aborted,
    AlreadyExists,
    Cancelled,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    Internal,
    InterviewError,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    Unknown,
)
from .errors_by_reason import (
    BY_REASON,
    CredentialMissing,
    CursorExpired,
    CursorInvalid,
    EtagMismatch,
    FieldMaskInvalid,
    ImmutableField,
    LoginFailed,
    LoginThrottled,
    ModelUnavailable,
    PageTokenExpired,
    PasswordRefused,
    ProtocolViolation,
    RankingUnavailable,
    RateLimited,
    ReferenceNotFound,
    RefreshTokenReused,
    RequestIdReused,
    ResourceDeleted,
    ResourceExists,
    ResourceInUse,
    ServerDraining,
    SlowConsumer,
    StepUpRequired,
    TokenExpired,
    TokenRevoked,
    TooManyStreams,
    TurnTimeout,
    ValidationFailed,
)
from .generated.google.rpc import Status
from .generated.interview.catalogue.v1 import FilmImport

__all__ = [
    "BY_CODE",
    "BY_REASON",
    "Aborted",
    "AlreadyExists",
    "Cancelled",
    "CredentialMissing",
    "CursorExpired",
    "CursorInvalid",
    "DataLoss",
    "DeadlineExceeded",
    "EtagMismatch",
    "FailedPrecondition",
    "FieldMaskInvalid",
    "FieldViolation",
    "ImmutableField",
    "Internal",
    "InterviewError",
    "InvalidArgument",
    "LoginFailed",
    "LoginThrottled",
    "ModelUnavailable",
    "NotFound",
    "OutOfRange",
    "PageTokenExpired",
    "PasswordRefused",
    "PermissionDenied",
    "ProtocolViolation",
    "RankingUnavailable",
    "RateLimited",
    "ReferenceNotFound",
    "RefreshTokenReused",
    "RequestIdReused",
    "ResourceDeleted",
    "ResourceExhausted",
    "ResourceExists",
    "ResourceInUse",
    "ServerDraining",
    "SlowConsumer",
    "StepUpRequired",
    "TokenExpired",
    "TokenRevoked",
    "TooManyStreams",
    "TurnTimeout",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Unknown",
    "ValidationFailed",
    "error_of_call",
    "error_of_status",
]

MessageT = TypeVar("MessageT", bound=Message)
_CODES = {code.value[0]: code for code in grpc.StatusCode}


def error_of_call(failure: grpc.aio.AioRpcError, *, idempotent: bool) -> InterviewError:
    """Return the typed error of a failed call.

    A server that stops may end a call that has just arrived with CANCELLED. For a call that
    may be repeated this is the same as UNAVAILABLE, and becomes it.
    """
    code = failure.code()
    try:
        # The error has the three methods of a grpc.Call that are asked for here.
        status = rpc_status.from_call(cast("grpc.Call", failure))
    except (ValueError, DecodeError):
        # Details that contradict the status come from a broken proxy: the status counts.
        status = None
    if status is None:
        status = status_pb2.Status(code=code.value[0], message=failure.details() or code.name)
    if code is grpc.StatusCode.CANCELLED and idempotent:
        status.code = grpc.StatusCode.UNAVAILABLE.value[0]
    return _error_of(status)


def error_of_status(status: Status) -> InterviewError:
    """Return the typed error of a status inside an event, as of FrameRejected and TurnFailed."""
    return _error_of(status_pb2.Status.FromString(bytes(status)))


def _error_of(status: status_pb2.Status) -> InterviewError:
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    info = _detail(status, error_details_pb2.ErrorInfo())
    bad_request = _detail(status, error_details_pb2.BadRequest())
    retry = _detail(status, error_details_pb2.RetryInfo())
    request = _detail(status, error_details_pb2.RequestInfo())
    cls = BY_REASON.get(info.reason, BY_CODE[code])
    return cls(
        status.message,
        code=code,
        reason=info.reason,
        metadata=info.metadata,
        field_violations=[
            FieldViolation(violation.field, violation.description)
            for violation in bad_request.field_violations
        ],
        retry_delay=retry.retry_delay.ToTimedelta() if retry.HasField("retry_delay") else None,
        request_id=request.request_id,
        film_import=_film_import(status),
    )


def _film_import(status: status_pb2.Status) -> FilmImport | None:
    for packed in status.details:
        if packed.type_url.endswith("/interview.catalogue.v1.FilmImport"):
            return FilmImport.parse(packed.value)
    return None


def _detail(status: status_pb2.Status, empty: MessageT) -> MessageT:
    """Fill and return `empty` from the status' detail of its type, if there is one."""
    for packed in status.details:
        if packed.Is(empty.DESCRIPTOR):
            packed.Unpack(empty)
            break
    return empty
