"""TLS of a connection: whom to trust, and what to show a server that asks who calls."""

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM.

    `ca` holds the certificates of who signed the server's; without it the authorities that come
    with gRPC are trusted, Mozilla's. `certificate` with `key`, not encrypted, is shown to a
    server where every client must have one.

        tls = await Tls(ca=Path("ca.pem")).credentials()
        async with InterviewClient("films.example.com:443", tls=tls) as client: ...
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    async def credentials(self) -> grpc.ChannelCredentials:
        """Return what the files hold now, for a client.

        Raises:
            OSError: a file cannot be read.
            ValueError: a file does not hold what it should; the text names it.
        """
        return await asyncio.to_thread(self._read)

    def _read(self) -> grpc.ChannelCredentials:
        given = (self.ca, self.key, self.certificate)
        read = [None if file is None else file.read_bytes() for file in given]
        # gRPC would say of all these no more than that there is no connection.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.ca is not None:
            _check_ca(context, self.ca)
        if self.certificate is not None and self.key is not None:
            _check_pair(context, self.certificate, self.key)
        elif self.certificate != self.key:
            raise ValueError("a certificate and its key go together")
        return grpc.ssl_channel_credentials(*read)


def _check_ca(context: ssl.SSLContext, ca: Path) -> None:
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError:
        raise ValueError(f"{ca} holds no certificates in PEM") from None


def _check_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        # Without a word of ours OpenSSL would ask on the terminal for that of an encrypted key.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError:
        raise ValueError(
            f"{key} is not the private key of the certificate in {certificate}, each in PEM and"
            " not encrypted"
        ) from None
