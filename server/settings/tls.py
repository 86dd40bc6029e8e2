"""Encryption by files, and whether it can be done without."""

from ipaddress import ip_address
from pathlib import Path

from pydantic import model_validator
from pydantic_settings import BaseSettings


class TlsSettings(BaseSettings):
    """Files in PEM. With a client CA every client must show a certificate that it signed."""

    tls_certificate_file: Path | None = None
    tls_private_key_file: Path | None = None
    tls_client_ca_file: Path | None = None
    allow_plaintext: bool = False

    @model_validator(mode="after")
    def _together(self) -> "TlsSettings":
        if (self.tls_certificate_file is None) != (self.tls_private_key_file is None):
            raise ValueError("TLS_CERTIFICATE_FILE and TLS_PRIVATE_KEY_FILE go together")
        if self.tls_client_ca_file and not self.tls_certificate_file:
            raise ValueError("TLS_CLIENT_CA_FILE needs TLS_CERTIFICATE_FILE as well")
        return self

    @property
    def transport(self) -> str:
        """What the port speaks: plaintext, TLS, or mTLS, where clients show a certificate too."""
        if self.tls_certificate_file is None:
            return "plaintext"
        return "TLS" if self.tls_client_ca_file is None else "mTLS"


def is_loopback(host: str) -> bool:
    """Tell whether only programs of this machine reach such an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
