"""Certificate authorities that exist for one test, and folders as Kubernetes mounts them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NAMES = ("localhost", "127.0.0.1")
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, in PEM."""

    certificate: bytes
    key: bytes = field(repr=False)
    serial: str

    @property
    def secret(self) -> dict[str, bytes]:
        """The content of a Kubernetes Secret of the kind `kubernetes.io/tls`."""
        return {"tls.crt": self.certificate, "tls.key": self.key}

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write both into the folder; return where the certificate and the key are."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
        certificate.write_bytes(self.certificate)
        key.write_bytes(self.key)
        return certificate, key


class Authority:
    """Signs certificates."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._signed(self._key, self._name, (), DAY, is_authority=True)
        self.pem = self._certificate.public_bytes(Encoding.PEM)

    def issue(
        self,
        names: Sequence[str] = NAMES,
        *,
        lifetime: timedelta = DAY,
        key: CertificateIssuerPrivateKeyTypes | None = None,
    ) -> Pair:
        """Return a certificate for these names that ends after `lifetime`, also a past one."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        common = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        certificate = self._signed(key, common, names, lifetime, is_authority=False)
        return Pair(
            certificate.public_bytes(Encoding.PEM),
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            f"{certificate.serial_number:x}",
        )

    def _signed(
        self,
        key: CertificateIssuerPrivateKeyTypes,
        subject: x509.Name,
        names: Sequence[str],
        lifetime: timedelta,
        *,
        is_authority: bool,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * DAY)
            .not_valid_after(now + lifetime)
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general(name) for name in names]), critical=False
            )
        return builder.sign(self._key, hashes.SHA256())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Mount:
    """A folder as Kubernetes mounts a Secret: what is in it changes by the swap of one link."""

    def __init__(self, folder: Path, files: Mapping[str, bytes]) -> None:
        folder.mkdir()
        self._folder = folder
        self.swap(files)
        for name in files:
            self.path(name).symlink_to(Path("..data") / name)

    def path(self, name: str) -> Path:
        """Return where the file of this name is, whatever it holds."""
        return self._folder / name

    def swap(self, files: Mapping[str, bytes]) -> None:
        """Put other content in the place of all that is there."""
        version = self._folder / f"..{uuid4().hex}"
        version.mkdir()
        for name, content in files.items():
            (version / name).write_bytes(content)
        link = self._folder / "..data_tmp"
        link.symlink_to(version.name)
        link.replace(self._folder / "..data")
