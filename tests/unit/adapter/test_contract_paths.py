"""Places in messages of JSON are told by the names of the contract."""

import pytest

from gateway.adapter.contract_paths import in_contract
from gateway.core.errors import InvalidParams, Path
from runs.v1 import runs_pb2

DESCRIPTOR = runs_pb2.SubmitRunRequest.DESCRIPTOR


@pytest.mark.parametrize(
    ("path", "spelled"),
    [
        ((), ()),
        (("flowId",), ("flow_id",)),
        (("flow_id",), ("flow_id",)),
        (("inputs", 3, "json"), ("inputs", 3, "json")),
        (("observability", "traceId"), ("observability", "trace_id")),
        (("variables", "flowId", "numberValue"), ("variables", "flowId", "numberValue")),
        (("inputs", 3, "value", "numberValue", "boolValue"), ("inputs", 3, "value", "numberValue", "boolValue")),
        (("flowid", "flowId"), ("flowid", "flowId")),
        (("flowId", "flowId"), ("flow_id", "flowId")),
        (("inputs",), ("inputs",)),
    ],
)
def test_fields_are_called_as_in_the_contract(path: Path, spelled: Path) -> None:
    found = in_contract(InvalidParams.field(*path, description="wrong"), DESCRIPTOR)
    assert [(each.path, each.description) for each in found.violations] == [(spelled, "wrong")]


def test_the_rest_of_an_error_stays() -> None:
    error = InvalidParams(InvalidParams.field("flowId", description="a").violations, data="1", rest="and 3 more")
    found = in_contract(error, DESCRIPTOR)
    assert (found.message, found.data) == ("flow_id: a; and 3 more", "1")
