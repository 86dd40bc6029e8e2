"""Users and their roles, for those who may see and change them."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from interview_client.client import InterviewClient
from interview_client.messages import Role as RoleMessage
from interview_client.messages import User, UserState
from interview_client.users import Users

from .addresses import user_called
from .connection import Connection
from .options import Config, Everything, Json, Limit, Target
from .output import Column, Output, page_size
from .sessions import moment

users = typer.Typer(help="See and change users, if you may.", invoke_without_command=True)


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
_ROLE: tuple[Column[RoleMessage], ...] = (
    Column("role", lambda role: role.name.removeprefix("roles/")),
    Column("called", lambda role: role.display_name),
    Column("permissions", lambda role: ", ".join(role.permissions)),
)

Name = Annotated[
    str, typer.Argument(metavar="USER", help="users/ID, only its ID, or the e-mail address.")
]
Role = Annotated[
    str, typer.Argument(metavar="ROLE", help="As viewer or admin; see: interview users roles.")
]
Roles = Annotated[
    list[str] | None, typer.Option("--role", help="As viewer; may be given repeatedly.")
]


@users.callback()
def start(
    context: typer.Context, target: Target = "", config: Config = None, json: Json = False
) -> None:
    """See and change users, if you may; without a command, list them."""
    if context.invoked_subcommand is None:
        list_users(target=target, config=config, json=json)


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
    _named(lambda calls, name: calls.get_user(name), user, target, config, json=json)


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
        lambda client: client.users.create_user(
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
    _named(
        lambda calls, name: calls.suspend_user(name, reason=reason), user, target, config, json=json
    )


@users.command()
def reactivate(user: Name, target: Target = "", config: Config = None, json: Json = False) -> None:
    """Let a suspended user sign in again."""
    _named(lambda calls, name: calls.reactivate_user(name), user, target, config, json=json)


@users.command()
def delete(user: Name, target: Target = "", config: Config = None, json: Json = False) -> None:
    """Delete a user; for 30 days that can be undone."""
    _named(lambda calls, name: calls.delete_user(name), user, target, config, json=json)


@users.command()
def undelete(user: Name, target: Target = "", config: Config = None, json: Json = False) -> None:
    """Take a deletion back."""
    _named(lambda calls, name: calls.undelete_user(name), user, target, config, json=json)


@users.command()
def grant(
    user: Name, role: Role, target: Target = "", config: Config = None, json: Json = False
) -> None:
    """Give a user a role."""
    _named(lambda calls, name: calls.grant_role(name, role), user, target, config, json=json)


@users.command()
def revoke(
    user: Name, role: Role, target: Target = "", config: Config = None, json: Json = False
) -> None:
    """Take a role from a user."""
    _named(lambda calls, name: calls.revoke_role(name, role), user, target, config, json=json)


@users.command()
def roles(target: Target = "", config: Config = None, json: Json = False) -> None:
    """List the roles and what they permit."""
    connection = Connection(target, config)

    async def show() -> None:
        async with connection.client() as client:
            await Output(json=json).items(client.users.list_roles(), _ROLE)

    asyncio.run(show())


def _named(
    call: Callable[[Users, str], Awaitable[User]],
    user: str,
    target: str,
    config: Config,
    *,
    json: bool,
) -> None:
    """Make a call about the user of this name or address and show the user after it."""

    async def make(client: InterviewClient) -> User:
        return await call(client.users, await user_called(client, user))

    _run(make, target, config, json=json)


def _run(
    call: Callable[[InterviewClient], Awaitable[User]], target: str, config: Config, *, json: bool
) -> None:
    """Make a call and show the user as it is after that."""
    connection = Connection(target, config)

    async def run() -> None:
        async with connection.client() as client:
            user = await call(client)
        Output(json=json).details(user, _DETAILS)

    asyncio.run(run())
