"""UserService.CreateUser through a real server, on both databases."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from server.auth.models import AppUser
from server.generated.interview.auth.v1 import resources_pb2 as resources
from server.generated.interview.auth.v1 import user_service_pb2 as pb
from tests.support.auth import MovableClock
from tests.support.caller import Caller
from tests.support.running import PASSWORD, VIEWER, Running
from tests.support.statuses import check_row, refused
from tests.support.user_desk import (
    Desk,
    audited,
    count,
    new_email,
    plant_shop,
    signed_in,
    signed_in_before,
)


@pytest.fixture(scope="module", autouse=True)
async def shop(shared: Running) -> None:
    await plant_shop(shared)


@pytest.fixture
async def desk(shared: Running) -> Desk:
    return await Desk.open(shared)


def _users(email: str) -> Any:
    return select(AppUser.user_id).where(AppUser.email == email)


def _chosen() -> str:
    return f"u{uuid4().hex[:20]}"


async def test_a_user_is_created_and_signs_in(desk: Desk, movable: MovableClock) -> None:
    """AIP-133."""
    email = new_email()
    created = await desk.create(
        email.upper(),
        user={"display_name": "Ann Lee", "customer": "customers/1", "staff": "staff/1"},
        roles=["roles/viewer", "roles/staff"],
    )
    UUID(created.name.removeprefix("users/"))
    assert (created.email, created.display_name) == (email, "Ann Lee")
    assert list(created.roles) == ["roles/staff", "roles/viewer"]
    assert (created.customer, created.staff) == ("customers/1", "staff/1")
    assert created.state == resources.USER_STATE_ACTIVE
    assert created.create_time == created.update_time == created.password_change_time
    assert created.create_time.ToDatetime(movable.now.tzinfo) == movable.now
    assert created == await desk.get(created.name)
    signed_in = await (await desk.sign_in(created)).whoami()
    assert signed_in.user.name == created.name
    assert "customers.read" in signed_in.permissions


async def test_a_chosen_id_is_the_name_by_which_owner_and_others_go(desk: Desk) -> None:
    """AIP-133: ids that users choose."""
    chosen = _chosen()
    created = await desk.create(user_id=chosen, roles=["roles/viewer"])
    assert created.name == f"users/{chosen}"
    owner = await desk.sign_in(created)
    assert (await owner.get(created.name)).name == created.name
    assert (await owner.update(created.name, display_name="I")).display_name == "I"


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        ({}, ["user.email"]),
        ({"user": {"email": "nobody"}}, ["user.email"]),
        ({"user": {"email": "a" * 250 + "@x.org"}}, ["user.email"]),
        ({"user": {"display_name": "x" * 129}}, ["user.email", "user.display_name"]),
        ({"user": {"display_name": "a\nb"}}, ["user.email", "user.display_name"]),
        ({"user": {"customer": "customers/0"}}, ["user.email", "user.customer"]),
        ({"user": {"staff": "customers/1"}}, ["user.email", "user.staff"]),
        ({"user_id": "ab"}, ["user.email", "user_id"]),
        ({"user_id": "Anna"}, ["user.email", "user_id"]),
        ({"user_id": "1anna"}, ["user.email", "user_id"]),
        ({"user_id": "a" * 64}, ["user.email", "user_id"]),
        ({"user_id": "abcdef01-2345-4789-8abc-def012345678"}, ["user.email", "user_id"]),
        ({"roles": ["viewer"]}, ["user.email", "roles[0]"]),
        ({"roles": ["roles/viewer", "roles/boss"]}, ["user.email", "roles[1]"]),
        ({"roles": ["roles/viewer", "roles/viewer"]}, ["user.email", "roles"]),
        ({"roles": ["roles/viewer"] * 17}, ["user.email", "roles"]),
        ({"request_id": "1"}, ["user.email", "request_id"]),
    ],
)
async def test_every_bad_field_is_named(
    desk: Desk, request_: dict[str, Any], fields: list[str]
) -> None:
    """ASVS 2.2.1: positive validation of every field, by the server."""
    user = resources.User(**request_.get("user", {}))
    told = await refused(desk.CreateUser(pb.CreateUserRequest(**{**request_, "user": user})))
    check_row(told, "VALIDATION_FAILED")
    assert told.bad_fields == fields


async def test_output_only_fields_and_the_name_are_passed_over(desk: Desk) -> None:
    """AIP-203: what only the server sets is neither taken nor refused."""
    sent = {"name": "users/me", "state": resources.USER_STATE_DELETED, "roles": ["roles/admin"]}
    created = await desk.create(user={**sent, "etag": '"x"'})
    assert created.name != "users/me"
    assert created.state == resources.USER_STATE_ACTIVE
    assert not created.roles


async def test_a_user_without_a_password_cannot_sign_in(desk: Desk) -> None:
    """ASVS 6.4.1: no default password."""
    created = await desk.create(initial_password="")
    assert not created.HasField("password_change_time")
    assert (await refused(desk.sign_in(created))).reason == "LOGIN_FAILED"
    assert not [
        line for line in desk.running.lines if "unusable" in str(line.kwargs.get("event", ""))
    ]


@pytest.mark.parametrize("password", ["short", " " * 20, "x" * 257, "passwordpassword"])
async def test_a_weak_password_creates_nobody(desk: Desk, password: str) -> None:
    """ASVS 6.2.1, 6.2.4, 6.2.9: the policy holds for passwords that others set too."""
    email = new_email()
    told = await refused(desk.create(email, initial_password=password))
    check_row(told, "PASSWORD_POLICY")
    assert told.bad_fields == ["initial_password"]
    assert await count(desk.running, _users(email)) == 0


async def test_an_address_that_is_taken_is_told_with_who_has_it(desk: Desk) -> None:
    """AIP-193: the details say which field is taken, and by whom."""
    created = await desk.create()
    told = await refused(desk.create(created.email.upper()))
    check_row(told, "RESOURCE_EXISTS")
    assert told.metadata == {"resource_name": created.name, "conflicting_field": "email"}
    assert created.email not in told.message


async def test_an_id_that_is_taken_is_told(desk: Desk) -> None:
    """AIP-133: an id that is taken is refused."""
    chosen = _chosen()
    await desk.create(user_id=chosen)
    told = await refused(desk.create(user_id=chosen))
    check_row(told, "RESOURCE_EXISTS")
    assert told.metadata == {"resource_name": f"users/{chosen}", "conflicting_field": "user_id"}


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("customer", "customers/77"),
        ("customer", "customers/9999999999"),
        ("staff", "staff/77"),
    ],
)
async def test_a_reference_that_leads_nowhere_is_told(desk: Desk, field: str, name: str) -> None:
    """ASVS 2.2.1: whom a user stands for must exist."""
    email = new_email()
    told = await refused(desk.create(email, user={field: name}))
    check_row(told, "REFERENCE_NOT_FOUND")
    assert told.metadata == {"field": f"user.{field}", "resource_name": name}
    assert told.bad_fields == [f"user.{field}"]
    assert await count(desk.running, _users(email)) == 0


async def test_validate_only_tells_all_and_creates_nothing(desk: Desk) -> None:
    """AIP-163."""
    email, taken = new_email(), await desk.create()
    checked = await desk.create(email, validate_only=True, roles=["roles/viewer"])
    assert (checked.email, checked.etag) == (email, "")
    assert await count(desk.running, _users(email)) == 0
    assert (await refused(desk.sign_in(checked))).reason == "LOGIN_FAILED"
    for reason, request in (
        ("RESOURCE_EXISTS", {"email": taken.email}),
        ("PASSWORD_POLICY", {"email": email, "initial_password": "short"}),
        ("REFERENCE_NOT_FOUND", {"email": email, "user": {"staff": "staff/99"}}),
    ):
        told = await refused(desk.create(validate_only=True, **request))
        assert told.reason == reason


async def test_only_an_administrator_creates_users(shared: Running) -> None:
    """ASVS 8.2.1: functions are for those with the permission."""
    viewer = Caller(shared, await shared.sign_in(VIEWER))
    user = resources.User(email=new_email())
    told = await refused(viewer.CreateUser(pb.CreateUserRequest(user=user)))
    check_row(told, "PERMISSION_DENIED")
    assert told.metadata["permission"] == "users.write"


async def test_roles_at_creation_need_what_granting_them_needs(
    desk: Desk, movable: MovableClock
) -> None:
    """ASVS 8.2.1, 7.5.3: no way around the rule of GrantRole."""
    made = await desk.create(roles=["roles/admin"])
    scoped = await signed_in(desk.running, made.email, scopes=["users.write"])
    told = await refused(scoped.create(roles=["roles/viewer"]))
    check_row(told, "PERMISSION_DENIED")
    assert told.metadata["permission"] == "users.roles.write"
    assert told.metadata["method"].endswith("/CreateUser")
    assert not (await scoped.create()).roles
    late = await signed_in_before(desk.running, made.email, movable, seconds=901)
    told = await refused(late.create(roles=["roles/viewer"]))
    check_row(told, "STEP_UP_REQUIRED")
    assert not (await late.create()).roles


async def test_the_creation_is_in_the_audit_trail_without_address_and_password(
    desk: Desk,
) -> None:
    """ASVS 16.3.3, 16.2.5: security events are kept, without secrets."""
    created = await desk.create(roles=["roles/viewer"])
    (event,) = await audited(desk.running, created.name)
    assert event["method"] == "/interview.auth.v1.UserService/CreateUser"
    assert event["outcome"] == "OK"
    assert event["principal"].startswith("users/")
    assert event["request"]["roles"] == ["roles/viewer"]
    assert PASSWORD not in str(event)
    assert created.email not in str(event)
