"""Calls of any method of the contract, whatever its shape, and what the rule of each one says."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from server.app import SERVICES
from server.generated.interview.options.v1 import options_pb2
from tests.support.caller import SECONDS, Metadata
from tests.support.statuses import Told, told_by

METHODS: Sequence[MethodDescriptor] = tuple(
    method for service in SERVICES for method in service.methods
)


def path_of(method: MethodDescriptor) -> str:
    """Return the path that calls of the method have."""
    return f"/{method.containing_service.full_name}/{method.name}"


def access_of(method: MethodDescriptor) -> options_pb2.AccessPolicy:
    """Return what the contract says about who may call the method."""
    return method.GetOptions().Extensions[options_pb2.access]


def limits_of(method: MethodDescriptor) -> options_pb2.CallLimits:
    """Return what the contract says about what a call of the method may cost."""
    return method.GetOptions().Extensions[options_pb2.limits]


def owner_request(method: MethodDescriptor, name: str) -> Message:
    """Return a request that asks for the resource with that name, and for nothing more."""
    request: Any = GetMessageClass(method.input_type)()
    *parents, field = access_of(method).owner_field.split(".")
    target = request
    for parent in parents:
        target = getattr(target, parent)
    setattr(target, field, name)
    return request  # type: ignore[no-any-return]  # a Message, with fields of its own


async def outcome(
    channel: grpc.aio.Channel,
    method: MethodDescriptor,
    metadata: Metadata,
    request: Message | None = None,
) -> Told | None:
    """Call with one message, empty unless it is given; return what is refused, None for OK."""

    async def messages() -> AsyncIterator[bytes]:
        yield b"" if request is None else request.SerializeToString()

    # On the wire every shape is a stream of messages each way.
    call: Any = channel.stream_stream(path_of(method))
    try:
        answers = call(messages(), metadata=tuple(metadata), timeout=SECONDS)
        async for _ in answers:
            if limits_of(method).bucket == "watch":  # it would go on until the deadline
                answers.cancel()
                return None
    except grpc.aio.AioRpcError as error:
        return told_by(error)
    return None
