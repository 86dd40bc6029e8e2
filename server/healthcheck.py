"""Ask a server for its health, as a container's HEALTHCHECK does."""

import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server.settings import Settings, SettingsError, load_settings

TIMEOUT_SECONDS = 3.0

_Credentials = tuple[grpc.ChannelCredentials, Sequence[tuple[str, str]]]
"""Credentials, and the channel arguments that they need."""


@dataclass(frozen=True, slots=True)
class Question:
    """Whose health is asked for. Without an address the settings say where, and whether by TLS.

    `ca` holds who signed the server's certificate, `certificate` and `key` what to show it; all
    three are files in PEM, and each means TLS.
    """

    service: str
    address: str | None = None
    tls: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


def healthcheck(question: Question) -> int:
    """Return 0 if the service's name is SERVING, 1 otherwise; say on stderr why not."""
    try:
        target, credentials = _connection(question)
    except (SettingsError, OSError) as error:
        return _fail(f"error: {error}")
    request = health_pb2.HealthCheckRequest(service=question.service)
    with _channel(target, credentials) as channel:
        stub = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]  # no annotations
        try:
            answer = stub.Check(request, timeout=TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            return _fail(f"{target}: {error.code().name}: {error.details()}")
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return 0
    state = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return _fail(f"{target}: {state}")


def _fail(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return 1


def _channel(target: str, credentials: _Credentials | None) -> grpc.Channel:
    if credentials is None:
        return grpc.insecure_channel(target)
    return grpc.secure_channel(target, credentials[0], options=credentials[1])


def _connection(question: Question) -> tuple[str, _Credentials | None]:
    """Return where to ask and how; raises SettingsError, OSError."""
    if question.address is None:
        settings = load_settings()
        encrypted = settings.transport != "plaintext"
        return settings.local_address, _to_ourselves(question, settings) if encrypted else None
    given = (question.ca, question.certificate, question.key)
    if not question.tls and given == (None, None, None):
        return question.address, None
    ca, certificate, key = (None if path is None else path.read_bytes() for path in given)
    return question.address, (grpc.ssl_channel_credentials(ca, key, certificate), ())


def _to_ourselves(question: Question, settings: Settings) -> _Credentials:
    """Return credentials that trust whatever certificate is shown at our own address.

    Nothing secret is sent there, and the question is whether the server serves, not who it is.
    Its files are no measure: while they hold something broken it goes on with what they held
    before, and must not be restarted for that. What it shows may bear any name.

    Where every client needs a certificate, ours is the server's own, unless one is given.
    """
    host, _, port = settings.local_address.rpartition(":")
    shown = ssl.get_server_certificate((host.strip("[]"), int(port)), timeout=TIMEOUT_SECONDS)
    certificate = question.certificate or settings.tls_certificate_file
    key = question.key or settings.tls_private_key_file
    if settings.tls_client_ca_file and certificate and key:
        own = (key.read_bytes(), certificate.read_bytes())
        credentials = grpc.ssl_channel_credentials(shown.encode(), *own)
    else:
        credentials = grpc.ssl_channel_credentials(shown.encode())
    return credentials, [("grpc.ssl_target_name_override", _name_in(shown))]


def _name_in(pem: str) -> str:
    """Return a name that the certificate is for."""
    # Only here, for it takes as long as all the rest.
    from cryptography import x509  # noqa: PLC0415

    certificate = x509.load_pem_x509_certificate(pem.encode())
    subject = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    names = [str(name.value) for name in subject]
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            names = extension.value.get_values_for_type(x509.DNSName)
            names += map(str, extension.value.get_values_for_type(x509.IPAddress))
    return next(iter(names), "localhost").replace("*", "any")
