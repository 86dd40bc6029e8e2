"""Other programs against a server that speaks TLS: grpcurl, buf curl, and its own healthcheck."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.secured import Secured, secured_server

BIN = Path(sys.executable).parent
SECONDS = 60.0
KEPT = ("PATH", "HOME", "LANG", "PYTHONPATH")

Start = Callable[..., AbstractAsyncContextManager[Secured]]


@pytest.fixture
def start(sqlite_templates: dict[str, Path], tmp_path: Path) -> Start:
    """Start a server by TLS; with `client_ca` by mTLS."""
    return partial(secured_server, sqlite_templates["sample"], tmp_path)


async def _run(program: str, *arguments: object, **settings: object) -> tuple[int | None, str]:
    """Run to the end; return the exit code and all that was written."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        BIN / program,
        *map(str, arguments),
        env={**kept, **{name: str(value) for name, value in settings.items()}},
        # Where there is no .env.
        cwd="/",
        stdout=PIPE,
        stderr=PIPE,
    )
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate()
    return process.returncode, (out + err).decode()


def _own(secured: Secured, *, client_ca: bool = False) -> dict[str, object]:
    """Return the settings with which the server runs."""
    settings: dict[str, object] = {
        "PORT": secured.server.port,
        "TLS_CERTIFICATE_FILE": secured.mount.path("tls.crt"),
        "TLS_PRIVATE_KEY_FILE": secured.mount.path("tls.key"),
    }
    return (
        {**settings, "TLS_CLIENT_CA_FILE": secured.mount.path("ca.crt")} if client_ca else settings
    )


async def test_grpcurl_and_buf_find_the_services(start: Start, tmp_path: Path) -> None:
    people = Authority("people")
    cert, key = people.issue(["ann"]).write(tmp_path, "ann")
    async with start(client_ca=people) as secured:
        target, ca = secured.server.target, secured.ca
        url = f"https://localhost:{secured.server.port}"
        buf = ("curl", "--protocol", "grpc", "--cacert", ca, "--list-services", url)
        shown = ("--cert", cert, "--key", key)
        found = await asyncio.gather(
            _run("grpcurl", "-cacert", ca, "-cert", cert, "-key", key, target, "list"),
            _run("buf", *buf[:-2], *shown, *buf[-2:]),
            _run("grpcurl", "-cacert", ca, target, "list"),
            _run("buf", *buf),
        )
    for code, text in found[:2]:
        assert code == 0, text
        assert "interview.catalogue.v1.CatalogueService" in text
    for code, text in found[2:]:
        assert code != 0
        assert "CatalogueService" not in text


@pytest.mark.parametrize("names", [("localhost",), ("*.films.example.com",), ("10.1.2.3",)])
async def test_the_server_asks_itself_by_its_own_settings(
    names: tuple[str, ...], start: Start
) -> None:
    async with start(names=names) as secured:
        # It serves on with what the files held before: it must not be restarted for them.
        secured.mount.swap({"tls.crt": b"broken", "tls.key": b"broken"})
        code, text = await _run("interview-server", "healthcheck", **_own(secured))
        assert (code, text) == (0, "")


async def test_where_clients_need_a_certificate_the_server_shows_its_own(start: Start) -> None:
    people = Authority("people")
    async with start(client_ca=people) as secured:
        settings = _own(secured, client_ca=True)
        code, text = await _run("interview-server", "healthcheck", **settings)
        assert code == 1
        assert text.startswith(f"{secured.server.target}: UNAVAILABLE: ")
        pair = people.issue()
        secured.mount.swap({**pair.secret, "ca.crt": people.pem})
        await secured.shows(pair)
        code, text = await _run("interview-server", "healthcheck", **settings)
        assert (code, text) == (0, "")
        own = people.issue(["probe"]).write(secured.ca.parent, "probe")
        secured.mount.swap({"tls.crt": b"broken", "tls.key": b"broken", "ca.crt": b"broken"})
        shown = ("--cert", own[0], "--key", own[1])
        code, text = await _run("interview-server", "healthcheck", *shown, **settings)
        assert (code, text) == (0, "")


async def test_a_server_elsewhere_is_asked_as_the_arguments_say(
    start: Start, tmp_path: Path
) -> None:
    people = Authority("people")
    cert, key = people.issue(["ann"]).write(tmp_path, "ann")
    async with start(client_ca=people) as secured:
        ask = partial(_run, "interview-server", "healthcheck", "--address", secured.server.target)
        shown = ("--cert", cert, "--key", key)
        good, *bad = await asyncio.gather(
            ask("--ca", secured.ca, *shown),
            ask("--ca", secured.ca),
            ask("--tls", *shown),
            ask("--ca", tmp_path / "nothing"),
            ask(),
        )
    assert good == (0, "")
    assert [code for code, _ in bad] == [1, 1, 1, 1]
    nobody, untrusted, missing, plaintext = (text for _, text in bad)
    assert "UNAVAILABLE" in nobody
    assert "CERTIFICATE_VERIFY_FAILED" in untrusted
    assert missing.startswith("error: ")
    assert str(tmp_path / "nothing") in missing
    assert "UNAVAILABLE" in plaintext
