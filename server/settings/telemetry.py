"""What the process tells about itself, and where."""

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

PRODUCTION_METRICS_PORT = 9464
"""The port that OpenTelemetry gives to what Prometheus fetches."""


class TelemetrySettings(BaseSettings):
    """Metrics for Prometheus on a port of their own; traces by OTLP where an endpoint is set."""

    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    metrics_host: str = ""
    otel_exporter_otlp_endpoint: str = ""
    trace_sample_ratio: Annotated[float, Field(ge=0, le=1)] = 0.1

    @field_validator("otel_exporter_otlp_endpoint")
    @classmethod
    def _url(cls, value: str) -> str:
        # Without a scheme the exporter would take the host's name for one, and speak TLS.
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value
