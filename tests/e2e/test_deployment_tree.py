"""The Dockerfile's own steps, performed without a container engine, make a server that runs."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.support.deployment import ROOT, Ignore, Stage, context_paths, stages

# One worker for all: the tree is built once.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240), pytest.mark.xdist_group("image")]

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def last_stage() -> Stage:
    return stages((ROOT / "Dockerfile").read_text("utf-8"))[-1]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build as the Dockerfile does and return the one folder that its last stage takes along."""
    tree = tmp_path_factory.mktemp("image") / "app"
    tree.mkdir()
    _build(tree)
    for left_behind in tree.iterdir():
        if left_behind.name != ".venv":
            shutil.rmtree(left_behind) if left_behind.is_dir() else left_behind.unlink()
    return tree / ".venv"


def _build(tree: Path) -> None:
    *_, builder, _last = stages((ROOT / "Dockerfile").read_text("utf-8"))
    ignore = Ignore((ROOT / ".dockerignore").read_text("utf-8"))
    syncs = 0
    for step in builder.steps:
        for path in context_paths(step):
            _copy(path, tree, ignore)
        if step.word == "RUN" and " sync " in step.text:
            _run_uv(step.text, tree)
            syncs += 1
    assert syncs > 0


def _copy(path: str, tree: Path, ignore: Ignore) -> None:
    def excluded(folder: str, names: list[str]) -> set[str]:
        below = Path(folder).relative_to(ROOT)
        return {name for name in names if ignore.excludes(str(below / name))}

    source, target = ROOT / path, tree / path
    if source.is_dir():
        shutil.copytree(source, target, ignore=excluded)
    else:
        shutil.copyfile(source, target)


def _run_uv(text: str, tree: Path) -> None:
    command = [word for word in shlex.split(text) if not word.startswith("--mount=")]
    assert command[0] == "uv"
    # Of the builder's variables only the interpreter is set: compiling bytecode takes a minute.
    kept = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(
        [BIN / "uv", *command[1:]],
        cwd=tree,
        env={**kept, "UV_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def variables(last_stage: Stage, environment: Path, tmp_path: Path) -> dict[str, str]:
    """What the image sets, but for a data folder and a port of this test's own."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    found = {**last_stage.environment(), "DATA_DIR": str(data), "PORT": "0"}
    # Nothing of the repository may be found by accident.
    return {**found, "PATH": f"{environment / 'bin'}:/usr/bin:/bin", "HOST": "127.0.0.1"}


def _program(environment: Path, variables: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [environment / "bin" / "interview-server", *arguments],
        cwd=environment.parent,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _files(environment: Path) -> set[Path]:
    return set(environment.parent.rglob("*"))


def test_help_lists_the_commands(environment: Path, variables: dict[str, str]) -> None:
    told = _program(environment, variables, "--help")
    for command in ("serve", "healthcheck", "migrate", "seed"):
        assert f"    {command} " in told


def test_the_environment_holds_no_tools_and_no_client(environment: Path) -> None:
    (packages,) = environment.glob("lib/python3*/site-packages")
    names = {path.name for path in packages.iterdir()}
    assert {"server", "migrations", "opentelemetry"} <= names
    assert names.isdisjoint({"interview_client", "pytest", "mypy", "grpc_tools", "debugpy"})


def test_it_migrates_seeds_serves_and_stops_and_writes_only_data(
    environment: Path, variables: dict[str, str]
) -> None:
    before = _files(environment)
    assert _program(environment, variables, "migrate").startswith("schema: empty -> ")
    assert _program(environment, variables, "seed").startswith("loaded ")
    for server, port in _serving(environment, variables):
        # As HEALTHCHECK runs it: the address comes from HOST and PORT, here of all interfaces.
        asked = {**variables, "HOST": "0.0.0.0", "PORT": str(port)}
        _program(environment, asked, "healthcheck")
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=40) == 0
    assert _files(environment) == before


def _serving(
    environment: Path, variables: dict[str, str]
) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    with subprocess.Popen(
        [environment / "bin" / "interview-server", "serve"],
        cwd=environment.parent,
        env=variables,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stderr is not None
            yield server, _port(server.stderr)
        finally:
            server.kill()


def _port(log: IO[str]) -> int:
    """Return the port that the log names; the image's logs are one JSON object per line."""
    lines = []
    for line in log:
        lines.append(line)
        port = json.loads(line).get("port")
        if port is not None:
            return int(port)
    pytest.fail("the server ended before it was ready:\n" + "".join(lines))
