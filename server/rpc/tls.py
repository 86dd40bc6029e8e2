"""TLS of the port: a certificate from files, read again when they change.

gRPC asks for a changed certificate when a connection begins, in a thread of its own. It is
handed one that lies ready: reading and checking go on beside, so that a slow disk holds up
neither a connection nor the loop. Connections that are open live on. The C core speaks TLS 1.2
and 1.3 and nothing older.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from structlog.typing import FilteringBoundLogger

from server.core.clock import Clock

CERTIFICATE: Final = "TLS_CERTIFICATE_FILE"
PRIVATE_KEY: Final = "TLS_PRIVATE_KEY_FILE"
CLIENT_CA: Final = "TLS_CLIENT_CA_FILE"

RELOAD_INTERVAL = timedelta(seconds=1)
"""A few kilobytes are read each time: their content tells of every change, times do not."""

_MALFORMED = (ValueError, UnsupportedAlgorithm, x509.InvalidVersion)


class TlsFileInvalid(Exception):
    """A file cannot be used. The text names its setting and what is wrong, never its content."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where the files are, in PEM. With `client_ca` every client must show a certificate."""

    certificate: Path
    private_key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate chain with its key, checked, and the dates of its first certificate."""

    chain: bytes
    private_key: bytes = field(repr=False)
    client_ca: bytes | None
    serial: str
    begins: datetime
    expires: datetime

    @classmethod
    def read(cls, files: TlsFiles) -> Self:
        """Return what the files hold now. Blocks.

        All of it is checked here: of a wrong one the C core says no more than that it cannot
        listen, and of some nothing at all.

        Raises:
            TlsFileInvalid: a file cannot be read or used.
        """
        chain = _read(CERTIFICATE, files.certificate)
        private_key = _read(PRIVATE_KEY, files.private_key)
        client_ca = _read(CLIENT_CA, files.client_ca) if files.client_ca else None
        public_key, serial, begins, expires = _first(CERTIFICATE, chain)
        if public_key != _public_half(private_key):
            raise TlsFileInvalid(f"{PRIVATE_KEY}: must belong to the certificate")
        if client_ca is not None:
            _first(CLIENT_CA, client_ca)
        return cls(chain, private_key, client_ca, serial, begins, expires)

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        """Return it as gRPC takes it."""
        return grpc.ssl_server_certificate_configuration(
            [(self.private_key, self.chain)], root_certificates=self.client_ca
        )

    def facts(self) -> Mapping[str, str]:
        """Return the fields of a log line."""
        return {
            "certificate_serial": self.serial,
            "certificate_expires": self.expires.isoformat(),
        }


class ServerTls:
    """The certificate that new connections get, in step with its files."""

    def __init__(
        self, files: TlsFiles, certificate: Certificate, clock: Clock, log: FilteringBoundLogger
    ) -> None:
        self._files = files
        self.certificate = certificate
        """The one in use."""
        self._clock = clock
        self._log = log
        self._problem = ""
        self._problem_told = False
        self._dates_told = False
        # Filled by the loop, emptied by threads of gRPC: in one step each.
        self._changed: deque[grpc.ServerCertificateConfiguration] = deque(maxlen=1)
        self._tell_dates()

    @classmethod
    async def load(cls, files: TlsFiles, clock: Clock, log: FilteringBoundLogger) -> Self:
        """Read the files for the first time.

        Raises:
            TlsFileInvalid: a file cannot be read or used.
        """
        return cls(files, await asyncio.to_thread(Certificate.read, files), clock, log)

    def credentials(self) -> grpc.ServerCredentials:
        """Return the credentials of one port; they follow the files while `watch` runs."""
        return grpc.dynamic_ssl_server_credentials(
            self.certificate.configuration(),
            self._fetch,  # type: ignore[arg-type]  # None means unchanged; the stubs lack it
            require_client_authentication=self._files.client_ca is not None,
        )

    async def watch(self) -> None:
        """Read the files again and again; runs until cancelled."""
        while True:
            await asyncio.sleep(RELOAD_INTERVAL.total_seconds())
            await self.reload()

    async def reload(self) -> None:
        """Take what the files hold now; where it cannot be used, keep what there is."""
        try:
            found = await asyncio.to_thread(Certificate.read, self._files)
        except TlsFileInvalid as error:
            self._tell_problem(str(error))
        else:
            self._problem = ""
            if found != self.certificate:
                self._take(found)
        self._tell_dates()

    def _take(self, found: Certificate) -> None:
        self.certificate = found
        self._changed.append(found.configuration())
        self._dates_told = False
        self._log.info("TLS files changed: new connections get what they hold", **found.facts())

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        try:
            return self._changed.popleft()
        except IndexError:
            return None

    def _tell_problem(self, problem: str) -> None:
        """Say it once, when it is found for the second time: files are written one by one."""
        if problem != self._problem:
            self._problem, self._problem_told = problem, False
        elif not self._problem_told:
            self._problem_told = True
            self._log.error(
                "TLS files cannot be used: connections go on with what they held before",
                problem=problem,
                **self.certificate.facts(),
            )

    def _tell_dates(self) -> None:
        """Say it once when clients must refuse the certificate for its dates."""
        now = self._clock()
        early, late = now < self.certificate.begins, now > self.certificate.expires
        if (early or late) and not self._dates_told:
            state = "is not valid yet" if early else "has expired"
            self._log.warning(f"the TLS certificate {state}", **self.certificate.facts())
        self._dates_told = early or late


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsFileInvalid(f"{setting}: cannot be read: {error.strerror}") from None


def _first(setting: str, pem: bytes) -> tuple[PublicKeyTypes, str, datetime, datetime]:
    """Return the first certificate's public key, serial number, begin and end."""
    try:
        first, *_ = x509.load_pem_x509_certificates(pem)
        # The parser takes no notice of a last one that is cut off.
        if pem.count(b"-----BEGIN ") != pem.count(b"-----END "):
            raise ValueError
        dates = first.not_valid_before_utc, first.not_valid_after_utc
        return first.public_key(), f"{first.serial_number:x}", *dates
    except _MALFORMED:
        raise TlsFileInvalid(f"{setting}: must hold certificates in PEM") from None


def _public_half(private_key: bytes) -> PublicKeyTypes:
    try:
        key = load_pem_private_key(private_key, None).public_key()
    except TypeError:
        raise TlsFileInvalid(f"{PRIVATE_KEY}: must not be encrypted") from None
    except _MALFORMED:
        raise TlsFileInvalid(f"{PRIVATE_KEY}: must hold a private key in PEM") from None
    if isinstance(key, rsa.RSAPublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in {"secp256r1", "secp384r1"}:
        return key
    # What else there is, clients on the C core do not accept.
    raise TlsFileInvalid(f"{PRIVATE_KEY}: must be RSA, or ECDSA on P-256 or P-384")
