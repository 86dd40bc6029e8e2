"""THE table: every error that can leave the server, as code and reason.

A domain error finds its code by its reason; an error of a driver is first turned into a
domain error; anything else is INTERNAL with a fixed text. Nothing else decides on a status.
"""

from datetime import timedelta
from typing import Final

import grpc
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from server.core.errors import (
    DependencyUnavailable,
    DomainError,
    FieldViolation,
    QuotaViolation,
    ValidationFailed,
)
from server.core.sqlstate import is_conflict, sqlstate

_C = grpc.StatusCode
CODES: Final[dict[str, grpc.StatusCode]] = {
    "VALIDATION_FAILED": _C.INVALID_ARGUMENT,
    "FILTER_SYNTAX": _C.INVALID_ARGUMENT,
    "FILTER_UNKNOWN_FIELD": _C.INVALID_ARGUMENT,
    "FILTER_TYPE_MISMATCH": _C.INVALID_ARGUMENT,
    "FILTER_TOO_COMPLEX": _C.INVALID_ARGUMENT,
    "ORDER_BY_INVALID": _C.INVALID_ARGUMENT,
    "FIELD_MASK_INVALID": _C.INVALID_ARGUMENT,
    "PAGE_TOKEN_INVALID": _C.INVALID_ARGUMENT,
    "PAGE_TOKEN_MISMATCH": _C.INVALID_ARGUMENT,
    "PAGE_TOKEN_EXPIRED": _C.INVALID_ARGUMENT,
    "REFERENCE_NOT_FOUND": _C.INVALID_ARGUMENT,
    "IMMUTABLE_FIELD": _C.INVALID_ARGUMENT,
    "CURSOR_INVALID": _C.INVALID_ARGUMENT,
    "PASSWORD_POLICY": _C.INVALID_ARGUMENT,
    "PROTOCOL_VIOLATION": _C.INVALID_ARGUMENT,
    "CREDENTIAL_MISSING": _C.UNAUTHENTICATED,
    "CREDENTIAL_INVALID": _C.UNAUTHENTICATED,
    "TOKEN_EXPIRED": _C.UNAUTHENTICATED,
    "TOKEN_REVOKED": _C.UNAUTHENTICATED,
    "LOGIN_FAILED": _C.UNAUTHENTICATED,
    "REFRESH_TOKEN_REUSED": _C.UNAUTHENTICATED,
    "PERMISSION_DENIED": _C.PERMISSION_DENIED,
    "STEP_UP_REQUIRED": _C.PERMISSION_DENIED,
    "RESOURCE_NOT_FOUND": _C.NOT_FOUND,
    "RESOURCE_DELETED": _C.NOT_FOUND,
    "RESOURCE_EXISTS": _C.ALREADY_EXISTS,
    "REQUEST_ID_REUSED": _C.ALREADY_EXISTS,
    "TURN_ID_REUSED": _C.ALREADY_EXISTS,
    "RESOURCE_IN_USE": _C.FAILED_PRECONDITION,
    "WRONG_STATE": _C.FAILED_PRECONDITION,
    "TURN_IN_PROGRESS": _C.FAILED_PRECONDITION,
    "SESSION_ATTACHED_ELSEWHERE": _C.FAILED_PRECONDITION,
    "CONTENT_BLOCKED": _C.FAILED_PRECONDITION,
    "LOGIN_THROTTLED": _C.RESOURCE_EXHAUSTED,
    "RATE_LIMITED": _C.RESOURCE_EXHAUSTED,
    "TOO_MANY_STREAMS": _C.RESOURCE_EXHAUSTED,
    "ANSWER_TOO_LARGE": _C.RESOURCE_EXHAUSTED,
    "SLOW_CONSUMER": _C.RESOURCE_EXHAUSTED,
    "TURN_QUEUE_FULL": _C.RESOURCE_EXHAUSTED,
    "TURN_BUDGET_EXHAUSTED": _C.RESOURCE_EXHAUSTED,
    "DEADLINE_EXCEEDED": _C.DEADLINE_EXCEEDED,
    "TURN_TIMEOUT": _C.DEADLINE_EXCEEDED,
    "DEPENDENCY_UNAVAILABLE": _C.UNAVAILABLE,
    "SERVER_DRAINING": _C.UNAVAILABLE,
    "MODEL_UNAVAILABLE": _C.UNAVAILABLE,
    "ETAG_MISMATCH": _C.ABORTED,
    "TRANSACTION_CONFLICT": _C.ABORTED,
    "TURN_WORKER_LOST": _C.ABORTED,
    "CURSOR_EXPIRED": _C.OUT_OF_RANGE,
    "RANKING_UNAVAILABLE": _C.UNIMPLEMENTED,
    "METHOD_UNKNOWN": _C.UNIMPLEMENTED,
    "INTERNAL": _C.INTERNAL,
}

_RETRY = timedelta(seconds=1)
_TIMEOUTS = frozenset({"57014", "55P03", "25P03"})
"""query_canceled, lock_not_available, idle_in_transaction_session_timeout."""
_AWAY = ("08", "53", "57", "25006")
"""SQLSTATE classes: connection exception, insufficient resources, operator intervention; and a
server that only reads, because another one has taken its place."""
_REFUSING = frozenset({"28", "3D", "55"})
"""Said to who connects: a wrong password, no such database, one that takes no connections."""
_SQLITE_AWAY = ("SQLITE_CANTOPEN", "SQLITE_FULL", "SQLITE_IOERR")
_DATA_EXCEPTION = "22"


def as_domain_error(error: BaseException) -> DomainError:
    """Turn any exception into what the caller may be told.

    Databases that are away show themselves in many classes (a refused socket, a time-out,
    a server error), so they are told by SQLSTATE and by whether the connection was lost.
    """
    if isinstance(error, DomainError):
        return error if error.reason in CODES else _internal()
    if isinstance(error, PoolTimeout):
        return _pool_used_up()
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


def _pool_used_up() -> DomainError:
    return DomainError(
        "the server is busy; try again shortly",
        reason="RATE_LIMITED",
        metadata={"bucket": "database"},
        quota=QuotaViolation("server", "all connections to the database are at work"),
        retry_delay=_RETRY,
    )


def _database_error(error: DBAPIError) -> DomainError:
    state = sqlstate(error.orig)
    if is_conflict(error.orig):
        return DomainError(
            "another change was made at the same time; try again",
            reason="TRANSACTION_CONFLICT",
            retry_delay=timedelta(milliseconds=100),
        )
    if state in _TIMEOUTS or isinstance(error.orig, TimeoutError):
        return deadline_exceeded()
    if error.connection_invalidated or _away(error, state):
        return DependencyUnavailable("database")
    if state[:2] == _DATA_EXCEPTION:
        return ValidationFailed(
            [FieldViolation("request", "has a value that its field in the database cannot hold")]
        )
    return _internal()


def _away(error: DBAPIError, state: str) -> bool:
    if isinstance(error.orig, OSError) or state.startswith(_AWAY):
        return True
    if error.statement is None and state[:2] in _REFUSING:
        return True
    return str(getattr(error.orig, "sqlite_errorname", "")).startswith(_SQLITE_AWAY)


def code_of(error: DomainError) -> grpc.StatusCode:
    """Return the status code of a domain error."""
    return CODES[error.reason]
