"""The processes of a run: the real server, the echo, the load generator, the model."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parent.parent
SERVER = Path(sys.executable).with_name("interview-server")
EMAIL, PASSWORD = "benchmark@example.com", "a password for one benchmark"
START_SECONDS = 60.0
_POLL_SECONDS = 0.005
_KEPT = ("PATH", "HOME", "LANG", "PYTHONPATH")


class RunFailed(Exception):
    """A process did not do what it must; the run's figures are worth nothing."""


@dataclass(frozen=True)
class Child:
    """A process that talks in JSON lines."""

    process: "subprocess.Popen[str]"

    def read(self) -> dict[str, Any]:
        """Return its next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RunFailed(f"{self.process.args!r} ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, do: str, **command: Any) -> dict[str, Any]:
        """Send a command and return the result."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **command}) + "\n")
        self.process.stdin.flush()
        answer = self.read()
        if "error" in answer:
            raise RunFailed(answer["error"])
        return answer

    def cpu(self) -> float:
        """Return the CPU seconds, user and system, that it has used."""
        return cpu_seconds(self.process)


@dataclass
class Served:
    """The measured server. `cpu_catalogue` and `cpu_agents`: CPU seconds until they answered."""

    process: "subprocess.Popen[str]"
    log: Path
    target: str = ""
    cpu_catalogue: float = 0.0
    cpu_agents: float = 0.0
    lines: list[dict[str, Any]] = field(default_factory=list)

    def cpu(self) -> float:
        """Return the CPU seconds, user and system, that it has used."""
        return cpu_seconds(self.process)

    def wait_for(self, event: str) -> tuple[dict[str, Any], float]:
        """Return the first log line of an event and the CPU seconds used when it was seen."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            used = self.cpu()
            for line in self.log.read_bytes().splitlines():
                if line.endswith(b"}") and (found := json.loads(line))["event"] == event:
                    return found, used
            time.sleep(_POLL_SECONDS)
        raise RunFailed(f"no {event!r} in the server's log: {self.log.read_text()[-500:]}")


def cpu_seconds(process: "subprocess.Popen[str]") -> float:
    """Return a process's CPU seconds, user and system."""
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


@contextmanager
def running_module(name: str, *arguments: str) -> Iterator[Child]:
    """Run `python -m name` for the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", name, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with _ended(process):
        yield Child(process)


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """Return what the server's processes see: nothing of the developer's own settings."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "DATA_DIR": str(folder), "LOG_FORMAT": "json", "PORT": "0", **settings}


def command(env: Mapping[str, str], folder: Path, *arguments: str, given: str = "") -> None:
    """Run an `interview-server` command to its end."""
    done = subprocess.run(
        [SERVER, *arguments],
        cwd=folder,
        env=env,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RunFailed(f"interview-server {arguments[0]}: {done.stderr.strip()}")


def prepare(env: Mapping[str, str], folder: Path) -> None:
    """Load the sample films and create the user that calls."""
    command(env, folder, "seed")
    creation = ("users", "create", EMAIL, "--role", "viewer", "--password-stdin")
    command({**env, "PASSWORD_COST": "4"}, folder, *creation, given=PASSWORD + "\n")


@contextmanager
def running_server(env: Mapping[str, str], folder: Path) -> Iterator[Served]:
    """Run `interview-server serve` for the block; its log goes to a file, as in production."""
    log = folder / "server.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [SERVER, "serve"], cwd=folder, env=env, stdout=stream, stderr=stream, text=True
        )
    with _ended(process):
        served = Served(process, log)
        ready, served.cpu_catalogue = served.wait_for("catalogue ready")
        served.target = f"127.0.0.1:{ready['port']}"
        _, served.cpu_agents = served.wait_for("agents ready")
        yield served


def modules_after(arguments: Sequence[str], packages: Sequence[str]) -> list[str]:
    """Return which of the packages `interview-server` with these arguments has imported."""
    program = (
        "import json, sys\nfrom server.__main__ import main\n"
        f"try:\n    main({list(arguments)!r})\nexcept SystemExit:\n    pass\n"
        f"print(json.dumps([name for name in {list(packages)!r} if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names: list[str] = json.loads(done.stdout.splitlines()[-1])
    return names


@contextmanager
def _ended(process: "subprocess.Popen[str]") -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
