"""Making, listing and ending API keys, through a real server on each kind of database."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import insert, select, update

from server.audit.models import AuditEvent
from server.auth.api_keys import MAX_KEYS
from server.auth.models import ApiKey, AppUser
from server.core.resource_names import user_id_of
from server.database.engine import Database
from tests.support.amount import amount
from tests.support.api_keys import Owner
from tests.support.auth import MovableClock
from tests.support.running import Running
from tests.support.statuses import check_row, refused

UUID_4 = "c2f9c1a4-9d0c-4f6e-8a9b-2f6a2c1f7a11"


@pytest.fixture
async def owner(shared: Running) -> Owner:
    """A viewer without keys."""
    return await Owner.new(shared)


@pytest.fixture
async def admin(shared: Running) -> Owner:
    """An administrator."""
    return await Owner.new(shared, "admin")


def _at(clock: MovableClock, **span: float) -> Timestamp:
    moment = Timestamp()
    moment.FromDatetime(clock() + timedelta(**span))
    return moment


def _id(owner: Owner) -> UUID:
    return user_id_of(owner.user.removeprefix("users/"))


async def _trail(database: Database, target: str) -> list[tuple[str, str, str]]:
    rows = await database.read.all(
        select(AuditEvent.method, AuditEvent.outcome, AuditEvent.principal)
        .where(AuditEvent.target == target)
        .order_by(AuditEvent.event_id)
    )
    return [(row.method.rpartition("/")[2], row.outcome, row.principal) for row in rows]


async def test_a_key_from_its_making_to_its_end(owner: Owner, movable: MovableClock) -> None:
    """ASVS 6.5.2: 256 random bits, told once; AIP-133, AIP-135: made and deleted by name."""
    ends = _at(movable, days=30)
    made = await owner.create("films.read", display_name="nächtlicher Import", expire_time=ends)
    key = made.api_key
    assert key.name.startswith(f"{owner.user}/apiKeys/")
    assert (key.display_name, list(key.scopes)) == ("nächtlicher Import", ["films.read"])
    assert key.create_time.ToDatetime() == movable().replace(tzinfo=None)
    assert key.expire_time == ends
    assert not key.HasField("last_use_time")
    assert made.secret.startswith(key.hint)
    assert (len(key.hint), len(made.secret)) == (8, 52)
    assert list((await owner.list()).api_keys) == [key]
    await owner.delete(key.name)
    assert not (await owner.list()).api_keys
    check_row(await refused(owner.delete(key.name)), "RESOURCE_NOT_FOUND")


async def test_what_was_done_with_keys_is_in_the_trail(owner: Owner) -> None:
    """ASVS 16.2.1, 16.3.2: who made and who ended a key, and who tried to."""
    key = (await owner.create()).api_key
    stranger = await Owner.new(owner.running)
    await refused(stranger.delete(key.name))
    await owner.delete(key.name)
    await refused(owner.delete(key.name))
    trail = await _trail(owner.running.app.database, key.name)
    assert trail[0] == ("CreateApiKey", "OK", owner.user)
    assert trail[-2:] == [
        ("DeleteApiKey", "OK", owner.user),
        ("DeleteApiKey", "RESOURCE_NOT_FOUND", owner.user),
    ]


async def test_the_same_request_makes_no_second_key(owner: Owner) -> None:
    """AIP-155: the secret is not kept, so a repeat cannot have it and is told so."""
    made = await owner.create(request_id=UUID_4)
    for sent in (UUID_4, UUID_4.upper()):
        told = await refused(owner.create(request_id=sent))
        check_row(told, "RESOURCE_EXISTS")
        assert made.secret not in told.message
        assert told.metadata["resource_name"] == made.api_key.name
        assert told.by_kind["ResourceInfo"].resource_type == "interview-api/ApiKey"
    assert len((await owner.list()).api_keys) == 1
    await owner.delete(made.api_key.name)
    check_row(await refused(owner.create(request_id=UUID_4)), "RESOURCE_EXISTS")
    assert not (await owner.list()).api_keys
    other = await Owner.new(owner.running)
    assert (await other.create(request_id=UUID_4)).secret != made.secret


async def test_of_equal_requests_at_once_one_makes_a_key(owner: Owner) -> None:
    """AIP-155: a client that repeats a call that still runs gets no second key either."""
    request_id = str(uuid4())
    calls = [owner.create(request_id=request_id) for _ in range(amount(4, 12))]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    made = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert len(made) == 1
    assert [key.name for key in (await owner.list()).api_keys] == [made[0].api_key.name]


async def test_pages_are_whole_and_newest_first(owner: Owner, movable: MovableClock) -> None:
    """AIP-158: keys of one moment too come exactly once."""
    names = []
    for number in range(7):
        names.append((await owner.create(display_name=f"key {number}")).api_key.name)
        movable.advance(seconds=number % 2)
    listed, token = [], ""
    while True:
        page = await owner.list(page_size=3, page_token=token)
        listed += [key.name for key in page.api_keys]
        token = page.next_page_token
        if not token:
            break
        assert len(page.api_keys) == 3
    assert sorted(listed) == sorted(names)
    assert listed[0] == names[-1]
    times = [key.create_time.ToNanoseconds() for key in (await owner.list()).api_keys]
    assert times == sorted(times, reverse=True)


async def test_a_page_token_is_for_one_user(owner: Owner, admin: Owner) -> None:
    """AIP-158: with another parent it is refused."""
    for _ in range(2):
        await owner.create()
    token = (await admin.list(owner.user, page_size=1)).next_page_token
    told = await refused(admin.list(admin.user, page_token=token))
    check_row(told, "PAGE_TOKEN_MISMATCH")
    assert told.metadata == {"changed_fields": "parent"}


async def test_an_administrator_makes_and_ends_keys_of_others(owner: Owner, admin: Owner) -> None:
    """ASVS 8.2.2: the key acts for the user, whoever made it."""
    made = await admin.create(parent=owner.user)
    assert made.api_key.name.startswith(owner.user)
    assert await owner.with_key(made.secret).film() == "films/1"
    assert not await owner.with_key(made.secret).may("users.read", "films.write")
    assert [key.name for key in (await admin.list(owner.user)).api_keys] == [made.api_key.name]
    await admin.delete(made.api_key.name)
    check_row(await refused(owner.with_key(made.secret).film()), "CREDENTIAL_INVALID")


async def test_what_is_foreign_is_told_like_what_is_not_there(owner: Owner) -> None:
    """ASVS 8.2.2, AIP-211: nobody learns which users and keys there are."""
    stranger = await Owner.new(owner.running)
    made = (await stranger.create()).api_key
    absent = f"users/{uuid4()}"
    for parent in (stranger.user, absent):
        for call in (owner.create(parent=parent), owner.list(parent)):
            told = await refused(call)
            check_row(told, "RESOURCE_NOT_FOUND")
            assert told.message == f"{parent} does not exist"
            assert told.metadata["resource_type"] == "interview-api/User"
    for name in (
        made.name,
        f"{owner.user}/apiKeys/{made.name[-36:]}",
        f"{absent}/apiKeys/{uuid4()}",
    ):
        told = await refused(owner.delete(name))
        check_row(told, "RESOURCE_NOT_FOUND")
        assert told.message == f"{name} does not exist"
        assert told.metadata["resource_type"] == "interview-api/ApiKey"
    assert len((await stranger.list()).api_keys) == 1


async def test_users_that_are_not_there_have_no_keys(admin: Owner) -> None:
    """AIP-132: also who may see everything is told that there is no such user."""
    absent = f"users/{uuid4()}"
    for call in (
        admin.create(parent=absent),
        admin.list(absent),
        admin.delete(f"{absent}/apiKeys/{uuid4()}"),
    ):
        check_row(await refused(call), "RESOURCE_NOT_FOUND")


async def test_every_bad_field_is_named(owner: Owner, admin: Owner, movable: MovableClock) -> None:
    """ASVS 2.2.1: what a key is to be is checked whole, before anything is stored."""
    told = await refused(
        owner.create(
            "films.read",
            "films.burn",
            "films.read",
            display_name="a\nb",
            expire_time=_at(movable),
            request_id="17",
        )
    )
    check_row(told, "VALIDATION_FAILED")
    assert sorted(told.bad_fields) == [
        "api_key.display_name",
        "api_key.expire_time",
        "api_key.scopes[1]",
        "request_id",
    ]
    too_many = [f"films.{number}" for number in range(65)]
    for wrong in (
        {"display_name": ""},
        {"display_name": "  "},
        {"display_name": "x" * 129},
        {"expire_time": Timestamp(seconds=10**15)},
        {"expire_time": Timestamp(nanos=-1)},
    ):
        check_row(await refused(owner.create(**wrong)), "VALIDATION_FAILED")
    for scopes in (["films.read", "films.read"], too_many):
        check_row(await refused(owner.create(*scopes)), "VALIDATION_FAILED")
    for parent in ("", "users/", "users/A", f"{owner.user}/apiKeys/1", "films/1"):
        check_row(await refused(admin.list(parent)), "VALIDATION_FAILED")
    for name in ("", owner.user, f"{owner.user}/apiKeys/1", f"{owner.user}/apiKeys/{uuid4()}/x"):
        check_row(await refused(admin.delete(name)), "VALIDATION_FAILED")
    assert not (await owner.list()).api_keys


async def test_what_only_the_server_says_is_not_taken_from_a_caller(
    owner: Owner, movable: MovableClock
) -> None:
    """AIP-203: output-only fields of a request count for nothing."""
    request = owner.request(display_name="mine")
    request.api_key.name = f"users/{uuid4()}/apiKeys/{uuid4()}"
    request.api_key.hint = "ik_chosen"
    request.api_key.create_time.CopyFrom(_at(movable, days=-1))
    request.api_key.last_use_time.CopyFrom(_at(movable, days=-1))
    made = await owner.send(request)
    assert made.api_key.name.startswith(owner.user)
    assert made.secret.startswith(made.api_key.hint)
    assert made.api_key.create_time == _at(movable)
    assert not made.api_key.HasField("last_use_time")


async def test_a_user_has_only_so_many_keys(owner: Owner, movable: MovableClock) -> None:
    """ASVS 2.3.4: the limit holds also for those who ask at the same time."""
    database = owner.running.app.database
    rows = [_row(owner, movable, number) for number in range(MAX_KEYS - 1)]
    async with database.write() as write:
        await write.execute(insert(ApiKey), rows)
    answers = await asyncio.gather(*(owner.create() for _ in range(4)), return_exceptions=True)
    made = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert len(made) == 1
    told = await refused(owner.create())
    check_row(told, "WRONG_STATE")
    assert told.metadata["state"] == "API_KEYS_FULL"
    await owner.delete(made[0].api_key.name)
    await owner.create()


def _row(owner: Owner, clock: MovableClock, number: int) -> dict[str, Any]:
    return {
        "key_id": uuid4(),
        "user_id": _id(owner),
        "display_name": str(number),
        "secret_hash": number.to_bytes(16, "big") + _id(owner).bytes,
        "hint": "ik_00000",
        "create_time": clock(),
    }


@pytest.mark.parametrize(
    ("state", "reason"), [("suspended", "WRONG_STATE"), ("deleted", "RESOURCE_DELETED")]
)
async def test_who_may_not_sign_in_gets_no_key(
    owner: Owner, admin: Owner, movable: MovableClock, state: str, reason: str
) -> None:
    """ASVS 7.4.2: nor does an administrator make one for it, and its keys stay listed."""
    key = (await owner.create()).api_key
    await _set_state(owner, state, movable)
    told = await refused(admin.create(parent=owner.user))
    check_row(told, reason)
    assert told.metadata["resource_name"] == owner.user
    assert [listed.name for listed in (await admin.list(owner.user)).api_keys] == [key.name]
    await admin.delete(key.name)


async def _set_state(owner: Owner, state: str, clock: MovableClock) -> None:
    """Change a user as another process would."""
    times = {"delete_time": clock(), "purge_time": clock() + timedelta(days=30)}
    values = {"state": state, **(times if state == "deleted" else {})}
    async with owner.running.app.database.write() as write:
        await write.execute(update(AppUser).where(AppUser.user_id == _id(owner)).values(values))
