"""`interview sessions`, `keys`, `users`, `passwd`: an account at a terminal."""

import asyncio
import json
from uuid import uuid4

import pytest
from interview_client import InterviewClient, LoginFailed
from interview_client.messages import User

from tests.support.server_process import Account, ServerProcess
from tests.support.terminal import Result, Terminal

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("server")]

NEW_PASSWORD = "four lamps under an old bridge"


def done(result: Result) -> str:
    """Return what a command wrote, having checked that it went well."""
    assert result.returncode == 0, result.stderr
    return result.stdout


def refused(result: Result, reason: str) -> str:
    """Return the one line of a command that failed for this reason."""
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert reason in line
    return line


@pytest.fixture
def newcomer(server: ServerProcess) -> Account:
    """A user that nobody else knows."""
    word = f"u{uuid4().hex[:12]}"
    account = Account(f"{word}@example.com", "seven kettles on a quiet roof")

    async def create() -> None:
        async with InterviewClient(server.target) as client:
            await client.sign_in(server.admin.email, server.admin.password)
            await client.users.create_user(
                User(email=account.email),
                user_id=word,
                initial_password=account.password,
                roles=["viewer"],
            )

    asyncio.run(create())
    return account


async def _signed_in(server: ServerProcess, account: Account, password: str = "") -> bool:
    async with InterviewClient(server.target) as client:
        try:
            await client.sign_in(account.email, password or account.password, "another device")
        except LoginFailed:
            return False
        return True


def test_sessions_are_listed_and_ended(
    stranger: Terminal, newcomer: Account, server: ServerProcess
) -> None:
    """ASVS 7.5.2: users see their sessions and end them."""
    stranger.sign_in(newcomer)
    assert asyncio.run(_signed_in(server, newcomer))
    rows = [json.loads(line) for line in done(stranger.run("sessions", "--json")).splitlines()]
    assert [row.get("current", False) for row in rows] == [False, True]
    assert [row["deviceLabel"] for row in rows] == ["another device", "interview terminal"]
    refused(stranger.run("sessions", "revoke", "nothing"), "there is no session nothing")
    assert "ended 1 session" in stranger.run("sessions", "revoke", "--others").stderr
    own = rows[1]["name"].rpartition("/")[2]
    with stranger.screen("chat") as screen, stranger.started("chat") as piped:
        screen.expect("> ")
        assert piped.stdin is not None
        assert piped.stdout is not None
        piped.stdin.write("Any dinosaurs?\n")
        piped.stdin.flush()
        assert piped.stdout.readline() == "— SearchAgent —\n"
        while not piped.stdout.readline().startswith("Sources:"):
            assert piped.poll() is None
        assert "ended 1 session" in stranger.run("sessions", "revoke", own).stderr
        ended = "the server ended the chat: the login session has ended; sign in again"
        screen.expect(f"\n{ended} (TOKEN_REVOKED)\n> ")
        screen.type("/quit\n")
        assert screen.exit_code() == 0
        assert "Traceback" not in screen.text
        assert piped.communicate()[1] == f"error: {ended} (TOKEN_REVOKED)\n"
        assert piped.returncode == 1
    assert stranger.run("whoami").returncode == 3


def test_a_script_uses_a_key_until_it_is_deleted(stranger: Terminal, newcomer: Account) -> None:
    """ASVS 7.4.1, 8.2.1: a key does what its scopes allow, and nothing once it is deleted."""
    stranger.sign_in(newcomer)
    secret = done(stranger.run("keys", "create", "nightly", "--scope", "films.read")).strip()
    assert secret.startswith("ik_")
    elsewhere = stranger.home / "elsewhere"
    elsewhere.mkdir()
    script = Terminal(elsewhere, stranger.target)
    films = done(script.run("films", "list", "--limit", "1", INTERVIEW_API_KEY=secret))
    assert films.startswith("films/")
    refused(script.run("ask", "Hello?", INTERVIEW_API_KEY=secret), "PERMISSION_DENIED")
    (row,) = done(stranger.run("keys", "--json")).splitlines()
    (same,) = done(stranger.run("keys", "list", "--user", newcomer.email, "--json")).splitlines()
    assert json.loads(same)["name"] == json.loads(row)["name"]
    assert secret not in row
    key = json.loads(row)
    assert (key["displayName"], key["scopes"]) == ("nightly", ["films.read"])
    assert secret.startswith(key["hint"])
    done(stranger.run("keys", "delete", key["name"].rpartition("/")[2]))
    line = refused(script.run("whoami", INTERVIEW_API_KEY=secret), "INTERVIEW_API_KEY is refused")
    assert "is not accepted (CREDENTIAL_INVALID); put another one there" in line
    assert "sign in" not in line
    assert secret not in line
    refusal = stranger.run("keys", "create", "x", "--expires", "36501d")
    assert (refusal.returncode, "1d to 36500d" in refusal.stderr) == (2, True)


def test_a_password_is_changed(
    stranger: Terminal, newcomer: Account, server: ServerProcess
) -> None:
    """ASVS 6.2.2, 6.2.3."""
    stranger.sign_in(newcomer)
    wrong = f"not the password\n{NEW_PASSWORD}\n"
    refused(stranger.run("passwd", "--password-stdin", typed=wrong), "LOGIN_FAILED")
    common = f"{newcomer.password}\npassword12345678\n"
    refused(stranger.run("passwd", "--password-stdin", typed=common), "PASSWORD_POLICY")
    good = f"{newcomer.password}\n{NEW_PASSWORD}\n"
    done(stranger.run("passwd", "--password-stdin", typed=good))
    assert stranger.run("whoami").returncode == 0
    assert not asyncio.run(_signed_in(server, newcomer))
    assert asyncio.run(_signed_in(server, newcomer, NEW_PASSWORD))


def test_new_passwords_are_asked_for_twice_and_hidden(
    stranger: Terminal, newcomer: Account, server: ServerProcess
) -> None:
    stranger.sign_in(newcomer)
    with stranger.screen("passwd") as screen:
        screen.expect("Password until now: ")
        screen.type(f"{newcomer.password}\n")
        screen.expect("New password: ")
        screen.type(f"{NEW_PASSWORD}\n")
        screen.expect("Once more: ")
        screen.type("something else entirely\n")
        screen.expect("the new passwords differ; nothing was changed")
        assert screen.exit_code() == 1
        assert NEW_PASSWORD not in screen.text
    assert asyncio.run(_signed_in(server, newcomer))


def test_users_are_changed_by_who_may(
    stranger: Terminal, newcomer: Account, server: ServerProcess
) -> None:
    user = newcomer.email.partition("@")[0]
    stranger.sign_in(server.admin)
    shown = json.loads(done(stranger.run("users", "grant", user, "staff", "--json")))
    assert shown["roles"] == ["roles/staff", "roles/viewer"]
    done(stranger.run("users", "suspend", newcomer.email.upper(), "--reason", "on leave"))
    assert not asyncio.run(_signed_in(server, newcomer))
    chosen = ("--filter", f'state = SUSPENDED AND email = "{newcomer.email}"')
    (listed,) = done(stranger.run("users", "list", *chosen, "--json")).splitlines()
    everybody = done(stranger.run("users")).splitlines()
    assert any(newcomer.email in line for line in everybody)
    roles = dict(
        line.split("\t")[::2] for line in done(stranger.run("users", "roles")).splitlines()
    )
    assert "films.read" in roles["viewer"]
    nobody = 'no"body*@example.com'
    line = refused(stranger.run("users", "show", nobody), f"nobody has the address {nobody}")
    assert line.endswith("see: interview users list")
    assert json.loads(listed)["name"] == f"users/{user}"
    done(stranger.run("users", "reactivate", user))
    assert "deleted: " in done(stranger.run("users", "delete", user))
    assert "state: active" in done(stranger.run("users", "undelete", user))
    assert "roles: staff\n" in done(stranger.run("users", "revoke", user, "viewer"))
    assert asyncio.run(_signed_in(server, newcomer))


def test_a_session_can_be_limited_to_some_permissions(
    stranger: Terminal, newcomer: Account
) -> None:
    """ASVS 8.2.1: a session does what its scopes allow, whatever its user may."""
    arguments = ("login", newcomer.email, "--password-stdin", "--scope", "films.read")
    done(stranger.run(*arguments, typed=newcomer.password + "\n"))
    assert "permissions: films.read\n" in done(stranger.run("whoami"))
    assert refused(stranger.run("users", "list"), "permission users.read").endswith("_DENIED)")
