"""The connection: service config, keepalive and sizes."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files

import grpc
from grpc import aio

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""Longest answer taken; the server sends none that is longer."""

KEEPALIVE_MS = 30_000
"""Servers of this API count pings that come faster than every 20 s as misuse."""

PING_TIMEOUT_MS = 10_000

FIRST_RECONNECT_MS = 100
"""A process of a server that dies may take one connection more and drop it. The default pause
after that, 1 s, is longer than all repetitions of a call together."""

LONGEST_RECONNECT_MS = 10_000
"""So long after a server is back its last caller has noticed, not after the default 2 min."""


def service_config(health_service: str | None = None) -> str:
    """Return the service config as JSON: retries of calls that may be repeated, upper timeouts.

    With `health_service` the client watches the health of every address under that name and
    leaves out those that do not serve.
    """
    text = files("interview_client.generated").joinpath("grpc_service_config.json").read_text()
    if health_service is None:
        return text
    config = json.loads(text)
    config["healthCheckConfig"] = {"serviceName": health_service}
    return json.dumps(config)


def open_channel(
    target: str,
    *,
    credentials: grpc.ChannelCredentials | None = None,
    health_service: str | None = None,
    options: Mapping[str, str | int] | None = None,
) -> aio.Channel:
    """Return a channel to `target`; it connects with the first call.

    Without `credentials` the connection is in the clear. `options` are gRPC channel arguments
    and win over those set here.
    """
    arguments: dict[str, str | int] = {
        "grpc.service_config": service_config(health_service),
        "grpc.enable_retries": 1,
        "grpc.initial_reconnect_backoff_ms": FIRST_RECONNECT_MS,
        "grpc.max_reconnect_backoff_ms": LONGEST_RECONNECT_MS,
        "grpc.keepalive_time_ms": KEEPALIVE_MS,
        "grpc.keepalive_timeout_ms": PING_TIMEOUT_MS,
        # The keepalive timeout alone is not looked at by every version of the core.
        "grpc.http2.ping_timeout_ms": PING_TIMEOUT_MS,
        # A chat may be silent for long; pings go on although no data does.
        "grpc.http2.max_pings_without_data": 0,
        "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
        "grpc.primary_user_agent": f"interview-client/{version('interview-client')}",
        **(options or {}),
    }
    if credentials is None:
        return aio.insecure_channel(target, options=list(arguments.items()))
    return aio.secure_channel(target, credentials, options=list(arguments.items()))
