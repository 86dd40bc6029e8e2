"""Exports, imports and watches go on when the server they talk to is restarted."""

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import interview_client
import pytest
from interview_client import InterviewClient, messages

from tests.support.server_process import ServerProcess, free_port, serving
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("server")]

README = (Path(__file__).parents[2] / "client" / "README.md").read_text()


def lines(start: int, end: int) -> str:
    """Return films in JSON lines, of which each is longer than it need be."""
    films = (
        {"title": f"Cut {n:03d}", "language": "languages/1", "description": "x" * 9_000}
        for n in range(start, end)
    )
    return "".join(json.dumps(film) + "\n" for film in films)


def told(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield the titles of films in the changes that a watch tells."""
    assert process.stdout is not None
    for line in process.stdout:
        film = json.loads(line).get("change", {}).get("resource", {}).get("film")
        if film:
            yield film["title"]


def begun(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
    """Wait for the first word of a watch."""
    assert process.stdout is not None
    assert "checkpoint" in process.stdout.readline()
    return process


def pipe(process: subprocess.Popen[str]) -> IO[str]:
    """Return where the process reads from."""
    assert process.stdin is not None
    return process.stdin


def test_a_restart_loses_and_doubles_nothing(tmp_path: Path) -> None:
    folder, port = tmp_path / "server", str(free_port())
    folder.mkdir()
    with serving(folder, PORT=port) as first:
        editor = Terminal(tmp_path, first.target)
        editor.sign_in(first.admin)
        with (
            editor.started("films", "watch", "--json", "--limit", "300") as watch,
            editor.started("films", "import", "-", "--batch-size", "20", "--json") as importing,
        ):
            begun(watch)
            changes = told(watch)
            # More than the pipe, the client and the network hold: a part is stored by now.
            pipe(importing).write(lines(0, 200))
            pipe(importing).flush()
            titles = [next(changes)]
            assert first.stop() == 0
            accounts = (first.viewer, first.admin)
            with serving(folder, accounts=accounts, PORT=port):
                pipe(importing).write(lines(200, 300))
                done, errors = importing.communicate(timeout=60)
                assert importing.returncode == 0, errors
                titles += changes
                assert watch.wait(20) == 0
    assert int(json.loads(done)["createdCount"]) == 300
    assert titles == [f"Cut {number:03d}" for number in range(300)]


async def test_the_examples_of_the_readme_run(
    server: ServerProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    chosen = [
        block
        for part in ("create_film(", "export_films(", "client.catalogue.watch(")
        for block in blocks
        if part in block
    ]
    assert len(chosen) == 3
    names = {**vars(messages), **vars(interview_client)}
    async with InterviewClient(server.target) as client:
        await client.sign_in(server.admin.email, server.admin.password)
        names["client"] = client
        for block in chosen[:2]:
            code = compile(block, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            await eval(code, names)  # the flag above makes it a coroutine
            names.setdefault("deleted", names["film"])
        # The example of the watch ends with a change, which somebody must make.
        code = compile(
            chosen[2].replace("case SnapshotEnd() | Checkpoint():", CHANGING),
            "README.md",
            "exec",
            flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        )
        await eval(code, names)
        made = 'title = "Part 1" OR title = "Part 2" OR title = "Long Rain"'
        async for film in client.catalogue.list_films(filter=made):
            await client.catalogue.delete_film(film.name)
    printed = capsys.readouterr().out
    assert re.search(r"^films/\d+ Long Rain 96$", printed, re.MULTILINE)
    assert "Jurassic Park" in printed
    assert re.search(r"^filmImports/\S+ 2$", printed, re.MULTILINE)
    assert re.search(r"^\d+ UNDELETED films/\d+$", printed, re.MULTILINE)


CHANGING = """case SnapshotEnd() | Checkpoint():
            if isinstance(event, SnapshotEnd):
                await client.catalogue.undelete_film(deleted.name)"""
