import pytest
from hypothesis import given, settings

from gateway.adapter import items_json, items_proto
from gateway.core.control import ItemList, ItemsParams
from gateway.core.errors import InvalidParams
from gateway.core.items import STEPS_AT_ONCE, Item, StepState, StepStatus
from gateway.core.model import ItemResult, RunState
from runs.v1 import runs_pb2
from tests.support import control_messages as messages

JSON = runs_pb2.RESULT_ENCODING_JSON
VALUE = runs_pb2.RESULT_ENCODING_VALUE


@given(messages.items_params)
def test_parameters_are_kept(params: ItemsParams) -> None:
    sent = items_proto.items_params_to_proto(params).SerializeToString()
    assert items_proto.items_params_from_proto(runs_pb2.ListItemsRequest.FromString(sent)) == params


@settings(max_examples=20)
@given(messages.item_lists)
def test_nothing_of_a_page_is_lost_on_the_wire(page: ItemList) -> None:
    sent = b"".join(items_proto.item_list_parts(page, JSON))
    assert items_proto.item_list_from_proto(runs_pb2.ListItemsResponse.FromString(sent)) == page


def test_values_come_in_the_encoding_that_is_asked_for() -> None:
    result = ItemResult(item_index=0, status=RunState.SUCCESS, value='{"b":2}')
    page = ItemList([Item(0, RunState.SUCCESS, '{"a":1}', result)])
    (item,) = runs_pb2.ListItemsResponse.FromString(b"".join(items_proto.item_list_parts(page, VALUE))).items
    assert item.input.value.struct_value.fields["a"].number_value == 1
    assert item.result.value.value.struct_value.fields["b"].number_value == 2


def test_many_steps_of_an_item_are_written_in_parts() -> None:
    steps = tuple(StepStatus(f"step{index}", "/builtin/x", StepState.SUCCESS, index) for index in range(950))
    result = ItemResult(item_index=1, status=RunState.SUCCESS, value="7")
    page = ItemList([Item(0, RunState.RUNNING), Item(1, RunState.SUCCESS, "[1]", result, steps=steps)], "next")
    parts = list(items_proto.item_list_parts(page, JSON))
    assert len(parts) > 950 // STEPS_AT_ONCE
    assert items_proto.item_list_from_proto(runs_pb2.ListItemsResponse.FromString(b"".join(parts))) == page
    pieces = "".join("".join(items_json.item_pieces(item)) + "," for item in page.items)
    assert items_json.item_list_from_json(f'{{"items":[{pieces[:-1]}{items_json.end_of_item_list(page)}') == page


def test_a_step_may_be_tried_again_after_an_error() -> None:
    message = runs_pb2.ListItemsResponse(
        items=[
            runs_pb2.Item(
                status=runs_pb2.RUN_STATE_RUNNING,
                steps=[
                    runs_pb2.StepStatus(
                        step_id="map/0/call",
                        component="/python/call",
                        status=runs_pb2.STEP_STATE_RUNNING,
                        attempts=3,
                        error=runs_pb2.ItemError(code=-32100, message="timed out"),
                    )
                ],
            )
        ]
    )
    (item,) = items_proto.item_list_from_proto(message).items
    assert item.steps[0].error is not None
    assert (item.steps[0].step_id, item.steps[0].attempts, item.steps[0].error.code) == ("map/0/call", 3, -32100)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, "run_id"),
        ({"run_id": "run", "page_size": -(2**31)}, "page_size"),
        ({"run_id": "run", "states": [0]}, "states[0]"),
        ({"run_id": "run", "states": [2, 2, 77]}, "states[2]"),
        ({"run_id": "run", "states": [2] * 101}, "states"),
        ({"run_id": "run", "result_encoding": 9}, "result_encoding"),
    ],
)
def test_what_breaks_a_rule_is_named(fields: dict[str, object], path: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        items_proto.items_params_from_proto(runs_pb2.ListItemsRequest(**fields))  # type: ignore[arg-type]
    assert [str(violation).partition(": ")[0] for violation in caught.value.violations] == [path]


def test_states_may_repeat() -> None:
    message = runs_pb2.ListItemsRequest(run_id="run", states=[4, 2, 4, 2])  # type: ignore[list-item]
    assert items_proto.items_params_from_proto(message).states == (RunState.RUNNING, RunState.FAILED)


@pytest.mark.parametrize(
    ("item", "path"),
    [
        (runs_pb2.Item(), "items[0].status"),
        (runs_pb2.Item(status=2, steps=[runs_pb2.StepStatus()]), "items[0].steps[0].status"),  # type: ignore[arg-type]
        (runs_pb2.Item(status=2, input=runs_pb2.JsonValue(json="{")), "items[0].input.json"),  # type: ignore[arg-type]
    ],
)
def test_a_page_that_cannot_be_read_is_refused(item: runs_pb2.Item, path: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        items_proto.item_list_from_proto(runs_pb2.ListItemsResponse(items=[item]))
    assert str(caught.value).startswith(path)
