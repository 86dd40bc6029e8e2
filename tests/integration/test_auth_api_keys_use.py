"""Calls with API keys: who they are from, what they may, and when they are refused."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from server.app import Application
from server.auth.api_key_principals import REMEMBERED
from server.auth.api_key_secrets import new_secret
from server.generated.interview.agent.v1 import chat_pb2
from tests.support.api_keys import Owner, bearer
from tests.support.auth import MovableClock
from tests.support.caller import SECONDS
from tests.support.running import SECRET, Running, capturing_log
from tests.support.statuses import check_row, refused


@pytest.fixture
async def owner(shared: Running) -> Owner:
    """A viewer without keys."""
    return await Owner.new(shared)


@pytest.fixture
async def admin(shared: Running) -> Owner:
    """An administrator."""
    return await Owner.new(shared, "admin")


@pytest.fixture(scope="module")
async def replica(shared: Running, movable: MovableClock) -> AsyncIterator[Running]:
    """Another server over the same database."""
    log, lines = capturing_log()
    settings = shared.app.settings.model_copy(update={"revocation_poll_seconds": 0.1})
    app = Application(settings, SECRET, movable, log)
    port = await app.start()
    await app.agents_ready()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Running(app, port, channel, lines)
    hurry = asyncio.Event()
    hurry.set()
    await app.stop(hurry)


def _after(clock: MovableClock, **span: float) -> Timestamp:
    moment = Timestamp()
    moment.FromDatetime(clock() + timedelta(**span))
    return moment


async def test_a_key_is_sent_in_either_header(owner: Owner) -> None:
    """ASVS 10.4.11: the key stands for its user, in `authorization` as in `x-api-key`."""
    made = await owner.create()
    for metadata in (bearer(made.secret), (("x-api-key", made.secret),)):
        program = Owner(owner.running, owner.user, metadata)
        assert await program.film() == "films/1"
        principal = await program.principal()
        assert principal.user.name == owner.user
        assert (principal.api_key, principal.login_session) == (made.api_key.name, "")
        assert not principal.HasField("expire_time")
        assert not principal.HasField("auth_time")


async def test_of_two_credentials_none_counts(owner: Owner) -> None:
    """ASVS 6.3.4: there is one way in at a time, and a header takes its own kind alone."""
    secret = (await owner.create()).secret
    key, token = ("x-api-key", secret), owner.metadata[0]
    for metadata in (
        (key, token),
        (key, *bearer(secret)),
        (key, ("x-api-key", secret)),
        (("x-api-key", str(token[1]).partition(" ")[2]),),
        (("authorization", secret),),
        (("authorization", f"Basic {secret}"),),
    ):
        call = Owner(owner.running, owner.user, metadata).film()
        check_row(await refused(call), "CREDENTIAL_INVALID")


async def test_scopes_narrow_and_give_nothing(owner: Owner, admin: Owner) -> None:
    """ASVS 8.2.1, 10.4.11: a key has what its scopes name of what its user has."""
    narrow = owner.with_key((await owner.create("films.read", "films.write")).secret)
    wanted = ("films.read", "films.write", "agent.chat")
    assert await narrow.may(*wanted) == ["films.read"]
    assert await narrow.film() == "films/1"
    told = await refused(narrow.list())
    check_row(told, "PERMISSION_DENIED")
    assert told.metadata["permission"] == "apiKeys.read"
    own = admin.with_key((await admin.create("users.read.own")).secret)
    assert not await own.may("users.read")
    assert await own.may("users.read", resource=admin.user) == ["users.read"]
    assert not await own.may("users.read", resource=owner.user)


async def test_a_damaged_key_is_told_nothing(owner: Owner) -> None:
    """ASVS 6.3.8: whatever is wrong with a key, the answer is that to a bad token."""
    secret = (await owner.create()).secret
    expected = (await refused(owner.with_key("not.a.token").film())).message
    swapped = secret[:10] + secret[11] + secret[10] + secret[12:]
    for wrong in (
        "ik_",
        secret[:-1],
        secret + "A",
        secret[:-1] + ("A" if secret[-1] != "A" else "B"),
        swapped if swapped != secret else "ik_x",
        secret.upper(),
        new_secret(),
    ):
        told = await refused(owner.with_key(wrong).film())
        check_row(told, "CREDENTIAL_INVALID")
        assert told.message == expected


async def test_a_key_ends_when_it_says(owner: Owner, movable: MovableClock) -> None:
    """ASVS 7.3.2: to the second, whether it was looked up just now or before."""
    ends = _after(movable, seconds=5)
    program = owner.with_key((await owner.create(expire_time=ends)).secret)
    assert await program.film() == "films/1"
    movable.advance(seconds=4.9)
    assert await program.film() == "films/1"
    assert (await program.principal()).expire_time == ends
    for _ in range(2):
        movable.advance(seconds=REMEMBERED.total_seconds())
        told = await refused(program.film())
        check_row(told, "TOKEN_EXPIRED")
        assert told.metadata["expired_at"] == ends.ToDatetime().strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_a_deleted_key_is_refused_everywhere(
    owner: Owner, replica: Running, movable: MovableClock
) -> None:
    """ASVS 7.4.1: at once where it was deleted, within 15 s elsewhere."""
    made = await owner.create()
    here = owner.with_key(made.secret)
    there = here.at(replica)
    assert await here.film() == await there.film() == "films/1"
    await owner.delete(made.api_key.name)
    check_row(await refused(here.film()), "CREDENTIAL_INVALID")
    movable.advance(seconds=REMEMBERED.total_seconds())
    check_row(await refused(there.film()), "CREDENTIAL_INVALID")


@pytest.mark.parametrize("where", ["here", "there"])
async def test_a_stream_ends_with_its_key(owner: Owner, replica: Running, where: str) -> None:
    """ASVS 7.4.1: also one that another process answers; nothing is sent for it to end."""
    made = await owner.create("agent.chat")
    program = owner.with_key(made.secret).at(owner.running if where == "here" else replica)
    async with asyncio.timeout(SECONDS):
        call = program.chat()
        await call.write(chat_pb2.ChatRequest(start=chat_pb2.StartFrame()))
        assert (await call.read()).WhichOneof("event") == "session_ready"
        await owner.delete(made.api_key.name)
        check_row(await refused(_end_of(call)), "TOKEN_REVOKED")


async def _end_of(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def test_a_key_rests_while_its_user_is_barred(
    owner: Owner, admin: Owner, replica: Running, movable: MovableClock
) -> None:
    """ASVS 7.4.2: suspended or deleted, and back again with the key that it had."""
    here = owner.with_key((await owner.create()).secret)
    there = here.at(replica)
    for bar, lift in (("SuspendUser", "ReactivateUser"), ("DeleteUser", "UndeleteUser")):
        assert await here.film() == await there.film() == "films/1"
        await admin.change(bar, name=owner.user)
        check_row(await refused(here.film()), "CREDENTIAL_INVALID")
        movable.advance(seconds=REMEMBERED.total_seconds())
        check_row(await refused(there.film()), "CREDENTIAL_INVALID")
        await admin.change(lift, name=owner.user)
    assert await here.film() == await there.film() == "films/1"


async def test_a_key_follows_its_users_roles(
    owner: Owner, admin: Owner, replica: Running, movable: MovableClock
) -> None:
    """ASVS 8.3.2: at once where they changed, within 15 s elsewhere; what is lost is lost."""
    here = owner.with_key((await owner.create()).secret)
    there = here.at(replica)
    wanted = {"name": owner.user, "role": "roles/manager"}
    assert not await here.may("films.write")
    assert not await there.may("films.write")
    movable.advance(seconds=1)
    await admin.change("GrantRole", **wanted)
    assert await here.may("films.write") == ["films.write"]
    movable.advance(seconds=REMEMBERED.total_seconds())
    assert await there.may("films.write") == ["films.write"]
    await admin.change("RevokeRole", **wanted)
    assert not await here.may("films.write")
    movable.advance(seconds=REMEMBERED.total_seconds())
    assert not await there.may("films.write")
