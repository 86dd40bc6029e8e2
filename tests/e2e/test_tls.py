"""A server with TLS as an operator starts it, and the terminal as a user meets it."""

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.support.server_process import PROGRAM, ServerProcess, serving
from tests.support.terminal import Result, Terminal

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("tls")]


@dataclass(frozen=True)
class Secured:
    """A server that speaks mTLS, and the files of a client that it lets in."""

    server: ServerProcess
    ca: Path
    certificate: Path
    banner: str


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority("everybody's")
    ca = folder / "ca.pem"
    ca.write_bytes(authority.pem)
    certificate, key = authority.issue().write(folder, "server")
    shown, _ = authority.issue(["ann"]).write(folder, "ann")
    settings: dict[str, Any] = {
        "TLS_CERTIFICATE_FILE": str(certificate),
        "TLS_PRIVATE_KEY_FILE": str(key),
        "TLS_CLIENT_CA_FILE": str(ca),
        # What TLS allows without a further word.
        "HOST": "0.0.0.0",
    }
    with serving(folder, **settings) as server:
        yield Secured(server, ca, shown, (folder / "banner").read_text("utf-8"))


@pytest.fixture
def stranger(secured: Secured, tmp_path: Path) -> Terminal:
    return Terminal(tmp_path, secured.server.target)


def _sign_in(terminal: Terminal, secured: Secured, *options: str) -> Result:
    account = secured.server.viewer
    return terminal.run(
        "login", account.email, "--password-stdin", *options, typed=f"{account.password}\n"
    )


def _line(result: Result) -> str:
    """Return our own line of a failed command; gRPC writes about handshakes as well."""
    assert result.returncode == 1, result.stderr
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("error: "))
    return line


def test_who_signed_in_by_tls_goes_on_so_in_any_folder(
    secured: Secured, stranger: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(secured.ca.parent)
    relative = ("--ca", "ca.pem", "--cert", "ann.pem", "--key", "ann-key.pem")
    assert _sign_in(stranger, secured, *relative).returncode == 0
    monkeypatch.chdir("/")
    found = stranger.run("films", "show", "296")
    assert (found.returncode, found.stderr) == (0, "")
    assert "title: Jurassic Park" in found.stdout
    # Signing in again needs no repetition either.
    assert _sign_in(stranger, secured).returncode == 0
    assert stranger.run("logout").returncode == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--tls",), "is not trusted: unable to get local issuer certificate; login --ca FILE"),
        (("--ca",), "hangs up: does it want TLS (login --tls), or a certificate (--cert and"),
    ],
)
def test_what_is_missing_is_told_in_a_line(
    options: tuple[str, ...], said: str, secured: Secured, stranger: Terminal
) -> None:
    given = (*options, str(secured.ca)) if "--ca" in options else options
    assert said in _line(_sign_in(stranger, secured, *given))
    assert not stranger.credentials.exists()


def test_files_that_cannot_be_used_are_named(secured: Secured, stranger: Terminal) -> None:
    ours, other = str(secured.certificate), str(secured.ca)
    assert "cannot read /nothing" in _line(_sign_in(stranger, secured, "--ca", "/nothing"))
    line = _line(_sign_in(stranger, secured, "--cert", ours, "--key", other))
    assert f"{other} is not the private key of the certificate in {ours}" in line
    assert _sign_in(stranger, secured, "--cert", ours).returncode == 2


def test_tokens_in_the_clear_are_warned_of_beyond_this_machine(stranger: Terminal) -> None:
    warning = "warning: passwords and tokens travel to films.invalid:1 in the clear"
    login = ("login", "ann@example.com", "--password-stdin", "--target")
    assert warning in stranger.run(*login, "films.invalid:1", typed="secret\n").stderr
    for unwarned in (("films.invalid:1", "--tls"), ("[::1]:1",)):
        assert "warning" not in stranger.run(*login, *unwarned, typed="secret\n").stderr


def test_the_healthcheck_of_its_container_needs_no_argument(secured: Secured) -> None:
    port = secured.server.target.rpartition(":")[2]
    done = subprocess.run(
        [PROGRAM, "healthcheck", "--service", "interview.agent.v1.AgentService"],
        cwd=secured.server.folder,
        env={**secured.server.environment, "PORT": port},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_banner_says_how_to_come_in(secured: Secured) -> None:
    certificate = secured.server.environment["TLS_CERTIFICATE_FILE"]
    target = re.escape(secured.server.target)
    assert re.search(rf"serves on {target} \(mTLS, agents: ", secured.banner)
    assert f"--ca {certificate} --cert FILE --key FILE" in secured.banner
    assert f"-cacert {certificate} -cert FILE -key FILE {secured.server.target}" in secured.banner
    assert "-plaintext" not in secured.banner


def test_handshakes_that_fail_leave_the_log_one_of_json(secured: Secured) -> None:
    host, _, port = secured.server.target.rpartition(":")
    for words in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\x00" * 64):
        with socket.create_connection((host, int(port)), timeout=20) as scanner:
            scanner.sendall(words)
            assert scanner.recv(1) in {b"", b"\x15"}
    events = [json.loads(line)["event"] for line in secured.server.log.splitlines()]
    assert "listening" in events


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"HOST": "0.0.0.0"}, "HOST: 0.0.0.0 is open to other machines"),
        ({"HOST": "0.0.0.0", "WORKERS": "2"}, "HOST: 0.0.0.0 is open to other machines"),
        ({"TLS_CERTIFICATE_FILE": "x.pem"}, "TLS_CERTIFICATE_FILE and TLS_PRIVATE_KEY_FILE go"),
        (
            {"TLS_CERTIFICATE_FILE": "x.pem", "TLS_PRIVATE_KEY_FILE": "x.pem"},
            "TLS_CERTIFICATE_FILE: cannot be read: No such file or directory",
        ),
    ],
)
def test_a_start_that_must_not_be_is_one_line(
    settings: dict[str, str], said: str, secured: Secured, tmp_path: Path
) -> None:
    clean = {
        name: value
        for name, value in secured.server.environment.items()
        if not name.startswith("TLS_")
    }
    own = {**clean, "HOST": "127.0.0.1", "DATA_DIR": str(tmp_path), **settings}
    done = subprocess.run(
        [PROGRAM, "serve"],
        cwd=tmp_path,
        env=own,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith(f"error: {said}")
