"""Whatever goes from one transport to the other and back is the same."""

import pytest
from hypothesis import given
from msgspec.structs import replace

from gateway.adapter import params_json, params_proto, proto_fields, status_from_json, status_proto, status_to_json
from gateway.core.json_text import json_text
from gateway.core.model import GetParams, ItemResult, ItemStatistics, RunState, RunStatus, SubmitParams
from runs.v1 import runs_pb2
from tests.support import messages


def through_proto(status: RunStatus, encoding: runs_pb2.ResultEncoding.ValueType = proto_fields.JSON) -> RunStatus:
    sent = status_proto.run_status_to_proto(status, encoding).SerializeToString()
    return status_proto.run_status_from_proto(
        runs_pb2.RunStatus.FromString(sent), with_results=status.results is not None
    )


def as_components_see(status: RunStatus) -> RunStatus:
    """The same status in the words of the SDKs, which all know no other item states than these."""
    if status.results is None:
        return status
    return replace(status, results=[as_component_sees(result) for result in status.results])


def as_component_sees(result: ItemResult) -> ItemResult:
    state = RunState.RUNNING if result.status is RunState.PENDING else result.status
    kept = {name: text for name, text in result.extensions.items() if name != "status" or text == '"paused"'}
    return replace(result, status=state, extensions=kept)


@given(messages.submit_params)
def test_submit_proto_to_json_to_proto(params: SubmitParams) -> None:
    sent = params_proto.submit_params_to_proto(params).SerializeToString()
    received = params_proto.submit_params_from_proto(runs_pb2.SubmitRunRequest.FromString(sent))
    assert received == params
    again = params_json.submit_params_from_json(json_text(params_json.submit_params_to_json(received)))
    assert again == params
    assert params_proto.submit_params_to_proto(again) == params_proto.submit_params_to_proto(params)


@given(messages.get_params)
def test_get_proto_to_json_to_proto(params: GetParams) -> None:
    sent = params_proto.get_params_to_proto(params).SerializeToString()
    received = params_proto.get_params_from_proto(runs_pb2.GetRunRequest.FromString(sent))
    assert received == params
    again = params_json.get_params_from_json(json_text(params_json.get_params_to_json(received)))
    assert again == params
    assert params_proto.get_params_to_proto(again) == params_proto.get_params_to_proto(params)


@given(messages.run_statuses())
def test_status_proto_to_json_to_proto(status: RunStatus) -> None:
    received = through_proto(status)
    assert received == status
    again = status_from_json.run_status_from_json(json_text(status_to_json.run_status_to_canonical_json(received)))
    assert again == status
    assert through_proto(again) == status


@given(messages.run_statuses())
def test_status_json_to_proto_to_json(status: RunStatus) -> None:
    seen = as_components_see(status)
    text = status_to_json.run_status_to_json(seen)
    received = status_from_json.run_status_from_json(json_text(text))
    assert received == seen
    again = through_proto(received)
    assert status_from_json.run_status_from_json(status_to_json.run_status_to_json(again)) == seen
    assert status_from_json.run_status_from_json(status_to_json.run_status_to_json(status)) == seen


@given(messages.run_statuses())
def test_status_in_value_encoding_keeps_everything_but_payloads(status: RunStatus) -> None:
    received = through_proto(status, runs_pb2.RESULT_ENCODING_VALUE)

    def without_payloads(whole: RunStatus) -> RunStatus:
        results = whole.results and [
            replace(
                result,
                value=result.value and "",
                error=result.error and replace(result.error, data=result.error.data and ""),
            )
            for result in whole.results
        ]
        return replace(whole, results=results)

    assert without_payloads(received) == without_payloads(status)


@pytest.mark.parametrize("text", [*messages.EXACT_TEXTS, '{"a":1,"a":2}', '{"z" : [ 1 ],"a":null}'])
def test_payloads_are_never_rewritten(text: str) -> None:
    params = SubmitParams(flow_id="f", inputs=[text], variables={"v": text}, extensions={"x": text})
    received = params_proto.submit_params_from_proto(params_proto.submit_params_to_proto(params))
    received = params_json.submit_params_from_json(json_text(params_json.submit_params_to_json(received)))
    assert (received.inputs, received.variables, received.extensions) == ([text], {"v": text}, {"x": text})

    status = RunStatus(
        run_id="r",
        flow_id="f",
        status=RunState.SUCCESS,
        items=ItemStatistics(total=1, success=1),
        created_at=0,
        results=[ItemResult(item_index=0, status=RunState.SUCCESS, value=text)],
    )
    answered = status_from_json.run_status_from_json(
        json_text(status_to_json.run_status_to_json(through_proto(status)))
    )
    assert answered.results is not None
    assert answered.results[0].value == text


def test_absent_is_not_null() -> None:
    status = RunStatus(
        run_id="r",
        flow_id="f",
        status=RunState.SUCCESS,
        items=ItemStatistics(total=2, success=1, cancelled=1),
        created_at=0,
        results=[
            ItemResult(item_index=0, status=RunState.SUCCESS, value="null"),
            ItemResult(item_index=1, status=RunState.CANCELLED),
        ],
    )
    assert through_proto(status) == status
    assert status_from_json.run_status_from_json(status_to_json.run_status_to_json(status)) == status
