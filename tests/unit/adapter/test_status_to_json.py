import json

import pytest
from hypothesis import given
from msgspec.structs import replace

from gateway.adapter.status_to_json import (
    around_results,
    result_slices,
    results_to_json,
    run_status_to_canonical_json,
    run_status_to_json,
)
from gateway.core.json_text import json_text
from gateway.core.model import (
    ItemError,
    ItemResult,
    ItemStatistics,
    RunState,
    RunStatus,
)
from tests.support import messages
from tests.support.document_status import RUN_ID, status_from


def test_the_superset_is_what_every_reader_expects() -> None:
    status = RunStatus(
        run_id=RUN_ID,
        flow_id="sha256:f",
        status=RunState.FAILED,
        items=ItemStatistics(total=4, pending=1, success=1, failed=1, cancelled=1),
        created_at=0,
        results=[
            ItemResult(item_index=0, status=RunState.SUCCESS, value="1", completed_at=1),
            ItemResult(item_index=1, status=RunState.FAILED, error=ItemError(code=-32100, message="m", data="null")),
            ItemResult(item_index=2, status=RunState.CANCELLED),
            ItemResult(item_index=3, status=RunState.PENDING),
        ],
    )
    answered = json.loads(run_status_to_json(status))
    assert answered == {
        "runId": RUN_ID,
        "flowId": "sha256:f",
        "status": "failed",
        "items": {
            "total": 4,
            "pending": 1,
            "running": 0,
            "success": 1,
            "completed": 1,
            "failed": 1,
            "cancelled": 1,
        },
        "createdAt": "1970-01-01T00:00:00Z",
        "results": [
            {
                "itemIndex": 0,
                "status": "completed",
                "result": {"outcome": "success", "value": 1, "result": 1},
                "completedAt": "1970-01-01T00:00:00.000000001Z",
            },
            {
                "itemIndex": 1,
                "status": "failed",
                "result": {"outcome": "failed", "error": {"code": -32100, "message": "m", "data": None}},
            },
            {"itemIndex": 2, "status": "cancelled"},
            {"itemIndex": 3, "status": "running"},
        ],
    }


@given(messages.run_statuses())
def test_both_styles_are_json(status: RunStatus) -> None:
    for text in (run_status_to_json(status), run_status_to_canonical_json(status)):
        assert json_text(text) == text


def test_a_kept_spelling_never_contradicts_the_state() -> None:
    status = replace(status_from(status="paused"), status=RunState.SUCCESS)
    assert json.loads(run_status_to_json(status))["status"] == "success"


@given(messages.run_statuses())
def test_a_status_is_put_together_from_its_slices(status: RunStatus) -> None:
    opening, closing = around_results(status)
    results = status.results or []
    texts = [results_to_json(results[part]) for part in result_slices(status.results)]
    assert opening + ",".join(texts) + closing == run_status_to_json(status)


def test_members_can_be_added_to_a_status() -> None:
    status = status_from(extra=1, revision=1)
    opening, closing = around_results(status, {"revision": "7"})
    added = json.loads(opening + results_to_json(status.results or []) + closing)
    assert added == {**json.loads(run_status_to_json(status)), "extra": 1, "revision": 7}
    opening, closing = around_results(replace(status, results=None, extensions={}), {"revision": "7"})
    assert "results" not in json.loads(opening + closing)


@pytest.mark.parametrize("sizes", [[], [0], [10**6], [0] * 1_000, [10_000] * 50, [0, 10**6, 0, 10**6, 10**6, 5]])
def test_slices_are_small_and_leave_nothing_out(sizes: list[int]) -> None:
    results = [
        ItemResult(item_index=index, status=RunState.SUCCESS, value="1" * size) for index, size in enumerate(sizes)
    ]
    slices = [results[part] for part in result_slices(results)]
    assert [result for part in slices for result in part] == results
    assert all(slices) or slices == [[]]
    for part in slices:
        assert len(part) <= 64
        assert len(part) <= 1 or sum(len(result.value or "") for result in part) <= 64 << 10
