import json
from collections.abc import Callable

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
from gateway.core.errors import InvalidParams
from gateway.core.model import (
    GetParams,
    ObservabilityContext,
    ResultOrder,
    SubmitParams,
)
from tests.support.document_status import RUN_ID


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


def test_unknown_members_are_kept() -> None:
    params = submit_params_from_json(
        '{"flowId":"f","inputs":[],"x":1e400,"y":null,"observability":{"traceId":"t","z":[1]}}'
    )
    assert params.extensions == {"x": "1e400", "y": "null"}
    assert params.observability == ObservabilityContext(trace_id="t", extensions={"z": "[1]"})
    assert submit_params_from_json(submit_params_to_json(params)) == params


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
    ],
)
def test_refuses_and_names_the_field(read: Callable[[str | None], object], text: str | None, path: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        read(text)
    named = {str(violation).split(":")[0] if violation.path else "" for violation in caught.value.violations}
    assert named == set(path.split(", "))
