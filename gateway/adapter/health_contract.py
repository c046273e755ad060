"""The contract of the health service, with its method List: packages older than 1.85 have no descriptor of it."""

from functools import cache
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2

_SERVICE = "Health"
_PACKAGE = ".grpc.health.v1."
_MAP = "StatusesEntry"


@cache
def health_contract() -> ServiceDescriptor:
    """The descriptor of the service, whose messages are those of a pool of their own if the package lacks some."""
    known: ServiceDescriptor = _of_package()
    if "List" in known.methods_by_name:
        return known
    file = FileDescriptorProto()
    health_pb2.DESCRIPTOR.CopyToProto(file)
    return with_list(file)


def with_list(file: FileDescriptorProto) -> ServiceDescriptor:
    """Add the method and its messages to the file of a package that has none."""
    request, response = "HealthListRequest", "HealthListResponse"
    file.message_type.add(name=request)
    answer = file.message_type.add(name=response)
    entry = answer.nested_type.add(name=_MAP)
    entry.options.map_entry = True
    text, message = FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_MESSAGE
    _add_field(entry, name="key", number=1, type=text)
    _add_field(entry, name="value", number=2, type=message, type_name=f"{_PACKAGE}HealthCheckResponse")
    statuses = _add_field(answer, name="statuses", number=1, type=message, type_name=f"{_PACKAGE}{response}.{_MAP}")
    statuses.label = FieldDescriptorProto.LABEL_REPEATED
    (service,) = file.service
    service.method.add(name="List", input_type=_PACKAGE + request, output_type=_PACKAGE + response)
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName(f"{file.package}.{_SERVICE}")


def _of_package() -> Any:
    """Stubs say that it is of another class."""
    return health_pb2.DESCRIPTOR.services_by_name[_SERVICE]


def _add_field(to: Any, **field: Any) -> FieldDescriptorProto:
    added: FieldDescriptorProto = to.field.add(label=FieldDescriptorProto.LABEL_OPTIONAL, **field)
    return added
