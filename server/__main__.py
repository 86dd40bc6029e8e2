"""The command line: `interview-server <command>`.

Each command imports what it needs when it runs, so that `--help` and `healthcheck`, which an
orchestrator calls every few seconds, start fast.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

PROGRAM = "interview-server"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    sys.exit(run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Film catalogue, sign-in and streaming agent chat over gRPC.",
        epilog="Settings come from the environment and .env; see .env.example.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="serve until SIGTERM or Ctrl-C")
    serve.add_argument(
        "--demo",
        action="store_true",
        help="first load the sample films and create the demo users where there are none",
    )
    serve.set_defaults(run=_serve)
    health = commands.add_parser("healthcheck", help="exit 0 if a server here is ready")
    health.add_argument("--address", help="HOST:PORT (default: HOST and PORT of the settings)")
    health.add_argument("--service", default="readiness", help="health name to ask for")
    health.set_defaults(run=_healthcheck)
    _add_data_commands(commands)
    _add_user_commands(commands)
    return parser


def _add_data_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    migrate = commands.add_parser("migrate", help="bring the database's schema up to date")
    migrate.add_argument("--to", default="head", metavar="REVISION", help="up to this revision")
    migrate.set_defaults(run=_migrate)
    down = commands.add_parser("downgrade", help="take the database's schema back")
    down.add_argument("revision", help="down to this revision, `base` for an empty schema")
    down.set_defaults(run=_downgrade)
    seed = commands.add_parser("seed", help="load the sample films into an empty catalogue")
    seed.set_defaults(run=_seed)
    pagila = commands.add_parser("import-pagila", help="import a Pagila dump (.sql or .sql.gz)")
    pagila.add_argument("file", type=Path, metavar="FILE")
    pagila.set_defaults(run=_import_pagila)
    adopt = commands.add_parser("adopt", help="take over a PostgreSQL with a restored Pagila")
    adopt.set_defaults(run=_adopt)


def _add_user_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    users = commands.add_parser("users", help="create, list and change users")
    actions = users.add_subparsers(required=True, metavar="ACTION")
    create = actions.add_parser("create", help="create a user; the password comes on stdin")
    create.add_argument("email", metavar="EMAIL")
    create.add_argument("--role", action="append", required=True, help="may be given repeatedly")
    create.add_argument("--password-stdin", action="store_true", required=True)
    create.set_defaults(run=_users, action="create")
    actions.add_parser("list", help="list all users").set_defaults(run=_users, action="list")
    grant = actions.add_parser("grant", help="give a user a role")
    grant.add_argument("email", metavar="EMAIL")
    grant.add_argument("role", metavar="ROLE")
    grant.set_defaults(run=_users, action="grant")
    password = actions.add_parser("set-password", help="replace a password, read from stdin")
    password.add_argument("email", metavar="EMAIL")
    password.add_argument("--password-stdin", action="store_true", required=True)
    password.set_defaults(run=_users, action="set-password")


def _serve(options: argparse.Namespace) -> int:
    from server.serve import serve

    return serve(demo=options.demo)


def _healthcheck(options: argparse.Namespace) -> int:
    from server.healthcheck import healthcheck

    return healthcheck(options.address, options.service)


def _migrate(options: argparse.Namespace) -> int:
    from server import commands

    return commands.migrate(options.to)


def _downgrade(options: argparse.Namespace) -> int:
    from server import commands

    return commands.downgrade(options.revision)


def _seed(_options: argparse.Namespace) -> int:
    from server import commands

    return commands.seed()


def _import_pagila(options: argparse.Namespace) -> int:
    from server import commands

    return commands.import_pagila(options.file)


def _adopt(_options: argparse.Namespace) -> int:
    from server import commands

    return commands.adopt()


def _users(options: argparse.Namespace) -> int:
    from server import commands

    return commands.users(options)


if __name__ == "__main__":
    main()
