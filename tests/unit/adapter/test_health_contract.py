from typing import Any

import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2

from gateway.adapter.health_contract import health_contract, with_list
from gateway.adapter.health_services import encode_services


def file_of_older_package() -> FileDescriptorProto:
    file = FileDescriptorProto()
    health_pb2.DESCRIPTOR.CopyToProto(file)
    parts: list[Any] = [file.message_type, file.service[0].method]
    for part in parts:
        kept = [each for each in part if "List" not in each.name]
        del part[:]
        part.extend(kept)
    return file


def test_the_contract_has_the_three_methods_with_any_package() -> None:
    assert {*health_contract().methods_by_name} == {"Check", "List", "Watch"}


def test_what_is_added_for_older_packages_reads_the_answer() -> None:
    described = with_list(file_of_older_package()).methods_by_name["List"]
    answer = message_factory.GetMessageClass(described.output_type).FromString(encode_services({"": 1, "runs": 2}))
    told = json_format.MessageToDict(answer)
    assert told == {"statuses": {"": {"status": "SERVING"}, "runs": {"status": "NOT_SERVING"}}}
    assert not message_factory.GetMessageClass(described.input_type).DESCRIPTOR.fields


@pytest.mark.skipif(not hasattr(health_pb2, "HealthListResponse"), reason="the package has none to compare with")
def test_what_is_added_is_what_newer_packages_have() -> None:
    added, known = with_list(file_of_older_package()), health_pb2.DESCRIPTOR.services_by_name["Health"]
    for kind in ("input_type", "output_type"):
        ours, theirs = (getattr(service.methods_by_name["List"], kind) for service in (added, known))
        assert [(field.name, field.number, field.type) for field in ours.fields] == [
            (field.name, field.number, field.type) for field in theirs.fields
        ]
