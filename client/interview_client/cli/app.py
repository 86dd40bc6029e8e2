"""The program: its commands, and what becomes of their errors."""

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from io import TextIOWrapper
from typing import Annotated

import typer
from typer.exceptions import Abort, TyperException

from . import auth, chat, film_changes, films, keys, moving, sessions, taxonomy, users, watching
from .failures import FAILED, INTERRUPTED, READER_GONE, USAGE, Failure, ReaderGone
from .output import note

PROGRAM = "interview"

app = typer.Typer(
    help="Films and agents of Interview API, in a terminal.",
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Films and agents of Interview API, in a terminal."""
    if show_version:
        typer.echo(f"{PROGRAM} {version('interview-client')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for command in (
    *(auth.login, auth.logout, auth.whoami, auth.passwd),
    *(chat.chat, chat.ask, chat.agents),
):
    app.command()(command)
# The commands of films are of several modules, each of which adds its own.
FILM_COMMANDS = (films, film_changes, moving, watching)
app.add_typer(films.films, name="films")
app.add_typer(taxonomy.categories, name="categories")
app.add_typer(taxonomy.actors, name="actors")
app.add_typer(sessions.sessions, name="sessions")
app.add_typer(keys.keys, name="keys")
app.add_typer(users.users, name="users")


def run(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name and return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A terminal that cannot show a character gets a question mark.
            stream.reconfigure(errors="replace")
    try:
        return _run(arguments)
    except ReaderGone:
        # Python would complain about what it cannot write out at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE


def _run(arguments: Sequence[str]) -> int:
    try:
        # What the client library makes of such text is not what was meant.
        "".join(arguments).encode()
        result: object = typer.main.get_command(app).main(
            args=list(arguments), prog_name=PROGRAM, standalone_mode=False
        )
    except Failure as failure:
        return _fail(str(failure), failure.exit_code)
    except TyperException as error:
        return _fail(f"{error.format_message().rstrip('.')}{_help_of(error)}", error.exit_code)
    except UnicodeError:
        return _fail("the text is not valid UTF-8", FAILED)
    except (KeyboardInterrupt, Abort):
        return INTERRUPTED
    return result if isinstance(result, int) else 0


def _help_of(error: TyperException) -> str:
    if error.exit_code != USAGE:
        return ""
    context: typer.Context | None = getattr(error, "ctx", None)
    return f"; see: {context.command_path if context else PROGRAM} --help"


def _fail(message: str, exit_code: int) -> int:
    note(f"error: {message}")
    return exit_code
