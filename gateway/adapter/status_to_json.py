"""The status of a run -> JSON, in two styles.

One style is that of the document. The other is the *superset* of all dialects, which the document's readers and all
real component SDKs decode. It spells the states of items as all SDKs know them: a pending item is written as running,
one whose recovery failed as failed.

Extensions become members again. A state whose spelling `extensions["status"]` keeps is written with that spelling.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from gateway.adapter.json_members import write_object
from gateway.adapter.params_json import labels_to_json
from gateway.adapter.status_from_json import (
    FOREIGN_STATES,
    ITEM_ERROR_MEMBERS,
    ITEM_RESULT_MEMBERS,
    OUTCOME_MEMBERS,
    RUN_STATUS_MEMBERS,
    STATISTICS_MEMBERS,
)
from gateway.core.json_text import members, quote
from gateway.core.model import ItemError, ItemResult, ItemStatistics, JsonText, RunState, RunStatus
from gateway.core.owner import DEFAULT_NAMESPACE
from gateway.core.runtime import text_size, text_sizes
from gateway.core.times import rfc3339

_QUOTED = {state: quote(state.value) for state in RunState}
_QUOTED_FOR_SDKS = {**_QUOTED, RunState.SUCCESS: '"completed"', RunState.PENDING: '"running"'}
_PAUSED = '"paused"'
_SLICE_LENGTH = 64
_SLICE_TEXT = 64 << 10
_ENTRY_SIZE = 192
"""About how long the entry of a result is without its value."""
_STAND_IN = "\0"
"""Stands where a large text will be: no JSON text holds this character."""


def run_status_to_json(status: RunStatus) -> JsonText:
    """Write a status as the superset of all dialects: what components are answered."""
    opening, closing = around_results(status)
    return f"{opening}{results_to_json(status.results or [])}{closing}"


def around_results(
    status: RunStatus, more: Mapping[str, JsonText] | None = None, *, with_results: bool = False
) -> tuple[JsonText, JsonText]:
    """What stands in the superset before and after the entries of `results`, if the status has results.

    `more` are members to add at the end; they stand in for extensions of the same names. `with_results`: there are
    results that are not in the status.
    """
    opening = _before_extensions(status, _superset_statistics(status.items))
    extensions = {**status.extensions, **more} if more else status.extensions
    return _around_results(opening, extensions, with_results or status.results is not None)


def results_to_json(results: Sequence[ItemResult]) -> JsonText:
    """Write entries of `results` as the superset, with commas between them."""
    return ",".join(map(_superset_result, results))


def result_pieces(result: ItemResult) -> Iterator[JsonText]:
    """Write one entry of `results` as the superset, in pieces that hold the very text of a large value or `data`."""
    return _pieces(result, _superset_result)


def plain_result_pieces(result: ItemResult) -> Iterator[JsonText]:
    """Write one entry of `results` in the document's style, in such pieces."""
    return _pieces(result, _result)


def _pieces(result: ItemResult, write: Callable[[ItemResult], JsonText]) -> Iterator[JsonText]:
    error = result.error
    if result.value is not None:
        text, result = result.value, replace(result, value=_STAND_IN)
    elif error is not None and error.data is not None:
        text = error.data
        result = replace(result, error=replace(error, data=_STAND_IN))
    else:
        text = ""
    first, *others = write(result).split(_STAND_IN)
    yield first
    for other in others:
        yield text
        yield other


def results_size(results: Sequence[ItemResult]) -> int:
    """About how long the entries become at most, in characters."""
    return _ENTRY_SIZE * len(results) + 2 * text_sizes(results)


def is_large(results: Sequence[ItemResult]) -> bool:
    """Whether a slice of results is a single one that should be written in pieces."""
    return len(results) == 1 and text_size(results[0]) > _SLICE_TEXT


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
    statistics = write_object([_counts(status.items)], status.items.extensions, STATISTICS_MEMBERS)
    opening, closing = _around_results(
        _before_extensions(status, statistics), status.extensions, status.results is not None
    )
    return f"{opening}{','.join(map(_result, status.results or []))}{closing}"


def _before_extensions(status: RunStatus, items: JsonText) -> str:
    name = "" if status.flow_name is None else f',"flowName":{quote(status.flow_name)}'
    label = "" if status.flow_label is None else f',"flowLabel":{quote(status.flow_label)}'
    ended = "" if status.completed_at is None else f',"completedAt":"{rfc3339(status.completed_at)}"'
    return (
        f'"runId":{quote(status.run_id)},"flowId":{quote(status.flow_id)}{name}{label}'
        f',"status":{_foreign_state(status) or _QUOTED[status.status]}'
        f',"items":{items},"createdAt":"{rfc3339(status.created_at)}"{ended}{_control_members(status)}'
    )


def _control_members(status: RunStatus) -> str:
    """The members that the specification does not name: each only where it says something."""
    text = ""
    if status.started_at is not None:
        text += f',"startedAt":"{rfc3339(status.started_at)}"'
    if status.parent_run_id is not None:
        text += f',"parentRunId":{quote(status.parent_run_id)}'
    if status.root_run_id is not None:
        text += f',"rootRunId":{quote(status.root_run_id)}'
    if status.depth:
        text += f',"depth":{status.depth}'
    if status.labels:
        text += f',"labels":{labels_to_json(status.labels)}'
    if status.cancel_reason is not None:
        text += f',"cancelReason":{quote(status.cancel_reason)}'
    if status.expires_at is not None:
        text += f',"expiresAt":"{rfc3339(status.expires_at)}"'
    if status.namespace != DEFAULT_NAMESPACE:
        text += f',"namespace":{quote(status.namespace)}'
    return text


def _around_results(opening: str, extensions: Mapping[str, JsonText], has_results: bool) -> tuple[JsonText, JsonText]:
    closing = write_object([], extensions, RUN_STATUS_MEMBERS).removeprefix("{") if extensions else "}"
    comma = "" if closing == "}" else ","
    if not has_results:
        return f"{{{opening}", f"{comma}{closing}"
    return f'{{{opening},"results":[', f"]{comma}{closing}"


def _counts(items: ItemStatistics) -> str:
    return (
        f'"total":{items.total},"pending":{items.pending},"running":{items.running}'
        f',"success":{items.success},"failed":{items.failed},"cancelled":{items.cancelled}'
    )


def _superset_statistics(items: ItemStatistics) -> JsonText:
    return write_object([f'{_counts(items)},"completed":{items.success}'], items.extensions, STATISTICS_MEMBERS)


def _result(result: ItemResult) -> JsonText:
    """One entry in the document's style, which gives the state only where nothing else tells it."""
    parts = [f'"itemIndex":{result.item_index}']
    foreign = _foreign_state(result)
    outcome = _outcome_text(result, superset=False)
    implied = RunState.FAILED if result.value is None else RunState.SUCCESS
    if foreign is not None or outcome is None or result.status is not implied:
        parts.append(f'"status":{foreign or _QUOTED[result.status]}')
    return _close_result(parts, result, outcome)


def _superset_result(result: ItemResult) -> JsonText:
    foreign = _foreign_state(result)
    spelling = foreign if foreign == _PAUSED else _QUOTED_FOR_SDKS[result.status]
    parts = [f'"itemIndex":{result.item_index},"status":{spelling}']
    return _close_result(parts, result, _outcome_text(result, superset=True))


def _close_result(parts: list[str], result: ItemResult, outcome: JsonText | None) -> JsonText:
    if outcome is not None:
        parts.append(f'"result":{outcome}')
    if result.completed_at is not None:
        parts.append(f'"completedAt":"{rfc3339(result.completed_at)}"')
    return write_object(parts, result.extensions, ITEM_RESULT_MEMBERS)


def _outcome_text(result: ItemResult, *, superset: bool) -> JsonText | None:
    """The `result` object of an item; None if it has no outcome."""
    if (value := result.value) is not None:
        parts = [f'"outcome":"success","value":{value}']
        if superset:
            parts.append(f'"result":{value}')
    elif result.error is not None:
        parts = ['"outcome":"failed"', f'"error":{error_to_json(result.error)}']
    else:
        return None
    unknown = result.extensions.get("result", "") if result.extensions else ""
    return write_object(parts, members(unknown) if unknown.startswith("{") else {}, OUTCOME_MEMBERS)


def error_to_json(error: ItemError) -> JsonText:
    """Write an error."""
    parts = [f'"code":{error.code}', f'"message":{quote(error.message)}']
    if error.data is not None:
        parts.append(f'"data":{error.data}')
    return write_object(parts, error.extensions, ITEM_ERROR_MEMBERS)


def _foreign_state(message: RunStatus | ItemResult) -> JsonText | None:
    """The spelling of a state that the model has no name for, as it was read."""
    if not message.extensions:
        return None
    spelling = message.extensions.get("status")
    if spelling is None or FOREIGN_STATES.get(spelling[1:-1]) is not message.status:
        return None
    return spelling
