import json

import pytest
from hypothesis import given

from gateway.adapter import jsonrpc
from gateway.adapter.filters_json import run_filter_from_json, run_filter_to_json
from gateway.core.errors import InvalidParams
from gateway.core.model import RunState
from gateway.core.run_filter import RunFilter
from tests.support.run_filters import run_filters


@given(run_filters())
def test_a_filter_comes_back(wanted: RunFilter) -> None:
    assert run_filter_from_json(run_filter_to_json(wanted)) == wanted


def test_absent_members_are_no_conditions() -> None:
    assert run_filter_from_json('{"flowLabel":"","flowName":null}') == run_filter_from_json(None) == RunFilter()


def test_states_of_real_sdks_are_read() -> None:
    assert run_filter_from_json('{"states":["completed"]}').states == (RunState.SUCCESS,)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"states": ["failed", "gone"]}, "filter.states[1]"),
        ({"flowIds": ["a" * 64, "x"]}, "filter.flowIds[1]"),
        ({"createdAfter": "yesterday"}, "filter.createdAfter"),
        ({"rootRunId": "x"}, "filter.rootRunId"),
        ({"labels": {"a": 1}}, "filter.labels.a"),
        ({"flowlabel": "a"}, "filter.flowlabel"),
    ],
)
def test_faults_are_named_as_clients_spell_them(given: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        run_filter_from_json(json.dumps(given), "filter")
    answer = json.loads(jsonrpc.error_response("1", caught.value))
    assert answer["error"]["data"]["violations"][0]["field"] == field
