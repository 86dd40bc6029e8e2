"""Sign-in between the contract and the domain."""

from typing import Annotated, Final
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field

from server.auth.domain import User, checked_email
from server.auth.sessions import Login, TokenPair
from server.auth.user_mapping import user_message
from server.core.principal import FOREVER, CredentialKind, Principal
from server.core.roles import is_permission
from server.generated.interview.auth.v1 import auth_service_pb2 as auth
from server.generated.interview.options.v1 import options_pb2 as options
from server.rpc.validation import validated
from server.rpc.well_known import duration, timestamp

MAX_PASSWORD_BYTES: Final = 1024
"""Above what any password can have, so that a long one is answered like a wrong one."""


def _password(text: str) -> str:
    if not text:
        raise ValueError("must be set")
    if len(text.encode("utf-8")) > MAX_PASSWORD_BYTES:
        raise ValueError(f"must have at most {MAX_PASSWORD_BYTES} bytes")
    return text


def _email(text: str) -> str:
    if not text:
        raise ValueError("must be set")
    return checked_email(text)


def _line(text: str) -> str:
    if text and not text.isprintable():
        raise ValueError("must not contain control characters")
    return text


class LoginCommand(BaseModel):
    """The rules of LoginRequest."""

    email: Annotated[str, AfterValidator(_email)]
    password: Annotated[str, AfterValidator(_password), Field(repr=False)]
    device_label: Annotated[str, Field(max_length=64), AfterValidator(_line)]


class RefreshCommand(BaseModel):
    """The rules of RefreshTokenRequest."""

    refresh_token: Annotated[str, Field(min_length=16, max_length=512, repr=False)]


def _permission(name: str) -> str:
    if not is_permission(name):
        raise ValueError("is no permission of this service; ListRoles names them all")
    return name


def _without_repeats(values: list[str]) -> list[str]:
    if len(set(values)) < len(values):
        raise ValueError("must not have the same item twice")
    return values


Permissions = Annotated[
    list[Annotated[str, AfterValidator(_permission)]], AfterValidator(_without_repeats)
]


class TestPermissionsCommand(BaseModel):
    """The rules of TestPermissionsRequest."""

    resource: Annotated[str, Field(max_length=256)]
    permissions: Annotated[Permissions, Field(min_length=1, max_length=100)]


def login_command(request: auth.LoginRequest) -> LoginCommand:
    """Read a LoginRequest; raises ValidationFailed."""
    return validated(
        LoginCommand,
        {
            "email": request.email,
            "password": request.password,
            "device_label": request.device_label,
        },
    )


def refresh_command(request: auth.RefreshTokenRequest) -> RefreshCommand:
    """Read a RefreshTokenRequest; raises ValidationFailed."""
    return validated(RefreshCommand, {"refresh_token": request.refresh_token})


def test_permissions_command(request: auth.TestPermissionsRequest) -> TestPermissionsCommand:
    """Read a TestPermissionsRequest; raises ValidationFailed."""
    return validated(
        TestPermissionsCommand,
        {"resource": request.resource, "permissions": list(request.permissions)},
    )


def login_response(login: Login) -> auth.LoginResponse:
    """Write a LoginResponse."""
    return auth.LoginResponse(
        tokens=token_pair(login.tokens),
        user=user_message(login.user),
        login_session=_session_name(login.user.user_id, login.session.session_id),
    )


def token_pair(tokens: TokenPair) -> auth.TokenPair:
    """Write a TokenPair."""
    return auth.TokenPair(
        access_token=tokens.access_token,
        access_expire_time=timestamp(tokens.access_expire_time),
        refresh_token=tokens.refresh_token,
        refresh_expire_time=timestamp(tokens.refresh_expire_time),
        token_type="Bearer",  # noqa: S106  # RFC 6750's name of the kind, not a secret
        refresh_after=duration(tokens.refresh_after),
    )


def principal_message(principal: Principal, user: User) -> auth.Principal:
    """Write a Principal: the user as kept now, the rest as the credential says."""
    by_key = principal.kind is CredentialKind.API_KEY
    kind = options.CREDENTIAL_KIND_API_KEY if by_key else options.CREDENTIAL_KIND_ACCESS_TOKEN
    ends = principal.expire_time
    return auth.Principal(
        user=user_message(user),
        permissions=sorted(principal.permissions),
        credential_kind=kind,
        auth_time=None if by_key else timestamp(principal.auth_time),
        expire_time=None if ends == FOREVER else timestamp(ends),
        login_session="" if by_key else principal.credential,
        api_key=principal.credential if by_key else "",
    )


def _session_name(user_id: UUID, session_id: UUID) -> str:
    return f"users/{user_id}/loginSessions/{session_id}"
