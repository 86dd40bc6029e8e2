"""What `make run` tells the person who typed it: passwords, and commands ready to paste."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from server.settings import Settings

VIEWER = "viewer@example.com"


class Banner:
    """Writes to one stream, in plain text."""

    def __init__(self, settings: Settings, port: int, out: TextIO) -> None:
        self._settings = settings
        self._address = settings.model_copy(update={"port": port}).local_address
        self._out = out

    def catalogue_ready(self, seconds: float, new_users: Sequence[tuple[str, str]]) -> None:
        """Say where the server is, who may sign in, and what to try."""
        settings = self._settings
        model = settings.openai_model if settings.model_configured else "offline rules"
        self._write(
            f"Interview API serves on {self._address} ({settings.transport}, agents: {model})",
            f"  catalogue and sign-in ready after {seconds:.1f} s, agents are being loaded ...",
            "",
        )
        if new_users:
            self._write("Demo users; their passwords are shown this once:")
            self._write(*(f"  {email:<20} {password}" for email, password in new_users), "")
        else:
            self._write(
                "The demo users exist already. A new password for one of them:",
                "  openssl rand -base64 18 | tee /dev/stderr |"
                f" {_tool('interview-server')} users set-password {VIEWER} --password-stdin",
                "",
            )
        self._write("Try, in another terminal:", *(f"  {line}" for line in self._commands()), "")

    def agents_ready(self, seconds: float) -> None:
        """Say that the chat answers too."""
        self._write(f"  agents ready after {seconds:.1f} s. Stop with Ctrl-C.", "")

    def _commands(self) -> Sequence[str]:
        service = "interview.auth.v1.AuthService/Login"
        login = f'{{"email":"{VIEWER}","password":"..."}}'
        grpcurl = f"{_tool('grpcurl')} {self._trust('-', 'cacert') or '-plaintext'}"
        return (
            f"{_tool('interview')} login {VIEWER} --target {self._address}"
            f" {self._trust('--', 'ca')}".rstrip(),
            f"{_tool('interview')} films search dinosaur",
            f"{_tool('interview')} chat",
            f"{grpcurl} {self._address} list",
            f"{grpcurl} -d '{login}' {self._address} {service}",
        )

    def _trust(self, dash: str, ca: str) -> str:
        """Return the options by which a client trusts the server; none without TLS."""
        settings = self._settings
        if settings.tls_certificate_file is None:
            return ""
        shown = f" {dash}cert FILE {dash}key FILE" if settings.tls_client_ca_file else ""
        return f"{dash}{ca} {settings.tls_certificate_file}{shown}"

    def _write(self, *lines: str) -> None:
        self._out.write("".join(f"{line}\n" for line in lines))
        self._out.flush()


def _tool(name: str) -> str:
    """Return how to call a program of this environment from here."""
    program = Path(sys.executable).with_name(name)
    try:
        return str(program.relative_to(Path.cwd()))
    except ValueError:
        return str(program)
