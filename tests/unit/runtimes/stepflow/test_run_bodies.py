"""What engines have answered, and what they might: read as the gateway's messages."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import (
    FlowNotFound,
    GatewayError,
    InvalidFlow,
    InvalidParams,
    RemoteError,
    TooLarge,
    render_path,
)
from gateway.core.model import ItemStatistics, RunState, SubmitParams
from gateway.runtimes.stepflow.run_bodies import (
    ERROR_CODES,
    FOREIGN_STATES,
    MAX_MESSAGE,
    STATES,
    UNKNOWN_FAILURE,
    Form,
    failure,
    release_from_health,
    results_from_json,
    run_from_json,
    run_request,
    runs_from_json,
    submit_failure,
)

RECORDED = json.loads((Path(__file__).parents[3] / "data/stepflow/rest.json").read_text())
DIGEST = "9b16097c3d8baa5426b1a4f3dbe8e99a25e4b0eae0b606b7013b7171b8bd5b42"
RUN_ID = "01a20377-4792-7b82-a1a4-f86edb2cd473"
FORMS = {"0.10.0": Form.WORDS, "0.11.1": Form.WORDS, "0.12.0": Form.PROTO, "0.13.0": Form.PROTO}
RELEASES = list(FORMS)


def recorded(release: str, request: str, status: int = 200) -> list[tuple[Any, bytes]]:
    """The bodies of such requests, and of their answers."""
    return [
        (entry["body"], json.dumps(entry["response"]).encode())
        for entry in RECORDED[release]
        if entry["request"].startswith(request) and entry["status"] == status
    ]


def run(status: object, form: Form, results: list[dict[str, Any]] | None = None, **items: int) -> bytes:
    summary = {
        "runId": RUN_ID,
        "flowId": DIGEST,
        "status": status,
        "items": items,
        "createdAt": "2026-11-22T13:34:38Z",
        "completedAt": "2026-11-22T13:34:39.5Z",
    }
    body = {**summary, "results": results} if form is Form.WORDS else {"summary": summary, "results": results}
    return json.dumps(body).encode()


@pytest.mark.parametrize("release", RELEASES)
def test_a_recorded_run_with_results(release: str) -> None:
    _, body = recorded(release, "POST /api/v1/runs")[0]
    status, results = run_from_json(body, FORMS[release])
    assert status.flow_id == f"sha256:{DIGEST}"
    assert (status.status, status.flow_name) == (RunState.FAILED, "subb")
    assert status.items == ItemStatistics(total=2, success=1, failed=1)
    assert status.completed_at is not None
    assert status.completed_at > status.created_at > 0
    assert results is not None
    assert json.loads(results[0].value or "") == {"messages": [{"role": "user", "content": "a"}]}
    error = results[1].error
    assert error is not None
    assert error.message == 'step "d" failed'
    # 0.10 gives its HTTP status as the code.
    assert error.code == (500 if release == "0.10.0" else -32300)
    assert error.data is None
    assert results.order == [0, 1]


@pytest.mark.parametrize("release", RELEASES)
def test_recorded_items_are_those_of_the_submit(release: str) -> None:
    form = FORMS[release]
    _, submitted = recorded(release, "POST /api/v1/runs")[0]
    _, items = recorded(release, f"GET /api/v1/runs/{json_run_id(submitted)}/items")[0]
    status, results = run_from_json(submitted, form)
    assert results is not None
    again = results_from_json(items, status, form)
    assert [again[index] for index in range(2)] == [results[index] for index in range(2)]


def json_run_id(body: bytes) -> str:
    answer = json.loads(body)
    return str(answer.get("summary", answer)["runId"])


@pytest.mark.parametrize("release", RELEASES)
def test_recorded_lists(release: str) -> None:
    _, body = recorded(release, "GET /api/v1/runs?limit=2")[0]
    runs = runs_from_json(body)
    assert [(entry.flow_id, entry.items, entry.parent_run_id) for entry in runs] == [
        (f"sha256:{DIGEST}", 1, None),
        (f"sha256:{DIGEST}", 2, None),
    ]
    assert runs[0].created_at > runs[1].created_at


@pytest.mark.parametrize("release", RELEASES)
def test_recorded_health(release: str) -> None:
    _, body = recorded(release, "GET /api/v1/health")[0]
    assert release_from_health(200, body) == (release if FORMS[release] is Form.WORDS else "")
    assert release_from_health(500, body) is None


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("spelling", STATES)
def test_all_states(form: Form, spelling: int | str) -> None:
    status, _ = run_from_json(run(spelling, form, total=0), form)
    assert status.status is STATES[spelling]
    foreign = FOREIGN_STATES.get(spelling)
    assert status.extensions == ({} if foreign is None else {"status": f'"{foreign}"'})


def test_words_in_any_case() -> None:
    status, _ = run_from_json(run("recoveryFailed", Form.WORDS, total=0), Form.WORDS)
    assert (status.status, status.extensions) == (RunState.FAILED, {"status": '"recoveryFailed"'})


@pytest.mark.parametrize("form", Form)
def test_what_a_cancelled_run_leaves_unfinished_is_cancelled(form: Form) -> None:
    words = form is Form.WORDS
    left: list[dict[str, Any]] = [
        {"itemIndex": 0, "status": "running" if words else 1},
        {"itemIndex": 1, "status": "completed" if words else 2, "completedAt": "2026-11-22T13:34:38.25Z"},
    ]
    body = run("cancelled" if words else 4, form, left, total=2, completed=1, running=1)
    status, results = run_from_json(body, form)
    assert status.items == ItemStatistics(total=2, success=1, cancelled=1)
    assert results is not None
    assert (results[0].status, results[0].value, results[0].completed_at) == (
        RunState.CANCELLED,
        None,
        status.completed_at,
    )
    assert (results[1].status, results[1].value) == (RunState.SUCCESS, "null")
    assert (results.order, results.places) == ([1, 0], [1, 0])


@pytest.mark.parametrize("form", Form)
def test_a_run_that_goes_on_has_no_results(form: Form) -> None:
    running = "running" if form is Form.WORDS else 1
    body = run(running, form, [{"itemIndex": 0, "status": running}], total=3, running=1)
    status, results = run_from_json(body, form)
    assert status.items == ItemStatistics(total=3, pending=2, running=1)
    assert results is None


@pytest.mark.parametrize("number", [*ERROR_CODES, 0, 99, -1])
def test_error_codes_of_the_protobuf_form(number: int) -> None:
    item = {"itemIndex": 0, "status": 3, "errorCode": number, "errorMessage": "no"}
    _, results = run_from_json(run(3, Form.PROTO, [item], total=1, failed=1), Form.PROTO)
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
    _, results = run_from_json(run("failed", Form.WORDS, [item], total=1, failed=1), Form.WORDS)
    assert results is not None
    found = results[0].error
    assert found is not None
    assert (None if found.data is None else json.loads(found.data)) == (None if kept is None else json.loads(kept))


def test_values_keep_their_text_where_numbers_are_kept() -> None:
    result = '{"outcome":"success","result":{"b":6.0, "a":18446744073709551615}}'
    item = f'{{"itemIndex":0,"status":"completed","result":{result}}}'
    body = run("completed", Form.WORDS, [], total=1, completed=1).replace(
        b'"results": []', f'"results":[{item}]'.encode()
    )
    _, results = run_from_json(body, Form.WORDS)
    assert results is not None
    assert results[0].value == '{"b":6.0, "a":18446744073709551615}'


def test_the_order_of_completion_is_that_of_time_then_of_index() -> None:
    times = ["13Z", "12.5Z", "13Z", "12.49Z", "12.500000001Z", None]
    items = [
        {"itemIndex": index, "status": 2, "completedAt": time and f"2026-11-22T13:34:{time}"}
        for index, time in reversed(list(enumerate(times)))
    ]
    _, results = run_from_json(run(2, Form.PROTO, items, total=6, completed=6), Form.PROTO)
    assert results is not None
    assert results.order == [3, 1, 4, 0, 2, 5]
    assert [results.places[index] for index in results.order] == list(range(6))


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"summary":{}}',
        b"[" * 100_000,
        run("gone", Form.WORDS, total=0),
        run(7, Form.PROTO, total=0),
        run(2, Form.PROTO, total=-1),
        run("completed", Form.WORDS, total=2**70),
        run("completed", Form.WORDS, [], total=1),
        run(2, Form.PROTO, [{"itemIndex": 1, "status": 2}], total=1),
        run(2, Form.PROTO, [{"itemIndex": 0, "status": 2}] * 2, total=2),
        run(2, Form.PROTO, total=0).replace(RUN_ID.encode(), b"x"),
        run(2, Form.PROTO, total=0).replace(DIGEST.encode(), b"x"),
        run("running", Form.WORDS, total=0).replace(b"2026", b"year"),
    ],
)
def test_what_cannot_be_read(form: Form, body: bytes) -> None:
    with pytest.raises(RemoteError, match="cannot be read"):
        run_from_json(body, form)


def test_requests() -> None:
    params = SubmitParams(flow_id=f"sha256:{DIGEST}", inputs=['{"a":1.50}', "null"])
    assert run_request(params, peek=False) == f'{{"flowId":"{DIGEST}","input":[{{"a":1.50}},null]}}'.encode()
    everything = params.model_copy(
        update={"variables": {'k"': "9007199254740993"}, "max_concurrency": 3, "overrides": '{"s":{"value":{}}}'}
    )
    assert json.loads(run_request(everything, peek=True)) == {
        "flowId": DIGEST,
        "input": [{"a": 1.5}, None],
        "overrides": {"steps": {"s": {"value": {}}}},
        "variables": {'k"': 9007199254740993},
        "maxConcurrency": 3,
        "wait": True,
        "timeoutSecs": 0,
    }


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("null", None),
        ("{}", None),
        ('{"s":{"value":{}}}', '{"steps":{"s":{"value":{}}}}'),
        ('{"steps":{}}', '{"steps":{}}'),
    ],
)
def test_the_level_steps_may_be_left_out(given: str, sent: str | None) -> None:
    params = SubmitParams(flow_id=DIGEST, inputs=[], overrides=given)
    request = json.loads(run_request(params, peek=False))
    assert request.get("overrides") == (None if sent is None else json.loads(sent))


@pytest.mark.parametrize("release", RELEASES)
def test_recorded_unknown_flow(release: str) -> None:
    (_, body), *_ = recorded(release, "POST /api/v1/runs", 404)
    assert isinstance(submit_failure(404, body, f"sha256:{'a' * 64}"), FlowNotFound)


@pytest.mark.parametrize(
    ("status", "body", "kind", "path"),
    [
        (400, b'{"error":{"code":400,"message":"error analyzing workflow"}}', InvalidFlow, "flow_id"),
        (400, b'{"code":400,"message":"error analyzing workflow","stack":[]}', InvalidFlow, "flow_id"),
        (500, b'{"error":{"code":500,"message":"failed to get flow: Serialization error"}}', InvalidFlow, "flow_id"),
        (400, b'{"error":{"code":400,"message":"failed to apply workflow overrides"}}', InvalidParams, "overrides"),
        (422, b"overrides.steps: invalid type: integer `5`, expected a map", InvalidParams, "overrides.steps"),
        (
            400,
            b"Failed to parse the request body as JSON: input[2].a: number out of range",
            InvalidParams,
            "inputs[2].a",
        ),
        (
            400,
            b"Failed to parse the request body as JSON: input" + b"[0]" * 125 + b": deep",
            InvalidParams,
            "inputs" + "[0]" * 7,
        ),
        (422, b"something else", InvalidParams, ""),
        (413, b"Failed to buffer the request body: length limit exceeded", TooLarge, ""),
        (500, b'{"error":{"code":500,"message":"out of disk"}}', RemoteError, ""),
        (200, b"", RemoteError, ""),
    ],
)
def test_refused_submits(status: int, body: bytes, kind: type[GatewayError], path: str) -> None:
    error = submit_failure(status, body, "sha256:x")
    assert type(error) is kind
    if isinstance(error, InvalidParams):
        assert [render_path(violation.path) for violation in error.violations] == [path]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"code":500,"message":"broken","stack":[{"error":"secret"}]}', ": broken"),
        (b'{"error":{"message":"bro\\nken"}}', ": bro ken"),
        (b"<html>welcome</html>", ""),
        (b"", ""),
        (b"x" * 10 * MAX_MESSAGE, ": " + "x" * MAX_MESSAGE),
    ],
)
def test_failures_tell_no_more_than_the_message(body: bytes, told: str) -> None:
    assert failure(500, body).message == f"the engine has answered with HTTP status 500{told}"
