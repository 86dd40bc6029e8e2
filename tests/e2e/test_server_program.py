"""`interview-server` and `make run` as an operator meets them."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.production import production
from tests.support.server_process import PROGRAM, ServerProcess, environment_for, serving

ROOT = Path(__file__).parents[2]
HEAVY = ("sqlalchemy", "semantic_kernel", "openai", "asyncpg")

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("program")]


def _run(*arguments: str, folder: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    names = ("PATH", "HOME", "LANG", "PYTHONPATH")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return subprocess.run(
        [PROGRAM, *arguments],
        cwd=folder,
        env={**kept, "DATA_DIR": str(folder / "data"), **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["healthcheck", "--address", "127.0.0.1:9"]])
def test_what_must_be_quick_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    script = f"""
import sys
from server.__main__ import main
try:
    main({arguments!r})
except SystemExit:
    pass
loaded = sorted({{name.partition('.')[0] for name in sys.modules}} & set({HEAVY!r}))
sys.stderr.write(f"loaded: {{loaded}}")
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr.endswith("loaded: []")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"PORT": "70000"}, "error: PORT: "),
        ({"SECRET_KEY": "hunter2"}, "error: SECRET_KEY: must have at least 32 bytes"),
        ({"LOG_LEVEL": "LOUD"}, "error: LOG_LEVEL: must be DEBUG, INFO, WARNING, ERROR or"),
        ({"DATABASE_URL": "mysql://x"}, "error: DATABASE_URL: must begin with postgresql:// or"),
        ({"OPENAI_BASE_URL": "foo"}, "error: OPENAI_BASE_URL: must begin with http:// or"),
        ({"ENVIRONMENT": "production"}, "error: SECRET_KEY: must be set in production"),
        (
            {"DATABASE_URL": "postgresql://bob:hunter2@127.0.0.1:9/films"},
            "error: the database cannot be used: ",
        ),
    ],
)
def test_a_wrong_setting_is_one_clear_line(
    settings: dict[str, str], said: str, tmp_path: Path
) -> None:
    done = _run("serve", folder=tmp_path, **settings)
    assert done.returncode == 1
    line, *more = done.stderr.splitlines()
    assert line.startswith(said)
    # What else is missing is told too, so that one start is enough to learn it.
    assert all(re.match(r"error: [A-Z_]+: must be set in production", other) for other in more)
    assert "hunter2" not in done.stderr


def test_an_env_file_that_is_no_text_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"HOST=\xff\xfe\n")
    done = _run("serve", folder=tmp_path)
    assert (done.returncode, done.stderr) == (1, "error: .env: must be text in UTF-8\n")


def test_a_setting_of_the_env_file_counts_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=70000\n")
    assert "PORT" in _run("serve", folder=tmp_path).stderr
    done = _run("serve", folder=tmp_path, PORT="0", LOG_LEVEL="LOUD")
    assert "PORT" not in done.stderr
    assert "LOG_LEVEL" in done.stderr


def test_production_serves_no_schema_that_it_does_not_know(tmp_path: Path) -> None:
    settings = production(tmp_path, f"sqlite:///{tmp_path / 'films.db'}")
    done = _run("serve", folder=tmp_path, **settings)
    assert done.returncode == 1
    assert "run `interview-server migrate` first" in done.stderr
    assert (
        _run("migrate", folder=tmp_path, **settings).stdout == "schema: empty -> 0006_from_0003\n"
    )
    assert (
        _run("migrate", folder=tmp_path, **settings).stdout
        == "schema: 0006_from_0003 -> 0006_from_0003\n"
    )


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = _run("serve", folder=tmp_path, PORT=str(port))
    assert done.returncode == 1
    assert f"error: cannot listen on 127.0.0.1:{port}" in done.stderr


def test_health_follows_the_server(server: ServerProcess, tmp_path: Path) -> None:
    def healthy(service: str) -> int:
        arguments = ("healthcheck", "--address", server.target, "--service", service)
        return _run(*arguments, folder=tmp_path).returncode

    for name in ("", "readiness", "liveness", "interview.agent.v1.AgentService"):
        assert healthy(name) == 0
    assert healthy("interview.nothing.v1.Nothing") == 1
    assert _run("healthcheck", "--address", "127.0.0.1:9", folder=tmp_path).returncode == 1


def test_a_server_that_still_loads_its_agents_ends_in_order(tmp_path: Path) -> None:
    environment = environment_for(tmp_path, {})
    for _ in range(3):
        with subprocess.Popen(
            [PROGRAM, "serve"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            log = ""
            while '"catalogue ready"' not in log:
                line = process.stderr.readline()
                assert line, log
                log += line
            process.send_signal(signal.SIGTERM)
            log += process.stderr.read()
        assert process.returncode == 0, log
        assert '"agents ready"' not in log
        assert '"stopped"' in log


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_run_serves_and_says_how_to_use_it(tmp_path: Path) -> None:
    environment = {**os.environ, "DATA_DIR": str(tmp_path), "PORT": "0", "PASSWORD_COST": "4"}
    with subprocess.Popen(
        ["make", "run"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        text = ""
        for line in process.stdout:
            text += line
            if "agents ready" in line:
                break
        os.killpg(process.pid, signal.SIGTERM)
    assert re.search(r"catalogue and sign-in ready after \d+\.\d s", text)
    assert re.search(r"^  viewer@example\.com +\S{20,}$", text, re.MULTILINE)
    assert re.search(r"^  admin@example\.com +\S{20,}$", text, re.MULTILINE)
    ready = [float(seconds) for seconds in re.findall(r"ready after (\d+\.\d) s", text)]
    assert ready[0] < ready[1]


def test_a_debugger_can_attach_where_it_is_asked_for(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (
        serving(tmp_path, DEBUG_MODE="true", DEBUG_PORT=str(port)),
        socket.create_connection(("127.0.0.1", port), timeout=5) as debugger,
    ):
        debugger.settimeout(5)
        assert debugger.recv(1024).startswith(b"Content-Length: ")
