"""`interview-server serve` with WORKERS above 1: processes that serve one port together.

Each worker is this program started anew. A fork of a process that has used gRPC or threads is
none, so nothing is shared but the port. This process serves nothing itself and stays small: it
prepares what all need in a process of its own, keeps the workers alive, and ends them in order.
"""

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from time import perf_counter

from server.announcement import Announcement
from server.log import logger
from server.port import PortUnavailable, held_port
from server.process import fail, on_signals, set_up_logs
from server.settings import Settings, SettingsError
from server.telemetry import MetricsUnavailable
from server.telemetry.supervision import observed_workers
from server.workers import Workers

PROGRAM = (sys.executable, "-P", "-m", "server")
"""-P: a folder named `server` where the operator stands is not our program."""

CLEANUP_SECONDS = 20.0
"""What a worker has beyond its drain and grace before it is killed."""


def supervise(settings: Settings, *, demo: bool) -> int:
    """Serve with several workers until SIGTERM or SIGINT; return the exit code."""
    started = perf_counter()
    try:
        _check(settings)
        set_up_logs(settings)
        return asyncio.run(_supervise(settings, demo=demo, started=started))
    except (SettingsError, PortUnavailable, MetricsUnavailable) as error:
        return fail(str(error))


def _check(settings: Settings) -> None:
    if sys.platform != "linux":
        raise SettingsError("WORKERS: more than one share a port on Linux only")
    if settings.debug_mode:
        raise SettingsError("DEBUG_MODE: needs WORKERS=1, for a debugger attaches to one process")


async def _supervise(settings: Settings, *, demo: bool, started: float) -> int:
    stopping, hurry = on_signals()
    log = logger("server")
    with (
        held_port(settings.host, settings.port) as port,
        observed_workers(settings.metrics_address) as observer,
    ):
        prepared = await _prepare(stopping, demo=demo)
        if prepared is None:
            return 0 if stopping.is_set() else 1
        workers = Workers(
            settings.workers,
            lambda number: _start(number, port, {**os.environ, **observer.environment}),
            Announcement(settings, started, prepared if demo else None),
            observer,
            log,
        )
        limit = settings.drain_delay_seconds + settings.grace_seconds + CLEANUP_SECONDS
        problem = await workers.run(stopping, hurry, limit)
    log.info("stopped")
    return 0 if problem is None else fail(problem)


async def _prepare(stopping: asyncio.Event, *, demo: bool) -> Sequence[tuple[str, str]] | None:
    """Make database and secret ready; return the new demo users, None where it did not succeed.

    In a process of its own, which says on stderr what is wrong: what it needs to load is many
    times what this process needs.
    """
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        "prepare",
        *(["--demo"] if demo else []),
        stdin=DEVNULL,
        stdout=PIPE,
        start_new_session=True,
    )
    reading = asyncio.create_task(process.communicate())
    told_to_stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({reading, told_to_stop}, return_when=asyncio.FIRST_COMPLETED)
    told_to_stop.cancel()
    if not reading.done():
        process.terminate()
    output, _ = await reading
    if process.returncode or stopping.is_set():
        return None
    return [(email, password) for email, password in json.loads(output)["new_users"]]


async def _start(number: int, port: int, environment: Mapping[str, str]) -> Process:
    # A session of its own: Ctrl-C reaches this process alone, which passes it on once.
    return await asyncio.create_subprocess_exec(
        *PROGRAM,
        "worker",
        f"--number={number}",
        f"--port={port}",
        env=environment,
        stdin=PIPE,
        stdout=PIPE,
        start_new_session=True,
    )
