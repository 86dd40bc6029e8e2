"""Domain errors: what went wrong, in words every layer shares.

A domain error carries a stable reason (a name of interview.errors.v1.ErrorReason without
its prefix) and one sentence that tells the caller what to do next. It knows nothing of
gRPC: `server.rpc.status` turns it into a status.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One bad field: its proto path (`film.title`, `names[3]`) and what it must be."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class ResourceRef:
    """The resource an error is about, as in google.rpc.ResourceInfo."""

    resource_type: str
    name: str


@dataclass(frozen=True, slots=True)
class PreconditionViolation:
    """One rule about the present state that the call would break, as in PreconditionFailure.

    `type` is a word of the service (`RENTAL_LIMIT`), `subject` a resource's name.
    """

    type: str
    subject: str
    description: str


@dataclass(frozen=True, slots=True)
class QuotaViolation:
    """The limit that is used up, as in google.rpc.QuotaFailure.

    `subject` is whose it is (`user:users/7`, `ip:192.0.2.1`, `server`).
    """

    subject: str
    description: str


class DomainError(Exception):
    """Anything that a caller may be told.

    `message` is one line of at most 1 KiB without secrets; `metadata` becomes
    ErrorInfo.metadata; the other parts become the google.rpc detail of the same name. `attached`
    are messages of the contract that a servicer adds to the details.
    """

    reason: str = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        preconditions: Sequence[PreconditionViolation] = (),
        quota: QuotaViolation | None = None,
        resource: ResourceRef | None = None,
        retry_delay: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).reason
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.preconditions = tuple(preconditions)
        self.quota = quota
        self.resource = resource
        self.retry_delay = retry_delay
        self.attached: tuple[object, ...] = ()


class ValidationFailed(DomainError):
    """One or more fields of the request break their rule; all of them are listed."""

    reason = "VALIDATION_FAILED"

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        first = violations[0]
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        super().__init__(
            f"{first.field}: {first.description}{more}",
            violations=violations,
            metadata={"violation_count": str(len(violations))},
        )


class ResourceNotFound(DomainError):
    """Not there, or not the caller's: both answer the same."""

    reason = "RESOURCE_NOT_FOUND"

    def __init__(self, resource_type: str, name: str) -> None:
        super().__init__(
            f"{name} does not exist",
            resource=ResourceRef(resource_type, name),
            metadata={"resource_type": resource_type, "resource_name": name},
        )


class WrongState(DomainError):
    """The resource is in a state that does not allow the call; `allowed` are those that do."""

    reason = "WRONG_STATE"

    def __init__(
        self,
        message: str,
        name: str,
        state: str,
        allowed: Sequence[str],
        resource: ResourceRef | None = None,
    ) -> None:
        super().__init__(
            message,
            metadata={"resource_name": name, "state": state, "allowed_states": ",".join(allowed)},
            preconditions=[PreconditionViolation("STATE", name, f"is {state}")],
            resource=resource,
        )


class ResourceExists(DomainError):
    """Another resource has the name or the unique field already."""

    reason = "RESOURCE_EXISTS"

    def __init__(self, message: str, resource_type: str, name: str, conflicting_field: str) -> None:
        super().__init__(
            message,
            metadata={"resource_name": name, "conflicting_field": conflicting_field},
            resource=ResourceRef(resource_type, name),
        )


class ResourceInUse(DomainError):
    """Something else refers to the resource, so that it cannot go."""

    reason = "RESOURCE_IN_USE"

    def __init__(
        self, message: str, resource: ResourceRef, child_type: str, child_count: int
    ) -> None:
        super().__init__(
            message,
            metadata={"child_type": child_type, "child_count": str(child_count)},
            preconditions=[
                PreconditionViolation("IN_USE", resource.name, f"has {child_count} {child_type}")
            ],
            resource=resource,
        )


class PageTokenInvalid(DomainError):
    """The token was not made here, is damaged, or belongs to another method."""

    reason = "PAGE_TOKEN_INVALID"


class PageTokenMismatch(DomainError):
    """The request's arguments differ from those the token was made for (AIP-158)."""

    reason = "PAGE_TOKEN_MISMATCH"


class Unauthenticated(DomainError):
    """No credential, or one that is not accepted."""

    reason = "CREDENTIAL_INVALID"


class PermissionDenied(DomainError):
    """The caller is known and may not do this."""

    reason = "PERMISSION_DENIED"


class DependencyUnavailable(DomainError):
    """A database or another service that the call needs is away; the call may be repeated."""

    reason = "DEPENDENCY_UNAVAILABLE"

    def __init__(self, dependency: str, retry_delay: timedelta = timedelta(seconds=1)) -> None:
        super().__init__(
            f"the {dependency} is not reachable right now; try again shortly",
            metadata={"dependency": dependency},
            retry_delay=retry_delay,
        )
