"""Results of runs, as engines have written them and as they might."""

import json

import pytest

from gateway.core.model import RunState
from gateway.runtimes.stepflow.results import ERROR_CODES, UNKNOWN_FAILURE, results_from_json
from gateway.runtimes.stepflow.run_bodies import run_from_json
from gateway.runtimes.stepflow.wire_format import WireFormat
from tests.support.engine_bodies import RELEASES, WIRE_FORMATS, recorded, run_body


def json_run_id(body: bytes) -> str:
    answer = json.loads(body)
    return str(answer.get("summary", answer)["runId"])


@pytest.mark.parametrize("release", RELEASES)
def test_recorded_items_are_those_of_the_submit(release: str) -> None:
    wire_format = WIRE_FORMATS[release]
    _, submitted = recorded(release, "POST /api/v1/runs")[0]
    _, items = recorded(release, f"GET /api/v1/runs/{json_run_id(submitted)}/items")[0]
    status, results = run_from_json(submitted, wire_format)
    assert results is not None
    again = results_from_json(items, status, wire_format)
    assert [again[index] for index in range(2)] == [results[index] for index in range(2)]


def test_a_run_that_has_just_ended_may_have_no_results_yet() -> None:
    status, results = run_from_json(run_body(3, WireFormat.PROTO_JSON, [], total=2, failed=1), WireFormat.PROTO_JSON)
    assert (status.status, results) == (RunState.FAILED, None)


@pytest.mark.parametrize("number", [*ERROR_CODES, 0, 99, -1])
def test_error_codes_of_the_protobuf_format(number: int) -> None:
    item = {"itemIndex": 0, "status": 3, "errorCode": number, "errorMessage": "no"}
    _, results = run_from_json(run_body(3, WireFormat.PROTO_JSON, [item], total=1, failed=1), WireFormat.PROTO_JSON)
    assert results is not None
    error = results[0].error
    assert error is not None
    assert (error.code, error.message) == (ERROR_CODES.get(number, UNKNOWN_FAILURE), "no")


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        ({"stack": [{"error": "a", "backtrace": "0: main"}]}, None),
        ({"stack": [{"error": "a"}], "why": 1}, '{"why": 1}'),
        ({"stack": "mine"}, '{"stack": "mine"}'),
        ([9007199254740993], "[9007199254740993]"),
        (None, None),
    ],
)
def test_error_data_without_the_stack_of_the_engine(data: object, kept: str | None) -> None:
    error = {"code": -32100, "message": "no", "data": data}
    item = {"itemIndex": 0, "status": "failed", "result": {"outcome": "failed", "error": error}}
    _, results = run_from_json(run_body("failed", WireFormat.LEGACY, [item], total=1, failed=1), WireFormat.LEGACY)
    assert results is not None
    found = results[0].error
    assert found is not None
    assert (None if found.data is None else json.loads(found.data)) == (None if kept is None else json.loads(kept))


def test_values_keep_their_text_where_numbers_are_kept() -> None:
    result = '{"outcome":"success","result":{"b":6.0, "a":18446744073709551615}}'
    item = f'{{"itemIndex":0,"status":"completed","result":{result}}}'
    body = run_body("completed", WireFormat.LEGACY, [], total=1, completed=1).replace(
        b'"results": []', f'"results":[{item}]'.encode()
    )
    _, results = run_from_json(body, WireFormat.LEGACY)
    assert results is not None
    assert results[0].value == '{"b":6.0, "a":18446744073709551615}'


def test_the_order_of_completion_is_that_of_time_then_of_index() -> None:
    times = ["13Z", "12.5Z", "13Z", "12.49Z", "12.500000001Z", None]
    items = [
        {"itemIndex": index, "status": 2, "completedAt": time and f"2026-11-22T13:34:{time}"}
        for index, time in reversed(list(enumerate(times)))
    ]
    _, results = run_from_json(run_body(2, WireFormat.PROTO_JSON, items, total=6, completed=6), WireFormat.PROTO_JSON)
    assert results is not None
    assert results.completion_order == [3, 1, 4, 0, 2, 5]
    assert [results.completion_offsets[index] for index in results.completion_order] == list(range(6))
