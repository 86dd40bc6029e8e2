"""The gate that closes when the server is asked to stop."""

import asyncio
from datetime import timedelta

from server.core.errors import DomainError
from server.rpc.call import Call
from server.rpc.methods import Method

_ALWAYS_ANSWERED = "/grpc.health.v1."


def server_draining() -> DomainError:
    """Return the error of a call that came, or had to end, while the server stops."""
    return DomainError(
        "this server is stopping; repeat the call, another one will answer",
        reason="SERVER_DRAINING",
        retry_delay=timedelta(milliseconds=200),
    )


class DrainGate:
    """Refuses new calls once `closed` is set; health checks always pass.

    `draining` is set first, so that open chats can finish their turn before the gate closes.
    """

    def __init__(self) -> None:
        self.draining = asyncio.Event()
        self.closed = asyncio.Event()

    def enter(self, call: Call, method: Method) -> None:
        """Let the call pass while the gate is open."""
        if self.closed.is_set() and not call.method.startswith(_ALWAYS_ANSWERED):
            raise server_draining()

    def leave(self, call: Call, method: Method) -> None:
        """Nothing to undo."""
