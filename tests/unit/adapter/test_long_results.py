"""A message that is written in steps is the one that protobuf writes."""

from typing import Any

import pytest
from msgspec.structs import replace

from gateway.adapter import status_proto
from gateway.adapter.long_results import with_long_result
from gateway.adapter.proto_fields import JSON
from gateway.core import long_strings
from gateway.core.json_layout import at_once
from gateway.core.model import ItemResult, ItemStatistics, RunState, RunStatus
from runs.v1 import runs_pb2


@pytest.mark.parametrize("value", ['"é😀"', "[1, 2]", '"' + "x" * 20_000 + '"'])
@pytest.mark.parametrize("fields", [{}, {"restarted": True, "revision": 300, "resume_token": b"t", "result_count": 1}])
def test_a_long_result_is_at_its_place(value: str, fields: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_strings, "PART", 3)
    extensions = {"more": "1"}
    result = ItemResult(item_index=7, status=RunState.SUCCESS, value=value, completed_at=5, extensions=extensions)
    status = RunStatus(
        run_id="r", flow_id="f", status=RunState.RUNNING, items=ItemStatistics(total=9, success=1), created_at=1
    )
    expected, empty = (runs_pb2.GetRunResponse(**fields) for _ in range(2))
    status_proto.set_run_status(empty.run, status, JSON)
    status_proto.set_run_status(expected.run, replace(status, results=[result]), JSON)
    written = at_once(with_long_result(empty, result, expected.ByteSize()))
    assert written is not None
    assert len(written) == expected.ByteSize()
    assert runs_pb2.GetRunResponse.FromString(written) == expected
    assert at_once(with_long_result(empty, result, expected.ByteSize() - 1)) is None
