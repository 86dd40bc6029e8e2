"""From settings to a server that answers, alone or as one of several workers, and to its end."""

import asyncio
import sys
from collections.abc import Sequence
from time import perf_counter
from typing import Protocol

from asyncpg import PostgresError
from sqlalchemy.exc import SQLAlchemyError
from structlog.typing import FilteringBoundLogger

from server.announcement import Announcement
from server.app import Application
from server.auth.key_files import KeyFileInvalid
from server.commands import first_line, load_sample_films, prepare_schema
from server.core.clock import utc_now
from server.database.schema import SchemaRefused
from server.log import logger
from server.process import fail, on_signals, run, set_up_logs, with_pepper
from server.reports import Reports, when_parent_is_gone
from server.rpc.lifecycle import AddressInUse
from server.rpc.tls import TlsFileInvalid
from server.secret import server_secret
from server.settings import Settings, SettingsError
from server.telemetry import MetricsUnavailable

_PLAIN = (
    SettingsError,
    SchemaRefused,
    MetricsUnavailable,
    AddressInUse,
    TlsFileInvalid,
    KeyFileInvalid,
)
_OF_THE_DATABASE = (SQLAlchemyError, PostgresError, OSError)


class Announcer(Protocol):
    """Whom a server tells how far it is."""

    def catalogue_ready(self, port: int) -> None:
        """The port answers for sign-in and catalogue."""
        ...

    def agents_ready(self, model: str) -> None:
        """The agents answer too, by this model."""
        ...


def serve(settings: Settings, *, demo: bool) -> int:
    """Serve alone until SIGTERM or SIGINT; return the exit code."""
    started = perf_counter()
    try:
        _attach_debugger(settings)
        set_up_logs(settings)
        return run(_serve(settings, demo=demo, started=started))
    except (*_PLAIN, *_OF_THE_DATABASE) as error:
        return fail(_explained(error))


def work(settings: Settings, number: int) -> int:
    """Serve as one of several until the supervisor says so or is gone; return the exit code.

    The supervisor has prepared the database and the secret; it reads reports from stdout.
    """
    reports = Reports(sys.stdout)
    try:
        set_up_logs(settings, worker=number)
        return run(_work(settings, reports))
    except (*_PLAIN, *_OF_THE_DATABASE) as error:
        reports.failed(_explained(error))
        return 1


async def _serve(settings: Settings, *, demo: bool, started: float) -> int:
    stopping, hurry = on_signals()
    logger("server").info("schema verified", revision=await prepare_schema(settings))
    app = await _application(settings)
    try:
        new_users = await _prepare_demo(app) if demo else None
    except BaseException:
        await app.close()
        raise
    await _run_application(app, Announcement(settings, started, new_users), stopping, hurry)
    return 0


async def _work(settings: Settings, reports: Reports) -> int:
    stopping, hurry = on_signals()

    def cut() -> None:
        stopping.set()
        hurry.set()

    # A supervisor that was killed tells nobody: what it started must not go on without it.
    when_parent_is_gone(asyncio.get_running_loop(), cut)
    await _run_application(await _application(settings), reports, stopping, hurry)
    return 0


async def _application(settings: Settings) -> Application:
    secret = await asyncio.to_thread(
        server_secret, settings.secret_key.get_secret_value(), settings.data_dir
    )
    return Application(await with_pepper(settings), secret, utc_now, logger("server"))


async def _run_application(
    app: Application, announcer: Announcer, stopping: asyncio.Event, hurry: asyncio.Event
) -> None:
    log = logger("server")
    try:
        port = await app.start()
    except BaseException:
        await app.close()
        raise
    announcer.catalogue_ready(port)
    announcing = asyncio.create_task(_announce_agents(app, announcer, log))
    await stopping.wait()
    log.info("draining")
    announcing.cancel()
    await app.stop(hurry)
    log.info("stopped")


async def _announce_agents(
    app: Application, announcer: Announcer, log: FilteringBoundLogger
) -> None:
    try:
        model = await app.agents_ready()
    except asyncio.CancelledError:
        raise
    except Exception as error:  # the catalogue goes on without the agents
        log.error("the agents could not be loaded", exc_info=error)  # noqa: TRY400  # structlog
        return
    announcer.agents_ready(model)


async def _prepare_demo(app: Application) -> Sequence[tuple[str, str]]:
    await load_sample_films(app.database)
    return await app.users.ensure_demo_users()


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


def _explained(error: Exception) -> str:
    if isinstance(error, _PLAIN):
        return str(error)
    return f"the database cannot be used: {first_line(error)}"
