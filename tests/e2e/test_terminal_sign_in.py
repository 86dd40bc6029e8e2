"""`interview login`, `logout`, `whoami`: who is signed in, and where that is kept."""

import json
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.server_process import ServerProcess
from tests.support.terminal import Result, Terminal

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("server")]

LONG_AGO = "2001-01-01T00:00:00+00:00"


def failure(result: Result, code: int) -> str:
    """Return the one line that a failed command wrote, having checked that it is one."""
    assert (result.returncode, result.stdout) == (code, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def saved(terminal: Terminal) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(terminal.credentials.read_text())
    return values


def tokens(terminal: Terminal) -> dict[str, str]:
    found: dict[str, str] = saved(terminal)["logins"][terminal.target]["tokens"]
    return found


def change_tokens(terminal: Terminal, **values: str) -> None:
    file = saved(terminal)
    file["logins"][terminal.target]["tokens"].update(values)
    terminal.credentials.write_text(json.dumps(file))


@pytest.fixture
def nobody() -> str:
    """A target where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def test_a_wrong_password_signs_nobody_in(stranger: Terminal, server: ServerProcess) -> None:
    result = stranger.run("login", server.viewer.email, "--password-stdin", typed="wrong horse\n")
    line = failure(result, 1)
    assert line.endswith("(LOGIN_FAILED)")
    assert "wrong horse" not in line
    assert not stranger.credentials.exists()


def test_whoever_signs_in_stays_signed_in(terminal: Terminal, server: ServerProcess) -> None:
    result = terminal.run("whoami")
    assert result.returncode == 0
    assert f"user: {server.viewer.email}\n" in result.stdout
    assert f"server: {server.target}\n" in result.stdout
    principal = json.loads(terminal.run("whoami", "--json").stdout)
    assert principal["user"]["email"] == server.viewer.email
    assert "films.read" in principal["permissions"]


def test_the_last_sign_in_tells_the_server(terminal: Terminal) -> None:
    elsewhere = Terminal(terminal.home, "")
    assert elsewhere.run("whoami").returncode == 0


def test_only_the_user_can_read_the_credentials(stranger: Terminal, server: ServerProcess) -> None:
    stranger.credentials.parent.mkdir(parents=True)
    stranger.credentials.write_text('{"current": "", "logins": {}}')
    stranger.credentials.chmod(0o644)
    stranger.sign_in(server.viewer)
    for file in stranger.credentials.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_the_folder_is_made_for_the_user_alone(terminal: Terminal) -> None:
    assert stat.S_IMODE(terminal.credentials.parent.stat().st_mode) == 0o700


def test_no_secret_is_shown(stranger: Terminal, server: ServerProcess) -> None:
    shown = [
        stranger.sign_in(server.viewer),
        stranger.run("whoami"),
        stranger.run("whoami", "--json"),
        stranger.run("chat", "--json", typed="hello\n"),
    ]
    secrets = [tokens(stranger)["access_token"], tokens(stranger)["refresh_token"]]
    for result in shown:
        assert result.returncode == 0
        for secret in (*secrets, server.viewer.password):
            assert secret not in result.stdout + result.stderr


def test_a_terminal_is_asked_and_the_password_is_hidden(
    stranger: Terminal, server: ServerProcess
) -> None:
    with stranger.screen("login") as screen:
        screen.expect("E-mail: ")
        screen.type(f"{server.viewer.email}\n")
        screen.expect("Password: ")
        screen.type(f"{server.viewer.password}\n")
        screen.expect(f"signed in at {server.target}")
        assert screen.exit_code() == 0
        assert server.viewer.password not in screen.text


@pytest.mark.parametrize("arguments", [["login"], ["login", "viewer@example.com"]])
def test_without_a_terminal_nobody_is_asked(stranger: Terminal, arguments: list[str]) -> None:
    failure(stranger.run(*arguments, typed="password\n"), 2)


def test_whoever_is_not_signed_in_is_told_how(stranger: Terminal) -> None:
    for command in (["whoami"], ["logout"], ["films", "list"], ["chat"]):
        line = failure(stranger.run(*command), 3)
        assert f"not signed in at {stranger.target}; run: interview login" in line


def test_signing_out_ends_the_session_at_the_server_too(terminal: Terminal) -> None:
    before = terminal.credentials.read_text()
    assert terminal.run("logout").returncode == 0
    failure(terminal.run("whoami"), 3)
    terminal.credentials.write_text(before)
    line = failure(terminal.run("whoami"), 3)
    assert "TOKEN_REVOKED" in line


@pytest.mark.parametrize(
    "text", ["", '{"current": "", "logins": {"127.0.0.1:1": {}}}', "[" * 100_000, "\x00\xff"]
)
def test_a_garbled_file_is_named(stranger: Terminal, text: str) -> None:
    stranger.credentials.parent.mkdir(parents=True)
    stranger.credentials.write_text(text, "latin-1")
    line = failure(stranger.run("films", "list"), 3)
    assert str(stranger.credentials) in line
    assert "run: interview login" in line


def test_signing_in_mends_a_garbled_file(stranger: Terminal, server: ServerProcess) -> None:
    stranger.credentials.parent.mkdir(parents=True)
    stranger.credentials.write_text("{")
    stranger.sign_in(server.viewer)
    assert stranger.run("whoami").returncode == 0


@pytest.mark.parametrize(
    "values",
    [
        {"refresh_time": "2001-01-01T00:00:00"},
        {"access_expire_time": "soon"},
        {"access_token": "two\nlines"},
        {"access_token": "héllo"},
    ],
)
def test_garbled_tokens_are_a_broken_file(terminal: Terminal, values: dict[str, str]) -> None:
    change_tokens(terminal, **values)
    assert "is broken" in failure(terminal.run("whoami"), 3)


def test_tokens_that_are_due_are_renewed_and_kept(terminal: Terminal) -> None:
    change_tokens(terminal, refresh_time=LONG_AGO)
    before = tokens(terminal)
    assert terminal.run("whoami").returncode == 0
    after = tokens(terminal)
    assert after["refresh_token"] != before["refresh_token"]
    assert after["access_token"] != before["access_token"]
    assert stat.S_IMODE(terminal.credentials.stat().st_mode) == 0o600


def test_terminals_that_renew_at_once_do_not_revoke_each_other(terminal: Terminal) -> None:
    change_tokens(terminal, refresh_time=LONG_AGO)
    together = [terminal.start("whoami") for _ in range(5)]
    for process in together:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
    assert terminal.run("whoami").returncode == 0


def test_a_session_that_is_over_is_forgotten(terminal: Terminal) -> None:
    change_tokens(terminal, refresh_time=LONG_AGO, refresh_token="no" * 30)
    assert "run: interview login" in failure(terminal.run("films", "list"), 3)
    assert saved(terminal)["logins"] == {}


def test_a_refresh_token_that_was_cut_means_to_sign_in_again(terminal: Terminal) -> None:
    change_tokens(terminal, refresh_time=LONG_AGO, refresh_token="cut")
    assert "run: interview login" in failure(terminal.run("films", "list"), 3)


def test_a_garbled_access_token_is_renewed(terminal: Terminal) -> None:
    change_tokens(terminal, access_token="nonsense")
    assert terminal.run("whoami").returncode == 0
    assert tokens(terminal)["access_token"] != "nonsense"
    change_tokens(terminal, access_token="nonsense", refresh_token="rt_" + "x" * 43)
    assert "CREDENTIAL_INVALID" in failure(terminal.run("whoami"), 3)


def test_no_server_gets_the_tokens_of_another(terminal: Terminal, nobody: str) -> None:
    line = failure(terminal.run("whoami", "--target", nobody), 3)
    assert f"not signed in at {nobody}" in line


def test_a_server_that_is_away_is_named(terminal: Terminal, nobody: str) -> None:
    file = saved(terminal)
    file["logins"][nobody] = file["logins"][terminal.target]
    terminal.credentials.write_text(json.dumps(file))
    login = ("login", "a@example.com", "--password-stdin")
    plain = terminal.run(*login, "--tls", typed="x\n", GRPC_VERBOSITY="NONE")
    assert "does not speak TLS; login --no-tls goes without" in failure(plain, 1)
    for result in (
        terminal.run(*login, "--target", nobody, typed="x\n"),
        terminal.run("chat", "--target", nobody, typed="hello\n"),
        terminal.run("ask", "hello", "--target", nobody),
    ):
        assert f"cannot reach the server at {nobody}" in failure(result, 1)


def test_the_file_can_be_elsewhere(
    stranger: Terminal, server: ServerProcess, tmp_path: Path
) -> None:
    account, password = server.viewer.email, f"{server.viewer.password}\n"
    given, named, xdg = tmp_path / "a" / "file", tmp_path / "b.json", tmp_path / "xdg"
    login = ("login", account, "--password-stdin")
    stranger.run(*login, "--config", str(given), typed=password)
    stranger.run(*login, typed=password, INTERVIEW_CONFIG=str(named))
    stranger.run(*login, typed=password, XDG_CONFIG_HOME=str(xdg))
    for file in (given, named, xdg / "interview" / "credentials.json"):
        assert account in file.read_text()
    assert not stranger.credentials.exists()


def test_a_file_that_cannot_be_written_is_named(stranger: Terminal, server: ServerProcess) -> None:
    (stranger.home / ".config").write_text("not a folder")
    result = stranger.run(
        *("login", server.viewer.email, "--password-stdin"), typed=f"{server.viewer.password}\n"
    )
    assert str(stranger.credentials.parent) in failure(result, 1)


def test_wrong_usage_is_one_line(stranger: Terminal) -> None:
    assert "interview films --help" in failure(stranger.run("films"), 2)
    assert "--nope" in failure(stranger.run("whoami", "--nope"), 2)
    assert "HOST:PORT" in failure(stranger.run("whoami", "--target", "nonsense"), 2)


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules['{missing}'] = None; import interview_client.cli as cli;"
    result = subprocess.run(
        [sys.executable, "-c", f"{code} sys.exit(cli.main())"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "pip install 'interview-client[cli]'" in failure(result, 1)
