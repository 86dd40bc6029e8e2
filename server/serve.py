"""`interview-server serve`: from settings to a server that answers, and to its orderly end."""

import asyncio
import signal
import sys
from collections.abc import Coroutine, Iterator, Sequence
from time import perf_counter
from typing import Any

from asyncpg import PostgresError
from google.protobuf.descriptor import FileDescriptor
from sqlalchemy.exc import SQLAlchemyError

from server.app import Application
from server.banner import Banner
from server.commands import SchemaOutOfDate, first_line, load_sample_films, prepare_schema
from server.core.clock import utc_now
from server.generated.interview.agent.v1 import chat_pb2
from server.generated.interview.auth.v1 import auth_service_pb2
from server.log import configure, logger
from server.rpc.lifecycle import AddressInUse
from server.secret import server_secret
from server.settings import Settings, SettingsError, load_settings


def serve(*, demo: bool) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    started = perf_counter()
    try:
        settings = load_settings()
        _attach_debugger(settings)
        _set_up_logs(settings)
        return _run(_serve(settings, demo=demo, started=started))
    except (SettingsError, SchemaOutOfDate, AddressInUse) as error:
        return _fail(str(error))
    except (SQLAlchemyError, PostgresError, OSError) as error:
        return _fail(f"the database cannot be used: {first_line(error)}")


async def _serve(settings: Settings, *, demo: bool, started: float) -> int:
    log = logger("server")
    stopping, hurry = _on_signals()
    await prepare_schema(settings)
    secret = await asyncio.to_thread(
        server_secret, settings.secret_key.get_secret_value(), settings.data_dir
    )
    app = Application(settings, secret, utc_now, log)
    try:
        new_users = await _prepare_demo(app) if demo else ()
        port = await app.start()
    except BaseException:
        await app.close()
        raise
    banner = Banner(settings, port, sys.stdout) if demo else None
    announcing = asyncio.create_task(_announce(app, port, started, banner, new_users))
    await stopping.wait()
    log.info("draining")
    announcing.cancel()
    await app.stop(hurry)
    log.info("stopped")
    return 0


async def _announce(
    app: Application,
    port: int,
    started: float,
    banner: Banner | None,
    new_users: Sequence[tuple[str, str]],
) -> None:
    """Say when the catalogue, and later the agents, answer."""
    log = logger("server")
    seconds = perf_counter() - started
    log.info("catalogue ready", host=app.settings.host, port=port, seconds=round(seconds, 2))
    if banner is not None:
        banner.catalogue_ready(seconds, new_users)
    try:
        model = await app.agents_ready()
    except asyncio.CancelledError:
        raise
    except Exception as error:  # the catalogue goes on without the agents
        log.error("the agents could not be loaded", exc_info=error)  # noqa: TRY400  # structlog
        return
    seconds = perf_counter() - started
    log.info("agents ready", model=model, seconds=round(seconds, 2))
    if banner is not None:
        banner.agents_ready(seconds)


async def _prepare_demo(app: Application) -> Sequence[tuple[str, str]]:
    await load_sample_films(app.database)
    return await app.users.ensure_demo_users()


def _on_signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Return the events of the first and of a second SIGTERM or SIGINT."""
    stopping, hurry = asyncio.Event(), asyncio.Event()

    def stop() -> None:
        (hurry if stopping.is_set() else stopping).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    return stopping, hurry


def _run(main: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop
    except ImportError:  # where it does not exist, asyncio's own loop does
        return asyncio.run(main)
    return uvloop.run(main)


def _set_up_logs(settings: Settings) -> None:
    json = settings.log_format == "json" or (
        settings.log_format == "auto" and not sys.stderr.isatty()
    )
    secret = {
        name
        for file in (auth_service_pb2.DESCRIPTOR, chat_pb2.DESCRIPTOR)
        for name in _redacted_fields(file)
    }
    configure(settings.effective_log_level, json=json, stream=sys.stderr, secret_fields=secret)


def _redacted_fields(file: FileDescriptor) -> Iterator[str]:
    for message in file.message_types_by_name.values():
        for field in message.fields:
            if field.GetOptions().debug_redact:
                yield field.name


def _attach_debugger(settings: Settings) -> None:
    if not settings.debug_mode:
        return
    try:
        import debugpy
    except ImportError:
        raise SettingsError(
            "DEBUG_MODE: debugpy is not installed; install the extra `debug`"
        ) from None
    debugpy.listen(("127.0.0.1", settings.debug_port))
    if settings.debug_wait:
        sys.stderr.write(f"waiting for a debugger on 127.0.0.1:{settings.debug_port}\n")
        debugpy.wait_for_client()


def _fail(message: str) -> int:
    for line in message.splitlines():
        sys.stderr.write(f"error: {line}\n")
    return 1
