"""Which method of which servicer answers which RPC, joined by the descriptors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, get_args, get_type_hints

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from server.rpc.policy import MethodPolicy, PolicyError, policy_of


class Shape(Enum):
    """Who streams."""

    UNARY = auto()
    SERVER_STREAM = auto()
    CLIENT_STREAM = auto()
    BIDI = auto()


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC: `function(request, call)`, or `function(requests, call)` where the client streams.

    It returns the answer's message, or an async iterator of messages where the server streams.
    """

    path: str
    shape: Shape
    request: type[Message]
    function: Callable[[Any, Any], Any]
    policy: MethodPolicy


def methods_of(
    service: ServiceDescriptor,
    *servicers: object,
    policy: Callable[[MethodDescriptor], MethodPolicy] = policy_of,
) -> Sequence[Method]:
    """Join a service's RPCs with the methods of the same names that one of its servicers has.

    Raises:
        PolicyError: a method or its rule is missing, or its annotations name other messages
            than the contract; the server must not start.
    """
    methods = []
    for rpc in service.methods:
        answering = [servicer for servicer in servicers if hasattr(servicer, rpc.name)]
        if len(answering) != 1:
            names = ", ".join(type(servicer).__name__ for servicer in servicers)
            raise PolicyError(f"{len(answering)} of {names} answer {rpc.full_name}, not one")
        function = getattr(answering[0], rpc.name)
        _check_annotations(rpc, function)
        methods.append(
            Method(
                f"/{service.full_name}/{rpc.name}",
                _shape(rpc),
                GetMessageClass(rpc.input_type),
                function,
                policy(rpc),
            )
        )
    return methods


def _shape(rpc: MethodDescriptor) -> Shape:
    if rpc.client_streaming:
        return Shape.BIDI if rpc.server_streaming else Shape.CLIENT_STREAM
    return Shape.SERVER_STREAM if rpc.server_streaming else Shape.UNARY


def _check_annotations(rpc: MethodDescriptor, function: Callable[..., Any]) -> None:
    """The contract's types, which a hand-written servicer could silently leave."""
    hints = get_type_hints(function)
    argument = next(iter(hints.values()))
    expected = (
        (argument, rpc.client_streaming, rpc.input_type),
        (hints["return"], rpc.server_streaming, rpc.output_type),
    )
    for hint, streams, message in expected:
        found = get_args(hint)[0] if streams else hint
        if found is not GetMessageClass(message):
            raise PolicyError(f"{rpc.full_name}: {found} stands where {message.full_name} should")
