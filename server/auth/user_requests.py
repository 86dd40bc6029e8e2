"""The rules that requests which change users must meet, each request a command model."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final
from uuid import UUID

from google.api import field_behavior_pb2  # type: ignore[import-untyped]  # it has no types
from google.protobuf.message import Message
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from server.auth.domain import checked_email
from server.auth.user_changes import NewUser
from server.auth.user_list_requests import UserName
from server.auth.user_rules import Target
from server.core.errors import DomainError
from server.core.roles import ROLES
from server.generated.interview.auth.v1 import resources_pb2 as resources
from server.generated.interview.auth.v1 import user_service_pb2 as users
from server.rpc.validation import validated

MAX_DISPLAY_NAME: Final = 128
MAX_ROLES: Final = 16
MAX_REASON: Final = 512

_CHOSEN_ID = re.compile(r"[a-z][a-z0-9-]{2,62}")
_REFERENCE = re.compile(r"[1-9][0-9]{0,9}")


def _email(text: str) -> str:
    if not text:
        raise ValueError("must be set")
    return checked_email(text)


def _line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not contain control characters")
    return text


def _chosen_id(text: str) -> str | None:
    if not text:
        return None
    if not _CHOSEN_ID.fullmatch(text):
        raise ValueError("must have 3 to 63 of a-z, 0-9 and -, the first one a letter")
    try:
        UUID(text)
    except ValueError:
        return text
    raise ValueError("must not be a UUID; leave it empty for one")


def _reference(collection: str) -> BeforeValidator:
    def read(name: str) -> int | None:
        if not name:
            return None
        prefix, _, number = name.partition("/")
        if prefix != collection or not _REFERENCE.fullmatch(number):
            raise ValueError(f"must be a name like {collection}/1, or empty")
        return int(number)

    return BeforeValidator(read)


def _role(name: str) -> str:
    role = name.removeprefix("roles/")
    if role == name or role not in ROLES:
        names = ", ".join(f"roles/{known}" for known in ROLES)
        raise ValueError(f"must be one of {names}")
    return role


def _without_repeats(values: list[str]) -> list[str]:
    if len(set(values)) < len(values):
        raise ValueError("must not have the same item twice")
    return values


def _given(text: str) -> str | None:
    return text or None


RoleName = Annotated[str, AfterValidator(_role)]
"""A role's name, read as the role."""


class UserFields(BaseModel):
    """Rules of the fields of a User that can be set; those that are given are set."""

    email: Annotated[str, AfterValidator(_email)] = ""
    display_name: Annotated[str, Field(max_length=MAX_DISPLAY_NAME), AfterValidator(_line)] = ""
    customer: Annotated[int | None, _reference("customers")] = None
    staff: Annotated[int | None, _reference("staff")] = None


class CreateUser(BaseModel):
    """Rules of CreateUserRequest."""

    user: UserFields
    user_id: Annotated[str | None, BeforeValidator(_chosen_id)]
    initial_password: Annotated[str, Field(repr=False)]
    roles: Annotated[list[RoleName], Field(max_length=MAX_ROLES), AfterValidator(_without_repeats)]
    request_id: Annotated[UUID | None, BeforeValidator(_given)]

    @property
    def new_user(self) -> NewUser:
        """Who is to be created."""
        return NewUser(
            email=self.user.email,
            display_name=self.user.display_name,
            chosen_id=self.user_id,
            customer_id=self.user.customer,
            staff_id=self.user.staff,
            roles=tuple(self.roles),
            password=self.initial_password,
        )


class TargetUser(BaseModel):
    """Rules of a request that names a user and says no more than its etag."""

    name: UserName
    etag: Annotated[str, Field(max_length=64)]

    @property
    def target(self) -> Target:
        """The user."""
        return Target(self.name, self.etag)


class UpdatedUser(TargetUser, UserFields):
    """Rules of the User in UpdateUserRequest, of which only the fields to change are given."""


class UpdateUser(BaseModel):
    """Rules of UpdateUserRequest."""

    user: UpdatedUser


class SuspendUser(TargetUser):
    """Rules of SuspendUserRequest."""

    reason: Annotated[str, Field(max_length=MAX_REASON), AfterValidator(_line)]


class ChangeRole(TargetUser):
    """Rules of GrantRoleRequest and RevokeRoleRequest."""

    role: RoleName


_SETTABLE: Final = {
    "email": "email",
    "display_name": "display_name",
    "customer": "customer_id",
    "staff": "staff_id",
}
"""Fields of the message that UpdateUser sets, and of the user in the domain."""
_OUTPUT_ONLY: Final = frozenset(
    field.name
    for field in resources.User.DESCRIPTOR.fields
    if field_behavior_pb2.OUTPUT_ONLY
    in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
)


def create_command(request: users.CreateUserRequest) -> CreateUser:
    """Read a CreateUserRequest; raises ValidationFailed."""
    return validated(
        CreateUser,
        {
            "user": _fields_of(request.user, _SETTABLE),
            "user_id": request.user_id,
            "initial_password": request.initial_password,
            "roles": list(request.roles),
            "request_id": request.request_id,
        },
    )


def update_command(request: users.UpdateUserRequest) -> tuple[Target, Mapping[str, Any]]:
    """Read an UpdateUserRequest: the user, and the new values by the domain's names.

    Raises:
        ValidationFailed: a field to change, the name or the etag breaks its rule.
        DomainError: FIELD_MASK_INVALID.
    """
    paths = _paths(request)
    user = request.user
    sent = {"name": user.name, "etag": user.etag, **_fields_of(user, paths)}
    command = validated(UpdateUser, {"user": sent}).user
    values = {_SETTABLE[path]: getattr(command, path) for path in paths}
    return command.target, values


def _paths(request: users.UpdateUserRequest) -> Sequence[str]:
    """Return the fields to change.

    Of a mask, fields that only the server sets are passed over, so that a user can be read and
    sent back under one mask (AIP-161); the name and the etag say which user is meant, and cannot
    be written.
    """
    paths = request.update_mask.paths
    if not paths:
        return [path for path in _SETTABLE if getattr(request.user, path)]
    for path in paths:
        if path != "*" and path not in _SETTABLE and path not in _OUTPUT_ONLY:
            raise _mask_invalid(path)
    if "*" in paths:
        return list(_SETTABLE)
    return [path for path in _SETTABLE if path in paths]


def _mask_invalid(path: str) -> DomainError:
    allowed = ", ".join((*_SETTABLE, "*"))
    return DomainError(
        f"update_mask: {path[:64]!r} cannot be changed; name some of {allowed}",
        reason="FIELD_MASK_INVALID",
        metadata={"path": path, "allowed_paths": ",".join((*_SETTABLE, "*"))},
    )


def target_of(request: Message) -> Target:
    """Read a request with a name and an etag; raises ValidationFailed."""
    return validated(TargetUser, _fields_of(request, ("name", "etag"))).target


def suspended(request: users.SuspendUserRequest) -> Target:
    """Read a SuspendUserRequest; raises ValidationFailed."""
    return validated(SuspendUser, _fields_of(request, ("name", "etag", "reason"))).target


def role_change(request: users.GrantRoleRequest | users.RevokeRoleRequest) -> tuple[Target, str]:
    """Read the user and the role of a request; raises ValidationFailed."""
    command = validated(ChangeRole, _fields_of(request, ("name", "etag", "role")))
    return command.target, command.role


def _fields_of(message: Message, names: Sequence[str] | Mapping[str, str]) -> dict[str, Any]:
    return {name: getattr(message, name) for name in names}
