"""What operators hold of API keys: secrets, floods, times of use, and commands."""

import asyncio
import json
import os
import re
from asyncio.subprocess import PIPE
from typing import Any
from uuid import UUID

import grpc
import pytest
from sqlalchemy import select

from server.app import AGENT, AUTH, CATALOGUE, USERS
from server.auth.api_key_principals import WAITING_LOOKUPS
from server.auth.api_key_secrets import new_secret
from server.auth.models import ApiKey
from server.core.principal import CredentialKind
from server.database.engine import Database
from server.generated.interview.auth.v1 import user_service_pb2 as users
from server.rpc.policy import MethodPolicy, policy_of
from tests.support.amount import amount
from tests.support.api_keys import Owner, every_value
from tests.support.auth import MovableClock
from tests.support.caller import SECONDS, Caller
from tests.support.deployment import ROOT
from tests.support.handbook import commands
from tests.support.running import Running, running_server
from tests.support.statuses import refused

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


async def test_a_deleted_key_is_known_for_a_day(owner: Owner, movable: MovableClock) -> None:
    """ASVS 14.2.7: its row is gone with the first key that is deleted after that."""
    ids = []
    for span in ({"hours": 23}, {"hours": 2}, {}):
        program = await Owner.new(owner.running)
        made = await program.create()
        await program.delete(made.api_key.name)
        ids.append(_id(made))
        movable.advance(**span)
    rows = await owner.running.app.database.read.all(select(ApiKey.key_id))
    assert {row.key_id for row in rows} & set(ids) == set(ids[1:])


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
    # A look at a time for films, and beside it the share that unknown keys may take.
    assert most <= 1 + max(1, database.pools[0].size // 4)
    assert await program.film() == "films/1"


def test_every_method_that_takes_a_key_says_so() -> None:
    """ASVS 8.1.1: which methods refuse keys is written in the contract."""
    refusing = {
        re.sub(r".*/", "", p.method)
        for p in POLICIES
        if CredentialKind.API_KEY not in p.credential_kinds
    }
    assert {"DeleteUser", "GrantRole", "RevokeRole"} <= refusing


async def test_the_handbooks_commands_do_what_it_says(owner: Owner) -> None:
    """docs/operations.md: a key is made, used, listed and deleted by grpcurl alone."""
    make, use, *rest = commands("Credentials for backend services")
    known = {"OWNER": owner.user, "TOKEN": str(owner.metadata[0][1]).partition(" ")[2]}
    made = json.loads(await _run(make, owner.running, known))
    known |= {"KEY": made["secret"], "NAME": made["api_key"]["name"]}
    assert json.loads(await _run(use, owner.running, known))["name"] == "films/1"
    (both,) = rest
    listing, deletion = both.splitlines()
    (key,) = json.loads(await _run(listing, owner.running, known))["api_keys"]
    assert key["hint"] == made["secret"][:8]
    assert json.loads(await _run(deletion, owner.running, known)) == {}
    assert not (await owner.list()).api_keys


async def _run(command: str, running: Running, known: dict[str, str]) -> str:
    """Run a command of the handbook against the server at hand."""
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-euc",
        command.replace("127.0.0.1:50051", running.target),
        cwd=ROOT,
        env={**os.environ, **known},
        stdout=PIPE,
        stderr=PIPE,
    )
    async with asyncio.timeout(SECONDS):
        out, problem = await process.communicate()
    assert process.returncode == 0, problem.decode()
    return out.decode()
