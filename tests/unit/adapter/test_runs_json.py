import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapter.params_json import (
    get_params_from_json,
    get_params_to_json,
    observability_from_json,
    observability_to_json,
    resume_token_from_text,
    resume_token_to_text,
    submit_params_from_json,
    submit_params_to_json,
)
from gateway.adapter.status_from_json import (
    item_result_from_json,
    run_status_and_entries_from_json,
    run_status_from_json,
)
from gateway.adapter.status_to_json import (
    around_results,
    result_slices,
    results_to_json,
    run_status_to_canonical_json,
    run_status_to_json,
)
from gateway.core.errors import InvalidParams
from gateway.core.json_text import json_text
from gateway.core.model import (
    GetParams,
    ItemError,
    ItemResult,
    ItemStatistics,
    ObservabilityContext,
    ResultOrder,
    RunState,
    RunStatus,
    SubmitParams,
)
from tests.support import messages

RUN_ID = "550e8400-e29b-41d4-a716-446655440000"
DOCUMENT_STATUS = {
    "runId": RUN_ID,
    "flowId": "sha256:abc123...",
    "flowName": "Data Processing Workflow",
    "status": "success",
    "items": {"total": 2, "pending": 0, "running": 0, "success": 2, "failed": 0, "cancelled": 0},
    "createdAt": "2025-01-15T10:30:00Z",
    "completedAt": "2025-01-15T10:30:05Z",
    "results": [
        {
            "itemIndex": 0,
            "result": {"outcome": "success", "value": {"processed": True}},
            "completedAt": "2025-01-15T10:30:03Z",
        },
        {
            "itemIndex": 1,
            "result": {"outcome": "success", "value": {"analyzed": True}},
            "completedAt": "2025-01-15T10:30:05Z",
        },
    ],
}


def status_from(**changes: Any) -> RunStatus:
    return run_status_from_json(json.dumps(DOCUMENT_STATUS | changes))


def result_from(**members: Any) -> ItemResult:
    results = status_from(results=[{"itemIndex": 0} | members]).results
    assert results is not None
    return results[0]


def test_the_documents_submit() -> None:
    text = (
        '{"flowId":"sha256:abc123...","inputs":[{"user_id":"user1","action":"process"},'
        '{"user_id":"user2","action":"analyze"}],"wait":true,"maxConcurrency":10}'
    )
    params = submit_params_from_json(text)
    assert params == SubmitParams(
        flow_id="sha256:abc123...",
        inputs=['{"user_id":"user1","action":"process"}', '{"user_id":"user2","action":"analyze"}'],
        wait=True,
        max_concurrency=10,
    )
    assert submit_params_to_json(params) == text


def test_the_documents_get() -> None:
    params = get_params_from_json(
        json.dumps({"runId": RUN_ID, "wait": True, "includeResults": True, "resultOrder": "byIndex"})
    )
    assert params == GetParams(run_id=RUN_ID, wait=True, include_results=True)
    assert json.loads(get_params_to_json(params)) == {"runId": RUN_ID, "wait": True, "includeResults": True}


def test_the_documents_status() -> None:
    status = run_status_from_json(json.dumps(DOCUMENT_STATUS))
    assert status.results is not None
    assert status.results[1] == ItemResult(
        item_index=1, status=RunState.SUCCESS, value='{"analyzed": true}', completed_at=1_736_937_005 * 10**9
    )
    assert json.loads(run_status_to_canonical_json(status)) == DOCUMENT_STATUS


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


def test_nulls_are_absent() -> None:
    names = (
        "maxConcurrency",
        "overrides",
        "observability",
        "timeoutSecs",
        "subflowKey",
        "variables",
        "flowLabel",
        "wait",
    )
    params = submit_params_from_json(json.dumps({"flowId": "f", "inputs": [None]} | dict.fromkeys(names)))
    assert params == SubmitParams(flow_id="f", inputs=["null"])
    assert status_from(flowName=None, completedAt=None, results=None).results is None
    assert result_from(status="running", result=None, completedAt=None).value is None


def test_unknown_members_are_kept() -> None:
    params = submit_params_from_json(
        '{"flowId":"f","inputs":[],"x":1e400,"y":null,"observability":{"traceId":"t","z":[1]}}'
    )
    assert params.extensions == {"x": "1e400", "y": "null"}
    assert params.observability == ObservabilityContext(trace_id="t", extensions={"z": "[1]"})
    assert submit_params_from_json(submit_params_to_json(params)) == params

    result = result_from(result={"outcome": "success", "value": 1, "cost": 2}, stepId="s")
    assert result.extensions == {"stepId": '"s"', "result": '{"cost":2}'}


def test_extensions_cannot_repeat_a_member() -> None:
    params = SubmitParams(flow_id="f", inputs=[], extensions={"flowId": '"other"', "x": "1"})
    assert submit_params_to_json(params) == '{"flowId":"f","inputs":[],"x":1}'


@pytest.mark.parametrize("spelling", ["by_completion", "byCompletion"])
def test_spellings_of_result_order(spelling: str) -> None:
    params = get_params_from_json(json.dumps({"runId": "r", "resultOrder": spelling}))
    assert params.result_order is ResultOrder.BY_COMPLETION
    assert json.loads(get_params_to_json(params)) == {"runId": "r", "resultOrder": "byCompletion"}


def test_observability_is_written_in_snake_case() -> None:
    names = ("traceId", "spanId", "runId", "flowId", "stepId")
    context = observability_from_json(json.dumps({name: name for name in names}))
    assert json.loads(observability_to_json(context)) == {
        "trace_id": "traceId",
        "span_id": "spanId",
        "run_id": "runId",
        "flow_id": "flowId",
        "step_id": "stepId",
    }


@pytest.mark.parametrize(("text", "timeout"), [("30", 30.0), ("1.5", 1.5), ("0", 0.0), ("1e-10", 0.0), ("2.0", 2.0)])
def test_timeouts(text: str, timeout: float) -> None:
    assert get_params_from_json(f'{{"runId":"r","timeoutSecs":{text}}}').timeout == timeout


def test_whole_timeouts_are_written_as_integers() -> None:
    assert get_params_to_json(GetParams(run_id="r", timeout=30.0)) == '{"runId":"r","timeoutSecs":30}'
    assert get_params_to_json(GetParams(run_id="r", timeout=0.5)) == '{"runId":"r","timeoutSecs":0.5}'


def test_an_empty_label_is_none() -> None:
    assert submit_params_from_json('{"flowId":"f","inputs":[],"flowLabel":""}').flow_label is None


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


def test_a_kept_spelling_never_contradicts_the_state() -> None:
    status = status_from(status="paused").model_copy(update={"status": RunState.SUCCESS})
    assert json.loads(run_status_to_json(status))["status"] == "success"


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


@pytest.mark.parametrize(
    ("read", "text", "path"),
    [
        (submit_params_from_json, None, "flow_id, inputs"),
        (submit_params_from_json, "[]", ""),
        (submit_params_from_json, "1", ""),
        (submit_params_from_json, '{"flowId":"","inputs":[]}', "flow_id"),
        (submit_params_from_json, '{"flowId":1,"inputs":[]}', "flow_id"),
        (submit_params_from_json, '{"flowId":null,"inputs":[]}', "flow_id"),
        (submit_params_from_json, '{"flowId":"f"}', "inputs"),
        (submit_params_from_json, '{"flowId":"f","inputs":{}}', "inputs"),
        *(
            (submit_params_from_json, f'{{"flowId":"f","inputs":[],"maxConcurrency":{value}}}', "max_concurrency")
            for value in ("0", "-1", "1.5", '"3"', "true", "[]", "4294967296", "1e400")
        ),
        *(
            (submit_params_from_json, f'{{"flowId":"f","inputs":[],"overrides":{value}}}', "overrides")
            for value in ("[]", "1", '"x"')
        ),
        *(
            (submit_params_from_json, f'{{"flowId":"f","inputs":[],"timeoutSecs":{value}}}', "timeout")
            for value in ("-1", '"3"', "1e400", "315576000001")
        ),
        (submit_params_from_json, '{"flowId":"f","inputs":[],"wait":1}', "wait"),
        (submit_params_from_json, '{"flowId":"f","inputs":[],"variables":[]}', "variables"),
        (submit_params_from_json, '{"flowId":"f","inputs":[],"subflowKey":""}', "idempotency_key"),
        (submit_params_from_json, '{"flowId":"f","inputs":[],"subflowKey":7}', "idempotency_key"),
        (submit_params_from_json, '{"flowId":"f","inputs":[],"observability":{"spanId":1}}', "observability.span_id"),
        (submit_params_from_json, '{"flowId":"f","inputs":[],"observability":[]}', "observability"),
        (get_params_from_json, None, "run_id"),
        (get_params_from_json, '{"runId":"r","resultOrder":"random"}', "result_order"),
        (get_params_from_json, '{"runId":"r","includeResults":"yes"}', "include_results"),
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
def test_refuses_and_names_the_field(read: Callable[[str | None], object], text: str | None, path: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        read(text)
    named = {str(violation).split(":")[0] if violation.path else "" for violation in caught.value.violations}
    assert named == set(path.split(", "))


def test_the_parameters_of_streams() -> None:
    text = f'{{"runId":"{RUN_ID}","wait":true,"resumeToken":"AP_-","heartbeatSecs":15}}'
    params = get_params_from_json(text)
    assert params == GetParams(run_id=RUN_ID, wait=True, resume_token=b"\x00\xff\xfe", heartbeat_interval=15)
    assert get_params_to_json(params) == text
    absent = get_params_from_json('{"runId":"r","resumeToken":null,"heartbeatSecs":null}')
    assert absent == GetParams(run_id="r") == get_params_from_json('{"runId":"r","resumeToken":""}')


@given(st.binary())
def test_resume_tokens_come_back(token: bytes) -> None:
    text = resume_token_to_text(token)
    assert "=" not in text
    assert resume_token_from_text(text) == resume_token_from_text(text + "=" * (-len(text) % 4)) == token


@pytest.mark.parametrize(
    "text", ["=", "====", "A", "AAAAA", "AA=A", "AAA==", "###", "A A=", "AAAA\n", "ü", "\udcff", "\0"]
)
def test_what_is_no_base64_is_some_token(text: str) -> None:
    token = resume_token_from_text(text)
    assert token == text.encode(errors="surrogateescape")
    assert resume_token_from_text(resume_token_to_text(token)) == token


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
    opening, closing = around_results(status.model_copy(update={"results": None, "extensions": {}}), {"revision": "7"})
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


@given(messages.run_statuses())
def test_results_can_be_read_one_by_one(status: RunStatus) -> None:
    unread, entries = run_status_and_entries_from_json(run_status_to_json(status))
    whole = run_status_from_json(run_status_to_json(status))
    assert unread == whole.model_copy(update={"results": None})
    assert [item_result_from_json(entry, index) for index, entry in enumerate(entries)] == (whole.results or [])
