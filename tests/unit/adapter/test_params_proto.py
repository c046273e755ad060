from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Value
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapter import params_proto
from gateway.core import json_text
from gateway.core.errors import InvalidParams, TooLarge
from gateway.core.model import GetParams, ResultOrder, SubmitParams
from runs.v1 import runs_pb2

JSON_ONE = runs_pb2.JsonValue(json="1")


def submit(**fields: Any) -> runs_pb2.SubmitRunRequest:
    return runs_pb2.SubmitRunRequest(**({"flow_id": "f"} | fields))


def get(**fields: Any) -> runs_pb2.GetRunRequest:
    return runs_pb2.GetRunRequest(**({"run_id": "r"} | fields))


def test_unset_fields_are_absent() -> None:
    assert params_proto.submit_params_from_proto(submit()) == SubmitParams(flow_id="f", inputs=[])
    assert params_proto.get_params_from_proto(get()) == GetParams(run_id="r")


def test_both_encodings_of_inputs() -> None:
    inputs = [runs_pb2.JsonValue(json=' {"a": 1} '), runs_pb2.JsonValue(value=Value(number_value=2))]
    assert params_proto.submit_params_from_proto(submit(inputs=inputs)).inputs == ['{"a": 1}', "2"]


def test_result_order() -> None:
    orders = [params_proto.get_params_from_proto(get(result_order=number)).result_order for number in (0, 1, 2)]
    assert orders == [ResultOrder.BY_INDEX, ResultOrder.BY_INDEX, ResultOrder.BY_COMPLETION]


def test_where_and_how_to_follow_go_both_ways() -> None:
    message = get(resume_token=b"\0token", heartbeat_interval=Duration(nanos=100_000_000))
    params = params_proto.get_params_from_proto(message)
    assert (params.resume_token, params.heartbeat_interval) == (b"\0token", 0.1)
    written = params_proto.get_params_to_proto(params)
    assert (written.resume_token, written.heartbeat_interval) == (message.resume_token, message.heartbeat_interval)


@given(st.integers(0, 315_576_000_000), st.integers(0, 999_999_999))
def test_timeouts_are_the_nearest_double(seconds: int, nanos: int) -> None:
    params = params_proto.get_params_from_proto(get(timeout=Duration(seconds=seconds * (nanos == 0), nanos=nanos)))
    assert params.timeout == (seconds if nanos == 0 else nanos / 10**9)
    assert params_proto.get_params_to_proto(params).timeout == Duration(seconds=seconds * (nanos == 0), nanos=nanos)


def test_a_payload_that_is_too_large_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "MAX_JSON_BYTES", 10)
    with pytest.raises(TooLarge, match=r"^inputs\[1\]\.json: "):
        params_proto.submit_params_from_proto(submit(inputs=[JSON_ONE, runs_pb2.JsonValue(json='"' + "x" * 10 + '"')]))


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (submit(flow_id=""), "flow_id"),
        (submit(inputs=[JSON_ONE, runs_pb2.JsonValue()]), "inputs[1]"),
        (submit(inputs=[JSON_ONE, runs_pb2.JsonValue(json="NaN")]), "inputs[1].json"),
        (submit(inputs=[runs_pb2.JsonValue(value=Value())]), "inputs[0].value"),
        (submit(max_concurrency=0), "max_concurrency"),
        (submit(overrides=runs_pb2.JsonValue()), "overrides"),
        (submit(overrides=JSON_ONE), "overrides"),
        (submit(overrides=runs_pb2.JsonValue(json="null")), "overrides"),
        (submit(timeout=Duration(seconds=-1)), "timeout"),
        (submit(timeout=Duration(nanos=-1)), "timeout"),
        (submit(timeout=Duration(seconds=1, nanos=-1)), "timeout"),
        (submit(timeout=Duration(nanos=10**9)), "timeout"),
        (submit(timeout=Duration(seconds=315_576_000_001)), "timeout"),
        (submit(timeout=Duration(seconds=315_576_000_000, nanos=999_999_999)), "timeout"),
        (submit(idempotency_key="k" * 256), "idempotency_key"),
        (submit(flow_label="l" * 256), "flow_label"),
        (submit(variables={"v": runs_pb2.JsonValue(json="{")}), "variables.v.json"),
        (submit(result_encoding=7), "result_encoding"),
        (submit(extensions={"flowId": JSON_ONE}), "extensions.flowId"),
        (submit(extensions={"x": runs_pb2.JsonValue()}), "extensions.x"),
        (
            submit(observability=runs_pb2.ObservabilityContext(extensions={"traceId": JSON_ONE})),
            "observability.extensions.traceId",
        ),
        (get(run_id=""), "run_id"),
        (get(result_order=7), "result_order"),
        (get(result_encoding=7), "result_encoding"),
        (get(heartbeat_interval=Duration()), "heartbeat_interval"),
        (get(heartbeat_interval=Duration(nanos=99_999_999)), "heartbeat_interval"),
        (get(heartbeat_interval=Duration(seconds=1, nanos=-1)), "heartbeat_interval"),
        (get(heartbeat_interval=Duration(seconds=315_576_000_001)), "heartbeat_interval"),
        (get(extensions={"runId": JSON_ONE}), "extensions.runId"),
    ],
)
def test_refuses_and_names_the_field(message: Any, path: str) -> None:
    readers: dict[type, Callable[[Any], object]] = {
        runs_pb2.SubmitRunRequest: params_proto.submit_params_from_proto,
        runs_pb2.GetRunRequest: params_proto.get_params_from_proto,
    }
    with pytest.raises(InvalidParams) as caught:
        readers[type(message)](message)
    assert [str(violation).split(":")[0] for violation in caught.value.violations] == [path]
