"""What each method demands of its caller, read from the descriptors.

Fail closed: a method without a rule, or with a rule that nobody could meet, stops the start.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.duration_pb2 import Duration

from server.core.errors import PermissionDenied, Unauthenticated
from server.core.principal import Principal
from server.core.roles import PERMISSIONS
from server.generated.interview.options.v1 import options_pb2

DEFAULT_DEADLINE = timedelta(seconds=10)

WRITE_BUCKET = "write"
"""The rate bucket of a method that names none."""

BUCKETS = frozenset({"read", WRITE_BUCKET, "login", "agent", "bulk"})


class CallClass(StrEnum):
    """What a call competes with for places. A probe competes with nothing: it always gets in."""

    PROBE = "probe"
    LOGIN = "login"
    READ = "read"
    WRITE = "write"
    CHAT = "chat"


_CLASS_OF_BUCKET = {"login": CallClass.LOGIN, "agent": CallClass.CHAT}


class PolicyError(Exception):
    """A method's rule is missing or cannot be met: the server must not start."""


@dataclass(frozen=True, slots=True)
class MethodPolicy:
    """One method's rule. `public` asks for nobody, else `permissions` for every one of them.

    A call takes `cost` tokens from the rate bucket named `bucket`, and a caller may hold
    `max_streams` calls of the method at a time; 0 is no limit.
    """

    method: str
    public: bool
    permissions: frozenset[str]
    default_deadline: timedelta | None
    max_deadline: timedelta | None
    max_request_bytes: int
    owner_field: str = ""
    call_class: CallClass = CallClass.WRITE
    bucket: str = ""
    cost: int = 0
    max_streams: int = 0

    def authorize(self, principal: Principal | None) -> None:
        """Let the caller pass.

        Raises:
            Unauthenticated: the method asks for a caller and there is none.
            PermissionDenied: the caller lacks a permission; the first one is named.
        """
        if self.public:
            return
        if principal is None:
            raise Unauthenticated(
                "sign in with AuthService/Login and send its access token as"
                " 'authorization: Bearer ...'",
                reason="CREDENTIAL_MISSING",
            )
        for permission in sorted(self.permissions - principal.permissions):
            raise PermissionDenied(
                f"this needs the permission {permission}; ask an administrator for a role with it",
                metadata={
                    "permission": permission,
                    "method": self.method,
                    "subject": principal.name,
                },
            )


def infrastructure(method: str) -> MethodPolicy:
    """Return the rule of health checks and reflection, whose protos carry none of ours."""
    return MethodPolicy(
        method,
        public=True,
        permissions=frozenset(),
        default_deadline=None,
        max_deadline=None,
        max_request_bytes=0,
        call_class=CallClass.PROBE,
    )


def policy_of(method: MethodDescriptor) -> MethodPolicy:
    """Read a method's `access` and `limits` options.

    Raises:
        PolicyError: there is no `access`, or it names an unknown permission, field or bucket.
    """
    path = f"/{method.containing_service.full_name}/{method.name}"
    options = method.GetOptions()
    if not options.HasExtension(options_pb2.access):
        raise PolicyError(f"{path} has no (interview.options.v1.access)")
    access = options.Extensions[options_pb2.access]
    limits = options.Extensions[options_pb2.limits]
    rule = access.WhichOneof("rule")
    permissions = frozenset(access.permissions.all_of)
    _check(path, rule, permissions, access.owner_field, method.input_type)
    bucket = limits.bucket or WRITE_BUCKET
    if bucket not in BUCKETS:
        raise PolicyError(f"{path} draws from the rate bucket {bucket}, which there is not")
    return MethodPolicy(
        path,
        public=rule == "public" and access.public,
        permissions=permissions,
        default_deadline=_span(limits.default_deadline),
        max_deadline=_span(limits.max_deadline),
        max_request_bytes=limits.max_request_bytes,
        owner_field=access.owner_field,
        call_class=_class_of(bucket, options.idempotency_level),
        bucket=bucket,
        cost=limits.cost,
        max_streams=limits.max_streams_per_principal,
    )


def _class_of(bucket: str, idempotency: "MethodOptions.IdempotencyLevel.ValueType") -> CallClass:
    if bucket in _CLASS_OF_BUCKET:
        return _CLASS_OF_BUCKET[bucket]
    reads = idempotency == MethodOptions.NO_SIDE_EFFECTS
    return CallClass.READ if reads else CallClass.WRITE


def _check(
    path: str,
    rule: str | None,
    permissions: frozenset[str],
    owner_field: str,
    request: Descriptor,
) -> None:
    if rule is None:
        raise PolicyError(f"{path} has an access option without a rule")
    if rule == "permissions" and not permissions:
        raise PolicyError(f"{path} asks for permissions but names none")
    if unknown := sorted(permissions - PERMISSIONS):
        raise PolicyError(f"{path} asks for {unknown[0]}, which no role grants")
    message: Descriptor | None = request
    for name in owner_field.split(".") if owner_field else ():
        field = message.fields_by_name.get(name) if message is not None else None
        if field is None:
            raise PolicyError(f"{path} names the owner field {owner_field}, which is not there")
        message = field.message_type


def _span(duration: Duration) -> timedelta | None:
    return duration.ToTimedelta() or None
