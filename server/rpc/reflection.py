"""Server reflection v1 and v1alpha, custom options included.

The library ships v1alpha only. v1 has the same messages under another package name, so both
are answered by the library's servicer, and v1's descriptor is made from v1alpha's.
"""

from collections.abc import Iterable, Sequence

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
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
        [*services, V1, V1ALPHA], pool=pool
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
