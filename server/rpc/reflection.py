"""Server reflection v1 and v1alpha, custom options included.

The library ships v1alpha only. v1 has the same messages under another package name, so both
are answered by the library's servicer, and v1's descriptor is made from v1alpha's.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import aio

from server.rpc.methods import Method, Shape
from server.rpc.policy import infrastructure

V1ALPHA = "grpc.reflection.v1alpha.ServerReflection"
V1 = "grpc.reflection.v1.ServerReflection"


def reflection_methods(services: Iterable[str]) -> Sequence[Method]:
    """Return the RPCs that describe the named services, and themselves."""
    pool = descriptor_pool.Default()
    pool.Add(_v1_file())
    servicer = aio.ReflectionServicer(  # type: ignore[no-untyped-call]  # has no annotations
        [*services, V1, V1ALPHA], pool=_MethodsToo(pool)
    )
    paths = [f"/{service}/ServerReflectionInfo" for service in (V1, V1ALPHA)]
    return [
        Method(
            path,
            Shape.BIDI,
            reflection_pb2.ServerReflectionRequest,
            servicer.ServerReflectionInfo,
            infrastructure(path),
        )
        for path in paths
    ]


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
