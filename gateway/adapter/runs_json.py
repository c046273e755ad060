"""Messages of the runs methods <-> JSON, in every dialect of the component protocol.

Readers accept the document's spelling and those of Stepflow 0.9 to 0.11. Writers know two styles: that of the document,
and the *superset* of all dialects, which the document's readers and all real component SDKs decode.

- An explicit null is an absent member, except where any JSON value may stand: an input, a variable, a value, `data`.
- Of repeated members the last one counts.
- Members that the specification does not name go to `extensions` and come back out of it. Those inside the `result`
  object of an item are kept as an object in its `extensions["result"]`.
- The states `paused` and `recoveryFailed` are read as running and failed; `extensions["status"]` keeps the spelling,
  and writers use it again. `completed` is success.
- The superset spells the states of items as all SDKs know them: a pending item is written as running, one whose
  recovery failed as failed.
- A resume token is written in the URL-safe base64 alphabet without padding. Text that is none is a token all the same,
  one that nobody understands.

Paths of errors use the names of `gateway.core.model`.
"""

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from gateway.core.errors import InvalidParams
from gateway.core.json_text import boolean, elements, integer, members, number, object_text, quote, string
from gateway.core.model import (
    GetParams,
    ItemError,
    ItemResult,
    ItemStatistics,
    JsonText,
    Nanoseconds,
    ObservabilityContext,
    ResultOrder,
    RunState,
    RunStatus,
    SubmitParams,
)
from gateway.core.times import nanoseconds, rfc3339
from gateway.core.validation import validated

_Reader: TypeAlias = Callable[..., Any]
_Members: TypeAlias = Mapping[str, tuple[str, _Reader]]
"""For each member that has a field: the name of the field, and what reads its text, given the path as well."""

_ORDERS = {
    "byIndex": ResultOrder.BY_INDEX,
    "by_index": ResultOrder.BY_INDEX,
    "byCompletion": ResultOrder.BY_COMPLETION,
    "by_completion": ResultOrder.BY_COMPLETION,
}
_FOREIGN_STATES = {
    "paused": RunState.RUNNING,
    "recoveryFailed": RunState.FAILED,
    "recoveryfailed": RunState.FAILED,
}
_STATES = {**{state.value: state for state in RunState}, "completed": RunState.SUCCESS, **_FOREIGN_STATES}
_SDK_ITEM_STATES = {RunState.SUCCESS: "completed", RunState.PENDING: "running"}
_PAUSED = '"paused"'
_SLICE_LENGTH = 64
_SLICE_TEXT = 64 << 10
_OUTCOME_MEMBERS = frozenset({"outcome", "value", "result", "error"})


def submit_params_from_json(params: JsonText | None) -> SubmitParams:
    """Read the parameters of runs/submit."""
    return validated(SubmitParams, _read(_required(params), _SUBMIT))


def submit_params_to_json(params: SubmitParams) -> JsonText:
    """Write the parameters of runs/submit in the document's style; members that hold their default are left out."""
    parts = [f'"flowId":{quote(params.flow_id)}', f'"inputs":[{",".join(params.inputs)}]']
    if params.wait:
        parts.append('"wait":true')
    if params.max_concurrency is not None:
        parts.append(f'"maxConcurrency":{params.max_concurrency}')
    if params.overrides is not None:
        parts.append(f'"overrides":{params.overrides}')
    _add_observability(parts, params.observability)
    _add_seconds(parts, "timeoutSecs", params.timeout)
    if params.idempotency_key is not None:
        parts.append(f'"subflowKey":{quote(params.idempotency_key)}')
    if params.variables:
        parts.append(f'"variables":{_object(params.variables)}')
    if params.flow_label is not None:
        parts.append(f'"flowLabel":{quote(params.flow_label)}')
    return _close(parts, params.extensions, SUBMIT_MEMBERS)


def get_params_from_json(params: JsonText | None) -> GetParams:
    """Read the parameters of runs/get."""
    return validated(GetParams, _read(_required(params), _GET))


def get_params_to_json(params: GetParams) -> JsonText:
    """Write the parameters of runs/get in the document's style; members that hold their default are left out."""
    parts = [f'"runId":{quote(params.run_id)}']
    if params.wait:
        parts.append('"wait":true')
    if params.include_results:
        parts.append('"includeResults":true')
    if params.result_order is not ResultOrder.BY_INDEX:
        parts.append(f'"resultOrder":"{params.result_order.value}"')
    _add_observability(parts, params.observability)
    _add_seconds(parts, "timeoutSecs", params.timeout)
    if params.resume_token:
        parts.append(f'"resumeToken":"{resume_token_to_text(params.resume_token)}"')
    _add_seconds(parts, "heartbeatSecs", params.heartbeat_interval)
    return _close(parts, params.extensions, GET_MEMBERS)


def resume_token_from_text(text: str) -> bytes:
    """Read a resume token; padding is taken, too."""
    try:
        return b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except ValueError:
        # A header holds what is not UTF-8 as lone surrogates.
        return text.encode(errors="surrogateescape")


def resume_token_to_text(token: bytes) -> str:
    """Write a resume token."""
    return urlsafe_b64encode(token).rstrip(b"=").decode()


def observability_from_json(text: JsonText, *path: str | int) -> ObservabilityContext:
    """Read a trace; its members may be spelled in snake_case or camelCase."""
    return validated(ObservabilityContext, _read(text, _OBSERVABILITY, *path), *path)


def observability_to_json(context: ObservabilityContext) -> JsonText:
    """Write a trace: its members are snake_case in every dialect."""
    named = {
        "trace_id": context.trace_id,
        "span_id": context.span_id,
        "run_id": context.run_id,
        "flow_id": context.flow_id,
        "step_id": context.step_id,
    }
    parts = [f'"{name}":{quote(value)}' for name, value in named.items() if value is not None]
    return _close(parts, context.extensions, OBSERVABILITY_MEMBERS)


def run_status_to_json(status: RunStatus) -> JsonText:
    """Write a status as the superset of all dialects: what components are answered."""
    opening, closing = around_results(status)
    return f"{opening}{results_to_json(status.results or [])}{closing}"


def around_results(status: RunStatus, more: Mapping[str, JsonText] | None = None) -> tuple[JsonText, JsonText]:
    """What stands in the superset before and after the entries of `results`, if the status has results.

    `more` are members to add at the end; they stand in for extensions of the same names.
    """
    opening = ",".join(_run_status_parts(status, _superset_statistics(status.items)))
    return _around_results(status, opening, {**status.extensions, **(more or {})})


def results_to_json(results: Sequence[ItemResult]) -> JsonText:
    """Write entries of `results` as the superset, with commas between them."""
    return ",".join(map(_superset_result, results))


def result_slices(results: Sequence[ItemResult] | None) -> Iterator[slice]:
    """Divide results into slices that take little time to write; at least one, which is empty if there are none."""
    start = size = 0
    for index, result in enumerate(results or ()):
        added = len(result.value or "") + len(result.error.data or "" if result.error else "")
        if index > start and (size + added > _SLICE_TEXT or index - start == _SLICE_LENGTH):
            yield slice(start, index)
            start, size = index, 0
        size += added
    yield slice(start, len(results or ()))


def run_status_to_canonical_json(status: RunStatus) -> JsonText:
    """Write a status in the document's style."""
    statistics = _close(_statistics_parts(status.items), status.items.extensions, _STATISTICS)
    opening, closing = _around_results(status, ",".join(_run_status_parts(status, statistics)), status.extensions)
    return f"{opening}{','.join(map(_result, status.results or []))}{closing}"


def run_status_from_json(text: JsonText) -> RunStatus:
    """Read a status in any dialect."""
    return validated(RunStatus, _with_foreign_state(_read(text, _RUN_STATUS)))


def run_status_and_entries_from_json(text: JsonText) -> tuple[RunStatus, list[JsonText]]:
    """Read a status in any dialect without its results, whose entries come as they are: there may be many."""
    fields = _read(text, _UNREAD_RUN_STATUS)
    entries = fields.pop("results", [])
    return validated(RunStatus, _with_foreign_state(fields)), entries


def item_result_from_json(text: JsonText, index: int) -> ItemResult:
    """Read an entry of `results` in any dialect; `index` is its place there."""
    return _item_result(text, "results", index)


def _read(text: JsonText, known: _Members, *path: str | int) -> dict[str, Any]:
    """The fields of a message: its known members, and `extensions` if there are others."""
    fields: dict[str, Any] = {}
    extensions: dict[str, JsonText] = {}
    for name, member in members(text, *path).items():
        if name not in known:
            extensions[name] = member
        elif member != "null" or known[name][1] is _payload:
            field, read = known[name]
            fields[field] = read(member, *path, field)
    if extensions:
        fields["extensions"] = extensions
    return fields


def _required(params: JsonText | None) -> JsonText:
    """Absent parameters are an empty object: what they lack is named by its field."""
    return "{}" if params is None else params


def _payload(text: JsonText, *_: str | int) -> JsonText:
    """Any JSON value, null included."""
    return text


def _result_order(text: JsonText, *path: str | int) -> ResultOrder:
    order = _ORDERS.get(string(text, *path))
    if order is None:
        raise InvalidParams.field(*path, description="expected 'byIndex' or 'byCompletion'")
    return order


def _seconds(text: JsonText, *path: str | int) -> float:
    """To the nanosecond, the resolution of durations in a gRPC message."""
    return round(number(text, *path), 9)


def _resume_token(text: JsonText, *path: str | int) -> bytes:
    return resume_token_from_text(string(text, *path))


def _label(text: JsonText, *path: str | int) -> str | None:
    """An empty label is none, as in a gRPC message."""
    return string(text, *path) or None


def _state(text: JsonText, *path: str | int) -> str:
    """The state as it is spelled; `_with_foreign_state` makes it one of ours."""
    spelling = string(text, *path)
    if spelling not in _STATES:
        raise InvalidParams.field(*path, description="not a state")
    return spelling


def _time(text: JsonText, *path: str | int) -> Nanoseconds:
    return nanoseconds(string(text, *path), *path)


def _with_foreign_state(fields: dict[str, Any]) -> dict[str, Any]:
    spelling = fields.get("status")
    if spelling is not None:
        fields["status"] = _STATES[spelling]
        if spelling in _FOREIGN_STATES:
            fields.setdefault("extensions", {})["status"] = quote(spelling)
    return fields


def _items(text: JsonText, *path: str | int) -> ItemStatistics:
    fields = _read(text, _STATISTICS, *path)
    completed = fields.pop("completed", None)
    if completed is not None:
        fields.setdefault("success", completed)
    if "total" in fields and "pending" not in fields:
        # The dialects without this member count what it would hold nowhere, or among the running.
        rest = sum(fields.get(name, 0) for name in ("running", "success", "failed", "cancelled"))
        fields["pending"] = max(0, fields["total"] - rest)
    return validated(ItemStatistics, fields, *path)


def _results(text: JsonText, *path: str | int) -> list[ItemResult]:
    return [_item_result(element, *path, index) for index, element in enumerate(elements(text, *path))]


def _item_result(text: JsonText, *path: str | int) -> ItemResult:
    fields = _with_foreign_state(_read(text, _ITEM_RESULT, *path))
    outcome: dict[str, Any] = fields.pop("result", {})
    unknown = outcome.pop("extensions", None)
    if unknown is not None:
        fields.setdefault("extensions", {})["result"] = _object(unknown)
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
        fields["error"] = _item_error(given.get("error", "null"), *path, "error")
    else:
        raise InvalidParams.field(*path, "outcome", description="expected 'success' or 'failed'")
    extensions = {name: member for name, member in given.items() if name not in _OUTCOME_MEMBERS}
    if extensions:
        fields["extensions"] = extensions
    return fields


def _item_error(text: JsonText, *path: str | int) -> ItemError:
    return validated(ItemError, _read(text, _ITEM_ERROR, *path), *path)


def _run_status_parts(status: RunStatus, items: JsonText) -> list[str]:
    parts = [f'"runId":{quote(status.run_id)}', f'"flowId":{quote(status.flow_id)}']
    if status.flow_name is not None:
        parts.append(f'"flowName":{quote(status.flow_name)}')
    if status.flow_label is not None:
        parts.append(f'"flowLabel":{quote(status.flow_label)}')
    spelling = _foreign_state(status) or f'"{status.status.value}"'
    parts += [f'"status":{spelling}', f'"items":{items}', f'"createdAt":"{rfc3339(status.created_at)}"']
    if status.completed_at is not None:
        parts.append(f'"completedAt":"{rfc3339(status.completed_at)}"')
    return parts


def _around_results(status: RunStatus, opening: str, extensions: Mapping[str, JsonText]) -> tuple[JsonText, JsonText]:
    closing = _close([], extensions, _RUN_STATUS).removeprefix("{")
    comma = "" if closing == "}" else ","
    if status.results is None:
        return f"{{{opening}", f"{comma}{closing}"
    return f'{{{opening},"results":[', f"]{comma}{closing}"


def _statistics_parts(items: ItemStatistics) -> list[str]:
    return [
        f'"total":{items.total}',
        f'"pending":{items.pending}',
        f'"running":{items.running}',
        f'"success":{items.success}',
        f'"failed":{items.failed}',
        f'"cancelled":{items.cancelled}',
    ]


def _superset_statistics(items: ItemStatistics) -> JsonText:
    return _close([*_statistics_parts(items), f'"completed":{items.success}'], items.extensions, _STATISTICS)


def _result(result: ItemResult) -> JsonText:
    """One entry in the document's style, which gives the state only where nothing else tells it."""
    parts = [f'"itemIndex":{result.item_index}']
    foreign = _foreign_state(result)
    outcome = _outcome_text(result, superset=False)
    implied = RunState.FAILED if result.value is None else RunState.SUCCESS
    if foreign is not None or outcome is None or result.status is not implied:
        parts.append(f'"status":{foreign or quote(result.status.value)}')
    return _close_result(parts, result, outcome)


def _superset_result(result: ItemResult) -> JsonText:
    foreign = _foreign_state(result)
    spelling = foreign if foreign == _PAUSED else f'"{_SDK_ITEM_STATES.get(result.status, result.status.value)}"'
    parts = [f'"itemIndex":{result.item_index}', f'"status":{spelling}']
    return _close_result(parts, result, _outcome_text(result, superset=True))


def _close_result(parts: list[str], result: ItemResult, outcome: JsonText | None) -> JsonText:
    if outcome is not None:
        parts.append(f'"result":{outcome}')
    if result.completed_at is not None:
        parts.append(f'"completedAt":"{rfc3339(result.completed_at)}"')
    return _close(parts, result.extensions, _ITEM_RESULT)


def _outcome_text(result: ItemResult, *, superset: bool) -> JsonText | None:
    """The `result` object of an item; None if it has no outcome."""
    if result.value is not None:
        parts = ['"outcome":"success"', f'"value":{result.value}']
        if superset:
            parts.append(f'"result":{result.value}')
    elif result.error is not None:
        parts = ['"outcome":"failed"', f'"error":{_error_text(result.error)}']
    else:
        return None
    unknown = result.extensions.get("result", "")
    return _close(parts, members(unknown) if unknown.startswith("{") else {}, _OUTCOME_MEMBERS)


def _error_text(error: ItemError) -> JsonText:
    parts = [f'"code":{error.code}', f'"message":{quote(error.message)}']
    if error.data is not None:
        parts.append(f'"data":{error.data}')
    return _close(parts, error.extensions, _ITEM_ERROR)


def _foreign_state(message: RunStatus | ItemResult) -> JsonText | None:
    """The spelling of a state that the model has no name for, as it was read."""
    spelling = message.extensions.get("status")
    if spelling is None or _FOREIGN_STATES.get(spelling[1:-1]) is not message.status:
        return None
    return spelling


def _add_observability(parts: list[str], context: ObservabilityContext | None) -> None:
    if context is not None:
        parts.append(f'"observability":{observability_to_json(context)}')


def _add_seconds(parts: list[str], name: str, seconds: float | None) -> None:
    if seconds is not None:
        # Whole seconds as an integer: the real runtimes know no other.
        parts.append(f'"{name}":{int(seconds) if seconds.is_integer() else repr(seconds)}')


def _close(
    parts: Sequence[str], extensions: Mapping[str, JsonText], known: Mapping[str, Any] | frozenset[str]
) -> JsonText:
    """Write an object of these parts and of those extensions that repeat none of them."""
    if not extensions:
        return f"{{{','.join(parts)}}}"
    unknown = (f"{quote(name)}:{text}" for name, text in extensions.items() if name not in known)
    return f"{{{','.join((*parts, *unknown))}}}"


def _object(given: Mapping[str, JsonText]) -> JsonText:
    return _close([], given, frozenset())


_OBSERVABILITY: _Members = {
    "trace_id": ("trace_id", string),
    "traceId": ("trace_id", string),
    "span_id": ("span_id", string),
    "spanId": ("span_id", string),
    "run_id": ("run_id", string),
    "runId": ("run_id", string),
    "flow_id": ("flow_id", string),
    "flowId": ("flow_id", string),
    "step_id": ("step_id", string),
    "stepId": ("step_id", string),
}
_SUBMIT: _Members = {
    "flowId": ("flow_id", string),
    "inputs": ("inputs", elements),
    "wait": ("wait", boolean),
    "maxConcurrency": ("max_concurrency", integer),
    "overrides": ("overrides", object_text),
    "observability": ("observability", observability_from_json),
    "timeoutSecs": ("timeout", _seconds),
    "subflowKey": ("idempotency_key", string),
    "variables": ("variables", members),
    "flowLabel": ("flow_label", _label),
}
_GET: _Members = {
    "runId": ("run_id", string),
    "wait": ("wait", boolean),
    "includeResults": ("include_results", boolean),
    "resultOrder": ("result_order", _result_order),
    "observability": ("observability", observability_from_json),
    "timeoutSecs": ("timeout", _seconds),
    "resumeToken": ("resume_token", _resume_token),
    "heartbeatSecs": ("heartbeat_interval", _seconds),
}
_RUN_STATUS: _Members = {
    "runId": ("run_id", string),
    "flowId": ("flow_id", string),
    "flowName": ("flow_name", string),
    "flowLabel": ("flow_label", string),
    "status": ("status", _state),
    "items": ("items", _items),
    "createdAt": ("created_at", _time),
    "completedAt": ("completed_at", _time),
    "results": ("results", _results),
}
_UNREAD_RUN_STATUS: _Members = {**_RUN_STATUS, "results": ("results", elements)}
_STATISTICS: _Members = {
    "total": ("total", integer),
    "pending": ("pending", integer),
    "running": ("running", integer),
    "success": ("success", integer),
    "completed": ("completed", integer),
    "failed": ("failed", integer),
    "cancelled": ("cancelled", integer),
}
_ITEM_RESULT: _Members = {
    "itemIndex": ("item_index", integer),
    "status": ("status", _state),
    "result": ("result", _outcome),
    "completedAt": ("completed_at", _time),
}
_ITEM_ERROR: _Members = {
    "code": ("code", integer),
    "message": ("message", string),
    "data": ("data", _payload),
}

SUBMIT_MEMBERS = frozenset(_SUBMIT)
GET_MEMBERS = frozenset(_GET)
OBSERVABILITY_MEMBERS = frozenset(_OBSERVABILITY)
"""Members that have fields of their own and so are no extensions; likewise the two above."""
