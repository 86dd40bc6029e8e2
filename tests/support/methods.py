"""Methods that a test needs of no servicer."""

from typing import Any

from google.protobuf.empty_pb2 import Empty

from server.rpc.methods import Method, Shape
from server.rpc.policy import CallClass, MethodPolicy


def method_of_class(call_class: CallClass, **policy: Any) -> Method:
    """Return a unary method of a class, with any other part of its policy that is given."""
    path = f"/test.Service/{call_class.title()}"
    chosen: dict[str, Any] = {
        "public": True,
        "permissions": frozenset(),
        "default_deadline": None,
        "max_deadline": None,
        "max_request_bytes": 0,
        **policy,
    }
    return Method(
        path, Shape.UNARY, Empty, _nothing, MethodPolicy(path, call_class=call_class, **chosen)
    )


async def _nothing(_request: Empty, _call: object) -> Empty:
    return Empty()
