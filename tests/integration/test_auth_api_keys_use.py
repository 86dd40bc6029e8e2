"""Calls with API keys: who they are from, what they may, and when they are refused."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import select

from server.app import AGENT, AUTH, CATALOGUE, USERS, Application
from server.auth.api_key_principals import REMEMBERED, WAITING_LOOKUPS
from server.auth.api_key_secrets import new_secret
from server.auth.models import ApiKey
from server.core.principal import CredentialKind
from server.database.engine import Database
from server.generated.interview.agent.v1 import chat_pb2
from server.generated.interview.auth.v1 import user_service_pb2 as users
from server.rpc.policy import MethodPolicy, policy_of
from tests.support.amount import amount
from tests.support.api_keys import Owner, bearer, every_value
from tests.support.auth import MovableClock
from tests.support.caller import SECONDS, Caller
from tests.support.running import SECRET, Running, capturing_log, running_server
from tests.support.statuses import check_row, refused

SERVICES = (AUTH, USERS, CATALOGUE, AGENT)
POLICIES = [policy_of(method) for service in SERVICES for method in service.methods]


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


@pytest.mark.parametrize(
    "policy",
    [p for p in POLICIES if CredentialKind.API_KEY not in p.credential_kinds or p.max_auth_age],
    ids=lambda policy: policy.method.rpartition("/")[2],
)
async def test_what_needs_a_person_takes_no_key(admin: Owner, policy: MethodPolicy) -> None:
    """ASVS 7.5.1, 7.5.3: a key of an administrator too is not somebody who gave a password."""
    program = admin.with_key((await admin.create()).secret)
    caller = Caller(admin.running, program.metadata)
    told = await refused(caller.raw(policy.method, b""))
    assert told.code is grpc.StatusCode.PERMISSION_DENIED
    assert told.reason in {"PERMISSION_DENIED", "STEP_UP_REQUIRED"}


async def test_a_secret_is_shown_once_and_kept_nowhere(owner: Owner, admin: Owner) -> None:
    """ASVS 14.2.4, 16.2.5: not in the database, not in a log, in no other answer."""
    made = await owner.create(display_name="a planted name")
    secret = made.secret
    program = owner.with_key(secret)
    await program.film()
    answers = [made.api_key, await program.list(), await admin.list(owner.user)]
    answers.append(await program.principal())
    await refused(owner.with_key(secret[:-1]).film())
    await owner.delete(made.api_key.name)
    kept = await every_value(owner.running.app.database)
    assert "a planted name" in kept
    for text in (kept, repr(owner.running.lines), repr(answers)):
        assert secret[8:] not in text
        assert secret[8:30] not in text


async def test_when_a_key_was_used_is_told_to_the_minute(
    sample_database_url: str, tmp_path: Any
) -> None:
    """ASVS 6.5.1: stored in batches, the last one when the server ends; one write a minute."""
    clock = MovableClock()
    clock.advance(seconds=17)
    async with running_server(sample_database_url, tmp_path, clock=clock) as running:
        owner = await Owner.new(running)
        made, unused = await owner.create(), await owner.create()
        for _ in range(5):
            await owner.with_key(made.secret).film()
            clock.advance(seconds=12)
    stored = await _last_uses(sample_database_url)
    assert stored == {_id(made): "12:01:00", _id(unused): ""}


def _id(made: users.CreateApiKeyResponse) -> UUID:
    return UUID(made.api_key.name[-36:])


async def _last_uses(url: str) -> dict[UUID, str]:
    database = Database(url)
    try:
        rows = await database.read.all(select(ApiKey.key_id, ApiKey.last_use_time))
    finally:
        await database.close()
    return {row.key_id: str(row.last_use_time or "")[11:19] for row in rows}


async def test_false_keys_come_in_floods(owner: Owner) -> None:
    """ASVS 2.4.1, 6.3.1: each is refused, others go on, and a known key does not wait behind."""
    secret = (await owner.create()).secret
    program = owner.with_key(secret)
    await program.film()
    database = owner.running.app.database
    most = 0

    async def false_keys() -> list[str]:
        nonlocal most
        reasons = []
        for _ in range(amount(3, 30)):
            reasons.append((await refused(owner.with_key(new_secret()).film())).reason)
            most = max(most, database.pools[0].used)
        return reasons

    flood = [asyncio.create_task(false_keys()) for _ in range(80)]
    served = 0
    while not all(task.done() for task in flood):
        assert await program.film() == await owner.film() == "films/1"
        served += 1
        await asyncio.sleep(0)
    reasons = [reason for task in flood for reason in await task]
    assert set(reasons) <= {"CREDENTIAL_INVALID", "RATE_LIMITED"}
    assert reasons.count("CREDENTIAL_INVALID") >= WAITING_LOOKUPS
    assert served >= 1
    assert most < database.pools[0].size
    assert await program.film() == "films/1"


def test_every_method_that_takes_a_key_says_so() -> None:
    """ASVS 8.1.1: which methods refuse keys is written in the contract."""
    refusing = {
        re.sub(r".*/", "", p.method)
        for p in POLICIES
        if CredentialKind.API_KEY not in p.credential_kinds
    }
    assert {"DeleteUser", "GrantRole", "RevokeRole"} <= refusing
