"""Commands that work on the database and end. Each returns its exit code."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

from asyncpg import PostgresError
from sqlalchemy.exc import SQLAlchemyError

from server.auth import commands as user_commands
from server.auth.keys import signing_key_from_secret
from server.auth.passwords import Passwords
from server.auth.repository import AuthRepository
from server.auth.tokens import AccessTokens
from server.auth.users import Users
from server.catalogue import commands as catalogue_commands
from server.catalogue.sample import read_sample_films
from server.catalogue.sample_loader import load_sample
from server.core.clock import utc_now
from server.database import migrate as migrations
from server.database.engine import Database
from server.log import logger
from server.secret import server_secret
from server.settings import Environment, Settings, SettingsError, load_settings

Command = Callable[[Settings], Coroutine[None, None, int]]


def migrate(revision: str) -> int:
    """Bring the schema forward."""

    async def command(settings: Settings) -> int:
        url = settings.effective_database_url
        before = await migrations.current_revision(url)
        await migrations.upgrade(url, revision)
        after = await migrations.current_revision(url)
        sys.stdout.write(f"schema: {before or 'empty'} -> {after}\n")
        return 0

    return run(command)


def downgrade(revision: str) -> int:
    """Take the schema back."""

    async def command(settings: Settings) -> int:
        await migrations.downgrade(settings.effective_database_url, revision)
        after = await migrations.current_revision(settings.effective_database_url)
        sys.stdout.write(f"schema: {after or 'empty'}\n")
        return 0

    return run(command)


def seed() -> int:
    """Load the sample films into an empty catalogue."""

    async def command(settings: Settings) -> int:
        await prepare_schema(settings)
        database = Database(settings.effective_database_url, catalogue_commands.BULK_OPTIONS)
        try:
            count = await load_sample_films(database)
        finally:
            await database.close()
        told = f"loaded {count} films" if count else "the catalogue holds films already: unchanged"
        sys.stdout.write(told + "\n")
        return 0

    return run(command)


class SchemaOutOfDate(Exception):
    """The database's schema is not this version's; the text says what to do."""


async def prepare_schema(settings: Settings) -> None:
    """Migrate; in production only check, since there migrating is a step of the deployment.

    Raises:
        SchemaOutOfDate: in production, and the schema is another version's.
    """
    url = settings.effective_database_url
    if settings.environment is Environment.EMBEDDED:
        await migrations.upgrade(url)
        return
    current, needed = await migrations.current_revision(url), migrations.head_revision()
    if current != needed:
        raise SchemaOutOfDate(
            f"the database's schema is at {current or 'nothing'}, this version needs {needed}:"
            " run `interview-server migrate` first"
        )


async def load_sample_films(database: Database) -> int:
    """Load the sample where there is no film; return how many were loaded."""
    films = await asyncio.to_thread(read_sample_films)
    return await load_sample(database, films, utc_now)


def import_pagila(file: Path) -> int:
    """Import a Pagila dump."""

    async def command(settings: Settings) -> int:
        return await catalogue_commands.import_pagila(
            settings.effective_database_url, file, out=sys.stdout, err=sys.stderr
        )

    return run(command)


def adopt() -> int:
    """Take over a restored Pagila."""

    async def command(settings: Settings) -> int:
        return await catalogue_commands.adopt(
            settings.effective_database_url, out=sys.stdout, err=sys.stderr
        )

    return run(command)


def users(options: argparse.Namespace) -> int:
    """Create, list and change users."""

    async def command(settings: Settings) -> int:
        secret = await asyncio.to_thread(
            server_secret, settings.secret_key.get_secret_value(), settings.data_dir
        )
        await prepare_schema(settings)
        database = Database(settings.effective_database_url)
        passwords = Passwords(settings.password_cost, log=logger("users"))
        try:
            return await _user_action(_users(settings, secret, database, passwords), options)
        finally:
            await passwords.close()
            await database.close()

    return run(command)


def _users(settings: Settings, secret: bytes, database: Database, passwords: Passwords) -> Users:
    tokens = AccessTokens(
        signing_key_from_secret(secret),
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        clock=utc_now,
    )
    return Users(AuthRepository(database), passwords, tokens, clock=utc_now)


async def _user_action(users: Users, options: argparse.Namespace) -> int:
    out, err = sys.stdout, sys.stderr
    match options.action:
        case "list":
            return await user_commands.list_all(users, out=out, err=err)
        case "grant":
            return await user_commands.grant(
                users, email=options.email, role=options.role, out=out, err=err
            )
    password = await asyncio.to_thread(user_commands.read_password, sys.stdin)
    if options.action == "set-password":
        return await user_commands.set_password(
            users, email=options.email, password=password, out=out, err=err
        )
    return await user_commands.create(
        users, email=options.email, roles=options.role, password=password, out=out, err=err
    )


def run(command: Command) -> int:
    """Read the settings and run a command; what the operator can mend is one clear line."""
    try:
        settings = load_settings()
        return asyncio.run(command(settings))
    except (SettingsError, SchemaOutOfDate) as error:
        return _fail(str(error))
    except (SQLAlchemyError, PostgresError, OSError) as error:
        return _fail(f"the database cannot be used: {first_line(error)}")
    except KeyboardInterrupt:
        return 130


def first_line(error: BaseException) -> str:
    """Return what a driver's error says, without its SQL and parameters."""
    original = getattr(error, "orig", None) or error
    lines = str(original).splitlines() or [type(original).__name__]
    return lines[0].partition("'>: ")[2] or lines[0]


def _fail(message: str) -> int:
    for line in message.splitlines():
        sys.stderr.write(f"error: {line}\n")
    return 1
