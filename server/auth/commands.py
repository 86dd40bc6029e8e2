"""What the command line does with users: `interview-server users ...`.

Every function returns the process's exit code and says in one line on `err` what is wrong.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final, TextIO

from server.auth.users import Users
from server.core.errors import DomainError

DONE: Final = 0
REFUSED: Final = 1
BAD_INPUT: Final = 2

_BAD_INPUT_REASONS: Final = frozenset({"VALIDATION_FAILED", "PASSWORD_POLICY"})


def read_password(stream: TextIO) -> str:
    """Return the first line without its end; nothing else of it is cut."""
    return stream.readline().rstrip("\r\n")


async def create(
    users: Users, *, email: str, roles: Sequence[str], password: str, out: TextIO, err: TextIO
) -> int:
    """Create a user and print the resource name."""

    async def run() -> None:
        user = await users.create_user(email, password, roles)
        out.write(f"created {user.email} as {user.name} with {_roles(user.roles)}\n")

    return await _exit_code(run, err)


async def list_all(users: Users, *, out: TextIO, err: TextIO) -> int:
    """Print a table of all users."""

    async def run() -> None:
        rows = [("EMAIL", "ROLES", "STATE", "CREATED", "LAST LOGIN", "NAME")]
        for user in await users.list_users():
            created, login = _minute(user.create_time), _minute(user.last_login_time)
            roles = ",".join(user.roles) or "-"
            rows.append((user.email, roles, user.state, created, login, user.name))
        out.write(_table(rows))

    return await _exit_code(run, err)


async def grant(users: Users, *, email: str, role: str, out: TextIO, err: TextIO) -> int:
    """Give a user a role and print the roles."""

    async def run() -> None:
        user = await users.grant_role(email, role)
        out.write(f"{user.email} has {_roles(user.roles)}\n")

    return await _exit_code(run, err)


async def revoke(users: Users, *, email: str, role: str, out: TextIO, err: TextIO) -> int:
    """Take a role from a user and print the roles that are left."""

    async def run() -> None:
        user = await users.revoke_role(email, role)
        out.write(f"{user.email} has {_roles(user.roles)}\n")

    return await _exit_code(run, err)


async def suspend(users: Users, *, email: str, out: TextIO, err: TextIO) -> int:
    """Bar a user, which ends all the user's login sessions."""

    async def run() -> None:
        user = await users.suspend(email)
        out.write(f"{user.email} is {user.state}; every login session of the user has ended\n")

    return await _exit_code(run, err)


async def reactivate(users: Users, *, email: str, out: TextIO, err: TextIO) -> int:
    """Let a barred user sign in again."""

    async def run() -> None:
        user = await users.reactivate(email)
        out.write(f"{user.email} is {user.state}\n")

    return await _exit_code(run, err)


async def set_password(users: Users, *, email: str, password: str, out: TextIO, err: TextIO) -> int:
    """Replace a user's password, which ends all the user's login sessions."""

    async def run() -> None:
        await users.set_password(email, password)
        out.write("password changed; every login session of the user has ended\n")

    return await _exit_code(run, err)


async def _exit_code(run: Callable[[], Awaitable[None]], err: TextIO) -> int:
    try:
        await run()
    except DomainError as error:
        err.write(f"error: {_one_line(error)}\n")
        return BAD_INPUT if error.reason in _BAD_INPUT_REASONS else REFUSED
    return DONE


def _one_line(error: DomainError) -> str:
    if error.reason == "VALIDATION_FAILED":
        return "; ".join(f"{v.field}: {v.description}" for v in error.violations)
    return error.message


def _roles(roles: Sequence[str]) -> str:
    if not roles:
        return "no role"
    return f"{'role' if len(roles) == 1 else 'roles'} {', '.join(roles)}"


def _minute(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%MZ}" if moment else "never"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "".join(f"{line}\n" for line in lines)
