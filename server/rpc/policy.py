"""What each method demands of its caller, read from the descriptors.

Fail closed: a method without a rule, or with a rule that nobody could meet, stops the start.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from server.core.errors import PermissionDenied, ResourceNotFound, Unauthenticated
from server.core.principal import CredentialKind, Principal
from server.core.resource_names import belongs_to, resource_type
from server.core.roles import PERMISSIONS, permissions_of
from server.generated.interview.options.v1 import options_pb2

DEFAULT_DEADLINE = timedelta(seconds=10)

WRITE_BUCKET = "write"
"""The rate bucket of a method that names none."""

BUCKETS = frozenset({"read", WRITE_BUCKET, "login", "agent", "watch", "bulk"})


class CallClass(StrEnum):
    """What a call competes with for places. A probe competes with nothing: it always gets in."""

    PROBE = "probe"
    LOGIN = "login"
    READ = "read"
    WRITE = "write"
    CHAT = "chat"
    WATCH = "watch"
    BULK = "bulk"


_CLASS_OF_BUCKET = {
    "login": CallClass.LOGIN,
    "agent": CallClass.CHAT,
    "watch": CallClass.WATCH,
    "bulk": CallClass.BULK,
}


class AuditLevel(IntEnum):
    """What the audit trail keeps of a call."""

    NONE = 0
    METADATA = 1
    REQUEST = 2


_AUDIT_LEVELS = {
    options_pb2.AUDIT_LEVEL_UNSPECIFIED: AuditLevel.NONE,
    options_pb2.AUDIT_LEVEL_NONE: AuditLevel.NONE,
    options_pb2.AUDIT_LEVEL_METADATA: AuditLevel.METADATA,
    options_pb2.AUDIT_LEVEL_REQUEST: AuditLevel.REQUEST,
}
_KINDS = {
    options_pb2.CREDENTIAL_KIND_ACCESS_TOKEN: CredentialKind.ACCESS_TOKEN,
    options_pb2.CREDENTIAL_KIND_API_KEY: CredentialKind.API_KEY,
}


class PolicyError(Exception):
    """A method's rule is missing or cannot be met: the server must not start."""


@dataclass(frozen=True, slots=True)
class MethodPolicy:
    """One method's rule. `public` asks for nobody, else `permissions` for every one of them.

    With an `owner_field`, a caller who has a permission for own resources alone may ask for
    those. A call takes `cost` tokens from the rate bucket named `bucket`, and a caller may hold
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
    credential_kinds: frozenset[CredentialKind] = frozenset(CredentialKind)
    max_auth_age: timedelta | None = None
    audit: AuditLevel = AuditLevel.NONE

    def authorize(self, principal: Principal | None, now: datetime) -> None:
        """Let the caller pass, as far as can be said without the request.

        Raises:
            Unauthenticated: the method asks for a caller and there is none.
            PermissionDenied: the caller lacks a permission, the first one is named; or the kind
                of its credential is not accepted; or STEP_UP_REQUIRED, the password was given
                too long ago.
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
            if not (self.owner_field and principal.may_own(permission)):
                raise self._lacks(principal, permission)
        if principal.kind not in self.credential_kinds:
            raise PermissionDenied(
                "this needs the access token of somebody who signed in; an API key is not enough",
                metadata={
                    "permission": ",".join(sorted(self.permissions)),
                    "method": self.method,
                    "subject": principal.name,
                },
            )
        if self.max_auth_age is not None:
            require_recent_password(principal, self.max_auth_age, now)

    def authorize_request(self, principal: Principal, request: Message) -> None:
        """Let the request pass: what is asked for must be the caller's own where that matters.

        Raises:
            ResourceNotFound: it is somebody else's. The same is told of what does not exist, so
                that nobody learns which names there are.
        """
        if not self.owner_field or self.permissions <= principal.permissions:
            return
        name = text_at(request, self.owner_field)
        if not belongs_to(name, principal):
            raise ResourceNotFound(resource_type(name), name)

    def _lacks(self, principal: Principal, permission: str) -> PermissionDenied:
        text = f"this needs the permission {permission}; ask an administrator for a role with it"
        if permission in permissions_of(principal.roles):
            text = f"this credential is limited and has no {permission}; use one that has it"
        return PermissionDenied(
            text,
            metadata={
                "permission": permission,
                "method": self.method,
                "subject": principal.name,
            },
        )


def require_recent_password(principal: Principal, max_age: timedelta, now: datetime) -> None:
    """Let only who gave the password a short time ago pass (ASVS 7.5.3).

    Raises:
        PermissionDenied: STEP_UP_REQUIRED.
    """
    if principal.kind is not CredentialKind.ACCESS_TOKEN or now - principal.auth_time > max_age:
        seconds = int(max_age.total_seconds())
        raise PermissionDenied(
            f"this needs a sign-in whose password was given within the last {seconds} s; sign in"
            " again, with an access token in place of an API key",
            reason="STEP_UP_REQUIRED",
            metadata={"max_auth_age": f"{seconds}s"},
        )


def text_at(request: Message, path: str) -> str:
    """Return the text of a field by its path, for example "user.name"."""
    value: object = request
    for name in path.split("."):
        value = getattr(value, name)
    return str(value)


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
        PolicyError: there is no `access`, or it names an unknown permission, field, bucket or
            kind of credential, or says what nobody would look at, or what nobody could meet.
    """
    path = f"/{method.containing_service.full_name}/{method.name}"
    options = method.GetOptions()
    if not options.HasExtension(options_pb2.access):
        raise PolicyError(f"{path} has no (interview.options.v1.access)")
    access = options.Extensions[options_pb2.access]
    limits = options.Extensions[options_pb2.limits]
    rule = access.WhichOneof("rule")
    permissions = frozenset(access.permissions.all_of)
    _check_rule(path, access, permissions)
    _check_owner(path, permissions, access.owner_field, method.input_type)
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
        credential_kinds=(
            frozenset(_KINDS[kind] for kind in access.credential_kinds) or frozenset(CredentialKind)
        ),
        max_auth_age=_span(access.max_auth_age),
        audit=_AUDIT_LEVELS[access.audit],
    )


def _class_of(bucket: str, idempotency: "MethodOptions.IdempotencyLevel.ValueType") -> CallClass:
    if bucket in _CLASS_OF_BUCKET:
        return _CLASS_OF_BUCKET[bucket]
    reads = idempotency == MethodOptions.NO_SIDE_EFFECTS
    return CallClass.READ if reads else CallClass.WRITE


def _check_rule(path: str, access: options_pb2.AccessPolicy, permissions: frozenset[str]) -> None:
    rule = access.WhichOneof("rule")
    if rule is None:
        raise PolicyError(f"{path} has an access option without a rule")
    if rule != "permissions" and not getattr(access, rule):
        raise PolicyError(f"{path} says {rule}: false, which says nothing")
    if rule == "permissions" and not permissions:
        raise PolicyError(f"{path} asks for permissions but names none")
    if unknown := sorted(permissions - PERMISSIONS):
        raise PolicyError(f"{path} asks for {unknown[0]}, which no role grants")
    if rule == "public" and (
        access.owner_field or access.credential_kinds or access.HasField("max_auth_age")
    ):
        raise PolicyError(f"{path} is public and asks for something of a caller that it has not")
    if not set(access.credential_kinds) <= _KINDS.keys() or access.audit not in _AUDIT_LEVELS:
        raise PolicyError(f"{path} names a kind of credential or an audit level that is unknown")
    kinds = {_KINDS[kind] for kind in access.credential_kinds}
    if access.HasField("max_auth_age") and kinds == {CredentialKind.API_KEY}:
        raise PolicyError(f"{path} asks API keys alone for a password, which they have not")


def _check_owner(
    path: str, permissions: frozenset[str], owner_field: str, request: Descriptor
) -> None:
    if not owner_field:
        return
    if not permissions:
        raise PolicyError(f"{path} has an owner field and no permissions that it could relax")
    if other := sorted(p for p in permissions if f"{p}.own" not in PERMISSIONS):
        raise PolicyError(f"{path} has an owner field, and no role grants {other[0]}.own")
    message: Descriptor | None = request
    fields: list[FieldDescriptor] = []
    for name in owner_field.split("."):
        field = message.fields_by_name.get(name) if message is not None else None
        if field is None:
            raise PolicyError(f"{path} names the owner field {owner_field}, which is not there")
        fields.append(field)
        message = field.message_type
    several = any(field.is_repeated for field in fields)
    if several or fields[-1].type != FieldDescriptor.TYPE_STRING:
        raise PolicyError(f"{path} has the owner field {owner_field}, which is not one string")


def _span(duration: Duration) -> timedelta | None:
    return duration.ToTimedelta() or None
