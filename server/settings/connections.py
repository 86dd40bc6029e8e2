"""How connections are taken, kept and ended, and by how many processes."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings

Seconds = Annotated[float, Field(ge=0.1, le=86_400)]


class ConnectionSettings(BaseSettings):
    """The options of the gRPC server; each is explained in `.env.example`."""

    workers: Annotated[int, Field(ge=1, le=64)] = 1
    max_receive_message_bytes: Annotated[int, Field(ge=65_536, le=67_108_864)] = 1_048_576
    max_send_message_bytes: Annotated[int, Field(ge=65_536, le=67_108_864)] = 4_194_304
    max_metadata_bytes: Annotated[int, Field(ge=1024, le=65_536)] = 8192
    max_concurrent_streams: Annotated[int, Field(ge=1, le=10_000)] = 100
    keepalive_seconds: Seconds = 30
    keepalive_timeout_seconds: Seconds = 10
    min_ping_interval_seconds: Seconds = 20
    max_connection_idle_seconds: Seconds = 900
    max_connection_age_seconds: Seconds = 1800
    # Longer than any turn, so that age never cuts an answer.
    max_connection_age_grace_seconds: Seconds = 310
    handshake_timeout_seconds: Seconds = 10
