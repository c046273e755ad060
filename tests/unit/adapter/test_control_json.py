import json
from typing import Any

import pytest
from hypothesis import given, settings

from gateway.adapter import control_json, status_to_json
from gateway.core.control import BulkProgress, CancelParams, CancelRunsParams, DeleteRunsParams, ListParams, RunList
from gateway.core.errors import InvalidParams
from gateway.core.run_filter import RunFilter, RunOrder
from tests.support import control_messages as messages


@given(messages.cancel_params | messages.cancel_runs_params)
def test_parameters_of_a_cancel_are_kept(params: CancelParams | CancelRunsParams) -> None:
    assert control_json.cancel_params_from_json(control_json.cancel_params_to_json(params)) == params


@given(messages.delete_params | messages.delete_runs_params)
def test_parameters_of_a_delete_are_kept(params: Any) -> None:
    assert control_json.delete_params_from_json(control_json.delete_params_to_json(params)) == params


@given(messages.list_params)
def test_parameters_of_a_list_are_kept(params: ListParams) -> None:
    assert control_json.list_params_from_json(control_json.list_params_to_json(params)) == params


@given(messages.progress)
def test_progress_is_kept(progress: BulkProgress) -> None:
    assert control_json.progress_from_json(control_json.cancel_progress_to_json(progress)) == progress
    assert control_json.progress_from_json(control_json.delete_progress_to_json(progress)) == progress


@settings(max_examples=20)
@given(messages.run_lists)
def test_a_page_of_runs_is_kept(page: RunList) -> None:
    runs = ",".join(map(status_to_json.run_status_to_canonical_json, page.runs))
    assert control_json.run_list_from_json(f'{{"runs":[{runs}{control_json.end_of_run_list(page)}') == page


def test_members_are_spelled_as_the_specification_spells_them() -> None:
    params = control_json.list_params_from_json(
        '{"filter":{"states":["running","completed"],"flowIds":[],"rootsOnly":true},"pageSize":5.0,"pageToken":null,'
        '"order":"oldestFirst","includeTotal":true}'
    )
    assert (params.order, params.page_size, params.page_token) == (RunOrder.OLDEST_FIRST, 5, "")
    assert params.include_total
    assert params.filter.roots_only
    cancel = control_json.cancel_params_from_json('{"runId":"r","reason":"","wait":true,"timeoutSecs":1.5}')
    assert cancel == CancelParams(run_id="r", wait=True, timeout=1.5)


def test_no_parameters_of_a_list_mean_all_runs() -> None:
    assert control_json.list_params_from_json(None) == ListParams()
    assert control_json.list_params_from_json("{}") == ListParams()
    assert control_json.delete_params_from_json('{"filter":{}}') == DeleteRunsParams(filter=RunFilter())


METHODS = {
    "cancel": control_json.cancel_params_from_json,
    "delete": control_json.delete_params_from_json,
    "list": control_json.list_params_from_json,
}


@pytest.mark.parametrize(
    ("method", "params", "path"),
    [
        ("cancel", {}, "run_id"),
        ("cancel", {"filter": None}, "run_id"),
        ("cancel", {"runId": ""}, "run_id"),
        ("cancel", {"runId": 7}, "run_id"),
        ("cancel", {"runId": "r", "filter": {}}, "filter"),
        ("cancel", {"filter": {}, "wait": True}, "wait"),
        ("cancel", {"filter": {}, "timeoutSecs": 1}, "timeout"),
        ("cancel", {"filter": []}, "filter"),
        ("cancel", {"filter": {"state": "failed"}}, "filter.state"),
        ("cancel", {"runId": "r", "reason": "x" * 1_001}, "reason"),
        ("cancel", {"runId": "r", "timeoutSecs": -1}, "timeout"),
        ("cancel", {"runId": "r", "cancel": True}, "cancel"),
        ("delete", {"cancel": True}, "run_id"),
        ("delete", {"runId": "r", "cancell": True}, "cancell"),
        ("delete", {"runId": "r", "cancel": "yes"}, "cancel"),
        ("list", {"pageSize": -1}, "page_size"),
        ("list", {"pageSize": 2**64}, "page_size"),
        ("list", {"pageSize": 1.5}, "page_size"),
        ("list", {"pageToken": 1}, "page_token"),
        ("list", {"order": "newest"}, "order"),
        ("list", {"runId": "r"}, "runId"),
        ("list", {"filter": {"flowIds": ["x"] * 101}}, "filter.flow_ids"),
        ("list", {"filter": {"states": ["failed"] * 101}}, "filter.states"),
        ("list", {"filter": {"states": ["failed", "lost"]}}, "filter.states[1]"),
        ("list", {"filter": {"labels": {str(index): "" for index in range(33)}}}, "filter.labels"),
        ("list", {"filter": {"flowName": "*a"}}, "filter.flow_name"),
        ("list", [], "params"),
    ],
)
def test_what_breaks_a_rule_is_named(method: str, params: object, path: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        METHODS[method](json.dumps(params))
    found = [str(violation).partition(": ")[0] for violation in caught.value.violations]
    assert found == [path] or (path == "params" and len(found) == 1)


@pytest.mark.parametrize("answer", ['{"runs":{}}', '{"runs":[7]}', '{"runs":[],"nextPageToken":1}', "[]", "{}"])
def test_a_page_that_cannot_be_read_is_refused(answer: str) -> None:
    with pytest.raises(InvalidParams):
        control_json.run_list_from_json(answer)
