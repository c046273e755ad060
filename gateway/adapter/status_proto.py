"""The status of a run <-> protobuf messages.

Readers raise InvalidParams with the path of the field that breaks its rule; writers assume what the model promises, and
times within the years 1 to 9999.
"""

from collections.abc import Iterable
from typing import Final, Literal, TypeAlias, get_args

from gateway.adapter.proto_fields import JSON, read_texts, read_time, unknown_number, write_texts, write_time
from gateway.adapter.values import json_value_to_text, set_json_value
from gateway.core.model import ItemError, ItemResult, ItemStatistics, RunState, RunStatus
from gateway.core.owner import DEFAULT_NAMESPACE
from gateway.core.validation import validated
from runs.v1 import runs_pb2

_OptionalText: TypeAlias = Literal["flow_name", "flow_label", "parent_run_id", "root_run_id", "cancel_reason"]
_OptionalTime: TypeAlias = Literal["completed_at", "started_at", "expires_at"]
STATES = {
    runs_pb2.RUN_STATE_PENDING: RunState.PENDING,
    runs_pb2.RUN_STATE_RUNNING: RunState.RUNNING,
    runs_pb2.RUN_STATE_SUCCESS: RunState.SUCCESS,
    runs_pb2.RUN_STATE_FAILED: RunState.FAILED,
    runs_pb2.RUN_STATE_CANCELLED: RunState.CANCELLED,
}
STATE_NUMBERS = {state: number for number, state in STATES.items()}
_OPTIONAL_TEXTS: Final[tuple[_OptionalText, ...]] = get_args(_OptionalText)
_OPTIONAL_TIMES: Final[tuple[_OptionalTime, ...]] = get_args(_OptionalTime)


def run_status_to_proto(status: RunStatus, encoding: runs_pb2.ResultEncoding.ValueType = JSON) -> runs_pb2.RunStatus:
    """Write a status, its results in the encoding asked for."""
    message = runs_pb2.RunStatus()
    set_run_status(message, status, encoding)
    return message


def set_run_status(message: runs_pb2.RunStatus, status: RunStatus, encoding: runs_pb2.ResultEncoding.ValueType) -> None:
    """Like `run_status_to_proto`, in place: a message that is a part of another is not copied into it."""
    message.run_id = status.run_id
    message.flow_id = status.flow_id
    if status.flow_name is not None:
        message.flow_name = status.flow_name
    if status.flow_label is not None:
        message.flow_label = status.flow_label
    message.status = STATE_NUMBERS[status.status]
    _set_statistics(message.items, status.items)
    write_time(message.created_at, status.created_at)
    if status.completed_at is not None:
        write_time(message.completed_at, status.completed_at)
    add_results(message, status.results or (), encoding)
    if status.extensions:
        write_texts(message.extensions, status.extensions)
    if status.started_at is not None:
        write_time(message.started_at, status.started_at)
    if status.parent_run_id is not None:
        message.parent_run_id = status.parent_run_id
    if status.root_run_id is not None:
        message.root_run_id = status.root_run_id
    if status.depth:
        message.depth = status.depth
    if status.labels:
        message.labels.update(status.labels)
    if status.cancel_reason is not None:
        message.cancel_reason = status.cancel_reason
    if status.expires_at is not None:
        write_time(message.expires_at, status.expires_at)
    if status.namespace != DEFAULT_NAMESPACE:
        message.namespace = status.namespace


def add_results(
    message: runs_pb2.RunStatus, results: Iterable[ItemResult], encoding: runs_pb2.ResultEncoding.ValueType
) -> None:
    """Write further results of a status."""
    for result in results:
        set_result(message.results.add(), result, encoding)


def run_status_from_proto(message: runs_pb2.RunStatus, *, with_results: bool) -> RunStatus:
    """Read a status. Protobuf cannot tell no results from results not asked for: `with_results` tells which it is."""
    fields: dict[str, object] = {
        "run_id": message.run_id,
        "flow_id": message.flow_id,
        "status": state_from_proto(message.status, "status"),
        "items": _statistics(message.items),
        "created_at": read_time(message.created_at, "created_at"),
        "extensions": read_texts(message.extensions, "extensions"),
        "labels": dict(message.labels),
        "depth": message.depth,
        "namespace": message.namespace or DEFAULT_NAMESPACE,
    }
    for name in _OPTIONAL_TEXTS:
        if message.HasField(name):
            fields[name] = getattr(message, name)
    for time in _OPTIONAL_TIMES:
        if message.HasField(time):
            fields[time] = read_time(getattr(message, time), time)
    if with_results:
        fields["results"] = [
            result_from_proto(result, "results", index) for index, result in enumerate(message.results)
        ]
    return validated(RunStatus, fields)


def _set_statistics(message: runs_pb2.ItemStatistics, items: ItemStatistics) -> None:
    # Zeros are not sent, and most numbers are zero.
    if items.total:
        message.total = items.total
    if items.pending:
        message.pending = items.pending
    if items.running:
        message.running = items.running
    if items.success:
        message.success = items.success
    if items.failed:
        message.failed = items.failed
    if items.cancelled:
        message.cancelled = items.cancelled
    if items.extensions:
        write_texts(message.extensions, items.extensions)


def _statistics(message: runs_pb2.ItemStatistics) -> ItemStatistics:
    fields: dict[str, object] = {
        "total": message.total,
        "pending": message.pending,
        "running": message.running,
        "success": message.success,
        "failed": message.failed,
        "cancelled": message.cancelled,
        "extensions": read_texts(message.extensions, "items", "extensions"),
    }
    return validated(ItemStatistics, fields, "items")


def set_result(message: runs_pb2.ItemResult, result: ItemResult, encoding: runs_pb2.ResultEncoding.ValueType) -> None:
    """Write a result in place."""
    message.item_index = result.item_index
    message.status = STATE_NUMBERS[result.status]
    if result.value is not None:
        set_json_value(message.value, result.value, encoding)
    elif result.error is not None:
        set_error(message.error, result.error, encoding)
    if result.completed_at is not None:
        write_time(message.completed_at, result.completed_at)
    if result.extensions:
        write_texts(message.extensions, result.extensions)


def set_error(message: runs_pb2.ItemError, error: ItemError, encoding: runs_pb2.ResultEncoding.ValueType) -> None:
    """Write an error in place."""
    message.code = error.code
    message.message = error.message
    if error.data is not None:
        set_json_value(message.data, error.data, encoding)
    for name, text in error.extensions.items():
        message.extensions[name].json = text


def result_from_proto(message: runs_pb2.ItemResult, *path: str | int) -> ItemResult:
    """Read the result at `path`."""
    fields: dict[str, object] = {
        "item_index": message.item_index,
        "status": state_from_proto(message.status, *path, "status"),
        "extensions": read_texts(message.extensions, *path, "extensions"),
    }
    outcome = message.WhichOneof("outcome")
    if outcome == "value":
        fields["value"] = json_value_to_text(message.value, *path, "value")
    elif outcome == "error":
        fields["error"] = error_from_proto(message.error, *path, "error")
    if message.HasField("completed_at"):
        fields["completed_at"] = read_time(message.completed_at, *path, "completed_at")
    return validated(ItemResult, fields, *path)


def error_from_proto(message: runs_pb2.ItemError, *path: str | int) -> ItemError:
    """Read the error at `path`."""
    fields: dict[str, object] = {
        "code": message.code,
        "message": message.message,
        "extensions": read_texts(message.extensions, *path, "extensions"),
    }
    if message.HasField("data"):
        fields["data"] = json_value_to_text(message.data, *path, "data")
    return validated(ItemError, fields, *path)


def state_from_proto(number: runs_pb2.RunState.ValueType, *path: str | int) -> RunState:
    """Read a state."""
    state = STATES.get(number)
    if state is None:
        raise unknown_number(*path)
    return state
