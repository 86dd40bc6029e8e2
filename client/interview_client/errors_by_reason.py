"""Errors of calls by reason: those that programs want to tell apart."""

from .errors_by_code import (
    Aborted,
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    InterviewError,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)


class ValidationFailed(InvalidArgument):
    """Fields break their rules; `field_violations` lists all of them."""


class PageTokenExpired(InvalidArgument):
    """The page token is too old; start again from the first page."""


class CursorInvalid(InvalidArgument):
    """The cursor is damaged, or another method's; begin without one."""


class FieldMaskInvalid(InvalidArgument):
    """A field to set does not exist, or only the server sets it; see `allowed_paths`."""

    @property
    def allowed_paths(self) -> tuple[str, ...]:
        """The fields that can be set."""
        return _listed(self, "allowed_paths")


class ImmutableField(InvalidArgument):
    """A field that can be set only at creation would change."""


class ReferenceNotFound(InvalidArgument):
    """The request names a resource that is not there; `field_violations` says where."""

    @property
    def resource_name(self) -> str:
        """What is not there, the first of it."""
        return self.metadata.get("resource_name", "")


class ResourceDeleted(NotFound):
    """The resource is deleted: it can be read and undeleted, not changed."""


class ResourceExists(AlreadyExists):
    """Another resource has this name or unique field, or the one to undelete is not deleted."""

    @property
    def resource_name(self) -> str:
        """The resource that is in the way."""
        return self.metadata.get("resource_name", "")


class RequestIdReused(AlreadyExists):
    """The request_id named another request before; make a new one."""


class ResourceInUse(FailedPrecondition):
    """Others need the resource; delete them first, or force it where the call can."""

    @property
    def child_type(self) -> str:
        """What is in the way."""
        return self.metadata.get("child_type", "")

    @property
    def child_count(self) -> int:
        """How many of them; 0: not told."""
        count = self.metadata.get("child_count", "")
        return int(count) if count.isdecimal() else 0


class EtagMismatch(Aborted):
    """The resource changed since it was read; merge, or read it again and repeat."""

    @property
    def current_etag(self) -> str:
        """The etag that the resource has now."""
        return self.metadata.get("current_etag", "")

    @property
    def changed_fields(self) -> tuple[str, ...]:
        """What has changed since; empty where that is not known any more."""
        return _listed(self, "changed_fields")


class CursorExpired(OutOfRange):
    """The cursor is older than the changes that are kept; begin with a snapshot."""

    @property
    def oldest_cursor(self) -> str:
        """The oldest cursor that is still good."""
        return self.metadata.get("oldest_cursor", "")


class SlowConsumer(ResourceExhausted):
    """The stream was read too slowly; go on with `resume_cursor`."""

    @property
    def resume_cursor(self) -> str:
        """Where to go on."""
        return self.metadata.get("resume_cursor", "")


class TooManyStreams(ResourceExhausted):
    """As many streams of this method are open as allowed; see `retry_delay`."""


class RankingUnavailable(Unimplemented):
    """The server cannot rank like that; see `allowed_rankings`."""

    @property
    def allowed_rankings(self) -> tuple[str, ...]:
        """The rankings that it has."""
        return _listed(self, "allowed_rankings")


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


BY_REASON: dict[str, type[InterviewError]] = {
    "VALIDATION_FAILED": ValidationFailed,
    "PAGE_TOKEN_EXPIRED": PageTokenExpired,
    "FIELD_MASK_INVALID": FieldMaskInvalid,
    "IMMUTABLE_FIELD": ImmutableField,
    "REFERENCE_NOT_FOUND": ReferenceNotFound,
    "RESOURCE_DELETED": ResourceDeleted,
    "RESOURCE_EXISTS": ResourceExists,
    "RESOURCE_IN_USE": ResourceInUse,
    "REQUEST_ID_REUSED": RequestIdReused,
    "ETAG_MISMATCH": EtagMismatch,
    "CURSOR_INVALID": CursorInvalid,
    "CURSOR_EXPIRED": CursorExpired,
    "SLOW_CONSUMER": SlowConsumer,
    "TOO_MANY_STREAMS": TooManyStreams,
    "RANKING_UNAVAILABLE": RankingUnavailable,
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


def _listed(error: InterviewError, key: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in error.metadata.get(key, "").split(","))))
