"""The certificate's files: what stops the start, and what a running server makes of changes."""

import asyncio
import os
import re
import shlex
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from interview_client import Tls

from server.core.clock import utc_now
from server.rpc.tls import ServerTls, TlsFileInvalid, TlsFiles
from tests.support.certificates import Authority, Pair
from tests.support.running import capturing_log

AUTHORITY = Authority("ours")
PROBLEM = "TLS files cannot be used: connections go on with what they held before"
CHANGED = "TLS files changed: new connections get what they hold"
SECRET = b"hunter2"
HANDBOOK = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    """Three files that fit."""
    found = TlsFiles(tmp_path / "tls.crt", tmp_path / "tls.key", tmp_path / "ca.crt")
    _write(found, AUTHORITY.issue())
    (tmp_path / "ca.crt").write_bytes(AUTHORITY.pem)
    return found


def _write(files: TlsFiles, pair: Pair) -> None:
    files.certificate.write_bytes(pair.certificate)
    files.private_key.write_bytes(pair.key)


def _encrypted(key: bytes) -> bytes:
    return load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(SECRET)
    )


def _break(file: str, change: Callable[[bytes], bytes | None]) -> Callable[[TlsFiles], None]:
    def apply(files: TlsFiles) -> None:
        path: Path = getattr(files, file)
        content = change(path.read_bytes())
        path.unlink()
        if content is not None:
            path.write_bytes(content)

    return apply


WRONG = {
    "no certificate": (_break("certificate", lambda _: None), "TLS_CERTIFICATE_FILE: cannot be"),
    "garbage": (_break("certificate", lambda _: SECRET), "TLS_CERTIFICATE_FILE: must hold"),
    "half a certificate": (
        _break("certificate", lambda pem: pem[: len(pem) // 2]),
        "TLS_CERTIFICATE_FILE: must hold certificates in PEM",
    ),
    "half a chain": (
        _break("certificate", lambda pem: pem + AUTHORITY.pem[:-40]),
        "TLS_CERTIFICATE_FILE: must hold certificates in PEM",
    ),
    "no key": (_break("private_key", lambda _: None), "TLS_PRIVATE_KEY_FILE: cannot be read: No"),
    "half a key": (
        _break("private_key", lambda pem: pem[:-30]),
        "TLS_PRIVATE_KEY_FILE: must hold a private key in PEM",
    ),
    "a key with a word": (
        _break("private_key", _encrypted),
        "TLS_PRIVATE_KEY_FILE: must not be encrypted",
    ),
    "another's key": (
        _break("private_key", lambda _: AUTHORITY.issue().key),
        "TLS_PRIVATE_KEY_FILE: must belong to the certificate",
    ),
    "no authority": (_break("client_ca", lambda _: None), "TLS_CLIENT_CA_FILE: cannot be read: No"),
    "an empty authority": (
        _break("client_ca", lambda _: b""),
        "TLS_CLIENT_CA_FILE: must hold certificates in PEM",
    ),
}


@pytest.mark.parametrize(("wrong", "said"), WRONG.values(), ids=WRONG)
async def test_a_wrong_file_is_one_line_with_its_setting_and_nothing_of_its_content(
    wrong: Callable[[TlsFiles], None], said: str, files: TlsFiles
) -> None:
    wrong(files)
    with pytest.raises(TlsFileInvalid) as error:
        await ServerTls.load(files, utc_now, capturing_log()[0])
    (line,) = str(error.value).splitlines()
    assert line.startswith(said)
    for path in (files.certificate, files.private_key):
        if path.exists():
            for content in path.read_text().splitlines():
                assert content not in line


@pytest.mark.parametrize(
    ("key", "taken"),
    [
        (rsa.generate_private_key(65537, 2048), True),
        (ec.generate_private_key(ec.SECP384R1()), True),
        (ec.generate_private_key(ec.SECP521R1()), False),
        (ec.generate_private_key(ec.SECP256K1()), False),
        (ed25519.Ed25519PrivateKey.generate(), False),
    ],
    ids=["rsa", "p384", "p521", "k256", "ed25519"],
)
async def test_keys_that_clients_of_grpc_do_not_accept_are_refused(
    key: Any, taken: bool, files: TlsFiles
) -> None:
    _write(files, AUTHORITY.issue(key=key))
    if taken:
        await ServerTls.load(files, utc_now, capturing_log()[0])
        return
    with pytest.raises(TlsFileInvalid, match="must be RSA, or ECDSA on P-256 or P-384"):
        await ServerTls.load(files, utc_now, capturing_log()[0])


@pytest.mark.parametrize("wrong", [wrong for wrong, _ in WRONG.values()], ids=WRONG)
async def test_a_change_to_something_wrong_keeps_the_old_and_is_told_once(
    wrong: Callable[[TlsFiles], None], files: TlsFiles
) -> None:
    log, lines = capturing_log()
    tls = await ServerTls.load(files, utc_now, log)
    before = tls.certificate
    wrong(files)
    # Found once it may be a file that is being written.
    await tls.reload()
    assert lines == []
    for _ in range(3):
        await tls.reload()
    assert tls.certificate == before
    assert [line.kwargs["event"] for line in lines] == [PROBLEM]
    pair = AUTHORITY.issue()
    files.client_ca.write_bytes(AUTHORITY.pem) if files.client_ca else None
    _write(files, pair)
    await tls.reload()
    assert tls.certificate.serial == pair.serial
    assert [line.kwargs["event"] for line in lines] == [PROBLEM, CHANGED]


async def test_a_file_cut_anywhere_is_never_taken_and_never_the_end(files: TlsFiles) -> None:
    tls = await ServerTls.load(files, utc_now, capturing_log()[0])
    before, pair = tls.certificate.serial, AUTHORITY.issue()
    for path, whole in ((files.certificate, pair.certificate), (files.private_key, pair.key)):
        path.write_bytes(whole)
        for length in range(0, len(whole), 5):
            path.write_bytes(whole[:length])
            await tls.reload()
            assert tls.certificate.serial == before
    _write(files, pair)
    await tls.reload()
    assert tls.certificate.serial == pair.serial


async def test_dates_that_clients_refuse_are_told_once_each_time(files: TlsFiles) -> None:
    log, lines = capturing_log()
    now = [datetime.now(UTC)]
    tls = await ServerTls.load(files, lambda: now[0], log)
    for moment in (timedelta(days=-9), timedelta(days=9)):
        now[0] += moment
        await tls.reload()
        await tls.reload()
        now[0] -= moment
        await tls.reload()
    assert [(line.kwargs["level"], line.kwargs["event"]) for line in lines] == [
        ("warning", "the TLS certificate is not valid yet"),
        ("warning", "the TLS certificate has expired"),
    ]


@asynccontextmanager
async def _listening(tls: ServerTls) -> AsyncIterator[int]:
    """Serve nothing on a port with these credentials."""
    server = grpc.aio.server()
    port = server.add_secure_port("127.0.0.1:0", tls.credentials())
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


async def _shown(port: int) -> bytes:
    pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port), timeout=5)
    return pem.encode()


async def test_a_disk_that_hangs_holds_up_neither_connections_nor_the_loop(
    files: TlsFiles,
) -> None:
    tls = await ServerTls.load(files, utc_now, capturing_log()[0])
    before, after = files.certificate.read_bytes(), AUTHORITY.issue()
    async with _listening(tls) as port:
        files.certificate.unlink()
        os.mkfifo(files.certificate)  # reading it waits until somebody writes
        reading = asyncio.create_task(tls.reload())
        for _ in range(5):
            assert await _shown(port) == before
        assert not reading.done()
        files.private_key.write_bytes(after.key)
        await asyncio.to_thread(files.certificate.write_bytes, after.certificate)
        await reading
        assert await _shown(port) == after.certificate


async def test_of_many_changes_new_connections_get_the_last(files: TlsFiles) -> None:
    tls = await ServerTls.load(files, utc_now, capturing_log()[0])
    async with _listening(tls) as port:
        for _ in range(3):
            for _ in range(3):
                pair = AUTHORITY.issue()
                _write(files, pair)
                await tls.reload()
            assert set(await asyncio.gather(*(_shown(port) for _ in range(8)))) == {
                pair.certificate
            }


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
async def test_what_the_handbook_makes_for_development_is_taken(tmp_path: Path) -> None:
    commands = re.findall(r"^    ((?:openssl|mkdir) .*)$", HANDBOOK.read_text("utf-8"), re.M)
    assert len([command for command in commands if "data/tls" in command]) == 4
    for command in commands:
        if "data/tls" in command:
            process = await asyncio.create_subprocess_exec(
                *shlex.split(command), cwd=tmp_path, stderr=asyncio.subprocess.DEVNULL
            )
            assert await process.wait() == 0, command
    made = {path.name: path for path in (tmp_path / "data" / "tls").iterdir()}
    files = TlsFiles(made["server.pem"], made["server-key.pem"], made["ca.pem"])
    tls = await ServerTls.load(files, utc_now, capturing_log()[0])
    client = Tls(made["ca.pem"], made["client.pem"], made["client-key.pem"])
    async with (
        _listening(tls) as port,
        grpc.aio.secure_channel(f"127.0.0.1:{port}", await client.credentials()) as channel,
    ):
        async with asyncio.timeout(20):
            await channel.channel_ready()
