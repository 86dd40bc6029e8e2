"""Sign-in between the contract and the domain."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from server.auth.domain import User, checked_email
from server.auth.password_change import Change
from server.auth.sessions import Login
from server.auth.token_pairs import TokenPair
from server.auth.user_mapping import user_message
from server.core.principal import FOREVER, CredentialKind, Principal
from server.core.roles import is_permission
from server.generated.interview.auth.v1 import auth_service_pb2 as auth
from server.generated.interview.options.v1 import options_pb2 as options
from server.rpc.validation import validated
from server.rpc.well_known import duration, timestamp


def _password(text: str) -> str:
    # However long: one that nobody can have is answered like any wrong one.
    if not text:
        raise ValueError("must be set")
    return text


def _email(text: str) -> str:
    if not text:
        raise ValueError("must be set")
    return checked_email(text)


def _line(text: str) -> str:
    if text and not text.isprintable():
        raise ValueError("must not contain control characters")
    return text


class ChangePasswordCommand(BaseModel):
    """The rules of ChangePasswordRequest; those for new passwords are the domain's."""

    current_password: Annotated[str, AfterValidator(_password), Field(repr=False)]
    new_password: Annotated[str, AfterValidator(_password), Field(repr=False)]


def _given(text: str) -> str | None:
    return text or None


class RefreshCommand(BaseModel):
    """The rules of RefreshTokenRequest."""

    refresh_token: Annotated[str, Field(min_length=16, max_length=512, repr=False)]
    request_id: Annotated[UUID | None, BeforeValidator(_given), Field(repr=False)]


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


class LoginCommand(BaseModel):
    """The rules of LoginRequest."""

    email: Annotated[str, AfterValidator(_email)]
    password: Annotated[str, AfterValidator(_password), Field(repr=False)]
    device_label: Annotated[str, Field(max_length=64), AfterValidator(_line)]
    scopes: Annotated[Permissions, Field(max_length=64)]


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
            "scopes": list(request.scopes),
        },
    )


def password_change(request: auth.ChangePasswordRequest, ip_address: str) -> Change:
    """Read a ChangePasswordRequest; raises ValidationFailed."""
    command = validated(
        ChangePasswordCommand,
        {"current_password": request.current_password, "new_password": request.new_password},
    )
    return Change(
        command.current_password, command.new_password, request.keep_other_sessions, ip_address
    )


def refresh_command(request: auth.RefreshTokenRequest) -> RefreshCommand:
    """Read a RefreshTokenRequest; raises ValidationFailed."""
    return validated(
        RefreshCommand,
        {"refresh_token": request.refresh_token, "request_id": request.request_id},
    )


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
        login_session=login.session.name,
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
