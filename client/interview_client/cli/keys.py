"""API keys: credentials of programs that act for a user."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from interview_client.client import InterviewClient
from interview_client.messages import ApiKey

from .addresses import user_called
from .connection import Connection
from .failures import USAGE, Failure
from .options import Config, Json, Target
from .output import Column, Output, note
from .sessions import moment

keys = typer.Typer(help="Make, list and end API keys for programs.", invoke_without_command=True)

_KEY: tuple[Column[ApiKey], ...] = (
    Column("key", lambda key: key.name.rpartition("/")[2]),
    Column("called", lambda key: key.display_name),
    Column("begins", lambda key: key.hint),
    Column("scopes", lambda key: ", ".join(key.scopes) or "all"),
    Column("made", lambda key: moment(key.create_time)),
    Column("last use", lambda key: moment(key.last_use_time) or "never"),
    Column("ends", lambda key: moment(key.expire_time) or "never"),
)
_DAYS = re.compile(r"([1-9][0-9]{0,4})d")
_MOST_DAYS = 36_500

User = Annotated[
    str, typer.Option("--user", help="Whose: users/ID or an e-mail address. [default: your own]")
]
Scopes = Annotated[
    list[str] | None,
    typer.Option("--scope", help="Limit to a permission, as films.read; may be repeated."),
]


@keys.callback()
def start(
    context: typer.Context, target: Target = "", config: Config = None, json: Json = False
) -> None:
    """Make and end API keys for programs; without a command, list your own."""
    if context.invoked_subcommand is None:
        list_keys("", target, config, json)


@keys.command("list")
def list_keys(
    user: User = "", target: Target = "", config: Config = None, json: Json = False
) -> None:
    """List API keys, the newest first; their secrets cannot be shown again."""
    connection = Connection(target, config)

    async def show() -> None:
        async with connection.client() as client:
            owner = await _owner(client, user)
            await Output(json=json).items(client.users.list_api_keys(owner), _KEY)

    asyncio.run(show())


@keys.command()
def create(  # the options of the command
    name: Annotated[str, typer.Argument(help='What it is for, as "nightly import".')],
    scope: Scopes = None,
    expires: Annotated[str, typer.Option(help="After how many days it ends: 1d to 36500d.")] = "",
    user: User = "",
    target: Target = "",
    config: Config = None,
    json: Json = False,
) -> None:
    """Make an API key and write its secret to standard output, this one time."""
    expire_time, connection = _expiry(expires), Connection(target, config)

    async def make() -> None:
        async with connection.client() as client:
            made = await client.users.create_api_key(
                await _owner(client, user), name, scopes=scope or (), expire_time=expire_time
            )
        output = Output(json=json)
        if json:
            output.json(made)
            return
        output.line(made.secret)
        note(f"made {made.api_key.name if made.api_key else ''}; keep the secret, it is not kept")

    asyncio.run(make())


@keys.command()
def delete(
    key: Annotated[str, typer.Argument(help="The key, as `interview keys list` shows it.")],
    user: User = "",
    target: Target = "",
    config: Config = None,
) -> None:
    """End an API key for good."""
    connection = Connection(target, config)

    async def end() -> None:
        async with connection.client() as client:
            name = key if "/" in key else f"{await _owner(client, user)}/apiKeys/{key}"
            await client.users.delete_api_key(name)
        note(f"ended {name}")

    asyncio.run(end())


async def _owner(client: InterviewClient, user: str) -> str:
    if user:
        return await user_called(client, user)
    principal = await client.get_current_principal()
    return principal.user.name if principal.user else ""


def _expiry(text: str) -> datetime | None:
    if not text:
        return None
    days = _DAYS.fullmatch(text)
    if days is None or int(days[1]) > _MOST_DAYS:
        raise Failure(f"--expires must be a number of days, 1d to {_MOST_DAYS}d, not {text}", USAGE)
    return datetime.now(UTC) + timedelta(days=int(days[1]))
