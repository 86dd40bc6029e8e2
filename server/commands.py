"""Commands that work on the database and end. Each returns its exit code."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from asyncpg import PostgresError
from sqlalchemy.exc import SQLAlchemyError

from server.audit import commands as audit_commands
from server.audit.trail import AuditRows, Chosen
from server.auth import commands as user_commands
from server.auth import key_commands
from server.auth.domain import USER_TYPE, folded_email
from server.auth.key_files import KeyFileInvalid
from server.auth.passwords import Passwords
from server.auth.revocations import Revocations
from server.auth.user_repository import UserRows
from server.auth.users import Users
from server.auth_parts import changes_of, passwords_of
from server.catalogue import commands as catalogue_commands
from server.catalogue.sample import read_sample_films
from server.catalogue.sample_loader import load_sample
from server.core.clock import utc_now
from server.core.errors import ResourceNotFound
from server.core.resource_names import canonical
from server.database import migrate as migrations
from server.database.engine import Database
from server.database.schema import SchemaRefused
from server.log import logger
from server.process import fail, set_up_logs, with_pepper
from server.secret import server_secret
from server.settings import Environment, Settings, SettingsError, load_settings, read_settings

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


def prepare(*, demo: bool) -> int:
    """Make database and secret ready for workers; write new demo users as JSON to stdout."""

    async def command(settings: Settings) -> int:
        set_up_logs(settings)
        revision = await prepare_schema(settings)
        logger("server").info("schema verified", revision=revision)
        # Made before the workers start, so that all of them find the same.
        await asyncio.to_thread(
            server_secret, settings.secret_key.get_secret_value(), settings.data_dir
        )
        await with_pepper(settings)
        new_users = await _prepare_demo(settings) if demo else ()
        json.dump({"new_users": new_users}, sys.stdout)
        return 0

    return run(command)


async def _prepare_demo(settings: Settings) -> Sequence[tuple[str, str]]:
    async with _opened(settings) as (database, users):
        await load_sample_films(database)
        return await users.ensure_demo_users()


async def prepare_schema(settings: Settings) -> str:
    """Return the schema's revision once this program may work on it.

    Migrates; in production it only looks, since there migrating is a step of the deployment.

    Raises:
        SchemaRefused: the program may not; the schema is as it was.
    """
    url = settings.effective_database_url
    if settings.environment is Environment.EMBEDDED:
        await migrations.upgrade(url)
    return await migrations.verify(url)


async def load_sample_films(database: Database) -> int:
    """Load the sample where there is no film; return how many were loaded."""
    films = await asyncio.to_thread(read_sample_films)
    return await load_sample(database, films, utc_now)


def reindex() -> int:
    """Index and count all films anew."""

    async def command(settings: Settings) -> int:
        return await catalogue_commands.reindex(
            settings.effective_database_url, out=sys.stdout, err=sys.stderr
        )

    return run(command)


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
        await prepare_schema(settings)
        async with _opened(settings) as (_, users):
            return await _user_action(users, options)

    return run(command)


def audit(options: argparse.Namespace) -> int:
    """Print the audit trail."""

    async def command(settings: Settings) -> int:
        try:
            since = audit_commands.moment(options.since, utc_now())
        except ValueError as error:
            return fail(str(error))
        database = Database(settings.effective_database_url)
        try:
            await migrations.verify(settings.effective_database_url)
            chosen = Chosen(
                since,
                await _named(database, options.by),
                await _named(database, options.about),
                options.method,
            )
            records = AuditRows(database, utc_now).read(chosen)
            names = await _chosen_names(database)
            return await audit_commands.show(records, names, as_json=options.json, out=sys.stdout)
        except ResourceNotFound as error:
            return fail(error.message)
        finally:
            await database.close()

    return run(command)


async def _chosen_names(database: Database) -> dict[str, str]:
    """Return the names of users whose id was chosen, by those that the audit trail has."""
    return {
        canonical(user.name): user.name
        for user in await UserRows(database).users()
        if user.chosen_id
    }


async def _named(database: Database, text: str) -> str:
    """Return a resource name; an e-mail address stands for its user."""
    if "@" not in text:
        return canonical(text)
    account = await UserRows(database).find_account(folded_email(text))
    if account is None:
        raise ResourceNotFound(USER_TYPE, text)
    return canonical(account.user.name)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[Database, Users]]:
    database = Database(settings.effective_database_url)
    passwords = passwords_of(await with_pepper(settings), logger("users"))
    try:
        yield database, _users(settings, database, passwords)
    finally:
        await passwords.close()
        await database.close()


def _users(settings: Settings, database: Database, passwords: Passwords) -> Users:
    # A command refuses nobody's credentials; the servers find out what it ended.
    revocations = Revocations(clock=utc_now, lifetime=settings.access_token_lifetime)
    audits = AuditRows(database, utc_now)
    changes = changes_of(database, passwords, revocations, audits, utc_now)
    return Users(UserRows(database), changes, audits.store)


_ROLE_ACTIONS = {"grant": user_commands.grant, "revoke": user_commands.revoke}
_STATE_ACTIONS = {"suspend": user_commands.suspend, "reactivate": user_commands.reactivate}


async def _user_action(users: Users, options: argparse.Namespace) -> int:
    out, err = sys.stdout, sys.stderr
    if options.action == "list":
        return await user_commands.list_all(users, out=out, err=err)
    if change_role := _ROLE_ACTIONS.get(options.action):
        return await change_role(users, email=options.email, role=options.role, out=out, err=err)
    if change_state := _STATE_ACTIONS.get(options.action):
        return await change_state(users, email=options.email, out=out, err=err)
    password = await asyncio.to_thread(user_commands.read_password, sys.stdin)
    if options.action == "set-password":
        return await user_commands.set_password(
            users, email=options.email, password=password, out=out, err=err
        )
    return await user_commands.create(
        users, email=options.email, roles=options.role, password=password, out=out, err=err
    )


def keys(options: argparse.Namespace) -> int:
    """Make, rotate and list the keys of access tokens; needs neither database nor secret."""
    try:
        file = options.file or read_settings().signing_keys_file
        if file is None:
            return fail("SIGNING_KEYS_FILE: must be set, or the file given as --file FILE")
        match options.action:
            case "generate":
                return key_commands.generate(file, options.algorithm, clock=utc_now, out=sys.stdout)
            case "rotate":
                return key_commands.rotate(file, options.algorithm, clock=utc_now, out=sys.stdout)
        return key_commands.list_all(file, out=sys.stdout)
    except (SettingsError, KeyFileInvalid) as error:
        return fail(str(error))


def run(command: Command) -> int:
    """Read the settings and run a command; what the operator can mend is one clear line."""
    try:
        settings = load_settings()
        return asyncio.run(command(settings))
    except BrokenPipeError:
        # Whoever read has enough, as `head` does. Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (SettingsError, SchemaRefused) as error:
        return fail(str(error))
    except (SQLAlchemyError, PostgresError, OSError) as error:
        return fail(f"the database cannot be used: {first_line(error)}")
    except KeyboardInterrupt:
        return 130


def first_line(error: BaseException) -> str:
    """Return what a driver's error says, without its SQL and parameters."""
    original = getattr(error, "orig", None) or error
    lines = str(original).splitlines() or [type(original).__name__]
    return lines[0].partition("'>: ")[2] or lines[0]
