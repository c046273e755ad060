"""Server reflection: `grpc.reflection.v1`, and `v1alpha`, which older tools ask for.

The package of grpcio has `v1alpha` only. The two differ in their names alone: their messages are encoded alike.
"""

from collections.abc import Sequence
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc import aio
from grpc_reflection.v1alpha import reflection, reflection_pb2

from gateway.fronts.grpc.server import add_methods

ALPHA: Final = "grpc.reflection.v1alpha"
V1: Final = "grpc.reflection.v1"
REFLECTION_SERVICES: Final = (f"{V1}.ServerReflection", f"{ALPHA}.ServerReflection")

_V1_FILE: Final = "grpc/reflection/v1/reflection.proto"


def add_reflection(server: aio.Server, services: Sequence[str]) -> None:
    """Let a server describe services, and reflection itself."""
    _describe_v1()
    servicer: Any = reflection.aio.ReflectionServicer((*services, *REFLECTION_SERVICES))
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(
            servicer.ServerReflectionInfo,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
    }
    for name in REFLECTION_SERVICES:
        add_methods(server, name, handlers)


def _describe_v1() -> None:
    """Make the descriptor of `v1` from that of `v1alpha`, unless there is one in this process."""
    pool = descriptor_pool.Default()
    try:
        pool.FindFileByName(_V1_FILE)
        return
    except KeyError:
        pass
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.name, file.package = _V1_FILE, V1
    for message in file.message_type:
        for field in (field for field in message.field if field.type_name):
            field.type_name = field.type_name.replace(ALPHA, V1)
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(ALPHA, V1)
        method.output_type = method.output_type.replace(ALPHA, V1)
    pool.AddSerializedFile(file.SerializeToString())
