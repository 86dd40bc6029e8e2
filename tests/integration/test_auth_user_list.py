"""Reading users and roles through a real server, over a thousand users on both databases."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest

from server.auth.domain import ACTIVE, DELETED, SUSPENDED
from server.core.roles import ROLES
from server.generated.interview.auth.v1 import resources_pb2
from server.generated.interview.auth.v1 import user_service_pb2 as pb
from tests.support.amount import amount
from tests.support.auth import MovableClock
from tests.support.crowd import ONLY, conditions, crowd, ordered, store
from tests.support.crowd_desk import Desk
from tests.support.running import ADMIN, VIEWER, running_server

STATES = {
    ACTIVE: resources_pb2.USER_STATE_ACTIVE,
    SUSPENDED: resources_pb2.USER_STATE_SUSPENDED,
    DELETED: resources_pb2.USER_STATE_DELETED,
}
ORDERS = (
    "email desc",
    "display_name",
    "display_name desc, email desc",
    "create_time desc",
    "last_login_time, create_time",
    "last_login_time desc, display_name asc",
)


@pytest.fixture(scope="module")
async def desk(shared_url: str, shared_folder: Path, movable: MovableClock) -> AsyncIterator[Desk]:
    """A server over a database with the crowd."""
    users = crowd(movable.now)
    async with running_server(shared_url, shared_folder, clock=movable) as running:
        await store(running.app.database, users)
        desk = Desk(running, movable, users)
        await desk.sign_in()
        yield desk


async def test_a_user_is_whole(desk: Desk) -> None:
    """AIP-131, AIP-132: reading one and listing give the same user."""
    user = next(
        user
        for user in desk.expected()
        if user.chosen_id and user.customer_id and user.staff_id and len(user.roles) > 1
    )
    found = await desk.call("GetUser", pb.GetUserRequest(name=user.name))
    assert found.name == f"users/{user.chosen_id}"
    assert (found.email, found.display_name) == (user.email, user.display_name)
    assert list(found.roles) == [f"roles/{role}" for role in user.roles]
    assert (found.customer, found.staff) == ("customers/130", "staff/1")
    assert found.state == STATES[user.state]
    assert found.create_time.ToDatetime(user.create_time.tzinfo) == user.create_time
    assert found.etag == user.etag
    assert not found.HasField("delete_time")
    assert await desk.call("GetUser", pb.GetUserRequest(name=f"users/{user.user_id}")) == found
    (listed,) = (await desk.pages(filter=f'email = "{user.email}"'))[0]
    assert listed == found


async def test_a_deleted_user_is_answered_until_the_purge_is_due(desk: Desk) -> None:
    """AIP-164."""
    user = desk.first(DELETED)
    found = await desk.call("GetUser", pb.GetUserRequest(name=user.name))
    assert found.state == resources_pb2.USER_STATE_DELETED
    assert found.purge_time.seconds - found.delete_time.seconds == 30 * 24 * 3600
    purged = [user for user in desk.users if user.purge_time and user.purge_time <= desk.clock.now]
    assert purged
    for user in purged[:3]:
        told = await desk.refusal("GetUser", pb.GetUserRequest(name=user.name))
        assert told.reason == "RESOURCE_NOT_FOUND"
        assert told.metadata["resource_name"] == user.name


@pytest.mark.parametrize(
    "name",
    ["", "users/", "users/-a", "users/A", "users/a b", f"users/{'a' * 64}", "films/1", "users/a/b"],
)
async def test_a_name_that_is_none_is_refused(desk: Desk, name: str) -> None:
    """ASVS 2.2.1, AIP-122."""
    told = await desk.refusal("GetUser", pb.GetUserRequest(name=name))
    assert told.reason == "VALIDATION_FAILED"
    assert [v.field for v in told.by_kind["BadRequest"].field_violations] == ["name"]


async def test_others_see_themselves_and_nobody_else(desk: Desk) -> None:
    """ASVS 8.2.2: somebody else's user is answered like one that does not exist."""
    (viewer,) = (await desk.pages(filter=f'email = "{VIEWER}"'))[0]
    own = pb.GetUserRequest(name=viewer.name)
    assert (await desk.call("GetUser", own, desk.viewer)).email == VIEWER
    for name in (desk.first(ACTIVE).name, "users/nobody-here"):
        told = await desk.refusal("GetUser", pb.GetUserRequest(name=name), desk.viewer)
        assert (told.reason, told.metadata["resource_name"]) == ("RESOURCE_NOT_FOUND", name)
    told = await desk.refusal("ListUsers", pb.ListUsersRequest(), desk.viewer)
    assert (told.reason, told.metadata["permission"]) == ("PERMISSION_DENIED", "users.read")


async def test_everybody_comes_once_by_address(desk: Desk) -> None:
    """AIP-158."""
    pages = await desk.pages()
    assert [len(page) for page in pages[:-1]] == [50] * (len(pages) - 1)
    emails = [user.email for page in pages for user in page]
    assert emails == sorted([*(user.email for user in desk.expected()), ADMIN, VIEWER])


async def test_deleted_users_come_on_demand(desk: Desk) -> None:
    """AIP-164: show_deleted."""
    hidden = await desk.names(filter=f"{ONLY} AND state = DELETED")
    assert hidden == []
    shown = await desk.names(filter=ONLY, show_deleted=True, page_size=1000)
    assert shown == [user.name for user in desk.expected(show_deleted=True)]
    assert len(shown) > len(desk.expected())


@pytest.mark.parametrize("order_by", ORDERS)
async def test_every_order_has_everybody_once(desk: Desk, order_by: str) -> None:
    """AIP-132: order_by, over all pages."""
    expected = [user.name for user in ordered(desk.expected(), order_by)]
    assert await desk.names(filter=ONLY, order_by=order_by, page_size=97) == expected


async def test_filters_find_whom_they_mean(desk: Desk) -> None:
    """AIP-160."""
    everybody = desk.expected(show_deleted=True)
    for written, holds in conditions(desk.clock.now).items():
        expected = [user.name for user in everybody if holds(user)]
        assert 0 < len(expected) < len(everybody), written
        found = await desk.names(
            filter=f"{ONLY} AND ({written})", show_deleted=True, page_size=1000
        )
        assert found == expected, written


async def test_random_filters_and_orders_find_whom_they_mean(desk: Desk) -> None:
    """AIP-160, AIP-132: filters and orders together, over all pages."""
    chance = Random(7)  # the same filters in every run
    known = [*conditions(desk.clock.now).items()]
    for _ in range(amount(25, 400)):
        (a, in_a), (b, in_b), (c, in_c) = chance.sample(known, 3)
        shown, order_by = chance.random() < 0.5, chance.choice(["", *ORDERS])
        users = ordered(desk.expected(show_deleted=shown), order_by)
        expected = [user.name for user in users if (in_a(user) or in_b(user)) and not in_c(user)]
        found = await desk.names(
            filter=f"{ONLY} AND (({a}) OR ({b})) AND NOT ({c})",
            order_by=order_by,
            show_deleted=shown,
            page_size=chance.choice([7, 150, 1000]) if len(expected) < 150 else 1000,
        )
        assert found == expected, (a, b, c, order_by)


@pytest.mark.parametrize(
    ("fields", "reason", "metadata"),
    [
        (
            {"filter": 'emial = "a*"'},
            "FILTER_UNKNOWN_FIELD",
            {"field": "emial", "did_you_mean": "email", "position": "0"},
        ),
        (
            {"filter": "state = ACTIVE AND creat_time < now()"},
            "FILTER_UNKNOWN_FIELD",
            {"field": "creat_time", "did_you_mean": "create_time", "position": "19"},
        ),
        (
            {"filter": "password_hash:*"},
            "FILTER_UNKNOWN_FIELD",
            {"allowed_fields": "create_time,display_name,email,last_login_time,roles,state"},
        ),
        (
            {"filter": "state = AWAKE"},
            "FILTER_TYPE_MISMATCH",
            {"field": "state", "allowed_values": "ACTIVE,SUSPENDED,DELETED"},
        ),
        (
            {"filter": 'roles:"roles/root"'},
            "FILTER_TYPE_MISMATCH",
            {"field": "roles", "allowed_values": ",".join(ROLES)},
        ),
        ({"filter": "roles = admin"}, "FILTER_SYNTAX", {"token": "=", "expected": ": or :*"}),
        ({"filter": "create_time > 5"}, "FILTER_TYPE_MISMATCH", {"expected_type": "timestamp"}),
        ({"filter": "(" * 20 + "ann" + ")" * 20}, "FILTER_TOO_COMPLEX", {"what": "depth"}),
        (
            {"order_by": "creat_time desc"},
            "ORDER_BY_INVALID",
            {"did_you_mean": "create_time"},
        ),
        (
            {"order_by": "roles"},
            "ORDER_BY_INVALID",
            {"allowed_fields": "create_time,display_name,email,last_login_time"},
        ),
    ],
)
async def test_mistakes_are_told_with_what_could_stand_there(
    desk: Desk, fields: Mapping[str, Any], reason: str, metadata: Mapping[str, str]
) -> None:
    """AIP-160, AIP-193: a filter or order that is wrong is refused, with details."""
    told = await desk.refusal("ListUsers", pb.ListUsersRequest(**fields))
    assert told.reason == reason
    assert metadata.items() <= told.metadata.items()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"page_size": -1}, "page_size"),
        ({"page_token": "a" * 2049}, "page_token"),
        ({"filter": "a" * 2049}, "filter"),
        ({"order_by": "a" * 257}, "order_by"),
    ],
)
async def test_arguments_out_of_bounds_are_refused(
    desk: Desk, fields: Mapping[str, Any], field: str
) -> None:
    """ASVS 2.2.1."""
    told = await desk.refusal("ListUsers", pb.ListUsersRequest(**fields))
    assert told.reason == "VALIDATION_FAILED"
    assert [v.field for v in told.by_kind["BadRequest"].field_violations] == [field]


async def test_a_page_holds_a_thousand_at_most(desk: Desk) -> None:
    """AIP-158: a size above the largest is no mistake."""
    request = pb.ListUsersRequest(page_size=2_000, show_deleted=True)
    assert len((await desk.call("ListUsers", request)).users) == len(
        desk.expected(show_deleted=True)
    ) + len((ADMIN, VIEWER))
    assert len((await desk.call("ListUsers", pb.ListUsersRequest(page_size=1))).users) == 1


@pytest.mark.parametrize(
    ("changed", "fields"),
    [
        ("filter", {"filter": "state = SUSPENDED"}),
        ("order_by", {"order_by": "email desc"}),
        ("show_deleted", {"show_deleted": True}),
    ],
)
async def test_a_page_token_is_bound_to_the_arguments(
    desk: Desk, changed: str, fields: Mapping[str, Any]
) -> None:
    """AIP-158."""
    first = await desk.call("ListUsers", pb.ListUsersRequest(page_size=2))
    request = pb.ListUsersRequest(page_token=first.next_page_token, page_size=3, **fields)
    told = await desk.refusal("ListUsers", request)
    assert (told.reason, told.metadata["changed_fields"]) == ("PAGE_TOKEN_MISMATCH", changed)


async def test_a_page_token_tells_no_address_and_serves_no_other_method(desk: Desk) -> None:
    """ASVS 14.2.1: a page token holds the address of the last user, which nobody can read."""
    token = (await desk.call("ListUsers", pb.ListUsersRequest(page_size=2))).next_page_token
    told = await desk.refusal("ListRoles", pb.ListRolesRequest(page_token=token))
    assert told.reason == "PAGE_TOKEN_INVALID"


async def test_no_line_of_the_log_holds_an_address(desk: Desk) -> None:
    """ASVS 16.2.5: a filter may name addresses; what is logged of the call does not."""
    planted = "planted-and-unheard-of@crowd.example"
    before = len(desk.running.lines)
    answer = await desk.call("ListUsers", pb.ListUsersRequest(filter=f'email = "{planted}"'))
    assert len(answer.users) == 0
    for broken in (f'email = "{planted}', f"{planted} =", f'state = "{planted}"', f'{planted}:"a"'):
        told = await desk.refusal("ListUsers", pb.ListUsersRequest(filter=broken))
        assert told.reason.startswith("FILTER_")
    told = await desk.refusal("ListUsers", pb.ListUsersRequest(order_by=planted))
    assert told.reason == "ORDER_BY_INVALID"
    lines = desk.running.lines[before:]
    assert len([line for line in lines if line.kwargs.get("event") == "call"]) >= 5
    assert "planted" not in repr(lines)


async def test_roles_come_with_what_they_permit(desk: Desk) -> None:
    """AIP-132: all roles, each with its permissions."""
    answer = await desk.call("ListRoles", pb.ListRolesRequest(), desk.viewer)
    assert {role.name: list(role.permissions) for role in answer.roles} == {
        f"roles/{name}": sorted(permissions) for name, permissions in ROLES.items()
    }
    assert [role.name for role in answer.roles] == sorted(role.name for role in answer.roles)
    assert {role.display_name for role in answer.roles} == {
        "Admin", "Customer", "Manager", "Staff", "Viewer"
    }  # fmt: skip
    assert answer.next_page_token == ""


async def test_roles_come_in_pages(desk: Desk) -> None:
    """AIP-158."""
    names: list[str] = []
    sizes: list[int] = []
    token = ""
    while token or not sizes:
        request = pb.ListRolesRequest(page_size=2, page_token=token)
        answer = await desk.call("ListRoles", request)
        names += [role.name for role in answer.roles]
        sizes.append(len(answer.roles))
        token = answer.next_page_token
    assert sizes == [2, 2, 1]
    assert names == sorted(f"roles/{role}" for role in ROLES)
    told = await desk.refusal("ListRoles", pb.ListRolesRequest(page_size=-1))
    assert told.reason == "VALIDATION_FAILED"
    nobody = await desk.refusal("ListRoles", pb.ListRolesRequest(), ())
    assert nobody.code is grpc.StatusCode.UNAUTHENTICATED
