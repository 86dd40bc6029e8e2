"""Server reflection v1 and v1alpha, custom options included.

The library ships v1alpha only. v1 has the same messages under another package name, so both
are answered by the library's servicer, and v1's descriptor is made from v1alpha's.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import aio

from server.core.errors import DomainError, QuotaViolation
from server.rpc.call import Call
from server.rpc.methods import Method, Shape
from server.rpc.policy import MethodPolicy, infrastructure

V1ALPHA = "grpc.reflection.v1alpha.ServerReflection"
V1 = "grpc.reflection.v1.ServerReflection"


_LIFETIME = timedelta(seconds=60)
"""Tools ask and leave; a stream that is held for nothing ends by itself."""
_MAX_REQUEST_BYTES = 4096
_MAX_STREAMS = 32
"""At a time, of all callers together."""
_MAX_MESSAGES = 1000
"""Of one stream: far more than a tool needs to learn everything."""


def reflection_methods(services: Iterable[str]) -> Sequence[Method]:
    """Return the RPCs that describe the named services, and themselves."""
    pool = descriptor_pool.Default()
    pool.Add(_v1_file())
    reflection = _Reflection(
        aio.ReflectionServicer(  # type: ignore[no-untyped-call]  # has no annotations
            [*services, V1, V1ALPHA], pool=_MethodsToo(pool)
        )
    )
    return [
        Method(
            f"/{service}/ServerReflectionInfo",
            Shape.BIDI,
            reflection_pb2.ServerReflectionRequest,
            reflection.answers,
            _policy(f"/{service}/ServerReflectionInfo"),
        )
        for service in (V1, V1ALPHA)
    ]


def _policy(path: str) -> MethodPolicy:
    return replace(
        infrastructure(path),
        default_deadline=_LIFETIME,
        max_deadline=_LIFETIME,
        max_request_bytes=_MAX_REQUEST_BYTES,
    )


class _Reflection:
    """The library's servicer, with an end to how much is asked of it."""

    def __init__(self, servicer: aio.ReflectionServicer) -> None:
        self._servicer = servicer
        self._streams = 0

    async def answers(
        self, requests: AsyncIterator[reflection_pb2.ServerReflectionRequest], _call: Call
    ) -> AsyncGenerator[Message, None]:
        """Answer each request; what is not there is told in the answer.

        Raises:
            DomainError: TOO_MANY_STREAMS, or RATE_LIMITED behind the last message of a stream.
        """
        if self._streams >= _MAX_STREAMS:
            raise _too_many_streams()
        self._streams += 1
        try:
            told: Any = self._servicer.ServerReflectionInfo(requests, None)
            async with aclosing(told) as answers:
                number = 0
                async for answer in answers:
                    yield answer
                    number += 1
                    if number >= _MAX_MESSAGES:
                        raise _too_many_messages()
        finally:
            self._streams -= 1


def _too_many_streams() -> DomainError:
    return DomainError(
        "too many callers ask for the contracts at once; try again shortly",
        reason="TOO_MANY_STREAMS",
        metadata={"limit": str(_MAX_STREAMS)},
        quota=QuotaViolation("server", f"{_MAX_STREAMS} streams of reflection at a time"),
        retry_delay=timedelta(seconds=1),
    )


def _too_many_messages() -> DomainError:
    return DomainError(
        "this stream has asked for enough; open a new one",
        reason="RATE_LIMITED",
        metadata={"bucket": "reflection", "limit": str(_MAX_MESSAGES)},
        quota=QuotaViolation("stream", f"{_MAX_MESSAGES} messages of one stream"),
        retry_delay=timedelta(seconds=1),
    )


class _MethodsToo:
    """A descriptor pool that also finds the file of a method, which the pool itself does not."""

    def __init__(self, pool: DescriptorPool) -> None:
        self._pool = pool

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:
        """Return the file of a symbol, or of the service or message that it is a part of."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            owner, _, name = symbol.rpartition(".")
            found = self._pool.FindFileContainingSymbol(owner)
            if not _has_part(found, owner, name):
                raise
            return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)


def _has_part(file: FileDescriptor, owner: str, name: str) -> bool:
    own_name = owner.removeprefix(f"{file.package}.")
    service = file.services_by_name.get(own_name)
    if service is not None:
        return name in service.methods_by_name
    message = file.message_types_by_name.get(own_name)
    return message is not None and name in message.fields_by_name


def _v1_file() -> FileDescriptorProto:
    file = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    old = f".{file.package}."
    file.name = "grpc/reflection/v1/reflection.proto"
    file.package = "grpc.reflection.v1"
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(old, f".{file.package}.")
    for service in file.service:
        for method in service.method:
            method.input_type = method.input_type.replace(old, f".{file.package}.")
            method.output_type = method.output_type.replace(old, f".{file.package}.")
    return file
