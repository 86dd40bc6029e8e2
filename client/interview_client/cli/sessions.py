"""Login sessions: on which devices somebody is signed in, and ending that."""

import asyncio
from datetime import datetime
from typing import Annotated

import typer

from interview_client.messages import LoginSession

from .connection import Connection
from .failures import USAGE, Failure
from .options import Config, Json, Target
from .output import Column, Output, note

sessions = typer.Typer(
    help="See where you are signed in, and end that.", invoke_without_command=True
)


def moment(time: datetime | None) -> str:
    """Return a time to the minute, in UTC; "" for none."""
    return f"{time:%Y-%m-%d %H:%MZ}" if time else ""


_SESSION: tuple[Column[LoginSession], ...] = (
    Column("session", lambda session: session.name.rpartition("/")[2]),
    Column("device", lambda session: session.device_label),
    Column("from", lambda session: session.ip_address),
    Column("signed in", lambda session: moment(session.create_time)),
    Column("last refresh", lambda session: moment(session.last_refresh_time)),
    Column("ends", lambda session: moment(session.expire_time)),
    Column("", lambda session: "this one" if session.current else ""),
)

Others = Annotated[bool, typer.Option("--others", help="All but the one of this terminal.")]


@sessions.callback()
def list_sessions(
    context: typer.Context, target: Target = "", config: Config = None, json: Json = False
) -> None:
    """See where you are signed in, the newest first."""
    if context.invoked_subcommand is not None:
        return
    connection = Connection(target, config)

    async def show() -> None:
        async with connection.client() as client:
            await Output(json=json).items(client.account.list_login_sessions(), _SESSION)

    asyncio.run(show())


@sessions.command()
def revoke(
    session: Annotated[str, typer.Argument(metavar="[SESSION]", show_default=False)] = "",
    others: Others = False,
    target: Target = "",
    config: Config = None,
) -> None:
    """End a session: its tokens are refused at once, its chats end within 15 seconds."""
    if bool(session) == others:
        raise Failure("name a session, or give --others", USAGE)
    connection = Connection(target, config)

    async def end() -> None:
        async with connection.client() as client:
            ended = 0
            async for one in client.account.list_login_sessions():
                named = session in {one.name, one.name.rpartition("/")[2]}
                if (others and not one.current) or named:
                    await client.account.revoke_login_session(one.name)
                    ended += 1
        if not (ended or others):
            raise Failure(f"there is no session {session}; see: interview sessions")
        note(f"ended {ended} session{'' if ended == 1 else 's'}")

    asyncio.run(end())
