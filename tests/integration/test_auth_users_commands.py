"""What operators do with users at the command line, on both databases."""

import io
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import select

from server.audit.models import AuditEvent
from server.auth import commands
from tests.support.running import ADMIN, PASSWORD, VIEWER, Running
from tests.support.statuses import refused
from tests.support.user_desk import Desk, new_email

Command = Callable[..., Awaitable[int]]


async def _run(running: Running, command: Command, **options: Any) -> tuple[int, str]:
    """Run a command and return its exit code and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    code = await command(running.app.users, out=out, err=err, **options)
    return code, out.getvalue() + err.getvalue()


async def _events(running: Running) -> Sequence[Mapping[str, Any]]:
    table = AuditEvent.__table__
    statement = select(table).where(table.c.method.startswith("interview-server users "))
    rows = await running.app.database.read.all(statement.order_by(table.c.event_id))
    return [dict(row._mapping) for row in rows]


async def test_every_command_is_in_the_audit_trail_without_a_principal(running: Running) -> None:
    """ASVS 16.3.3: who changes users at the machine leaves a trail too."""
    email, weak = new_email(), "another horse battery staple"
    before = len(await _events(running))
    for command, options in (
        (commands.create, {"email": email, "roles": ["viewer"], "password": PASSWORD}),
        (commands.grant, {"email": email, "role": "staff"}),
        (commands.revoke, {"email": email, "role": "viewer"}),
        (commands.suspend, {"email": email}),
        (commands.reactivate, {"email": email}),
        (commands.set_password, {"email": email, "password": weak}),
    ):
        code, told = await _run(running, command, **options)
        assert code == commands.DONE, told
    events = (await _events(running))[before:]
    assert [event["method"].removeprefix("interview-server users ") for event in events] == [
        *("create", "grant", "revoke", "suspend", "reactivate", "set-password"),
    ]
    assert {(e["principal"], e["credential"], e["peer_address"]) for e in events} == {("", "", "")}
    assert {event["outcome"] for event in events} == {"OK"}
    assert len({event["target"] for event in events}) == 1
    assert events[0]["target"].startswith("users/")
    assert events[1]["request"] == {"role": "roles/staff"}
    for secret in (email, PASSWORD, weak):
        assert secret not in str(events)


async def test_what_a_command_may_not_do_or_need_not_do_is_in_the_audit_trail_too(
    running: Running,
) -> None:
    """ASVS 16.3.3: attempts that changed nothing leave a trail too."""
    before = len(await _events(running))
    await _run(running, commands.suspend, email=ADMIN)
    await _run(running, commands.grant, email=ADMIN, role="admin")
    await _run(running, commands.create, email=ADMIN, roles=["viewer"], password=PASSWORD)
    await _run(running, commands.set_password, email=ADMIN, password="short")
    events = (await _events(running))[before:]
    assert [event["outcome"] for event in events] == [
        *("WRONG_STATE", "OK", "RESOURCE_EXISTS", "PASSWORD_POLICY"),
    ]
    assert [bool(event["target"]) for event in events] == [True, True, False, True]


async def test_commands_act_at_the_server_too(running: Running) -> None:
    """ASVS 7.4.2: a suspension at the machine ends the sessions at the server."""
    desk = await Desk.open(running)
    made = await desk.create(roles=["roles/viewer"])
    user = await desk.sign_in(made)
    assert (await _run(running, commands.suspend, email=made.email.upper()))[1] == (
        f"{made.email} is suspended; every login session of the user has ended\n"
    )
    assert (await refused(user.whoami())).reason == "TOKEN_REVOKED"
    assert (await _run(running, commands.reactivate, email=made.email)) == (
        commands.DONE,
        f"{made.email} is active\n",
    )
    assert (await _run(running, commands.revoke, email=made.email, role="viewer"))[1] == (
        f"{made.email} has no role\n"
    )
    assert not (await desk.get(made.name)).roles


@pytest.mark.parametrize(
    ("command", "options", "code", "told"),
    [
        (commands.revoke, {"email": ADMIN, "role": "admin"}, 1, "is the last active administrator"),
        (commands.suspend, {"email": ADMIN}, 1, "is the last active administrator"),
        (commands.revoke, {"email": VIEWER, "role": "boss"}, 2, "role: must be one of viewer,"),
        (commands.suspend, {"email": "nobody@example.com"}, 1, "does not exist"),
        (commands.reactivate, {"email": "nobody@example.com"}, 1, "does not exist"),
    ],
)
async def test_what_a_command_may_not_do_is_one_line(
    running: Running, command: Command, options: dict[str, str], code: int, told: str
) -> None:
    given, printed = await _run(running, command, **options)
    assert given == code
    assert told in printed
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1


async def test_a_deleted_user_is_not_changed_by_commands(running: Running) -> None:
    """AIP-164: who is deleted is undeleted before anything else."""
    desk = await Desk.open(running)
    made = await desk.create()
    await desk.delete(made.name)
    for command, options in (
        (commands.suspend, {}),
        (commands.grant, {"role": "admin"}),
        (commands.set_password, {"password": PASSWORD}),
    ):
        code, told = await _run(running, command, email=made.email, **options)
        assert (code, told) == (1, f"error: {made.name} is deleted; undelete it first\n")


async def test_a_new_password_changes_the_etag(running: Running) -> None:
    """AIP-154."""
    desk = await Desk.open(running)
    made = await desk.create()
    await _run(running, commands.set_password, email=made.email, password="a wholly new passphrase")
    changed = await desk.get(made.name)
    assert changed.etag != made.etag
    assert changed.password_change_time.ToDatetime() > made.password_change_time.ToDatetime()
