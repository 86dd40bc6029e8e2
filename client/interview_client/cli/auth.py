"""Signing in and out."""

import asyncio
import getpass
import sys
from typing import Annotated

import typer

from interview_client.messages import Principal

from .connection import Connection, TlsChoice
from .failures import USAGE, Failure
from .options import Ca, Certificate, Config, Json, Key, Target, TlsOn
from .output import Column, Output, note
from .sessions import moment

DEVICE_LABEL = "interview terminal"


def _roles(principal: Principal) -> str:
    roles = principal.user.roles if principal.user else []
    return ", ".join(role.removeprefix("roles/") for role in roles)


_PRINCIPAL: tuple[Column[Principal], ...] = (
    Column("user", lambda principal: principal.user.email if principal.user else ""),
    Column("name", lambda principal: principal.user.name if principal.user else ""),
    Column("roles", _roles),
    Column("permissions", lambda principal: ", ".join(principal.permissions)),
    Column("login session", lambda principal: principal.login_session),
    Column("API key", lambda principal: principal.api_key),
    Column("credential ends", lambda principal: moment(principal.expire_time)),
)

Email = Annotated[str, typer.Argument(metavar="[EMAIL]", show_default=False)]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]
Scopes = Annotated[
    list[str] | None,
    typer.Option("--scope", help="Limit to a permission, as films.read; may be repeated."),
]
KeepOthers = Annotated[bool, typer.Option("--keep-others", help="Stay signed in on other devices.")]
AllSessions = Annotated[bool, typer.Option("--all", help="End the sessions of all devices too.")]


def login(  # noqa: PLR0913, PLR0917  # the options of the command
    email: Email = "",
    target: Target = "",
    tls: TlsOn = None,
    ca: Ca = None,
    cert: Certificate = None,
    key: Key = None,
    config: Config = None,
    password_stdin: PasswordStdin = False,
    scope: Scopes = None,
) -> None:
    """Sign in and stay signed in, until you log out. Later commands connect in the same way."""
    connection, choice = Connection(target, config), TlsChoice(tls, ca, cert, key)
    email = email or _ask_email(from_stdin=password_stdin)
    password = _read_password() if password_stdin else _ask_password()

    async def sign_in() -> None:
        async with connection.new_client(email, choice) as client:
            user = await client.sign_in(email, password, DEVICE_LABEL, scopes=scope or ())
        note(f"signed in at {connection.target} as {user.email}")

    asyncio.run(sign_in())


def logout(target: Target = "", config: Config = None, everywhere: AllSessions = False) -> None:
    """Sign out and forget the credentials. An API key in INTERVIEW_API_KEY plays no part."""
    connection = Connection(target, config)

    async def sign_out() -> None:
        async with connection.client(by_session=True) as client:
            await client.sign_out(all_sessions=everywhere)
        note(f"signed out at {connection.target}")

    asyncio.run(sign_out())


def whoami(target: Target = "", config: Config = None, json: Json = False) -> None:
    """Show who is signed in, where, and what that user may do."""
    connection = Connection(target, config)
    server: Column[Principal] = Column("server", lambda _: connection.target)

    async def show() -> None:
        async with connection.client() as client:
            principal = await client.get_current_principal()
        Output(json=json).details(principal, (server, *_PRINCIPAL))

    asyncio.run(show())


def passwd(
    target: Target = "",
    config: Config = None,
    keep_others: KeepOthers = False,
    password_stdin: Annotated[
        bool,
        typer.Option("--password-stdin", help="Read the old and the new password, a line each."),
    ] = False,
) -> None:
    """Change your password; on other devices you are signed out.

    It is the password of who signed in here; an API key in INTERVIEW_API_KEY plays no part.
    """
    connection = Connection(target, config)
    if password_stdin:
        current, new = _read_password(), _read_password()
    else:
        current, new = _ask_password("Password until now: "), _ask_new_password()

    async def change() -> None:
        async with connection.client(by_session=True) as client:
            await client.account.change_password(current, new, keep_other_sessions=keep_others)
        note("password changed")

    asyncio.run(change())


def _ask_new_password() -> str:
    new = _ask_password("New password: ")
    if _ask_password("Once more: ") != new:
        raise Failure("the new passwords differ; nothing was changed")
    return new


def _ask_email(*, from_stdin: bool) -> str:
    if from_stdin or not sys.stdin.isatty():
        raise Failure("name the user: interview login EMAIL", USAGE)
    sys.stderr.write("E-mail: ")
    sys.stderr.flush()
    email = sys.stdin.readline().strip()
    if not email:
        raise Failure("no e-mail was given")
    return email


def _ask_password(prompt: str = "Password: ") -> str:
    if not sys.stdin.isatty():
        # Without a terminal getpass would read, and some shells show, what is typed.
        raise Failure("there is no terminal to ask on; use --password-stdin", USAGE)
    try:
        password = getpass.getpass(prompt)
    except EOFError:
        password = ""
    if not password:
        raise Failure("no password was given")
    return password


def _read_password() -> str:
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise Failure("standard input holds no password")
    return password
