"""Runs, as engines have written them and as they might: read as messages of the gateway."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.core.errors import (
    RemoteError,
)
from gateway.core.model import ItemStatistics, RunState, SubmitParams
from gateway.runtimes.stepflow.run_bodies import run_from_json, run_request, runs_from_json
from gateway.runtimes.stepflow.wire_format import ENGINE_ONLY_STATES, STATES, WireFormat
from tests.support.engine_bodies import DIGEST, RELEASES, RUN_ID, WIRE_FORMATS, recorded, run_body


@pytest.mark.parametrize("release", RELEASES)
def test_a_recorded_run_with_results(release: str) -> None:
    _, body = recorded(release, "POST /api/v1/runs")[0]
    status, results = run_from_json(body, WIRE_FORMATS[release])
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
    assert results.completion_order == [0, 1]


@pytest.mark.parametrize("release", RELEASES)
def test_recorded_lists(release: str) -> None:
    _, body = recorded(release, "GET /api/v1/runs?limit=2")[0]
    runs = list(runs_from_json(body))
    assert [(entry.flow_id, entry.items.total, entry.parent_run_id) for entry in runs] == [
        (f"sha256:{DIGEST}", 1, None),
        (f"sha256:{DIGEST}", 2, None),
    ]
    assert runs[0].created_at > runs[1].created_at


@pytest.mark.parametrize("wire_format", WireFormat)
@pytest.mark.parametrize("spelling", STATES)
def test_all_states(wire_format: WireFormat, spelling: int | str) -> None:
    status, _ = run_from_json(run_body(spelling, wire_format, total=0), wire_format)
    assert status.status is STATES[spelling]
    foreign = ENGINE_ONLY_STATES.get(spelling)
    assert status.extensions == ({} if foreign is None else {"status": f'"{foreign}"'})


def test_words_in_any_case() -> None:
    status, _ = run_from_json(run_body("recoveryFailed", WireFormat.LEGACY, total=0), WireFormat.LEGACY)
    assert (status.status, status.extensions) == (RunState.FAILED, {"status": '"recoveryFailed"'})


@pytest.mark.parametrize("wire_format", WireFormat)
def test_what_a_cancelled_run_leaves_unfinished_is_cancelled(wire_format: WireFormat) -> None:
    words = wire_format is WireFormat.LEGACY
    left: list[dict[str, Any]] = [
        {"itemIndex": 0, "status": "running" if words else 1},
        {"itemIndex": 1, "status": "completed" if words else 2, "completedAt": "2026-11-22T13:34:38.25Z"},
    ]
    body = run_body("cancelled" if words else 4, wire_format, left, total=2, completed=1, running=1)
    status, results = run_from_json(body, wire_format)
    assert status.items == ItemStatistics(total=2, success=1, cancelled=1)
    assert results is not None
    assert (results[0].status, results[0].value, results[0].completed_at) == (
        RunState.CANCELLED,
        None,
        status.completed_at,
    )
    assert (results[1].status, results[1].value) == (RunState.SUCCESS, "null")
    assert (results.completion_order, results.completion_offsets) == ([1, 0], [1, 0])


@pytest.mark.parametrize("wire_format", WireFormat)
def test_a_run_that_goes_on_has_no_results(wire_format: WireFormat) -> None:
    running = "running" if wire_format is WireFormat.LEGACY else 1
    body = run_body(running, wire_format, [{"itemIndex": 0, "status": running}], total=3, running=1)
    status, results = run_from_json(body, wire_format)
    assert status.items == ItemStatistics(total=3, pending=2, running=1)
    assert results is None


@pytest.mark.parametrize("wire_format", WireFormat)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"summary":{}}',
        b"[" * 100_000,
        run_body("gone", WireFormat.LEGACY, total=0),
        run_body(7, WireFormat.PROTO_JSON, total=0),
        run_body(2, WireFormat.PROTO_JSON, total=-1),
        run_body("completed", WireFormat.LEGACY, total=2**70),
        run_body(2, WireFormat.PROTO_JSON, [{"itemIndex": 1, "status": 2}], total=1),
        run_body(2, WireFormat.PROTO_JSON, [{"itemIndex": 0, "status": 2}] * 2, total=2),
        run_body(2, WireFormat.PROTO_JSON, total=0).replace(RUN_ID.encode(), b"x"),
        run_body(2, WireFormat.PROTO_JSON, total=0).replace(DIGEST.encode(), b"x"),
        run_body("running", WireFormat.LEGACY, total=0).replace(b"2026", b"year"),
    ],
)
def test_what_cannot_be_read(wire_format: WireFormat, body: bytes) -> None:
    with pytest.raises(RemoteError, match="unexpected response from the engine"):
        run_from_json(body, wire_format)


def test_requests() -> None:
    params = SubmitParams(flow_id=f"sha256:{DIGEST}", inputs=['{"a":1.50}', "null"])
    assert run_request(params, peek=False) == f'{{"flowId":"{DIGEST}","input":[{{"a":1.50}},null]}}'.encode()
    everything = replace(
        params, variables={'k"': "9007199254740993"}, max_concurrency=3, overrides='{"s":{"value":{}}}'
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
        ('{"steps":null}', None),
        ('{"steps":null,"s":{"value":{}}}', '{"steps":{"s":{"value":{}}}}'),
    ],
)
def test_the_level_steps_may_be_left_out(given: str, sent: str | None) -> None:
    params = SubmitParams(flow_id=DIGEST, inputs=[], overrides=given)
    request = json.loads(run_request(params, peek=False))
    assert request.get("overrides") == (None if sent is None else json.loads(sent))
