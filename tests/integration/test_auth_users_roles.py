"""Giving and taking roles through a real server, on both databases."""

import pytest

from server.generated.interview.auth.v1 import auth_service_pb2 as auth
from server.generated.interview.auth.v1 import resources_pb2 as resources
from server.generated.interview.auth.v1 import user_service_pb2 as pb
from tests.support.auth import MovableClock
from tests.support.running import PASSWORD, Running
from tests.support.statuses import check_row, refused
from tests.support.user_desk import NOBODY, Desk, audited, signed_in, signed_in_before


@pytest.fixture
async def desk(shared: Running) -> Desk:
    return await Desk.open(shared)


async def test_a_role_counts_with_the_next_token(desk: Desk, movable: MovableClock) -> None:
    """ASVS 8.3.2: changed rights count at once: tokens of before ask for a refresh."""
    made = await desk.create(roles=["roles/viewer"])
    login = await desk.Login(auth.LoginRequest(email=made.email, password=PASSWORD))
    before = Desk(desk.running, (("authorization", f"Bearer {login.tokens.access_token}"),))
    movable.advance(seconds=2)
    granted = await desk.grant(made.name, "roles/admin", made.etag)
    assert list(granted.roles) == ["roles/admin", "roles/viewer"]
    assert granted.etag != made.etag
    assert (await refused(before.whoami())).reason == "TOKEN_EXPIRED"
    request = auth.RefreshTokenRequest(refresh_token=login.tokens.refresh_token)
    tokens = (await desk.RefreshToken(request)).tokens
    admin = Desk(desk.running, (("authorization", f"Bearer {tokens.access_token}"),))
    assert (await admin.get(made.name)).roles == granted.roles
    movable.advance(seconds=2)
    revoked = await desk.revoke_admin(made.name)
    assert list(revoked.roles) == ["roles/viewer"]
    assert (await refused(admin.create())).reason == "TOKEN_EXPIRED"
    request = auth.RefreshTokenRequest(refresh_token=tokens.refresh_token)
    tokens = (await desk.RefreshToken(request)).tokens
    viewer = Desk(desk.running, (("authorization", f"Bearer {tokens.access_token}"),))
    assert (await refused(viewer.create())).reason == "PERMISSION_DENIED"


async def test_a_role_that_is_there_or_not_there_already_changes_nothing(desk: Desk) -> None:
    made = await desk.create(roles=["roles/viewer"])
    assert await desk.grant(made.name, "roles/viewer") == made
    assert await desk.revoke(made.name, "roles/staff") == made
    granted = await desk.grant(made.name, "roles/staff", made.etag)
    assert await desk.grant(made.name, "roles/staff", made.etag) == granted


async def test_a_user_may_lose_every_role_but_the_last_administrators(desk: Desk) -> None:
    made = await desk.create(roles=["roles/viewer"])
    assert not (await desk.revoke(made.name, "roles/viewer")).roles
    admin = await desk.create(roles=["roles/admin"])
    await desk.suspend(admin.name)
    assert not (await desk.revoke_admin(admin.name)).roles, "one who is barred counts for nothing"


@pytest.mark.parametrize("role", ["", "viewer", "roles/", "roles/boss", "roles/viewer/x"])
async def test_an_unknown_role_is_refused(desk: Desk, role: str) -> None:
    """ASVS 2.2.1."""
    for call in (desk.grant(NOBODY, role), desk.revoke(NOBODY, role)):
        told = await refused(call)
        check_row(told, "VALIDATION_FAILED")
        assert told.bad_fields == ["role"]


async def test_nobody_has_no_roles(desk: Desk) -> None:
    """AIP-193: a user that there is not is told as not found."""
    for call in (desk.grant(NOBODY, "roles/viewer"), desk.revoke(NOBODY, "roles/viewer")):
        check_row(await refused(call), "RESOURCE_NOT_FOUND")


async def test_an_etag_of_before_gives_and_takes_nothing(desk: Desk) -> None:
    """AIP-154."""
    made = await desk.create(roles=["roles/viewer"])
    changed = await desk.update(made.name, display_name="x")
    for call in (
        desk.grant(made.name, "roles/staff", made.etag),
        desk.revoke(made.name, "roles/viewer", made.etag),
    ):
        check_row(await refused(call), "ETAG_MISMATCH")
    assert await desk.get(made.name) == changed


async def test_giving_roles_needs_the_permission_a_token_and_a_recent_password(
    desk: Desk, movable: MovableClock
) -> None:
    """ASVS 7.5.3, 8.2.1, 8.3.1: nobody makes administrators by the way."""
    made = await desk.create(roles=["roles/admin"])
    viewer = await desk.create(roles=["roles/viewer"])
    owner = await desk.sign_in(viewer)
    scoped = await signed_in(desk.running, made.email, scopes=["users.write"])
    for caller in (owner, scoped):
        told = await refused(caller.grant(viewer.name, "roles/admin"))
        check_row(told, "PERMISSION_DENIED")
        assert told.metadata["permission"] == "users.roles.write"
    key = await desk.CreateApiKey(
        pb.CreateApiKeyRequest(parent=made.name, api_key=resources.ApiKey(display_name="k"))
    )
    by_key = Desk(desk.running, (("x-api-key", key.secret),))
    check_row(await refused(by_key.grant(viewer.name, "roles/admin")), "PERMISSION_DENIED")
    told = await refused(by_key.create(roles=["roles/admin"]))
    check_row(told, "PERMISSION_DENIED")
    late = await signed_in_before(desk.running, made.email, movable, seconds=901)
    for call in (late.grant(viewer.name, "roles/admin"), late.revoke(viewer.name, "roles/viewer")):
        check_row(await refused(call), "STEP_UP_REQUIRED")
    again = await Desk.open(desk.running)
    assert list((await again.get(viewer.name)).roles) == ["roles/viewer"]


async def test_roles_are_in_the_audit_trail(desk: Desk) -> None:
    """ASVS 16.3.3."""
    made = await desk.create()
    await desk.grant(made.name, "roles/staff")
    await desk.revoke(made.name, "roles/staff")
    _, granted, revoked = await audited(desk.running, made.name)
    assert granted["method"].endswith("/GrantRole")
    assert revoked["method"].endswith("/RevokeRole")
    assert granted["request"] == revoked["request"] == {"name": made.name, "role": "roles/staff"}
    assert granted["credential"].startswith(granted["principal"])
