"""Somebody who calls any method of a server that runs in the test's own loop."""

from collections.abc import Sequence
from typing import Any

from server.generated.interview.agent.v1 import agent_service_pb2_grpc
from server.generated.interview.auth.v1 import auth_service_pb2_grpc, user_service_pb2_grpc
from server.generated.interview.catalogue.v1 import catalogue_service_pb2_grpc
from tests.support.running import VIEWER, Running

Metadata = Sequence[tuple[str, str | bytes]]

SECONDS = 20.0
"""After which a test gives up: longer than any method takes."""


class Caller:
    """Calls with some metadata; nobody without any."""

    def __init__(self, running: Running, metadata: Metadata = ()) -> None:
        self.running = running
        self.metadata = tuple(metadata)
        self._stubs = (
            auth_service_pb2_grpc.AuthServiceStub(running.channel),
            user_service_pb2_grpc.UserServiceStub(running.channel),
            catalogue_service_pb2_grpc.CatalogueServiceStub(running.channel),
            agent_service_pb2_grpc.AgentServiceStub(running.channel),
        )

    @classmethod
    async def signed_in(cls, running: Running, email: str = VIEWER) -> "Caller":
        """Return a caller who is known."""
        return cls(running, await running.sign_in(email))

    def __getattr__(self, method: str) -> Any:
        """Return how to call a method: with its request, with a deadline that no method reaches."""
        for stub in self._stubs:
            if hasattr(stub, method):
                call = getattr(stub, method)
                return lambda request: call(request, metadata=self.metadata, timeout=SECONDS)
        raise AttributeError(method)

    def raw(self, path: str, message: bytes) -> Any:
        """Call a path with bytes as they are."""
        call: Any = self.running.channel.unary_unary(path)
        return call(message, metadata=self.metadata, timeout=SECONDS)
