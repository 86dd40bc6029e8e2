"""Ask a server for its health, as a container's HEALTHCHECK does."""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server.settings import SettingsError, load_settings

TIMEOUT_SECONDS = 3.0


def healthcheck(address: str | None, service: str) -> int:
    """Return 0 if the service's name is SERVING, 1 otherwise; say on stderr why not."""
    try:
        target = address or _own_address()
    except SettingsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    with grpc.insecure_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]  # no annotations
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            answer = stub.Check(request, timeout=TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            sys.stderr.write(f"{target}: {error.code().name}\n")
            return 1
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return 0
    state = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    sys.stderr.write(f"{target}: {state}\n")
    return 1


def _own_address() -> str:
    return load_settings().local_address
