"""UserService.UpdateUser through a real server, on both databases (AIP-134, AIP-154, AIP-161)."""

from typing import Any

import pytest

from server.auth.user_requests import MAX_DISPLAY_NAME
from server.generated.interview.auth.v1 import resources_pb2 as resources
from server.generated.interview.auth.v1 import user_service_pb2 as pb
from tests.support.auth import MovableClock
from tests.support.running import ADMIN, Running
from tests.support.statuses import check_row, refused
from tests.support.user_desk import (
    NOBODY,
    Desk,
    audited,
    new_email,
    plant_shop,
    signed_in_before,
)

SETTABLE = "email,display_name,customer,staff,*"


@pytest.fixture(scope="module", autouse=True)
async def shop(shared: Running) -> None:
    await plant_shop(shared)


@pytest.fixture
async def desk(shared: Running) -> Desk:
    return await Desk.open(shared)


async def test_fields_of_the_mask_are_set_and_no_others(desk: Desk, movable: MovableClock) -> None:
    """AIP-134."""
    made = await desk.create(user={"display_name": "Ann", "customer": "customers/1"})
    movable.advance(seconds=5)
    changed = await desk.update(made.name, ["display_name"], display_name="Bea", email="x@y.org")
    expected = resources.User()
    expected.CopyFrom(made)
    expected.display_name = "Bea"
    expected.update_time.FromDatetime(movable.now)
    expected.etag = changed.etag
    assert changed == expected == await desk.get(made.name)
    assert changed.etag != made.etag


async def test_without_a_mask_what_is_not_empty_is_set(desk: Desk) -> None:
    """AIP-134."""
    made = await desk.create(user={"display_name": "Ann", "customer": "customers/1"})
    changed = await desk.update(made.name, staff="staff/1", email=(email := new_email()))
    assert (changed.display_name, changed.customer) == ("Ann", "customers/1")
    assert (changed.staff, changed.email) == ("staff/1", email)


async def test_the_star_sets_everything_and_an_empty_value_clears(desk: Desk) -> None:
    """AIP-134: a full replacement."""
    made = await desk.create(user={"display_name": "Ann", "customer": "customers/1"})
    changed = await desk.update(made.name, ["*"], email=made.email, staff="staff/1")
    assert (changed.display_name, changed.customer, changed.staff) == ("", "", "staff/1")
    told = await refused(desk.update(made.name, ["*"], display_name="Ann"))
    check_row(told, "VALIDATION_FAILED")
    assert told.bad_fields == ["user.email"]


async def test_what_was_read_can_be_sent_back_under_any_mask(desk: Desk) -> None:
    """AIP-161: it changes nothing, not even the etag; output only fields are passed over."""
    made = await desk.create(user={"display_name": "Ann"}, roles=["roles/viewer"])
    fields = {field.name: value for field, value in made.ListFields()}
    del fields["name"]
    for paths in ([], ["*"], ["roles", "state", "create_time"], ["email", "update_time"]):
        assert await desk.update(made.name, paths, **fields) == made
    roles = {**fields, "roles": ["roles/admin"], "state": resources.USER_STATE_SUSPENDED}
    assert await desk.update(made.name, ["*", "roles", "state"], **roles) == made


@pytest.mark.parametrize(
    "path", ["name", "etag", "password", "email.domain", "displayName", "", "é"]
)
async def test_a_mask_with_what_cannot_be_set_is_refused(desk: Desk, path: str) -> None:
    """AIP-161: a path that there is not is refused, and nothing is changed."""
    made = await desk.create(initial_password="")
    told = await refused(desk.update(made.name, ["email", path], email=new_email()))
    check_row(told, "FIELD_MASK_INVALID")
    assert told.metadata == {"path": path, "allowed_paths": SETTABLE}
    assert await desk.get(made.name) == made


@pytest.mark.parametrize(
    ("fields", "bad"),
    [
        ({"email": "nobody"}, "user.email"),
        ({"display_name": "x" * (MAX_DISPLAY_NAME + 1)}, "user.display_name"),
        ({"display_name": "a\0b"}, "user.display_name"),
        ({"customer": "customers/x"}, "user.customer"),
        ({"staff": "staff/01"}, "user.staff"),
        ({"display_name": "a", "etag": "x" * 65}, "user.etag"),
    ],
)
async def test_a_bad_field_is_named(desk: Desk, fields: dict[str, str], bad: str) -> None:
    """ASVS 2.2.1."""
    told = await refused(desk.update(NOBODY, **fields))
    check_row(told, "VALIDATION_FAILED")
    assert told.bad_fields == [bad]


async def test_names_that_are_none_and_of_nobody_are_told_apart(desk: Desk) -> None:
    """ASVS 2.2.1, AIP-193."""
    told = await refused(desk.update("users/A", display_name="x"))
    assert (told.reason, told.bad_fields) == ("VALIDATION_FAILED", ["user.name"])
    told = await refused(desk.update(NOBODY, display_name="x"))
    check_row(told, "RESOURCE_NOT_FOUND")
    assert told.metadata["resource_name"] == NOBODY


async def test_an_address_of_somebody_else_is_refused(desk: Desk) -> None:
    """AIP-193: the details say which field is taken, and by whom."""
    made, other = await desk.create(), await desk.create()
    told = await refused(desk.update(made.name, email=other.email.upper()))
    check_row(told, "RESOURCE_EXISTS")
    assert told.metadata == {"resource_name": other.name, "conflicting_field": "email"}
    assert (await desk.get(made.name)).email == made.email


async def test_a_reference_that_leads_nowhere_is_refused(desk: Desk) -> None:
    """ASVS 2.2.1: whom a user stands for must exist."""
    made = await desk.create()
    told = await refused(desk.update(made.name, customer="customers/5"))
    check_row(told, "REFERENCE_NOT_FOUND")
    assert told.metadata == {"field": "user.customer", "resource_name": "customers/5"}


async def test_an_etag_of_before_changes_nothing(desk: Desk) -> None:
    """AIP-154."""
    made = await desk.create()
    changed = await desk.update(made.name, display_name="B", etag=made.etag)
    for fields in ({"display_name": "C"}, {"display_name": "B"}):
        told = await refused(desk.update(made.name, etag=made.etag, **fields))
        check_row(told, "ETAG_MISMATCH")
        assert told.metadata == {
            "resource_name": made.name,
            "sent_etag": made.etag,
            "current_etag": changed.etag,
            "changed_fields": "",
        }
    assert await desk.get(made.name) == changed


async def _owner(desk: Desk, **fields: Any) -> tuple[Desk, resources.User]:
    made = await desk.create(roles=["roles/viewer"], **fields)
    return await desk.sign_in(made), made


async def test_owners_change_their_own_name_and_address(desk: Desk) -> None:
    """ASVS 8.2.2, 8.2.3: of one's own account what is one's own to say."""
    owner, made = await _owner(desk, user={"customer": "customers/1"})
    email = new_email()
    changed = await owner.update(made.name, display_name="Me", email=email, etag=made.etag)
    assert (changed.display_name, changed.email) == ("Me", email)
    # What does not change may be sent: a client sends back what it has read.
    assert (await owner.update(made.name, customer="customers/1")).etag == changed.etag
    for field, value in (("customer", "customers/2"), ("staff", "staff/1")):
        told = await refused(owner.update(made.name, **{field: value}))
        check_row(told, "PERMISSION_DENIED")
        assert told.metadata["permission"] == "users.write"
    told = await refused(owner.update(made.name, ["customer"]))
    check_row(told, "PERMISSION_DENIED")
    assert await desk.get(made.name) == changed


async def test_owners_need_a_recent_password_for_their_address(
    desk: Desk, movable: MovableClock
) -> None:
    """ASVS 7.5.1: full re-authentication before the address changes."""
    _, made = await _owner(desk)
    late = await signed_in_before(desk.running, made.email, movable, seconds=901)
    told = await refused(late.update(made.name, email=new_email()))
    check_row(told, "STEP_UP_REQUIRED")
    assert told.metadata == {"max_auth_age": "900s"}
    assert (await late.update(made.name, display_name="Me")).display_name == "Me"
    key = await late.CreateApiKey(
        pb.CreateApiKeyRequest(parent=made.name, api_key=resources.ApiKey(display_name="k"))
    )
    by_key = Desk(desk.running, (("x-api-key", key.secret),))
    told = await refused(by_key.update(made.name, email=new_email()))
    check_row(told, "STEP_UP_REQUIRED")
    in_time = await signed_in_before(desk.running, made.email, movable, seconds=899)
    assert (await in_time.update(made.name, email=(email := new_email()))).email == email


async def test_administrators_need_one_for_their_own_address_alone(
    desk: Desk, movable: MovableClock
) -> None:
    """ASVS 7.5.1: who has an administrator's token or key cannot make the account its own."""
    made, other = await desk.create(roles=["roles/admin"]), await desk.create()
    late = await signed_in_before(desk.running, made.email, movable, seconds=901)
    check_row(await refused(late.update(made.name, email=new_email())), "STEP_UP_REQUIRED")
    assert (await late.update(other.name, email=(email := new_email()))).email == email


async def test_an_address_that_is_taken_is_told_to_owners_without_who_has_it(desk: Desk) -> None:
    """ASVS 8.2.2: who else there is stays unsaid."""
    owner, made = await _owner(desk)
    other = await desk.create()
    told = await refused(owner.update(made.name, email=other.email))
    check_row(told, "RESOURCE_EXISTS")
    assert told.metadata == {"resource_name": "users/-", "conflicting_field": "email"}


async def test_others_are_absent_for_those_who_may_not_change_them(desk: Desk) -> None:
    """ASVS 8.2.2: as if there were nobody."""
    owner, _ = await _owner(desk)
    other = await desk.create()
    for name in (other.name, NOBODY):
        told = await refused(owner.update(name, display_name="x"))
        check_row(told, "RESOURCE_NOT_FOUND")
        assert told.message == f"{name} does not exist"


async def test_each_change_is_in_the_audit_trail_and_what_failed_too(desk: Desk) -> None:
    """ASVS 16.3.3."""
    made = await desk.create()
    await desk.update(made.name, display_name="B", email=(email := new_email()))
    await refused(desk.update(made.name, display_name="C", etag=made.etag))
    events = await audited(desk.running, made.name)
    assert [event["outcome"] for event in events] == ["OK", "OK", "ETAG_MISMATCH"]
    assert events[1]["request"]["user"]["display_name"] == "B"
    assert email not in str(events)
    principal = (await desk.whoami()).user
    assert principal.email == ADMIN
    assert {event["principal"] for event in events} == {principal.name}
