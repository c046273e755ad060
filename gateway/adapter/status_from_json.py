"""JSON -> the status of a run, in every dialect of the component protocol.

Readers accept the document's spelling and those of Stepflow 0.9 to 0.11.

- Members that the specification does not name go to `extensions`. Those inside the `result` object of an item are kept
  as an object in its `extensions["result"]`.
- The states `paused` and `recoveryFailed` are read as running and failed; `extensions["status"]` keeps the spelling.
  `completed` is success.

Paths of errors use the names of `gateway.core.model`.
"""

from collections.abc import Mapping
from typing import Any

from gateway.adapter.json_members import Member, Members, any_value, read_members, write_object
from gateway.adapter.params_json import labels_from_json
from gateway.core.errors import InvalidParams
from gateway.core.json_text import elements, integer, members, quote, string
from gateway.core.model import ItemError, ItemResult, ItemStatistics, JsonText, Nanoseconds, RunState, RunStatus
from gateway.core.times import nanoseconds
from gateway.core.validation import validated

FOREIGN_STATES = {
    "paused": RunState.RUNNING,
    "recoveryFailed": RunState.FAILED,
    "recoveryfailed": RunState.FAILED,
}
_STATES = {**{state.value: state for state in RunState}, "completed": RunState.SUCCESS, **FOREIGN_STATES}
OUTCOME_MEMBERS = frozenset({"outcome", "value", "result", "error"})


def run_status_from_json(text: JsonText) -> RunStatus:
    """Read a status in any dialect."""
    return validated(RunStatus, _with_foreign_state(read_members(text, RUN_STATUS)))


def run_status_and_entries_from_json(text: JsonText) -> tuple[RunStatus, list[JsonText]]:
    """Read a status in any dialect without its results, whose entries come as they are: there may be many."""
    fields = read_members(text, _UNREAD_RUN_STATUS)
    entries = fields.pop("results", [])
    return validated(RunStatus, _with_foreign_state(fields)), entries


def item_result_from_json(text: JsonText, index: int) -> ItemResult:
    """Read an entry of `results` in any dialect; `index` is its place there."""
    return item_result_at(text, "results", index)


def _state(text: JsonText, *path: str | int) -> str:
    """The state as it is spelled; `_with_foreign_state` makes it one of ours."""
    spelling = string(text, *path)
    if spelling not in _STATES:
        raise InvalidParams.field(*path, description="not a state")
    return spelling


def time_from_json(text: JsonText, *path: str | int) -> Nanoseconds:
    """Read a time."""
    return nanoseconds(string(text, *path), *path)


def _with_foreign_state(fields: dict[str, Any]) -> dict[str, Any]:
    spelling = fields.get("status")
    if spelling is not None:
        fields["status"] = _STATES[spelling]
        if spelling in FOREIGN_STATES:
            fields.setdefault("extensions", {})["status"] = quote(spelling)
    return fields


def _items(text: JsonText, *path: str | int) -> ItemStatistics:
    fields = read_members(text, STATISTICS, *path)
    completed = fields.pop("completed", None)
    if completed is not None:
        fields.setdefault("success", completed)
    if "total" in fields and "pending" not in fields:
        # The dialects without this member count what it would hold nowhere, or among the running.
        rest = sum(fields.get(name, 0) for name in ("running", "success", "failed", "cancelled"))
        fields["pending"] = max(0, fields["total"] - rest)
    return validated(ItemStatistics, fields, *path)


def _results(text: JsonText, *path: str | int) -> list[ItemResult]:
    return [item_result_at(element, *path, index) for index, element in enumerate(elements(text, *path))]


def item_result_at(text: JsonText, *path: str | int) -> ItemResult:
    """Read the result at `path` in any dialect."""
    fields = _with_foreign_state(read_members(text, ITEM_RESULT, *path))
    outcome: dict[str, Any] = fields.pop("result", {})
    unknown = outcome.pop("extensions", None)
    if unknown is not None:
        fields.setdefault("extensions", {})["result"] = write_object([], unknown)
    fields |= outcome
    if "status" not in fields:
        fields["status"] = _implied_state(fields)
    return validated(ItemResult, fields, *path)


def _implied_state(fields: Mapping[str, Any]) -> RunState:
    """The state of an item whose entry does not say it: the document knows entries of finished items only."""
    if "value" in fields:
        return RunState.SUCCESS
    if "error" in fields:
        return RunState.FAILED
    return RunState.CANCELLED if "completed_at" in fields else RunState.RUNNING


def _outcome(text: JsonText, *path: str | int) -> dict[str, Any]:
    """What the `result` object of an item says: `value` or `error`, and its unknown members as `extensions`."""
    given = members(text, *path)
    outcome = string(given.get("outcome", "null"), *path, "outcome")
    fields: dict[str, Any] = {}
    if outcome == "success":
        # A sender that leaves out nulls leaves out this one.
        fields["value"] = given.get("value", given.get("result", "null"))
    elif outcome == "failed":
        fields["error"] = item_error_from_json(given.get("error", "null"), *path, "error")
    else:
        raise InvalidParams.field(*path, "outcome", description="expected 'success' or 'failed'")
    extensions = {name: member for name, member in given.items() if name not in OUTCOME_MEMBERS}
    if extensions:
        fields["extensions"] = extensions
    return fields


def item_error_from_json(text: JsonText, *path: str | int) -> ItemError:
    """Read the error at `path`."""
    return validated(ItemError, read_members(text, ITEM_ERROR, *path), *path)


RUN_STATUS: Members = {
    "runId": Member("run_id", string),
    "flowId": Member("flow_id", string),
    "flowName": Member("flow_name", string),
    "flowLabel": Member("flow_label", string),
    "status": Member("status", _state, spellings=tuple(_STATES)),
    "items": Member("items", _items),
    "createdAt": Member("created_at", time_from_json),
    "completedAt": Member("completed_at", time_from_json),
    "results": Member("results", _results),
    "startedAt": Member("started_at", time_from_json),
    "parentRunId": Member("parent_run_id", string),
    "rootRunId": Member("root_run_id", string),
    "depth": Member("depth", integer),
    "labels": Member("labels", labels_from_json),
    "cancelReason": Member("cancel_reason", string),
    "expiresAt": Member("expires_at", time_from_json),
    "namespace": Member("namespace", string),
}
_UNREAD_RUN_STATUS: Members = {**RUN_STATUS, "results": Member("results", elements)}
STATISTICS: Members = {
    "total": Member("total", integer),
    "pending": Member("pending", integer),
    "running": Member("running", integer),
    "success": Member("success", integer),
    "completed": Member("completed", integer),
    "failed": Member("failed", integer),
    "cancelled": Member("cancelled", integer),
}
ITEM_RESULT: Members = {
    "itemIndex": Member("item_index", integer),
    "status": Member("status", _state, spellings=tuple(_STATES)),
    "result": Member("result", _outcome),
    "completedAt": Member("completed_at", time_from_json),
}
ITEM_ERROR: Members = {
    "code": Member("code", integer),
    "message": Member("message", string),
    "data": Member("data", any_value, nullable=True),
}

RUN_STATUS_MEMBERS = frozenset(RUN_STATUS)
STATISTICS_MEMBERS = frozenset(STATISTICS)
ITEM_RESULT_MEMBERS = frozenset(ITEM_RESULT)
ITEM_ERROR_MEMBERS = frozenset(ITEM_ERROR)
"""Members that have fields of their own and so are no extensions; likewise the three above."""
