"""`interview-server` as a deployment runs it: its commands, and `serve` without demo data."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.server_process import PROGRAM

_KEPT = ("PATH", "HOME", "LANG", "PYTHONPATH")
COMMAND_SECONDS = 120.0
READY_SECONDS = 120.0
STOP_SECONDS = 60.0


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """Return a process's environment: nothing of the developer's settings, and these."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    own = {"DATA_DIR": str(folder / "data"), "HOST": "127.0.0.1", "PORT": "0"}
    return {**kept, **own, "LOG_FORMAT": "json", "METRICS_PORT": "0", **settings}


def command(folder: Path, *arguments: str, **settings: str) -> "subprocess.Popen[str]":
    """Start a command in this folder."""
    return subprocess.Popen(
        [PROGRAM, *arguments],
        cwd=folder,
        env=environment(folder, **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


def end_of(process: "subprocess.Popen[str]") -> Ended:
    """Wait for a command. Raises TimeoutExpired, with the command killed."""
    try:
        out, err = process.communicate(timeout=COMMAND_SECONDS)
    finally:
        process.kill()
    return Ended(process.returncode, out, err)


def run(folder: Path, *arguments: str, **settings: str) -> Ended:
    """Run a command to its end."""
    return end_of(command(folder, *arguments, **settings))


class Server:
    """A server process, and what its log tells."""

    def __init__(self, folder: Path, name: str, settings: Mapping[str, str]) -> None:
        self._file = folder / f"{name}.log"
        with self._file.open("wb") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "serve"], cwd=folder, env=environment(folder, **settings), stderr=log
            )

    @property
    def log(self) -> str:
        """All that was logged."""
        return self._file.read_text("utf-8")

    def logged(self, event: str) -> dict[str, Any]:
        """Wait for an event of the log and return its line.

        Raises AssertionError when the process ends before, or takes too long.
        """
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            running = self.process.poll() is None
            # The last line may be half written.
            for line in self.log.rpartition("\n")[0].splitlines():
                found: dict[str, Any] = json.loads(line)
                if found["event"] == event:
                    return found
            assert running, self.log
            time.sleep(0.05)
        raise AssertionError(f"no {event!r} in time: {self.log}")

    @property
    def target(self) -> str:
        """Where it serves, once it does."""
        return f"127.0.0.1:{self.logged('catalogue ready')['port']}"

    def is_ready(self) -> bool:
        """Tell whether it says so itself."""
        with grpc.insecure_channel(self.target) as channel:
            stub = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]  # no annotations
            answer = stub.Check(health_pb2.HealthCheckRequest(service="readiness"), timeout=60)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def stop(self) -> int:
        """Ask it to stop; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def server(folder: Path, name: str = "server", **settings: str) -> Iterator[Server]:
    """Start a server for the block; what still runs after it is killed."""
    started = Server(folder, name, settings)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.wait()
