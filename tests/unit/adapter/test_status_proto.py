from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.adapter import status_proto
from gateway.core.errors import InvalidParams
from runs.v1 import runs_pb2


def status(**fields: Any) -> runs_pb2.RunStatus:
    return runs_pb2.RunStatus(**({"status": runs_pb2.RUN_STATE_RUNNING} | fields))


def test_no_results_are_not_results_not_asked_for() -> None:
    assert status_proto.run_status_from_proto(status(), with_results=True).results == []
    assert status_proto.run_status_from_proto(status(), with_results=False).results is None


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (status(status=0), "status"),
        (status(status=9), "status"),
        (status(created_at=Timestamp(seconds=10**15)), "created_at"),
        (status(completed_at=Timestamp(nanos=-1)), "completed_at"),
        (status(results=[runs_pb2.ItemResult()]), "results[0].status"),
        (
            status(results=[runs_pb2.ItemResult(status=runs_pb2.RUN_STATE_SUCCESS, value=runs_pb2.JsonValue())]),
            "results[0].value",
        ),
        (
            status(
                results=[
                    runs_pb2.ItemResult(
                        status=runs_pb2.RUN_STATE_FAILED, error=runs_pb2.ItemError(data=runs_pb2.JsonValue())
                    )
                ]
            ),
            "results[0].error.data",
        ),
    ],
)
def test_refuses_and_names_the_field(message: Any, path: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        status_proto.run_status_from_proto(message, with_results=True)
    assert [str(violation).split(":")[0] for violation in caught.value.violations] == [path]
