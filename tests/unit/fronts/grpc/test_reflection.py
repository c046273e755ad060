"""Tools find all services by reflection, by its name of today and by the one that older tools use."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection_pb2

from gateway.fronts.grpc.front import SERVICES
from tests.support.grpc_calls import Client

HEALTH = "grpc.health.v1.Health"
NAMES = ["grpc.reflection.v1", "grpc.reflection.v1alpha"]


def message_of(package: str, name: str) -> Any:
    """The class of a message; those of v1 are made from its descriptor, as its own clients have them."""
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(f"{package}.{name}"))


async def answers(client: Client, package: str, **requests: str) -> list[Any]:
    async def sent() -> AsyncIterator[Any]:
        for field, value in requests.items():
            yield message_of(package, "ServerReflectionRequest")(**{field: value})

    method: Any = client.channel.stream_stream(
        f"/{package}.ServerReflection/ServerReflectionInfo",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=message_of(package, "ServerReflectionResponse").FromString,
    )
    return [response async for response in method(sent())]


@pytest.mark.parametrize("package", NAMES)
async def test_reflection_lists_the_services(client: Client, package: str) -> None:
    (listed,) = await answers(client, package, list_services="")
    names = {service.name for service in listed.list_services_response.service}
    assert names == {*SERVICES, HEALTH, *(f"{name}.ServerReflection" for name in NAMES)}


@pytest.mark.parametrize("package", NAMES)
@pytest.mark.parametrize("described_service", [*SERVICES, HEALTH, *(f"{name}.ServerReflection" for name in NAMES)])
async def test_reflection_describes_each_service(client: Client, package: str, described_service: str) -> None:
    (described,) = await answers(client, package, file_containing_symbol=described_service)
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(data)
        for data in described.file_descriptor_response.file_descriptor_proto
    ]
    assert described_service in {f"{file.package}.{found.name}" for file in files for found in file.service}


@pytest.mark.usefixtures("client")
def test_both_have_the_same_messages() -> None:
    alpha, file = descriptor_pb2.FileDescriptorProto(), descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
    descriptor_pool.Default().FindFileByName("grpc/reflection/v1/reflection.proto").CopyToProto(file)
    alpha.name = file.name
    for described in (alpha, file):
        described.ClearField("options")
    assert str(file) == str(alpha).replace("v1alpha", "v1")
