"""Requests of sign-in held against their rules, and what a caller reads about them."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, field_validator, model_validator

from server.auth import mapping
from server.auth.domain import LoginSession, User, checked_email
from server.auth.sessions import Login
from server.auth.token_pairs import TokenPair
from server.core.errors import ValidationFailed
from server.core.principal import Principal
from server.generated.interview.auth.v1 import auth_service_pb2 as auth
from server.generated.interview.auth.v1 import resources_pb2 as resources
from server.generated.interview.options.v1 import options_pb2 as options
from server.rpc.validation import validated

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
USER = User(
    user_id=UUID("6a1f8a1e-51f1-4c0e-9d57-0f4dcb7f3a10"),
    email="ann@example.com",
    display_name="Ann",
    roles=("admin", "viewer"),
    state="active",
    create_time=NOW,
    update_time=NOW,
    last_login_time=None,
    password_change_time=NOW,
)
SESSION = UUID("0b6b7c52-5a36-4e52-8f4e-8a6d1de0b0a7")
SESSION_NAME = f"users/{USER.user_id}/loginSessions/{SESSION}"


class Part(BaseModel):
    title: Annotated[str, Field(min_length=1, max_length=5)]


class Rules(BaseModel):
    film: Part
    names: Annotated[list[Annotated[str, Field(pattern="^films/[0-9]+$")]], Field(max_length=2)]
    parts: list[Part] = []
    page_size: Annotated[int, Field(ge=0, le=1000)] = 0
    view: Literal["basic", "full"] = "basic"
    token: UUID | None = None
    lower: int = 0
    upper: int = 0

    @field_validator("lower")
    @classmethod
    def even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("must be even")
        return value

    @model_validator(mode="after")
    def ordered(self) -> "Rules":
        if self.lower > self.upper:
            raise ValueError("lower must not be above upper")
        return self


def violations(**values: Any) -> dict[str, str]:
    good: dict[str, Any] = {"film": {"title": "Up"}, "names": []}
    with pytest.raises(ValidationFailed) as caught:
        validated(Rules, good | values)
    return {v.field: v.description for v in caught.value.violations}


def test_every_broken_rule_is_listed_with_its_path() -> None:
    """ASVS 2.2.1, AIP-193."""
    found = violations(
        film={"title": ""},
        names=["films/1", "x"],
        parts=[{"title": "Up"}, {"title": "Too long"}],
        page_size=-1,
        view="all",
        token="1",
        lower=1,
    )
    assert found == {
        "film.title": "must be set",
        "names[1]": "must match ^films/[0-9]+$",
        "parts[1].title": "must have at most 5 characters",
        "page_size": "must be at least 0",
        "view": "must be one of 'basic' or 'full'",
        "token": "must be a UUID",
        "lower": "must be even",
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"film": {}}, {"film.title": "must be set"}),
        ({"names": ["films/1"] * 3}, {"names": "must have at most 2 items"}),
        ({"page_size": 1001}, {"page_size": "must be at most 1000"}),
        ({"page_size": "many"}, {"page_size": "is not valid"}),
        ({"lower": 2}, {"request": "lower must not be above upper"}),
    ],
)
def test_sentence_of_a_broken_rule(values: dict[str, Any], expected: dict[str, str]) -> None:
    """ASVS 2.2.1, AIP-193."""
    assert violations(**values) == expected


def test_good_values_become_the_model() -> None:
    model = validated(Rules, {"film": {"title": "Up"}, "names": ["films/1"]})
    assert (model.film.title, model.names) == ("Up", ["films/1"])


def login_violations(**fields: Any) -> dict[str, str]:
    good = {"email": "ann@example.com", "password": "secret"}
    with pytest.raises(ValidationFailed) as caught:
        mapping.login_command(auth.LoginRequest(**(good | fields)))
    assert "secret" not in caught.value.message
    return {v.field: v.description for v in caught.value.violations}


def test_empty_login_names_both_fields_that_must_be_set() -> None:
    """ASVS 2.2.1."""
    assert login_violations(email="", password="") == {
        "email": "must be set",
        "password": "must be set",
    }


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"email": "ann"}, "must be an e-mail address such as name@example.com"),
        ({"email": f"a@{'b.' * 127}c"}, "must have at most 254 characters"),
        ({"device_label": "x" * 65}, "must have at most 64 characters"),
        ({"device_label": "a\0b"}, "must not contain control characters"),
    ],
)
def test_login_field_against_its_rule(fields: dict[str, Any], expected: str) -> None:
    """ASVS 2.2.1."""
    assert login_violations(**fields) == dict.fromkeys(fields, expected)


def test_login_takes_a_password_longer_than_any_can_be() -> None:
    """ASVS 6.2.8: nothing of it is cut."""
    request = auth.LoginRequest(email="Ann@Example.com", password="x" * 9999, device_label="é" * 64)
    command = mapping.login_command(request)
    assert (command.email, len(command.password)) == ("ann@example.com", 9999)
    assert "xxx" not in repr(command)


def test_change_of_a_password_without_its_fields_names_both() -> None:
    """ASVS 6.2.3: a change needs the current password and the new one."""
    with pytest.raises(ValidationFailed) as caught:
        mapping.password_change(auth.ChangePasswordRequest(), "::1")
    fields = [(v.field, v.description) for v in caught.value.violations]
    assert fields == [("current_password", "must be set"), ("new_password", "must be set")]


def test_change_of_a_password_is_taken_as_it_is_and_not_shown() -> None:
    """ASVS 6.2.8: what is new or wrong is for the domain to say."""
    request = auth.ChangePasswordRequest(
        current_password=" Old ", new_password="\u00c5 ", keep_other_sessions=True
    )
    change = mapping.password_change(request, "::1")
    assert (change.current, change.new) == (" Old ", "\u00c5 ")
    assert (change.keep_other_sessions, change.ip_address) == (True, "::1")
    assert "Old" not in repr(change)
    assert "\u00c5" not in repr(change)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"refresh_token": "x" * 15}, "refresh_token"),
        ({"refresh_token": "x" * 513}, "refresh_token"),
    ],
)
def test_refresh_field_against_its_rule(fields: dict[str, str], field: str) -> None:
    """ASVS 2.2.1."""
    with pytest.raises(ValidationFailed) as caught:
        mapping.refresh_command(auth.RefreshTokenRequest(**fields))
    assert [v.field for v in caught.value.violations] == [field]


@pytest.mark.parametrize(
    "email",
    [
        *("", "@", "a@", "@b", "a b@c.d", "a@b@c", "a@b..c", "a@.b", "a\0@b.c", "a@b.c\n"),
        "a" * 255,
        "x" * 64 + "@" + ".".join(["y" * 60] * 4),
        "x" * 65 + "@example.com",
    ],
)
def test_what_is_no_address_is_refused(email: str) -> None:
    """ASVS 2.2.1."""
    with pytest.raises(ValueError, match="must"):
        checked_email(email)


@pytest.mark.parametrize(
    ("email", "folded"),
    [
        ("Ann@Example.COM", "ann@example.com"),
        ("admin@localhost", "admin@localhost"),
        ("o'neil+films@a-b.example", "o'neil+films@a-b.example"),
        ("JOSE\u0301@example.com", "josé@example.com"),
    ],
)
def test_address_is_kept_folded(email: str, folded: str) -> None:
    assert checked_email(email) == folded


def test_login_response_carries_everything() -> None:
    tokens = TokenPair("access", NOW, "rt_token", NOW + timedelta(days=1), timedelta(minutes=10))
    session = LoginSession(SESSION, USER.user_id, "", "", "", NOW, NOW)
    message = mapping.login_response(Login(tokens, USER, session))
    assert message.tokens.access_token == "access"
    assert message.tokens.access_expire_time.ToDatetime(UTC) == NOW
    assert message.tokens.refresh_token == "rt_token"
    assert message.tokens.refresh_expire_time.ToDatetime(UTC) == NOW + timedelta(days=1)
    assert message.tokens.token_type == "Bearer"
    assert message.tokens.refresh_after.ToTimedelta() == timedelta(minutes=10)
    assert message.login_session == SESSION_NAME
    assert message.user.name == USER.name
    assert list(message.user.roles) == ["roles/admin", "roles/viewer"]
    assert message.user.state == resources.USER_STATE_ACTIVE
    assert message.user.create_time.ToDatetime(UTC) == NOW
    assert not message.user.HasField("last_login_time")


def test_principal_is_the_credentials_and_the_users_part_together() -> None:
    principal = Principal(
        user_id=USER.user_id,
        session_id=SESSION,
        roles=("viewer",),
        permissions=frozenset({"films.read", "agent.chat"}),
        auth_time=NOW,
        expire_time=NOW + timedelta(minutes=15),
    )
    message = mapping.principal_message(principal, USER)
    assert list(message.permissions) == ["agent.chat", "films.read"]
    assert message.credential_kind == options.CREDENTIAL_KIND_ACCESS_TOKEN
    assert message.expire_time.ToDatetime(UTC) == principal.expire_time
    assert message.auth_time.ToDatetime(UTC) == NOW
    assert message.login_session == SESSION_NAME
    assert message.user.email == USER.email
