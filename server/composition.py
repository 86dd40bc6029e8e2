"""What the settings become: options, times and the model, as the parts take them."""

from collections.abc import Mapping
from datetime import timedelta
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from server.agent.model_watch import ModelWatch
from server.agent.offline import OfflineModel
from server.catalogue.domain import Catalogue
from server.database.engine import DatabaseOptions
from server.rpc.admission import Places
from server.rpc.lifecycle import DrainTimes
from server.rpc.options import ServerOptions
from server.rpc.policy import CallClass
from server.rpc.rate import Rate
from server.rpc.tls import TlsFiles
from server.settings import Settings, SettingsError
from server.telemetry.observation import TelemetryOptions

MAX_WAITING = 1000
"""Calls of a class that wait for a place; their patience is over long before."""


def database_options(settings: Settings) -> DatabaseOptions:
    """Return the sizes of the pools."""
    return DatabaseOptions(
        read_connections=settings.database_read_connections,
        write_connections=settings.database_write_connections,
    )


def places(settings: Settings, read_connections: int) -> Mapping[CallClass, Places]:
    """Return how many calls of each class run and wait at a time."""
    # A read more than there are connections would only wait for one, where nobody counts it.
    reads = settings.max_running_reads or read_connections
    patience = settings.queue_percent / 100
    return {
        CallClass.READ: Places(reads, MAX_WAITING, patience),
        CallClass.WRITE: Places(settings.max_running_writes, MAX_WAITING, patience),
        # Bounded by their number; half of the time is left for the hash itself.
        CallClass.LOGIN: Places(settings.max_running_logins, settings.max_waiting_logins, 0.5),
        # A chat ends when somebody has said enough: nobody can wait for that.
        CallClass.CHAT: Places(settings.max_chats, 0, 0.0),
        # Nor for the end of a watch, or of a catalogue that is on its way in or out.
        CallClass.WATCH: Places(settings.max_watches, 0, 0.0),
        CallClass.BULK: Places(settings.max_bulk_streams, 0, 0.0),
    }


def rates(settings: Settings) -> Mapping[str, Rate]:
    """Return the rates of the buckets that are limited."""
    chosen = {
        "read": Rate(settings.read_rate, settings.read_burst),
        "write": Rate(settings.write_rate, settings.write_burst),
        "login": Rate(settings.login_rate, settings.login_burst),
        "agent": Rate(settings.agent_rate, settings.agent_burst),
        "watch": Rate(settings.watch_rate, settings.watch_burst),
        "bulk": Rate(settings.bulk_rate, settings.bulk_burst),
    }
    return {name: rate for name, rate in chosen.items() if rate.per_second}


def drain_times(settings: Settings) -> DrainTimes:
    """Return how long an orderly end may take."""
    return DrainTimes(
        timedelta(seconds=settings.drain_delay_seconds),
        timedelta(seconds=settings.grace_seconds),
    )


def server_options(settings: Settings, *, share_port: bool) -> ServerOptions:
    """Return the options of the gRPC server."""
    return ServerOptions(
        max_receive_message_bytes=settings.max_receive_message_bytes,
        max_send_message_bytes=settings.max_send_message_bytes,
        max_metadata_bytes=settings.max_metadata_bytes,
        max_concurrent_streams=settings.max_concurrent_streams,
        keepalive=timedelta(seconds=settings.keepalive_seconds),
        keepalive_timeout=timedelta(seconds=settings.keepalive_timeout_seconds),
        min_ping_interval=timedelta(seconds=settings.min_ping_interval_seconds),
        max_connection_idle=timedelta(seconds=settings.max_connection_idle_seconds),
        max_connection_age=timedelta(seconds=settings.max_connection_age_seconds),
        max_connection_age_grace=timedelta(seconds=settings.max_connection_age_grace_seconds),
        handshake_timeout=timedelta(seconds=settings.handshake_timeout_seconds),
        share_port=share_port,
    )


def tls_files(settings: Settings) -> TlsFiles | None:
    """Return where the port's certificate is, None where there is none."""
    certificate, key = settings.tls_certificate_file, settings.tls_private_key_file
    if certificate is None or key is None:
        return None
    return TlsFiles(certificate, key, settings.tls_client_ca_file)


def telemetry_options(settings: Settings) -> TelemetryOptions:
    """Return what is to be observed.

    Raises:
        SettingsError: traces are wanted and the extra for them is not installed.
    """
    endpoint = settings.otel_exporter_otlp_endpoint
    if endpoint and not _installed("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.grpc"):
        raise SettingsError(
            "OTEL_EXPORTER_OTLP_ENDPOINT: OpenTelemetry is not installed; install the extra"
            " `tracing`"
        )
    return TelemetryOptions(
        metrics=settings.metrics_address,
        one_of_several=settings.workers > 1,
        otlp_endpoint=endpoint,
        sample_ratio=settings.trace_sample_ratio,
        database="postgresql" if settings.database_url.startswith("postgresql") else "sqlite",
        model_provider="openai" if settings.model_configured else "offline",
    )


def _installed(*modules: str) -> bool:
    try:
        return all(find_spec(module) is not None for module in modules)
    except ModuleNotFoundError:  # the package above it is not there either
        return False


def language_model(
    kernel: ModuleType, settings: Settings, catalogue: Catalogue, watch: ModelWatch
) -> Any:
    """Return the model that the agents speak with: the configured one, else offline rules."""
    if not settings.model_configured:
        return OfflineModel(catalogue.names)
    base_url = {"base_url": settings.openai_base_url} if settings.openai_base_url else {}
    return kernel.OpenAIModel(
        model=settings.openai_model,
        api_key=settings.openai_api_key.get_secret_value() or "none",
        organization=settings.openai_org_id or None,
        watch=watch,
        **base_url,
    )
