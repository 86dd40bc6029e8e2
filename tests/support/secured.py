"""A real server that speaks TLS, in the test's own event loop."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copy
from typing import Any

from tests.support.certificates import NAMES, Authority, Mount, Pair
from tests.support.running import Running, running_server

PATIENCE = 20.0


@dataclass(frozen=True)
class Secured:
    """A server with a certificate that `authority` signed, mounted where it can be swapped."""

    server: Running
    authority: Authority
    mount: Mount
    ca: Path
    """The authority's own certificate, as clients have it."""

    async def shown(self) -> bytes:
        """Return the certificate that a new connection is shown, in PEM."""
        pem = await asyncio.to_thread(
            ssl.get_server_certificate, ("127.0.0.1", self.server.port), timeout=5
        )
        return pem.encode()

    async def shows(self, pair: Pair) -> None:
        """Wait until new connections are shown this certificate."""

        async def shown() -> bool:
            return await self.shown() == pair.certificate

        await eventually(shown)

    def events(self, event: str) -> list[dict[str, Any]]:
        """Return the log's lines of one kind."""
        return [line.kwargs for line in self.server.lines if line.kwargs.get("event") == event]


@asynccontextmanager
async def secured_server(
    sample: Path,
    folder: Path,
    *,
    client_ca: Authority | None = None,
    names: tuple[str, ...] = NAMES,
) -> AsyncIterator[Secured]:
    """Serve a copy of the sample films by TLS; with `client_ca` by mTLS."""
    copy(sample, folder / "test.db")
    authority = Authority("authority of the server")
    files = authority.issue(names).secret
    if client_ca is not None:
        files["ca.crt"] = client_ca.pem
    mount = Mount(folder / "mount", files)
    ca = folder / "ca.pem"
    ca.write_bytes(authority.pem)
    settings: dict[str, Any] = {
        "tls_certificate_file": mount.path("tls.crt"),
        "tls_private_key_file": mount.path("tls.key"),
        "tls_client_ca_file": mount.path("ca.crt") if client_ca else None,
    }
    url = f"sqlite+aiosqlite:///{folder / 'test.db'}"
    async with running_server(url, folder, **settings) as server:
        yield Secured(server, authority, mount, ca)


async def eventually(state: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it is so; raises TimeoutError where it does not become so."""
    async with asyncio.timeout(PATIENCE):
        while not await state():
            await asyncio.sleep(0.05)
