"""The README: every command in it is run, every example's output is what comes out.

In a `console` block a line with `$` is a command, what follows is its output; `…` stands for
anything, a line of it alone for any number of lines.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server_process import ServerProcess

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
TARGET = "127.0.0.1:50051"

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("server")]


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def _steps() -> list[tuple[str, list[str]]]:
    """Return every command with the output that the README shows for it."""
    steps: list[tuple[str, list[str]]] = []
    for line in "\n".join(_blocks("console")).splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], []))
        elif line:
            steps[-1][1].append(line)
    return steps


def _pattern(lines: list[str]) -> str:
    parts = []
    for line in lines:
        if line == "…":
            parts.append(r"(?:.*\n)*?")
        else:
            words = (re.escape(word).replace("…", ".*") for word in line.split())
            parts.append(r"[ \t]*" + r"[ \t]+".join(words) + r"[ \t]*\n")
    return "".join(parts)


@pytest.fixture
def environment(server: ServerProcess, tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        **server.environment,
        "PASSWORD": server.viewer.password,
        "ADMIN_PASSWORD": server.admin.password,
        "INTERVIEW_TARGET": server.target,
        "XDG_CONFIG_HOME": str(tmp_path),
        "COLUMNS": "200",
    }


def test_every_command_does_what_the_readme_shows(
    server: ServerProcess, environment: dict[str, str]
) -> None:
    steps = _steps()
    assert len(steps) >= 20
    with subprocess.Popen(
        ["bash"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        for command, shown in steps:
            shell.stdin.write(command.replace(TARGET, server.target) + "\necho; echo __END__\n")
            shell.stdin.flush()
            output = ""
            for line in iter(shell.stdout.readline, "__END__\n"):
                assert line, f"the shell ended at: {command}"
                output += line
            output = output.replace(server.target, TARGET)
            expected = _pattern(shown)
            assert re.match(expected, output), f"$ {command}\n{output}\nis not\n{expected}"
        shell.stdin.close()


def test_the_example_for_backends_runs(
    server: ServerProcess, environment: dict[str, str], tmp_path: Path
) -> None:
    (example,) = _blocks("python")
    file = tmp_path / "example.py"
    file.write_text(example.replace(TARGET, server.target))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(file)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "films/296 Jurassic Park 1993" in done.stdout
    assert "RESOURCE_NOT_FOUND" in done.stdout
    assert "agent: agents/SearchAgent" in done.stdout
    assert "Sam Neill" in done.stdout


def test_every_plain_command_exists() -> None:
    known = {"git", "cd", "make", "pip", "DATABASE_URL=…"}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in filter(None, "\n".join(_blocks("sh")).splitlines()):
        words = line.split("#")[0].split()
        first = re.sub(r"=.*", "=…", words[0])
        assert first in known, line
        if first == "make":
            assert words[1] in targets


def test_every_link_leads_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
