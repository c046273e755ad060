import json

import pytest
from hypothesis import given, settings

from gateway.adapter import items_json
from gateway.core.control import ItemList, ItemsParams
from gateway.core.errors import InvalidParams
from gateway.core.items import Item, StepState, StepStatus
from gateway.core.model import ItemError, ItemResult, RunState
from tests.support import control_messages as messages


def written(page: ItemList) -> str:
    entries = ",".join("".join(items_json.item_pieces(item)) for item in page.items)
    return f'{{"items":[{entries}{items_json.end_of_item_list(page)}'


@given(messages.items_params)
def test_parameters_are_kept(params: ItemsParams) -> None:
    assert items_json.items_params_from_json(items_json.items_params_to_json(params)) == params


@settings(max_examples=20)
@given(messages.item_lists)
def test_nothing_of_a_page_is_lost(page: ItemList) -> None:
    json.loads(written(page))
    assert items_json.item_list_from_json(written(page)) == page


def test_an_item_says_what_executes_and_what_became_of_its_steps() -> None:
    steps = (
        StepStatus("load", "/builtin/load_file", StepState.SUCCESS, 1, 10**18, 10**18 + 250_000_000),
        StepStatus("call", "/python/udf", StepState.RUNNING, 2, 10**18, error=ItemError(code=-32100, message="why")),
    )
    page = ItemList([Item(3, RunState.RUNNING, "[1]", None, 10**18, attempts=2, steps=steps)], "next")
    assert json.loads(written(page)) == {
        "items": [
            {
                "itemIndex": 3,
                "status": "running",
                "input": [1],
                "startedAt": "2001-09-09T01:46:40Z",
                "attempts": 2,
                "steps": [
                    {
                        "stepId": "load",
                        "component": "/builtin/load_file",
                        "status": "success",
                        "attempts": 1,
                        "startedAt": "2001-09-09T01:46:40Z",
                        "completedAt": "2001-09-09T01:46:40.250Z",
                    },
                    {
                        "stepId": "call",
                        "component": "/python/udf",
                        "status": "running",
                        "attempts": 2,
                        "startedAt": "2001-09-09T01:46:40Z",
                        "error": {"code": -32100, "message": "why"},
                    },
                ],
            }
        ],
        "nextPageToken": "next",
    }


def test_a_large_text_is_a_piece_of_its_own() -> None:
    given_, value = f'"{"x" * 100_000}"', f'"{"y" * 100_000}"'
    item = Item(0, RunState.SUCCESS, given_, ItemResult(item_index=0, status=RunState.SUCCESS, value=value))
    pieces = list(items_json.item_pieces(item))
    assert any(piece is given_ for piece in pieces)
    assert any(piece is value for piece in pieces)
    assert json.loads("".join(pieces))["result"]["result"] == {"outcome": "success", "value": "y" * 100_000}


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({}, "run_id"),
        ({"runId": "r", "states": ["failed"] * 101}, "states"),
        ({"runId": "r", "states": [1]}, "states[0]"),
        ({"runId": "r", "pageSize": -1}, "page_size"),
        ({"runId": "r", "includeInput": True}, "includeInput"),
    ],
)
def test_what_breaks_a_rule_is_named(params: object, path: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        items_json.items_params_from_json(json.dumps(params))
    assert [str(violation).partition(": ")[0] for violation in caught.value.violations] == [path]


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"itemIndex": -1, "status": "running"},
        {"itemIndex": 0, "status": "lost"},
        {"itemIndex": 0, "status": "running", "steps": [{}]},
        {"itemIndex": 0, "status": "running", "steps": [{"stepId": "a", "component": "b", "status": "completed"}]},
        {"itemIndex": 0, "status": "running", "startedAt": 1},
    ],
)
def test_a_page_that_cannot_be_read_is_refused(item: object) -> None:
    with pytest.raises(InvalidParams):
        items_json.item_list_from_json(json.dumps({"items": [item]}))
