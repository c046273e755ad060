"""Items of runs: parameters and pages <-> JSON. Paths of errors use the names of `gateway.core.model`."""

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from gateway.adapter.control_json import known_members
from gateway.adapter.filters_json import STATES_BY_SPELLING, state_from_json
from gateway.adapter.json_members import Member, Members, Params, any_value, members_of, read_members, write_object
from gateway.adapter.status_from_json import item_error_from_json, item_result_at, time_from_json
from gateway.adapter.status_to_json import error_to_json, plain_result_pieces
from gateway.core.control import ItemList, ItemsParams
from gateway.core.errors import InvalidParams
from gateway.core.items import STEPS_AT_ONCE, Item, StepState, StepStatus
from gateway.core.json_text import boolean, elements, integer, quote, string
from gateway.core.model import JsonText, RunState
from gateway.core.run_filter import asked_states
from gateway.core.times import rfc3339
from gateway.core.validation import validated

_STEP_STATES = {state.value: state for state in StepState}


def items_params_from_json(params: Params) -> ItemsParams:
    """Read the parameters of runs/items."""
    return validated(ItemsParams, known_members(params, ITEMS))


def items_params_to_json(params: ItemsParams) -> JsonText:
    """Write the parameters of runs/items; members that hold their default are left out."""
    parts = [f'"runId":{quote(params.run_id)}']
    if params.states:
        parts.append(f'"states":[{",".join(quote(state.value) for state in params.states)}]')
    if params.page_size:
        parts.append(f'"pageSize":{params.page_size}')
    if params.page_token:
        parts.append(f'"pageToken":{quote(params.page_token)}')
    if params.include_inputs:
        parts.append('"includeInputs":true')
    return write_object(parts, {})


def item_pieces(item: Item) -> Iterator[JsonText]:
    """Write an item in pieces that take little time each, and hold the very text of its input and of its value."""
    yield f'{{"itemIndex":{item.item_index},"status":"{item.status.value}"'
    if item.input is not None:
        yield ',"input":'
        yield item.input
    if item.result is not None:
        yield ',"result":'
        yield from plain_result_pieces(item.result)
    attempts = f',"attempts":{item.attempts}' if item.attempts else ""
    yield f"{_times_text(item)}{attempts}"
    before = ',"steps":['
    for start in range(0, len(item.steps), STEPS_AT_ONCE):
        yield f"{before}{','.join(map(_step_text, item.steps[start : start + STEPS_AT_ONCE]))}"
        before = ","
    yield "]}" if item.steps else "}"


def end_of_item_list(page: ItemList) -> JsonText:
    """What stands in a page of items after the entries of `items`; before them stands `{"items":[`."""
    return f'],"nextPageToken":{quote(page.next_page_token)}}}' if page.next_page_token else "]}"


def item_list_from_json(text: JsonText) -> ItemList:
    """Read a page of items."""
    entries, page = item_list_entries(text)
    return replace(page, items=[item_from_json(entry, index) for index, entry in enumerate(entries)])


def item_list_entries(text: JsonText) -> tuple[list[JsonText], ItemList]:
    """The entries of a page of items as they come, since there may be many, and the page without them."""
    given = members_of(text)
    token = given.get("nextPageToken", "null")
    page = ItemList([], "" if token == "null" else string(token, "next_page_token"))
    return elements(given.get("items", "null"), "items"), page


def item_from_json(text: JsonText, index: int) -> Item:
    """Read an entry of `items`; `index` is its place there."""
    return _item(text, "items", index)


def _times_text(timed: Item | StepStatus) -> JsonText:
    started = "" if timed.started_at is None else f',"startedAt":"{rfc3339(timed.started_at)}"'
    completed = "" if timed.completed_at is None else f',"completedAt":"{rfc3339(timed.completed_at)}"'
    return f"{started}{completed}"


def _step_text(step: StepStatus) -> JsonText:
    attempts = f',"attempts":{step.attempts}' if step.attempts else ""
    error = "" if step.error is None else f',"error":{error_to_json(step.error)}'
    return (
        f'{{"stepId":{quote(step.step_id)},"component":{quote(step.component)},"status":"{step.status.value}"'
        f"{attempts}{_times_text(step)}{error}}}"
    )


def _item(text: JsonText, *path: str | int) -> Item:
    return Item(**_needed(_fields(text, ITEM, *path), ("item_index", "status"), *path))


def _steps(text: JsonText, *path: str | int) -> tuple[StepStatus, ...]:
    needed = ("step_id", "component", "status")
    return tuple(
        StepStatus(**_needed(_fields(step, STEP, *path, index), needed, *path, index))
        for index, step in enumerate(elements(text, *path))
    )


def _fields(text: JsonText, known: Members, *path: str | int) -> dict[str, Any]:
    fields = read_members(text, known, *path)
    fields.pop("extensions", None)
    return fields


def _needed(fields: dict[str, Any], names: tuple[str, ...], *path: str | int) -> dict[str, Any]:
    for name in names:
        if name not in fields:
            raise InvalidParams.field(*path, name, description="is needed")
    return fields


def _count(text: JsonText, *path: str | int) -> int:
    number = integer(text, *path)
    if number < 0:
        raise InvalidParams.field(*path, description="expected at least 0")
    return number


def _step_state(text: JsonText, *path: str | int) -> StepState:
    state = _STEP_STATES.get(string(text, *path))
    if state is None:
        raise InvalidParams.field(*path, description="not a state of a step")
    return state


def _states(text: JsonText, *path: str | int) -> tuple[RunState, ...]:
    return asked_states(elements(text, *path), state_from_json, *path)


ITEMS: Members = {
    "runId": Member("run_id", string),
    "states": Member("states", _states, spellings=tuple(STATES_BY_SPELLING)),
    "pageSize": Member("page_size", integer),
    "pageToken": Member("page_token", string),
    "includeInputs": Member("include_inputs", boolean),
}
ITEM: Members = {
    "itemIndex": Member("item_index", _count),
    "status": Member("status", state_from_json, spellings=tuple(STATES_BY_SPELLING)),
    "input": Member("input", any_value, nullable=True),
    "result": Member("result", item_result_at),
    "startedAt": Member("started_at", time_from_json),
    "completedAt": Member("completed_at", time_from_json),
    "attempts": Member("attempts", _count),
    "steps": Member("steps", _steps),
}
STEP: Members = {
    "stepId": Member("step_id", string),
    "component": Member("component", string),
    "status": Member("status", _step_state),
    "attempts": Member("attempts", _count),
    "startedAt": Member("started_at", time_from_json),
    "completedAt": Member("completed_at", time_from_json),
    "error": Member("error", item_error_from_json),
}

ITEMS_MEMBERS = frozenset(ITEMS)
"""The parameters of runs/items."""
