"""Suspending, reactivating, deleting and undeleting users, on both databases (AIP-164, AIP-216)."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from server.generated.interview.auth.v1 import auth_service_pb2 as auth
from server.generated.interview.auth.v1 import resources_pb2 as resources
from server.generated.interview.auth.v1 import user_service_pb2 as pb
from tests.support.auth import MovableClock
from tests.support.caller import Caller
from tests.support.running import PASSWORD, VIEWER, Running, running_server
from tests.support.statuses import check_row, refused
from tests.support.user_desk import NOBODY, Desk, audited, signed_in_before

ACTIVE = resources.USER_STATE_ACTIVE
SUSPENDED = resources.USER_STATE_SUSPENDED
DELETED = resources.USER_STATE_DELETED


@pytest.fixture
async def desk(shared: Running) -> Desk:
    return await Desk.open(shared)


async def _made(desk: Desk) -> resources.User:
    return await desk.create(roles=["roles/viewer"])


async def _with_key(desk: Desk, user: resources.User) -> Caller:
    """Return the user with an API key."""
    key = await desk.CreateApiKey(
        pb.CreateApiKeyRequest(
            parent=user.name, api_key=resources.ApiKey(display_name="k", scopes=["films.read"])
        )
    )
    return Caller(desk.running, (("x-api-key", key.secret),))


@pytest.mark.parametrize("way", ["suspend", "delete"])
async def test_who_is_barred_is_out_at_once_and_comes_back_with_all_it_had(
    desk: Desk, movable: MovableClock, way: str
) -> None:
    """ASVS 7.4.2: a disabled or deleted account ends its sessions, at once and everywhere."""
    made = await _made(desk)
    login = await desk.Login(auth.LoginRequest(email=made.email, password=PASSWORD))
    user, key = await desk.sign_in(made), await _with_key(desk, made)
    await user.whoami()
    movable.advance(seconds=1)
    barred = await getattr(desk, way)(made.name)
    assert barred.state == (SUSPENDED if way == "suspend" else DELETED)
    assert (await refused(user.whoami())).reason == "TOKEN_REVOKED"
    assert (await refused(desk.sign_in(made))).reason == "LOGIN_FAILED"
    refresh = auth.RefreshTokenRequest(refresh_token=login.tokens.refresh_token)
    assert (await refused(desk.RefreshToken(refresh))).reason == "TOKEN_REVOKED"
    assert (await refused(key.ListRoles(pb.ListRolesRequest()))).code.name == "UNAUTHENTICATED"
    movable.advance(seconds=1)
    back = await (desk.reactivate if way == "suspend" else desk.undelete)(made.name)
    assert (back.state, list(back.roles)) == (ACTIVE, ["roles/viewer"])
    assert (await (await desk.sign_in(made)).whoami()).user.name == made.name
    assert (await refused(user.whoami())).code.name == "UNAUTHENTICATED", "ended stays ended"
    await key.ListRoles(pb.ListRolesRequest())


async def test_suspending_and_reactivating_again_answer_the_same(desk: Desk) -> None:
    """RFC 9110, 9.2.2: a repeat has the effect of the first, its etag of before included."""
    made = await _made(desk)
    suspended = await desk.suspend(made.name, etag=made.etag, reason="left the house")
    assert await desk.suspend(made.name, etag=made.etag) == suspended
    active = await desk.reactivate(made.name, suspended.etag)
    assert await desk.reactivate(made.name, suspended.etag) == active
    assert len({made.etag, suspended.etag, active.etag}) == 3
    events = await audited(desk.running, made.name)
    assert [event["outcome"] for event in events] == ["OK"] * 5
    assert events[1]["request"]["reason"] == "left the house"


async def test_a_deletion_lasts_thirty_days_and_can_be_taken_back(
    desk: Desk, movable: MovableClock
) -> None:
    """AIP-164."""
    made = await _made(desk)
    deleted = await desk.delete(made.name, made.etag)
    assert deleted.delete_time.ToDatetime(movable.now.tzinfo) == movable.now
    purge_time = deleted.purge_time.ToDatetime(movable.now.tzinfo)
    assert purge_time == movable.now + timedelta(days=30)
    assert await desk.get(made.name) == deleted
    movable.advance(days=29, hours=23)
    later = await Desk.open(desk.running)
    restored = await later.undelete(made.name, deleted.etag)
    assert (restored.state, restored.roles) == (ACTIVE, made.roles)
    assert not restored.HasField("delete_time")
    assert not restored.HasField("purge_time")


async def test_a_suspended_user_that_is_undeleted_is_active(desk: Desk) -> None:
    """AIP-164."""
    made = await _made(desk)
    await desk.suspend(made.name)
    await desk.delete(made.name)
    assert (await desk.undelete(made.name)).state == ACTIVE


async def test_after_thirty_days_nothing_can_be_taken_back(
    desk: Desk, movable: MovableClock
) -> None:
    """AIP-164: what is due to be purged is absent."""
    made = await _made(desk)
    await desk.delete(made.name)
    movable.advance(days=30)
    later = await Desk.open(desk.running)
    for call in (later.undelete(made.name), later.update(made.name, display_name="x")):
        check_row(await refused(call), "RESOURCE_NOT_FOUND")


async def test_a_deleted_user_is_changed_by_nothing_else(desk: Desk) -> None:
    """AIP-164, AIP-193: the details say since when it is deleted, and until when it is kept."""
    made = await _made(desk)
    deleted = await desk.delete(made.name)
    for call in (
        desk.update(made.name, display_name="x"),
        desk.suspend(made.name),
        desk.reactivate(made.name),
        desk.delete(made.name),
        desk.grant(made.name, "roles/staff"),
        desk.revoke(made.name, "roles/viewer"),
    ):
        told = await refused(call)
        check_row(told, "RESOURCE_DELETED")
        assert told.metadata["resource_name"] == made.name
        assert told.metadata["delete_time"] < told.metadata["purge_time"]
        assert told.by_kind["ResourceInfo"].resource_name == made.name
    assert await desk.get(made.name) == deleted


async def test_the_address_of_a_deleted_user_stays_taken(desk: Desk) -> None:
    """AIP-164: a deleted user can come back with its address."""
    made = await _made(desk)
    await desk.delete(made.name)
    told = await refused(desk.create(made.email))
    assert (told.reason, told.metadata["resource_name"]) == ("RESOURCE_EXISTS", made.name)


async def test_what_is_not_deleted_cannot_be_undeleted(desk: Desk) -> None:
    """AIP-193: the details name the state, and the one that is needed."""
    made = await _made(desk)
    for state in ("ACTIVE", "SUSPENDED"):
        if state == "SUSPENDED":
            await desk.suspend(made.name)
        told = await refused(desk.undelete(made.name))
        check_row(told, "WRONG_STATE")
        assert told.metadata == {
            "resource_name": made.name,
            "state": state,
            "allowed_states": "DELETED",
        }


@pytest.mark.parametrize("way", ["suspend", "reactivate", "delete", "undelete"])
async def test_an_etag_of_before_changes_no_state(desk: Desk, way: str) -> None:
    """AIP-154."""
    made = await _made(desk)
    if way == "reactivate":
        await desk.suspend(made.name)
    if way == "undelete":
        await desk.delete(made.name)
    if way in {"suspend", "delete"}:
        await desk.update(made.name, display_name="x")
    before = await desk.get(made.name)
    told = await refused(getattr(desk, way)(made.name, etag=made.etag))
    check_row(told, "ETAG_MISMATCH")
    assert told.metadata["current_etag"] == before.etag
    assert await desk.get(made.name) == before


@pytest.mark.parametrize("way", ["suspend", "reactivate", "delete", "undelete"])
async def test_nobody_and_no_name_are_told_apart(desk: Desk, way: str) -> None:
    """ASVS 2.2.1, AIP-193."""
    call: Any = getattr(desk, way)
    check_row(await refused(call(NOBODY)), "RESOURCE_NOT_FOUND")
    told = await refused(call("users/"))
    assert (told.reason, told.bad_fields) == ("VALIDATION_FAILED", ["name"])


async def test_a_reason_has_its_rule(desk: Desk) -> None:
    """ASVS 2.2.1."""
    for reason in ("x" * 513, "a\0b"):
        told = await refused(desk.suspend(NOBODY, reason=reason))
        assert (told.reason, told.bad_fields) == ("VALIDATION_FAILED", ["reason"])


@pytest.mark.parametrize("way", ["suspend", "reactivate", "delete", "undelete"])
async def test_users_have_no_say_in_states_not_even_in_their_own(desk: Desk, way: str) -> None:
    """ASVS 8.2.1."""
    made = await _made(desk)
    told = await refused(getattr(await desk.sign_in(made), way)(made.name))
    check_row(told, "PERMISSION_DENIED")
    assert told.metadata["permission"] == "users.write"


async def test_deleting_needs_a_recent_password_and_a_token(
    desk: Desk, movable: MovableClock
) -> None:
    """ASVS 7.5.3, 8.3.1."""
    made, victim = await desk.create(roles=["roles/admin"]), await _made(desk)
    late = await signed_in_before(desk.running, made.email, movable, seconds=901)
    check_row(await refused(late.delete(victim.name)), "STEP_UP_REQUIRED")
    again = await Desk.open(desk.running)
    key = await again.CreateApiKey(
        pb.CreateApiKeyRequest(
            parent=made.name, api_key=resources.ApiKey(display_name="k", scopes=["users.write"])
        )
    )
    by_key = Desk(desk.running, (("x-api-key", key.secret),))
    check_row(await refused(by_key.delete(victim.name)), "PERMISSION_DENIED")
    assert (await again.get(victim.name)).state == ACTIVE


async def test_the_last_administrator_stays(sample_database_url: str, tmp_path: Path) -> None:
    async with running_server(sample_database_url, tmp_path) as server:
        desk = await Desk.open(server)
        me = (await desk.whoami()).user.name
        other = await desk.create(roles=["roles/admin"])
        await desk.suspend(other.name)
        for call, allowed in (
            (desk.suspend(me), "ACTIVE"),
            (desk.delete(me), "ACTIVE,SUSPENDED"),
            (desk.revoke_admin(me), "ACTIVE,SUSPENDED"),
        ):
            told = await refused(call)
            check_row(told, "WRONG_STATE")
            assert told.metadata == {
                "resource_name": me,
                "state": "LAST_ACTIVE_ADMINISTRATOR",
                "allowed_states": allowed,
            }
        await desk.delete(other.name)
        viewer = (await Desk(server, await server.sign_in(VIEWER)).whoami()).user.name
        assert (await desk.suspend(viewer)).state == SUSPENDED
