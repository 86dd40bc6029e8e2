"""A server process and users' terminals for end-to-end tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server_process import ServerProcess, serving
from tests.support.terminal import Terminal


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with the sample films and demo users, for all tests of a worker.

    It has `target`, `viewer` and `admin` (each with `email` and `password`) and
    `environment`, with which `interview-server` works on the same data.
    """
    with serving(tmp_path_factory.mktemp("server"), measured=True) as process:
        yield process


@pytest.fixture
def stranger(server: ServerProcess, tmp_path: Path) -> Terminal:
    """The terminal of somebody who has not signed in."""
    return Terminal(tmp_path, server.target)


@pytest.fixture
def terminal(stranger: Terminal, server: ServerProcess) -> Terminal:
    """The terminal of the viewer, who has signed in."""
    stranger.sign_in(server.viewer)
    return stranger


@pytest.fixture(scope="session")
def reader(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    """The viewer's terminal for all tests of a worker that leave the credentials alone."""
    terminal = Terminal(tmp_path_factory.mktemp("reader"), server.target)
    terminal.sign_in(server.viewer)
    return terminal
