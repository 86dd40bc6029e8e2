"""`interview-server serve --demo` as a process of its own, as `make run` starts it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

PROGRAM = Path(sys.executable).with_name("interview-server")
READY_SECONDS = 60.0
STOP_SECONDS = 30.0
_OF_THE_DEVELOPER = re.compile(
    r"(DATABASE|OPENAI|SEMANTIC_KERNEL|SECRET|PASSWORD|SIGNING|TOKEN|DEBUG|LOG|INTERVIEW|TLS|METRICS|OTEL|TRACE)_.*"
    r"|ALLOW_PLAINTEXT|ENVIRONMENT|HOST|PORT|WORKERS"
)


@dataclass(frozen=True)
class Account:
    """A demo user."""

    email: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class ServerProcess:
    """A server that serves: where, with which users, and with which settings."""

    target: str
    viewer: Account
    admin: Account
    environment: Mapping[str, str]
    """What `interview-server` needs to work on the same data."""
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        """What the server has logged so far, a JSON object per line."""
        return (self.folder / "log").read_text("utf-8")

    @property
    def workers(self) -> dict[int, psutil.Process]:
        """The processes that serve, by number, where there are several."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            number = re.search(r"--number=(\d+)", " ".join(child.cmdline()))
            if number is not None:
                found[int(number[1])] = child
        return found

    def stop(self) -> int:
        """Ask the server to stop; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def serving(
    folder: Path,
    *,
    accounts: tuple[Account, Account] | None = None,
    exit_code: int = 0,
    measured: bool = False,
    **settings: str,
) -> Iterator[ServerProcess]:
    """Start a server on a free port with its data in this folder, and end it afterwards.

    A folder that was served before has its users already: their `accounts` must be given.
    Raises AssertionError when the server does not start, or does not stop with the exit code.
    """
    environment = environment_for(folder, settings)
    if not measured:
        # Measuring coverage makes a start half as long again, and others measure the same lines.
        environment = unmeasured(environment)
    with (folder / "banner").open("wb") as banner, (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [PROGRAM, "serve", "--demo"], cwd=folder, env=environment, stdout=banner, stderr=log
        )
    try:
        text = _banner(process, folder)
        viewer, admin = accounts or (account_of(text, "viewer"), account_of(text, "admin"))
        (target,) = re.findall(r"serves on (\S+)", text)
        server = ServerProcess(target, viewer, admin, environment, folder, process)
        yield server
        # Also where a test has stopped it, or where it has gone by itself.
        code = server.stop() if process.poll() is None else process.returncode
        assert code == exit_code, server.log
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def free_port() -> int:
    """Return a port that nobody has at this moment."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run_program(
    *arguments: str, folder: Path, **settings: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command of the program to its end, with its data in this folder."""
    return subprocess.run(
        [PROGRAM, *arguments],
        cwd=folder,
        env=environment_for(folder, settings),
        capture_output=True,
        text=True,
        timeout=READY_SECONDS,
        check=False,
    )


def environment_for(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a server with its data in this folder, and no others of ours."""
    clean = {
        name: value for name, value in os.environ.items() if not _OF_THE_DEVELOPER.fullmatch(name)
    }
    own = {
        "DATA_DIR": str(folder / "data"),
        "HOST": "127.0.0.1",
        "PORT": "0",  # the kernel chooses one that is free
        "PASSWORD_COST": "4",
        "DRAIN_DELAY_SECONDS": "0",
        "LOG_FORMAT": "json",
    }
    return {**clean, **own, **settings}


def unmeasured(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment whose processes have no part in the measurement of coverage."""
    return {name: value for name, value in environment.items() if not name.startswith("COVERAGE_")}


def _banner(process: subprocess.Popen[bytes], folder: Path) -> str:
    """Return what the server has printed once its agents are ready."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        text = (folder / "banner").read_text("utf-8")
        if "agents ready" in text:
            return text
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise AssertionError(f"the server did not start: {(folder / 'log').read_text('utf-8')}")


def account_of(banner: str, role: str) -> Account:
    """Return the demo user that a banner names."""
    ((email, password),) = re.findall(rf"^  ({role}@\S+) +(\S+)$", banner, re.MULTILINE)
    return Account(email, password)
