"""Items of runs: parameters and pages <-> protobuf messages.

Readers raise InvalidParams with the path of the field that breaks its rule; writers assume what the model promises.
"""

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from gateway.adapter.params_proto import check_encoding
from gateway.adapter.proto_fields import ANY_SIZE, JSON, read_time, unknown_number, write_time
from gateway.adapter.proto_wire import length_prefix
from gateway.adapter.status_proto import (
    STATE_NUMBERS,
    error_from_proto,
    result_from_proto,
    set_error,
    set_result,
    state_from_proto,
)
from gateway.adapter.values import json_value_to_text, set_json_value
from gateway.core.control import ItemList, ItemsParams
from gateway.core.items import STEPS_AT_ONCE, Item, StepState, StepStatus
from gateway.core.page_sizes import item_bytes, slices
from gateway.core.run_filter import asked_states
from gateway.core.validation import validated
from runs.v1 import runs_pb2

_STEP_STATES = {
    runs_pb2.STEP_STATE_PENDING: StepState.PENDING,
    runs_pb2.STEP_STATE_RUNNING: StepState.RUNNING,
    runs_pb2.STEP_STATE_SUCCESS: StepState.SUCCESS,
    runs_pb2.STEP_STATE_FAILED: StepState.FAILED,
    runs_pb2.STEP_STATE_CANCELLED: StepState.CANCELLED,
}
_STEP_NUMBERS = {state: number for number, state in _STEP_STATES.items()}


def items_params_from_proto(message: runs_pb2.ListItemsRequest) -> ItemsParams:
    """Read the parameters of a list of items."""
    check_encoding(message.result_encoding)
    return validated(
        ItemsParams,
        {
            "run_id": message.run_id,
            "states": asked_states(message.states, state_from_proto, "states"),
            "page_size": message.page_size,
            "page_token": message.page_token,
            "include_inputs": message.include_inputs,
        },
    )


def items_params_to_proto(
    params: ItemsParams, encoding: runs_pb2.ResultEncoding.ValueType = JSON
) -> runs_pb2.ListItemsRequest:
    """Write the parameters of a list of items, for a client that receives messages of any size."""
    return runs_pb2.ListItemsRequest(
        run_id=params.run_id,
        states=[STATE_NUMBERS[state] for state in params.states],
        page_size=params.page_size,
        page_token=params.page_token,
        result_encoding=encoding,
        include_inputs=params.include_inputs,
        max_response_message_bytes=ANY_SIZE,
    )


def item_list_parts(page: ItemList, encoding: runs_pb2.ResultEncoding.ValueType) -> Iterator[bytes]:
    """Write a page of items as a serialized ListItemsResponse, in parts that take little time each."""
    for items in slices(page.items, item_bytes):
        if len(items) == 1 and len(items[0].steps) > STEPS_AT_ONCE:
            yield from _parts_of_item(items[0], encoding)
            continue
        message = runs_pb2.ListItemsResponse()
        for item in items:
            set_item(message.items.add(), item, encoding)
        yield message.SerializeToString()
    yield runs_pb2.ListItemsResponse(next_page_token=page.next_page_token).SerializeToString()


def _parts_of_item(item: Item, encoding: runs_pb2.ResultEncoding.ValueType) -> Iterator[bytes]:
    """Write an item with many steps; parts without content only give others a turn."""
    message = runs_pb2.Item()
    set_item(message, replace(item, steps=()), encoding)
    written = [message.SerializeToString()]
    for start in range(0, len(item.steps), STEPS_AT_ONCE):
        yield b""
        message = runs_pb2.Item()
        for step in item.steps[start : start + STEPS_AT_ONCE]:
            _set_step(message.steps.add(), step)
        written.append(message.SerializeToString())
    yield length_prefix(runs_pb2.ListItemsResponse.ITEMS_FIELD_NUMBER, sum(map(len, written)))
    yield b"".join(written)


def item_list_from_proto(message: runs_pb2.ListItemsResponse) -> ItemList:
    """Read a page of items."""
    items = [item_from_proto(item, index) for index, item in enumerate(message.items)]
    return ItemList(items, message.next_page_token)


def item_from_proto(message: runs_pb2.Item, index: int) -> Item:
    """Read an entry of `items`; `index` is its place there."""
    return _item(message, "items", index)


def set_item(message: runs_pb2.Item, item: Item, encoding: runs_pb2.ResultEncoding.ValueType) -> None:
    """Write an item in place."""
    message.item_index = item.item_index
    message.status = STATE_NUMBERS[item.status]
    if item.input is not None:
        set_json_value(message.input, item.input, encoding)
    if item.result is not None:
        set_result(message.result, item.result, encoding)
    if item.started_at is not None:
        write_time(message.started_at, item.started_at)
    if item.completed_at is not None:
        write_time(message.completed_at, item.completed_at)
    message.attempts = item.attempts
    for step in item.steps:
        _set_step(message.steps.add(), step)


def _set_step(message: runs_pb2.StepStatus, step: StepStatus) -> None:
    message.step_id = step.step_id
    message.component = step.component
    message.status = _STEP_NUMBERS[step.status]
    message.attempts = step.attempts
    if step.started_at is not None:
        write_time(message.started_at, step.started_at)
    if step.completed_at is not None:
        write_time(message.completed_at, step.completed_at)
    if step.error is not None:
        set_error(message.error, step.error, JSON)


def _item(message: runs_pb2.Item, *path: str | int) -> Item:
    return Item(
        message.item_index,
        state_from_proto(message.status, *path, "status"),
        input=json_value_to_text(message.input, *path, "input") if message.HasField("input") else None,
        result=result_from_proto(message.result, *path, "result") if message.HasField("result") else None,
        attempts=message.attempts,
        steps=tuple(_step(step, *path, "steps", index) for index, step in enumerate(message.steps)),
        **_times(message, *path),
    )


def _step(message: runs_pb2.StepStatus, *path: str | int) -> StepStatus:
    state = _STEP_STATES.get(message.status)
    if state is None:
        raise unknown_number(*path, "status")
    return StepStatus(
        message.step_id,
        message.component,
        state,
        message.attempts,
        error=error_from_proto(message.error, *path, "error") if message.HasField("error") else None,
        **_times(message, *path),
    )


def _times(message: runs_pb2.Item | runs_pb2.StepStatus, *path: str | int) -> dict[str, Any]:
    times: dict[str, Any] = {}
    if message.HasField("started_at"):
        times["started_at"] = read_time(message.started_at, *path, "started_at")
    if message.HasField("completed_at"):
        times["completed_at"] = read_time(message.completed_at, *path, "completed_at")
    return times
