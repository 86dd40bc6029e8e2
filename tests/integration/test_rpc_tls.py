"""Connections by TLS and mTLS: who gets through, who does not, and what a new certificate does."""

import asyncio
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from shutil import copy

import grpc
import pytest
from interview_client import InterviewClient, Tls, Unavailable

from tests.support.certificates import Authority
from tests.support.running import PASSWORD, VIEWER, running_server
from tests.support.secured import PATIENCE, Secured, eventually, secured_server

JURASSIC_PARK = 296

Start = Callable[..., AbstractAsyncContextManager[Secured]]


@pytest.fixture
def start(sqlite_templates: dict[str, Path], tmp_path: Path) -> Start:
    """Start a server by TLS; with `client_ca` by mTLS."""
    return partial(secured_server, sqlite_templates["sample"], tmp_path)


def _file(folder: Path, name: str, content: bytes) -> Path:
    file = folder / name
    file.write_bytes(content)
    return file


@asynccontextmanager
async def _client(target: str, tls: Tls) -> AsyncIterator[InterviewClient]:
    async with InterviewClient(target, tls=await tls.credentials()) as client:
        yield client


async def _title(target: str, tls: Tls) -> str:
    """Sign in and return what a film is called."""
    async with _client(target, tls) as client:
        await client.sign_in(VIEWER, PASSWORD)
        return (await client.catalogue.get_film(JURASSIC_PARK)).title


async def test_the_client_gets_through_and_the_log_knows_it_as_ever(start: Start) -> None:
    async with start() as secured:
        assert await _title(secured.server.target, Tls(ca=secured.ca)) == "Jurassic Park"
        login, film = secured.server.access_lines()
        assert (login["code"], film["code"]) == ("OK", "OK")
        assert login["peer"] == film["peer"]
        assert login["peer"].startswith("ipv4:127.0.0.1:")
        (line,) = secured.events("listening")
        assert (line["transport"], line["port"]) == ("TLS", secured.server.port)
        assert line["certificate_expires"] > "20"


async def test_a_client_that_trusts_others_sends_nothing(start: Start, tmp_path: Path) -> None:
    other = _file(tmp_path, "other.pem", Authority("another").pem)
    async with start() as secured:
        for tls in (Tls(ca=other), Tls()):
            with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
                await _title(secured.server.target, tls)
        elsewhere = secured.authority.issue(["films.example.com"])
        secured.mount.swap(elsewhere.secret)
        await secured.shows(elsewhere)
        with pytest.raises(Unavailable, match="Hostname"):
            await _title(secured.server.target, Tls(ca=secured.ca))
        assert secured.server.access_lines() == []


async def test_who_speaks_in_the_clear_gets_no_answer(start: Start) -> None:
    async with start() as secured:
        async with InterviewClient(secured.server.target) as client:
            with pytest.raises(Unavailable):
                await client.sign_in(VIEWER, PASSWORD)
        hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
        assert await _said(secured.server.port, hello) in {b"", b"\x15"}
        assert secured.server.access_lines() == []


@pytest.mark.parametrize(
    ("version", "taken"),
    [
        (ssl.TLSVersion.TLSv1, False),
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
async def test_what_is_older_than_tls_1_2_is_refused(
    version: ssl.TLSVersion, taken: bool, start: Start
) -> None:
    hello = _client_hello(version)
    async with start() as secured:
        first = await _said(secured.server.port, hello)
    # The server's hello is a handshake record; a refusal is an alert, or no word at all.
    assert first == b"\x16" if taken else first in {b"", b"\x15"}


def _client_hello(version: ssl.TLSVersion) -> bytes:
    """Return how a client begins that speaks this version of TLS and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # OpenSSL itself would not begin with the old ones otherwise.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.set_alpn_protocols(["h2"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    outgoing = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    hello = outgoing.read()
    assert hello[0] == 0x16
    # TLS 1.3 calls itself 1.2 here, for the sake of what stands between.
    assert hello[9:11] == min(version, ssl.TLSVersion.TLSv1_2).to_bytes(2, "big")
    return hello


async def _said(port: int, words: bytes) -> bytes:
    """Return the first byte that the server answers to these words, nothing if it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(words)
    try:
        async with asyncio.timeout(PATIENCE):
            return await reader.read(1)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_with_a_client_ca_who_shows_no_good_certificate_is_out(
    start: Start, tmp_path: Path
) -> None:
    people = Authority("authority of the clients")
    pairs = {
        "another's": Authority("another").issue(["eve"]),
        "expired": people.issue(["bob"], lifetime=timedelta(seconds=-1)),
        "right": people.issue(["ann"]),
    }
    shown = {name: pair.write(tmp_path, name) for name, pair in pairs.items()}
    async with start(client_ca=people) as secured:
        target, ca = secured.server.target, secured.ca
        for tls in (Tls(ca), Tls(ca, *shown["another's"]), Tls(ca, *shown["expired"])):
            with pytest.raises(Unavailable):
                await _title(target, tls)
        assert secured.server.access_lines() == []
        assert await _title(target, Tls(ca, *shown["right"])) == "Jurassic Park"
        (line,) = secured.events("listening")
        assert line["transport"] == "mTLS"


async def test_new_connections_get_a_new_certificate_and_old_ones_live_on(
    start: Start, tmp_path: Path
) -> None:
    async with (
        start() as secured,
        _client(secured.server.target, Tls(ca=secured.ca)) as old,
    ):
        target, calls, stop = secured.server.target, 0, asyncio.Event()

        async def go_on() -> None:
            nonlocal calls
            while not stop.is_set():
                await old.catalogue.get_film(JURASSIC_PARK)
                calls += 1

        await old.sign_in(VIEWER, PASSWORD)
        going_on = asyncio.create_task(go_on())
        successor = Authority("the next authority")
        renewed = successor.issue()
        trusting = Tls(ca=_file(tmp_path, "next.pem", successor.pem))
        secured.mount.swap(renewed.secret)
        await secured.shows(renewed)
        before = calls
        assert await _title(target, trusting) == "Jurassic Park"
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await _title(target, Tls(ca=secured.ca))
        stop.set()
        await going_on
        assert calls > before > 0
        lines = secured.server.access_lines()
        assert {line["code"] for line in lines} == {"OK"}
        # One connection before and after, and that of the newcomer.
        assert len({line["peer"] for line in lines}) == 2
        (line,) = secured.events("TLS files changed: new connections get what they hold")
        assert line["certificate_serial"] == renewed.serial


async def test_a_new_client_ca_shuts_out_whom_the_old_one_let_in(
    start: Start, tmp_path: Path
) -> None:
    old, new = Authority("old"), Authority("new")
    ann, bob = old.issue(["ann"]).write(tmp_path, "ann"), new.issue(["bob"]).write(tmp_path, "bob")
    async with start(client_ca=old) as secured:
        target, pair = secured.server.target, secured.authority.issue()
        assert await _title(target, Tls(secured.ca, *ann)) == "Jurassic Park"
        secured.mount.swap({**pair.secret, "ca.crt": new.pem})
        await secured.shows(pair)
        assert await _title(target, Tls(secured.ca, *bob)) == "Jurassic Park"
        with pytest.raises(Unavailable):
            await _title(target, Tls(secured.ca, *ann))


async def test_a_broken_new_certificate_changes_nothing_but_the_log(start: Start) -> None:
    problem = "TLS files cannot be used: connections go on with what they held before"
    async with start() as secured:
        before = await secured.shown()
        strangers_key = secured.authority.issue().key
        secured.mount.swap({"tls.crt": before, "tls.key": strangers_key})

        async def told() -> bool:
            return bool(secured.events(problem))

        await eventually(told)
        assert await _title(secured.server.target, Tls(ca=secured.ca)) == "Jurassic Park"
        assert await secured.shown() == before
        mended = secured.authority.issue()
        secured.mount.swap(mended.secret)
        await secured.shows(mended)
        (line,) = secured.events(problem)
        assert line["problem"] == "TLS_PRIVATE_KEY_FILE: must belong to the certificate"
        assert line["level"] == "error"


async def test_an_expired_certificate_is_a_warning_not_the_end(
    sqlite_templates: dict[str, Path], tmp_path: Path
) -> None:
    copy(sqlite_templates["sample"], tmp_path / "test.db")
    pair = Authority("once").issue(lifetime=timedelta(seconds=-1))
    certificate, key = pair.write(tmp_path, "tls")
    async with running_server(
        f"sqlite+aiosqlite:///{tmp_path / 'test.db'}",
        tmp_path,
        tls_certificate_file=certificate,
        tls_private_key_file=key,
    ) as server:
        events = {line.kwargs["event"]: line.kwargs["level"] for line in server.lines}
        assert events["the TLS certificate has expired"] == "warning"
        credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
        async with InterviewClient(server.target, tls=credentials) as client:
            with pytest.raises(Unavailable, match="certificate has expired"):
                await client.sign_in(VIEWER, PASSWORD)
