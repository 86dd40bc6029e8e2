"""The yardstick: a grpc.aio server that does nothing but look the answer up.

It gives, for the very same request bytes, the very bytes that the measured server gave.
"""

import json
import sys
from typing import Any

import grpc
import uvloop

STORE = "/benchmarks.Echo/Store"
"""Remembers an answer: the request's length as 4 bytes, the request, the answer."""

ANSWER = "/benchmarks.Echo/Answer"


class Echo(grpc.GenericRpcHandler):
    """Answers from a dictionary."""

    def __init__(self) -> None:
        self._answers: dict[bytes, bytes] = {}
        self._methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            STORE: grpc.unary_unary_rpc_method_handler(self._store),
            ANSWER: grpc.unary_unary_rpc_method_handler(self._answer),
        }

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Route a call."""
        return self._methods.get(handler_call_details.method)

    async def _store(self, raw: bytes, _context: object) -> bytes:
        end = 4 + int.from_bytes(raw[:4], "big")
        self._answers[raw[4:end]] = raw[end:]
        return b""

    async def _answer(self, raw: bytes, _context: object) -> bytes:
        return self._answers[raw]


async def serve() -> None:
    """Serve until the process is ended; the port is the one line on stdout."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(json.dumps({"port": port}) + "\n")
    sys.stdout.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve())
