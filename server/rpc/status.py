"""THE table: every error that can leave the server, as code and reason.

A domain error finds its code by its reason; an error of a driver is first turned into a
domain error; anything else is INTERNAL with a fixed text. Nothing else decides on a status.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from server.core.errors import DependencyUnavailable, DomainError, FieldViolation

DOMAIN: Final = "interview-api"
MAX_MESSAGE_CHARACTERS: Final = 1000
MAX_DETAILS_BYTES: Final = 6144
"""Larger details meet the limits that peers set on trailers and lose the whole status."""

_C = grpc.StatusCode
CODES: Final[dict[str, grpc.StatusCode]] = {
    "VALIDATION_FAILED": _C.INVALID_ARGUMENT,
    "FILTER_SYNTAX": _C.INVALID_ARGUMENT,
    "FILTER_UNKNOWN_FIELD": _C.INVALID_ARGUMENT,
    "FILTER_TYPE_MISMATCH": _C.INVALID_ARGUMENT,
    "FILTER_TOO_COMPLEX": _C.INVALID_ARGUMENT,
    "ORDER_BY_INVALID": _C.INVALID_ARGUMENT,
    "PAGE_TOKEN_INVALID": _C.INVALID_ARGUMENT,
    "PAGE_TOKEN_MISMATCH": _C.INVALID_ARGUMENT,
    "PAGE_TOKEN_EXPIRED": _C.INVALID_ARGUMENT,
    "PASSWORD_POLICY": _C.INVALID_ARGUMENT,
    "PROTOCOL_VIOLATION": _C.INVALID_ARGUMENT,
    "CREDENTIAL_MISSING": _C.UNAUTHENTICATED,
    "CREDENTIAL_INVALID": _C.UNAUTHENTICATED,
    "TOKEN_EXPIRED": _C.UNAUTHENTICATED,
    "TOKEN_REVOKED": _C.UNAUTHENTICATED,
    "LOGIN_FAILED": _C.UNAUTHENTICATED,
    "REFRESH_TOKEN_REUSED": _C.UNAUTHENTICATED,
    "PERMISSION_DENIED": _C.PERMISSION_DENIED,
    "RESOURCE_NOT_FOUND": _C.NOT_FOUND,
    "RESOURCE_EXISTS": _C.ALREADY_EXISTS,
    "TURN_ID_REUSED": _C.ALREADY_EXISTS,
    "WRONG_STATE": _C.FAILED_PRECONDITION,
    "TURN_IN_PROGRESS": _C.FAILED_PRECONDITION,
    "SESSION_ATTACHED_ELSEWHERE": _C.FAILED_PRECONDITION,
    "CONTENT_BLOCKED": _C.FAILED_PRECONDITION,
    "RATE_LIMITED": _C.RESOURCE_EXHAUSTED,
    "TOO_MANY_STREAMS": _C.RESOURCE_EXHAUSTED,
    "SLOW_CONSUMER": _C.RESOURCE_EXHAUSTED,
    "TURN_QUEUE_FULL": _C.RESOURCE_EXHAUSTED,
    "TURN_BUDGET_EXHAUSTED": _C.RESOURCE_EXHAUSTED,
    "DEADLINE_EXCEEDED": _C.DEADLINE_EXCEEDED,
    "TURN_TIMEOUT": _C.DEADLINE_EXCEEDED,
    "DEPENDENCY_UNAVAILABLE": _C.UNAVAILABLE,
    "SERVER_DRAINING": _C.UNAVAILABLE,
    "MODEL_UNAVAILABLE": _C.UNAVAILABLE,
    "TRANSACTION_CONFLICT": _C.ABORTED,
    "TURN_WORKER_LOST": _C.ABORTED,
    "INTERNAL": _C.INTERNAL,
}

_RETRY = timedelta(seconds=1)
_CONFLICTS = frozenset({"40001", "40P01"})
_TIMEOUTS = frozenset({"57014", "55P03", "25P03"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def as_domain_error(error: BaseException) -> DomainError:
    """Turn any exception into what the caller may be told.

    Databases that are away show themselves in many classes (a refused socket, a time-out,
    a server error), so they are told by SQLSTATE and by whether the connection was lost.
    """
    if isinstance(error, DomainError):
        return error if error.reason in CODES else _internal()
    if isinstance(error, PoolTimeout):
        return DomainError(
            "the server is busy; try again shortly",
            reason="RATE_LIMITED",
            metadata={"bucket": "database"},
            retry_delay=_RETRY,
        )
    if isinstance(error, DBAPIError):
        return _database_error(error)
    if isinstance(error, TimeoutError):
        return deadline_exceeded()
    if isinstance(error, OSError):
        return DependencyUnavailable("database")
    return _internal()


def _internal() -> DomainError:
    # Whatever was meant for somebody else's eyes stays here.
    return DomainError("internal error", reason="INTERNAL")


def deadline_exceeded() -> DomainError:
    """Return the error of a call that used up its time."""
    return DomainError(
        "the call took longer than its deadline; try again or ask for less",
        reason="DEADLINE_EXCEEDED",
    )


def _database_error(error: DBAPIError) -> DomainError:
    state = _sqlstate(error)
    text = str(error.orig)
    if state in _CONFLICTS or "database is locked" in text:
        return DomainError(
            "another change was made at the same time; try again",
            reason="TRANSACTION_CONFLICT",
            retry_delay=timedelta(milliseconds=100),
        )
    if state in _TIMEOUTS or isinstance(error.orig, TimeoutError):
        return deadline_exceeded()
    lost = error.connection_invalidated or state[:2] in {"08", "53", "57"}
    if lost or isinstance(error.orig, OSError) or "unable to open database" in text:
        return DependencyUnavailable("database")
    if state[:2] == "22" and not isinstance(error, IntegrityError):
        return DomainError("a value is out of range for its field", reason="VALIDATION_FAILED")
    return _internal()


def _sqlstate(error: DBAPIError) -> str:
    original: object = error.orig
    return str(getattr(original, "sqlstate", None) or getattr(original, "pgcode", None) or "")


def code_of(error: DomainError) -> grpc.StatusCode:
    """Return the status code of a domain error."""
    return CODES[error.reason]


def one_line(text: str) -> str:
    """Make a text fit for a status message: one line, bounded."""
    return _CONTROL.sub(" ", text)[:MAX_MESSAGE_CHARACTERS]


def rich_status(error: DomainError, request_id: str) -> status_pb2.Status:
    """Build google.rpc.Status: ErrorInfo and RequestInfo always, the rest by what is known.

    At most MAX_DETAILS_BYTES: field violations are dropped from the end and the number
    dropped stands in ErrorInfo's `violations_truncated`.
    """
    violations = list(error.violations)
    status = _build(error, request_id, violations)
    while violations and status.ByteSize() > MAX_DETAILS_BYTES:
        del violations[len(violations) * 3 // 4 :]
        status = _build(error, request_id, violations)
    return status


def domain_error_of(status: status_pb2.Status) -> DomainError:
    """Turn a status that `rich_status` built back into its error."""
    info, retry = details.ErrorInfo(reason="INTERNAL"), details.RetryInfo()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(retry)
    return DomainError(
        status.message,
        reason=info.reason,
        metadata=dict(info.metadata),
        retry_delay=retry.retry_delay.ToTimedelta() or None,
    )


def _build(
    error: DomainError, request_id: str, violations: Sequence[FieldViolation]
) -> status_pb2.Status:
    status = status_pb2.Status(code=code_of(error).value[0], message=one_line(error.message))
    for detail in _details(error, request_id, violations):
        status.details.add().Pack(detail)
    return status


def _details(
    error: DomainError, request_id: str, violations: Sequence[FieldViolation]
) -> Iterator[Message]:
    metadata = {key: one_line(value) for key, value in error.metadata.items()}
    if error.reason == "INTERNAL":
        metadata["request_id"] = request_id
    if len(violations) < len(error.violations):
        metadata["violations_truncated"] = str(len(error.violations) - len(violations))
    yield details.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    yield details.RequestInfo(request_id=request_id)
    if violations:
        yield details.BadRequest(
            field_violations=[
                details.BadRequest.FieldViolation(
                    field=one_line(violation.field), description=one_line(violation.description)
                )
                for violation in violations
            ]
        )
    if error.resource is not None:
        yield details.ResourceInfo(
            resource_type=error.resource.resource_type,
            resource_name=one_line(error.resource.name),
            description=one_line(error.message),
        )
    if error.retry_delay is not None:
        delay = Duration()
        delay.FromTimedelta(error.retry_delay)
        yield details.RetryInfo(retry_delay=delay)
