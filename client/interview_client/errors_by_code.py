"""Errors of calls by status code, and what every failed call tells."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import grpc

from .generated.interview.catalogue.v1 import FilmImport


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
    another try, `request_id` what the server's logs know the call by. `film_import` is how far an
    import of films came, None for other calls.
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
        film_import: FilmImport | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.field_violations = tuple(field_violations)
        self.retry_delay = retry_delay
        self.request_id = request_id
        self.film_import = film_import

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


BY_CODE: dict[grpc.StatusCode, type[InterviewError]] = {
    cls.default_code: cls
    for cls in (
        *(Cancelled, Unknown, InvalidArgument, DeadlineExceeded, NotFound, AlreadyExists),
        *(PermissionDenied, ResourceExhausted, FailedPrecondition, Aborted, OutOfRange),
        *(Unimplemented, Internal, Unavailable, DataLoss, Unauthenticated),
    )
}
