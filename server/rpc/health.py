"""grpc.health.v1 with Check, Watch and List: the orchestrator's view of this process.

Names: "" and `readiness` for the server as a whole, `liveness` for the process alone (it
never follows a database), and each service. Never behind sign-in or load limits.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeAlias

from grpc_health.v1.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)

from server.core.errors import ResourceNotFound
from server.rpc.call import Call

SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = HealthCheckResponse.SERVICE_UNKNOWN

State: TypeAlias = "HealthCheckResponse.ServingStatus"


class Health:
    """The state of each name, and the servicer that tells it."""

    def __init__(self, names: Iterable[str]) -> None:
        self._states: dict[str, State] = dict.fromkeys(("", "readiness", *names), NOT_SERVING)
        self._states["liveness"] = SERVING
        self._changed = asyncio.Event()
        self._draining = False
        self._ended = False

    @property
    def serving(self) -> dict[str, bool]:
        """Whether each name is SERVING now."""
        return {name: state == SERVING for name, state in self._states.items()}

    def set(self, name: str, *, serving: bool) -> None:
        """Set one name's state; without effect once the server drains."""
        if not self._draining:
            self._states[name] = SERVING if serving else NOT_SERVING
            self._wake()

    def drain(self) -> None:
        """Say NOT_SERVING for all but liveness, for good."""
        for name in self._states:
            if name != "liveness":
                self.set(name, serving=False)
        self._draining = True

    def end_watches(self) -> None:
        """End every Watch stream, so that the server can stop."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        # Each waiter holds the event it waits for; the next change gets a new one.
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(self, request: HealthCheckRequest, call: Call) -> HealthCheckResponse:
        """Answer one name's state.

        Raises:
            ResourceNotFound: no such name.
        """
        state = self._states.get(request.service)
        if state is None:
            raise ResourceNotFound("grpc.health.v1/Service", request.service)
        return HealthCheckResponse(status=state)

    async def List(self, request: HealthListRequest, call: Call) -> HealthListResponse:
        """Answer every name's state."""
        return HealthListResponse(
            statuses={
                name: HealthCheckResponse(status=state) for name, state in self._states.items()
            }
        )

    async def Watch(
        self, request: HealthCheckRequest, call: Call
    ) -> AsyncIterator[HealthCheckResponse]:
        """Send one name's state now and at each change; an unknown name is SERVICE_UNKNOWN."""
        sent: State | None = None
        while True:
            changed, ended = self._changed, self._ended
            state = self._states.get(request.service, SERVICE_UNKNOWN)
            if state != sent:
                yield HealthCheckResponse(status=state)
                sent = state
            if ended:  # and what was sent is the last state
                return
            await changed.wait()
