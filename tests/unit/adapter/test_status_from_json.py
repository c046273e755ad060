import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from msgspec.structs import replace

from gateway.adapter.status_from_json import (
    item_result_from_json,
    run_status_and_entries_from_json,
    run_status_from_json,
)
from gateway.adapter.status_to_json import (
    run_status_to_canonical_json,
    run_status_to_json,
)
from gateway.core.errors import InvalidParams
from gateway.core.model import (
    ItemResult,
    ItemStatistics,
    RunState,
    RunStatus,
)
from tests.support import messages
from tests.support.document_status import DOCUMENT_STATUS, result_from, status_from


def test_the_documents_status() -> None:
    status = run_status_from_json(json.dumps(DOCUMENT_STATUS))
    assert status.results is not None
    assert status.results[1] == ItemResult(
        item_index=1, status=RunState.SUCCESS, value='{"analyzed": true}', completed_at=1_736_937_005 * 10**9
    )
    assert json.loads(run_status_to_canonical_json(status)) == DOCUMENT_STATUS


def test_statistics_of_older_dialects() -> None:
    items = status_from(items={"total": 5, "completed": 2, "running": 1, "failed": 1, "cancelled": 0}).items
    assert items == ItemStatistics(total=5, pending=1, running=1, success=2, failed=1)
    assert status_from(items={"total": 1, "completed": 9, "success": 1}).items == ItemStatistics(total=1, success=1)


@pytest.mark.parametrize(
    ("spelling", "state", "kept"),
    [
        ("completed", RunState.SUCCESS, False),
        ("success", RunState.SUCCESS, False),
        ("paused", RunState.RUNNING, True),
        ("recoveryFailed", RunState.FAILED, True),
        ("recoveryfailed", RunState.FAILED, True),
    ],
)
def test_states_of_other_dialects(spelling: str, state: RunState, kept: bool) -> None:
    status = status_from(status=spelling, results=[{"itemIndex": 0, "status": spelling}])
    assert status.results is not None
    for message in (status, status.results[0]):
        assert message.status is state
        assert message.extensions == ({"status": f'"{spelling}"'} if kept else {})
    written = json.loads(run_status_to_canonical_json(status))
    assert written["status"] == (spelling if kept else "success")
    for_components = json.loads(run_status_to_json(status))
    assert for_components["status"] == written["status"]
    assert for_components["results"][0]["status"] in ("completed", "paused", "failed")


@pytest.mark.parametrize(
    ("members", "status", "value"),
    [
        ({"result": {"outcome": "success", "value": {"a": 1}}}, RunState.SUCCESS, '{"a": 1}'),
        ({"status": "completed", "result": {"outcome": "success", "result": [1]}}, RunState.SUCCESS, "[1]"),
        ({"result": {"outcome": "success", "result": 1, "value": 1}}, RunState.SUCCESS, "1"),
        ({"result": {"outcome": "success", "value": None}}, RunState.SUCCESS, "null"),
        ({"result": {"outcome": "success"}}, RunState.SUCCESS, "null"),
        ({"status": "running"}, RunState.RUNNING, None),
        ({}, RunState.RUNNING, None),
        ({"completedAt": "2025-01-15T10:30:05Z"}, RunState.CANCELLED, None),
        ({"result": {"outcome": "failed", "error": {"code": -1, "message": "m"}}}, RunState.FAILED, None),
    ],
)
def test_entries_of_every_dialect(members: dict[str, Any], status: RunState, value: str | None) -> None:
    result = result_from(**members)
    assert (result.status, result.value) == (status, value)


@given(messages.run_statuses())
def test_results_can_be_read_one_by_one(status: RunStatus) -> None:
    unread, entries = run_status_and_entries_from_json(run_status_to_json(status))
    whole = run_status_from_json(run_status_to_json(status))
    assert unread == replace(whole, results=None)
    assert [item_result_from_json(entry, index) for index, entry in enumerate(entries)] == (whole.results or [])


def test_nulls_are_absent() -> None:
    assert status_from(flowName=None, completedAt=None, results=None).results is None
    assert result_from(status="running", result=None, completedAt=None).value is None


def test_unknown_members_are_kept() -> None:
    result = result_from(result={"outcome": "success", "value": 1, "cost": 2}, stepId="s")
    assert result.extensions == {"stepId": '"s"', "result": '{"cost":2}'}


@pytest.mark.parametrize(
    ("read", "text", "path"),
    [
        (run_status_from_json, "{}", "run_id, flow_id, status, items, created_at"),
        (run_status_from_json, json.dumps(DOCUMENT_STATUS | {"status": "odd"}), "status"),
        (run_status_from_json, json.dumps(DOCUMENT_STATUS | {"items": {"total": -1}}), "items.total"),
        (run_status_from_json, json.dumps(DOCUMENT_STATUS | {"createdAt": "now"}), "created_at"),
        (run_status_from_json, json.dumps(DOCUMENT_STATUS | {"results": [1]}), "results[0]"),
        (
            run_status_from_json,
            json.dumps(DOCUMENT_STATUS | {"results": [{"itemIndex": 0, "result": {"outcome": "odd"}}]}),
            "results[0].result.outcome",
        ),
        (
            run_status_from_json,
            json.dumps(DOCUMENT_STATUS | {"results": [{"itemIndex": 0, "result": {"outcome": "failed"}}]}),
            "results[0].result.error",
        ),
    ],
)
def test_refuses_and_names_the_field(read: Callable[[str], object], text: str, path: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        read(text)
    named = {str(violation).split(":")[0] if violation.path else "" for violation in caught.value.violations}
    assert named == set(path.split(", "))
