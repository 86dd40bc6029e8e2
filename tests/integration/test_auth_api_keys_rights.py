"""What a credential may make of API keys: never more than it is itself."""

from datetime import timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support.api_keys import Owner
from tests.support.auth import MovableClock
from tests.support.running import ADMIN, Running
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


async def test_a_limited_key_makes_none_that_can_more(owner: Owner) -> None:
    """ASVS 8.2.1, 10.4.11: a credential passes on what it has, and no more."""
    narrow = (await owner.create("apiKeys.write.own", "films.read")).secret
    program = owner.with_key(narrow)
    made = await program.create("films.read")
    assert await owner.with_key(made.secret).may("films.read", "agent.chat") == ["films.read"]
    for scopes, lacking in (
        (["agent.chat"], "agent.chat"),
        (["films.read", "films.write"], "films.write"),
        ([], "agent.chat"),
    ):
        told = await refused(program.create(*scopes))
        check_row(told, "PERMISSION_DENIED")
        assert told.metadata["subject"] == owner.user
        assert told.metadata["method"] == "/interview.auth.v1.UserService/CreateApiKey"
        if scopes:
            assert told.metadata["permission"] == lacking
        else:
            assert not await program.may(told.metadata["permission"])
    assert len((await owner.list()).api_keys) == 2


async def test_a_key_that_ends_makes_none_that_lasts_longer(
    owner: Owner, movable: MovableClock
) -> None:
    """ASVS 7.4.1: who found a key for a day has it for a day."""
    day = _at(movable, days=1)
    program = owner.with_key((await owner.create(expire_time=day)).secret)
    for later in (None, _at(movable, days=2)):
        told = await refused(program.create(expire_time=later))
        check_row(told, "VALIDATION_FAILED")
        assert told.bad_fields == ["api_key.expire_time"]
    assert (await program.create(expire_time=day)).api_key.expire_time == day


async def test_a_key_can_end_itself(owner: Owner) -> None:
    """ASVS 7.4.1: at once, in the process that was told."""
    made = await owner.create()
    program = owner.with_key(made.secret)
    await program.delete(made.api_key.name)
    check_row(await refused(program.film()), "CREDENTIAL_INVALID")


async def test_the_admin_of_the_server_is_not_needed(shared: Running) -> None:
    """ASVS 8.2.1: a key without scopes has all that its user has, and nothing else."""
    admin = Owner(shared, "", await shared.sign_in(ADMIN))
    principal = await admin.principal()
    admin.user = principal.user.name
    made = await admin.create()
    permissions = list(principal.permissions)
    held = await admin.with_key(made.secret).may(*permissions)
    assert sorted(held) == sorted(permissions)
    await admin.delete(made.api_key.name)
