"""Errors of calls, by status code and by reason.

Every failed call raises an `InterviewError`. Its class follows the reason where the table
`BY_REASON` knows it, else the status code, so a new reason of a newer server still has the
class of its code. Branch on the class or on `reason`, never on `message`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from .generated.google.rpc import Status

MessageT = TypeVar("MessageT", bound=Message)


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One bad field of a request: its path (`film.title`) and what it must be."""

    field: str
    description: str


class InterviewError(Exception):
    """A call that failed.

    `reason` is a name of interview.errors.v1.ErrorReason without its prefix, empty if the
    failure did not come from the service (no connection, a proxy). `metadata` holds the
    reason's details, `field_violations` every bad field, `retry_delay` how long to wait before
    another try, `request_id` what the server's logs know the call by.
    """

    default_code = grpc.StatusCode.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        field_violations: Iterable[FieldViolation] = (),
        retry_delay: timedelta | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.field_violations = tuple(field_violations)
        self.retry_delay = retry_delay
        self.request_id = request_id

    def __str__(self) -> str:
        label = self.reason or self.code.name
        request = f" (request {self.request_id})" if self.request_id else ""
        return f"{label}: {self.message}{request}"


class Cancelled(InterviewError):
    """The call was cancelled by somebody else than the caller."""

    default_code = grpc.StatusCode.CANCELLED


class Unknown(InterviewError):
    """The server, or a proxy before it, gave no usable code."""


class InvalidArgument(InterviewError):
    """The request is wrong, whatever the state of the server."""

    default_code = grpc.StatusCode.INVALID_ARGUMENT


class DeadlineExceeded(InterviewError):
    """The time ran out; whether the call took effect is not known."""

    default_code = grpc.StatusCode.DEADLINE_EXCEEDED


class NotFound(InterviewError):
    """The resource does not exist, or not for this caller."""

    default_code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(InterviewError):
    """Something of this name or with this unique field is there already."""

    default_code = grpc.StatusCode.ALREADY_EXISTS


class PermissionDenied(InterviewError):
    """The caller is known and may not do this."""

    default_code = grpc.StatusCode.PERMISSION_DENIED


class ResourceExhausted(InterviewError):
    """A rate, a quota or a size is used up; see `retry_delay`."""

    default_code = grpc.StatusCode.RESOURCE_EXHAUSTED


class FailedPrecondition(InterviewError):
    """The state of the resource does not allow this."""

    default_code = grpc.StatusCode.FAILED_PRECONDITION


class Aborted(InterviewError):
    """Somebody else was faster; read again and repeat."""

    default_code = grpc.StatusCode.ABORTED


class OutOfRange(InterviewError):
    """A cursor points before what is still kept."""

    default_code = grpc.StatusCode.OUT_OF_RANGE


class Unimplemented(InterviewError):
    """The server does not have this method."""

    default_code = grpc.StatusCode.UNIMPLEMENTED


class Internal(InterviewError):
    """The server failed unexpectedly; `request_id` finds it in its logs."""

    default_code = grpc.StatusCode.INTERNAL


class Unavailable(InterviewError):
    """The server cannot answer right now; the same call may succeed later."""

    default_code = grpc.StatusCode.UNAVAILABLE


class DataLoss(InterviewError):
    """Data was lost beyond repair."""

    default_code = grpc.StatusCode.DATA_LOSS


class Unauthenticated(InterviewError):
    """No credential, or one that is not accepted; sign in."""

    default_code = grpc.StatusCode.UNAUTHENTICATED


class ValidationFailed(InvalidArgument):
    """Fields break their rules; `field_violations` lists all of them."""


class PageTokenExpired(InvalidArgument):
    """The page token is too old; start again from the first page."""


class EtagMismatch(Aborted):
    """The resource changed since it was read; metadata names `changed_fields`."""


class CredentialMissing(Unauthenticated):
    """The call needs a credential and carried none; sign in first."""


class LoginFailed(Unauthenticated):
    """E-mail or password is wrong."""


class TokenExpired(Unauthenticated):
    """The access token has expired."""


class TokenRevoked(Unauthenticated):
    """The login session was ended; sign in again."""


class RefreshTokenReused(Unauthenticated):
    """A used refresh token came again, so the login session was ended; sign in again."""


class StepUpRequired(PermissionDenied):
    """The password was given too long ago for this; sign in again."""


class PasswordRefused(InvalidArgument):
    """The new password breaks a rule; `field_violations` says which."""


class LoginThrottled(ResourceExhausted):
    """Too many failed attempts to sign in; see `retry_delay`."""


class RateLimited(ResourceExhausted):
    """Calls came faster than allowed; see `retry_delay`."""


class ServerDraining(Unavailable):
    """The server is shutting down."""


class ModelUnavailable(Unavailable):
    """The language model cannot be reached."""


class ProtocolViolation(InvalidArgument):
    """A chat frame came that the protocol does not allow there."""


class TurnTimeout(DeadlineExceeded):
    """A chat turn took longer than its budget."""


BY_CODE: dict[grpc.StatusCode, type[InterviewError]] = {
    cls.default_code: cls
    for cls in (
        *(Cancelled, Unknown, InvalidArgument, DeadlineExceeded, NotFound, AlreadyExists),
        *(PermissionDenied, ResourceExhausted, FailedPrecondition, Aborted, OutOfRange),
        *(Unimplemented, Internal, Unavailable, DataLoss, Unauthenticated),
    )
}
BY_REASON: dict[str, type[InterviewError]] = {
    "VALIDATION_FAILED": ValidationFailed,
    "PAGE_TOKEN_EXPIRED": PageTokenExpired,
    "ETAG_MISMATCH": EtagMismatch,
    "CREDENTIAL_MISSING": CredentialMissing,
    "LOGIN_FAILED": LoginFailed,
    "TOKEN_EXPIRED": TokenExpired,
    "TOKEN_REVOKED": TokenRevoked,
    "REFRESH_TOKEN_REUSED": RefreshTokenReused,
    "LOGIN_THROTTLED": LoginThrottled,
    "STEP_UP_REQUIRED": StepUpRequired,
    "PASSWORD_POLICY": PasswordRefused,
    "RATE_LIMITED": RateLimited,
    "SERVER_DRAINING": ServerDraining,
    "MODEL_UNAVAILABLE": ModelUnavailable,
    "PROTOCOL_VIOLATION": ProtocolViolation,
    "TURN_TIMEOUT": TurnTimeout,
}
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
    )


def _detail(status: status_pb2.Status, empty: MessageT) -> MessageT:
    """Fill and return `empty` from the status' detail of its type, if there is one."""
    for packed in status.details:
        if packed.Is(empty.DESCRIPTOR):
            packed.Unpack(empty)
            break
    return empty
