"""The command line: `interview-server <command>`.

Each command imports what it needs when it runs, so that `--help` and `healthcheck`, which an
orchestrator calls every few seconds, start fast.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

PROGRAM = "interview-server"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code."""
    # Before anything imports gRPC, whose core would write a line that is no JSON to stderr for
    # every handshake that a scanner begins and every header that it cannot read.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    sys.excepthook = _uncaught
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    sys.exit(run(options))


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say what nobody foresaw, without its words: they may repeat a password."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    from server.redaction import described

    sys.stderr.write(f"error: not foreseen\n{described(error)}\n")


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
    _add_parts_of_serve(commands)
    _add_healthcheck(commands)
    _add_data_commands(commands)
    _add_user_commands(commands)
    _add_key_commands(commands)
    _add_audit(commands)
    return parser


def _add_parts_of_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add what `serve` with several workers starts: not for people, so the help has neither."""
    prepare = commands.add_parser("prepare")
    prepare.add_argument("--demo", action="store_true")
    prepare.set_defaults(run=_prepare)
    worker = commands.add_parser("worker")
    worker.add_argument("--number", type=int, required=True)
    worker.add_argument("--port", type=int, required=True)
    worker.set_defaults(run=_worker)


def _add_healthcheck(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    health = commands.add_parser("healthcheck", help="exit 0 if a server here is ready")
    health.add_argument("--address", help="HOST:PORT (default: that of the settings, by their TLS)")
    health.add_argument("--service", default="readiness", help="health name to ask for")
    health.add_argument("--tls", action="store_true", help="speak TLS with --address")
    health.add_argument("--ca", type=Path, metavar="FILE", help="who signed its certificate; PEM")
    health.add_argument("--cert", type=Path, metavar="FILE", help="certificate to show; PEM")
    health.add_argument("--key", type=Path, metavar="FILE", help="its private key; PEM")
    health.set_defaults(run=_healthcheck)


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
    reindex = commands.add_parser("reindex", help="index and count films that were written by hand")
    reindex.set_defaults(run=_reindex)


def _add_user_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    users = commands.add_parser("users", help="create, list and change users")
    actions = users.add_subparsers(required=True, metavar="ACTION")
    create = actions.add_parser("create", help="create a user; the password comes on stdin")
    create.add_argument("email", metavar="EMAIL")
    create.add_argument("--role", action="append", required=True, help="may be given repeatedly")
    create.add_argument("--password-stdin", action="store_true", required=True)
    create.set_defaults(run=_users, action="create")
    actions.add_parser("list", help="list all users").set_defaults(run=_users, action="list")
    for action, does in (("grant", "give a user a role"), ("revoke", "take a role from a user")):
        changed = actions.add_parser(action, help=does)
        changed.add_argument("email", metavar="EMAIL")
        changed.add_argument("role", metavar="ROLE")
        changed.set_defaults(run=_users, action=action)
    for action, does in (("suspend", "bar a user"), ("reactivate", "let a barred user in again")):
        barred = actions.add_parser(action, help=does)
        barred.add_argument("email", metavar="EMAIL")
        barred.set_defaults(run=_users, action=action)
    password = actions.add_parser("set-password", help="replace a password, read from stdin")
    password.add_argument("email", metavar="EMAIL")
    password.add_argument("--password-stdin", action="store_true", required=True)
    password.set_defaults(run=_users, action="set-password")


def _add_audit(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    audit = commands.add_parser("audit", help="print who did what to whom, oldest first")
    audit.add_argument("--since", default="24h", help="24h, 7d or a time of RFC 3339 (24h)")
    audit.add_argument("--by", default="", metavar="WHO", help="users/ID or e-mail address")
    audit.add_argument("--about", default="", metavar="WHAT", help="resource or e-mail address")
    audit.add_argument("--method", default="", help="for example GrantRole")
    audit.add_argument("--json", action="store_true", help="a JSON object a line, with requests")
    audit.set_defaults(run=_audit)


def _add_key_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    keys = commands.add_parser("keys", help="make, rotate and list the keys of access tokens")
    actions = keys.add_subparsers(required=True, metavar="ACTION")
    generate = actions.add_parser("generate", help="write a new file of keys")
    rotate = actions.add_parser("rotate", help="let the next key sign, and make a new next one")
    shown = actions.add_parser("list", help="list the keys, without their private parts")
    for action, name in ((generate, "generate"), (rotate, "rotate"), (shown, "list")):
        action.add_argument(
            "--file", type=Path, metavar="FILE", help="the keys (default: SIGNING_KEYS_FILE)"
        )
        action.set_defaults(run=_keys, action=name)
    for action, chosen in ((generate, "EdDSA"), (rotate, None)):
        told = f"default: {chosen or 'that of the key which signs from now on'}"
        # Written out: what names them imports much.
        action.add_argument(
            "--algorithm", choices=("EdDSA", "ES256"), default=chosen, help=f"of new keys ({told})"
        )


def _serve(options: argparse.Namespace) -> int:
    from server.process import fail
    from server.settings import SettingsError, check_listening, load_settings

    try:
        settings = load_settings()
        check_listening(settings)
    except SettingsError as error:
        return fail(str(error))
    if settings.workers > 1:
        from server.supervisor import supervise

        return supervise(settings, demo=options.demo)
    from server.serve import serve

    return serve(settings, demo=options.demo)


def _prepare(options: argparse.Namespace) -> int:
    from server import commands

    return commands.prepare(demo=options.demo)


def _worker(options: argparse.Namespace) -> int:
    from server.process import fail
    from server.settings import SettingsError, load_settings

    try:
        settings = load_settings(port=options.port)
    except SettingsError as error:
        return fail(str(error))
    from server.serve import work

    return work(settings, options.number)


def _healthcheck(options: argparse.Namespace) -> int:
    from server.healthcheck import Question, healthcheck

    asked = (options.address, options.tls, options.ca, options.cert, options.key)
    return healthcheck(Question(options.service, *asked))


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


def _reindex(_options: argparse.Namespace) -> int:
    from server import commands

    return commands.reindex()


def _users(options: argparse.Namespace) -> int:
    from server import commands

    return commands.users(options)


def _audit(options: argparse.Namespace) -> int:
    from server import commands

    return commands.audit(options)


def _keys(options: argparse.Namespace) -> int:
    from server import commands

    return commands.keys(options)


if __name__ == "__main__":
    main()
