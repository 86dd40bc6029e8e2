"""Users and their roles, for those who may see and change them."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from interview_client.messages import User, UserState
from interview_client.users import Users

from .connection import Connection
from .options import Config, Everything, Json, Limit, Target
from .output import Column, Output, page_size
from .sessions import moment

users = typer.Typer(help="See and change users, if you may.", no_args_is_help=True)


def _state(user: User) -> str:
    return (UserState(user.state).name or "").lower()


_USER: tuple[Column[User], ...] = (
    Column("user", lambda user: user.name),
    Column("e-mail", lambda user: user.email),
    Column("called", lambda user: user.display_name),
    Column("roles", lambda user: ", ".join(role.removeprefix("roles/") for role in user.roles)),
    Column("state", _state),
    Column("last sign-in", lambda user: moment(user.last_login_time) or "never"),
)
_DETAILS: tuple[Column[User], ...] = (
    *_USER,
    Column("customer", lambda user: user.customer),
    Column("staff", lambda user: user.staff),
    Column("created", lambda user: moment(user.create_time)),
    Column("changed", lambda user: moment(user.update_time)),
    Column("password of", lambda user: moment(user.password_change_time)),
    Column("deleted", lambda user: moment(user.delete_time)),
    Column("gone for good", lambda user: moment(user.purge_time)),
)

Name = Annotated[str, typer.Argument(metavar="USER", help="users/ID, or only its ID.")]
Role = Annotated[str, typer.Argument(metavar="ROLE", help="As viewer or admin.")]
Roles = Annotated[
    list[str] | None, typer.Option("--role", help="As viewer; may be given repeatedly.")
]


@users.command("list")
def list_users(  # the options of the command
    condition: Annotated[
        str, typer.Option("--filter", help='Which ones, as "state = SUSPENDED".')
    ] = "",
    order_by: Annotated[str, typer.Option("--order-by", help='As "create_time desc".')] = "",
    deleted: Annotated[bool, typer.Option("--deleted", help="Deleted ones too.")] = False,
    limit: Limit = 20,
    everything: Everything = False,
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """List users, by e-mail address."""
    connection, most = Connection(target, config), None if everything else limit

    async def show() -> None:
        async with connection.client() as client:
            found = client.users.list_users(
                filter=condition,
                order_by=order_by,
                show_deleted=deleted,
                page_size=page_size(most),
            )
            await Output(json=json).items(found, _USER, limit=most)

    asyncio.run(show())


@users.command()
def show(user: Name, target: Target = "", config: Config = None, json: Json = False) -> None:
    """Show everything about a user."""
    _run(lambda calls: calls.get_user(user), target, config, json=json)


@users.command()
def create(  # the options of the command
    email: Annotated[str, typer.Argument(metavar="EMAIL")],
    role: Roles = None,
    name: Annotated[str, typer.Option("--name", help="What people call the user.")] = "",
    user_id: Annotated[str, typer.Option("--id", help="The ID, as ada. [default: a UUID]")] = "",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read a password from standard input.")
    ] = False,
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Create a user. Without a password the user cannot sign in yet."""
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else ""
    _run(
        lambda calls: calls.create_user(
            User(email=email, display_name=name),
            user_id=user_id,
            initial_password=password,
            roles=role or (),
        ),
        target,
        config,
        json=json,
    )


@users.command()
def suspend(
    user: Name,
    reason: Annotated[str, typer.Option(help="Why, for the audit trail.")] = "",
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Bar a user and end all that it does."""
    _run(lambda calls: calls.suspend_user(user, reason=reason), target, config, json=json)


@users.command()
def reactivate(user: Name, target: Target = "", config: Config = None, json: Json = False) -> None:
    """Let a suspended user sign in again."""
    _run(lambda calls: calls.reactivate_user(user), target, config, json=json)


@users.command()
def delete(user: Name, target: Target = "", config: Config = None, json: Json = False) -> None:
    """Delete a user; for 30 days that can be undone."""
    _run(lambda calls: calls.delete_user(user), target, config, json=json)


@users.command()
def undelete(user: Name, target: Target = "", config: Config = None, json: Json = False) -> None:
    """Take a deletion back."""
    _run(lambda calls: calls.undelete_user(user), target, config, json=json)


@users.command()
def grant(
    user: Name, role: Role, target: Target = "", config: Config = None, json: Json = False
) -> None:
    """Give a user a role."""
    _run(lambda calls: calls.grant_role(user, role), target, config, json=json)


@users.command()
def revoke(
    user: Name, role: Role, target: Target = "", config: Config = None, json: Json = False
) -> None:
    """Take a role from a user."""
    _run(lambda calls: calls.revoke_role(user, role), target, config, json=json)


def _run(
    call: Callable[[Users], Awaitable[User]], target: str, config: Config, *, json: bool
) -> None:
    """Make a call and show the user as it is after that."""
    connection = Connection(target, config)

    async def run() -> None:
        async with connection.client() as client:
            user = await call(client.users)
        Output(json=json).details(user, _DETAILS)

    asyncio.run(run())
