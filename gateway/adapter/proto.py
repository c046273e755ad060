"""Protobuf messages <-> canonical messages.

Readers (`..._from_proto`) raise InvalidParams with the path of the field that breaks its rule; writers assume what the
model promises, and times within the years 1 to 9999.
"""

from collections.abc import Mapping
from typing import Literal

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.adapter.runs_json import GET_MEMBERS, OBSERVABILITY_MEMBERS, SUBMIT_MEMBERS
from gateway.adapter.values import json_value_to_text, set_json_value
from gateway.core.errors import InvalidParams, TooLarge
from gateway.core.json_text import MAX_JSON_BYTES, json_text, object_text
from gateway.core.model import (
    MAX_TIMEOUT,
    Blob,
    BlobType,
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
from gateway.core.times import MAX_SECONDS, MIN_SECONDS
from gateway.core.validation import validated
from runs.v1 import blobs_pb2, runs_pb2

JSON = runs_pb2.RESULT_ENCODING_JSON

_OBSERVABILITY_FIELDS: tuple[Literal["trace_id", "span_id", "run_id", "flow_id", "step_id"], ...] = (
    "trace_id",
    "span_id",
    "run_id",
    "flow_id",
    "step_id",
)
_STATES = {
    runs_pb2.RUN_STATE_PENDING: RunState.PENDING,
    runs_pb2.RUN_STATE_RUNNING: RunState.RUNNING,
    runs_pb2.RUN_STATE_SUCCESS: RunState.SUCCESS,
    runs_pb2.RUN_STATE_FAILED: RunState.FAILED,
    runs_pb2.RUN_STATE_CANCELLED: RunState.CANCELLED,
}
_STATE_NUMBERS = {state: number for number, state in _STATES.items()}
_ORDERS = {
    runs_pb2.RESULT_ORDER_UNSPECIFIED: ResultOrder.BY_INDEX,
    runs_pb2.RESULT_ORDER_BY_INDEX: ResultOrder.BY_INDEX,
    runs_pb2.RESULT_ORDER_BY_COMPLETION: ResultOrder.BY_COMPLETION,
}
_ORDER_NUMBERS = {order: number for number, order in _ORDERS.items()}
_BLOB_TYPES = {
    blobs_pb2.BLOB_TYPE_UNSPECIFIED: BlobType.DATA,
    blobs_pb2.BLOB_TYPE_FLOW: BlobType.FLOW,
    blobs_pb2.BLOB_TYPE_DATA: BlobType.DATA,
}
_BLOB_TYPE_NUMBERS = {kind: number for number, kind in _BLOB_TYPES.items()}
_ENCODINGS = frozenset(runs_pb2.ResultEncoding.values())


def submit_params_from_proto(message: runs_pb2.SubmitRunRequest) -> SubmitParams:
    """Read the parameters of a submit."""
    params = submit_params_without_inputs(message)
    params.inputs.extend(input_from_proto(value, index) for index, value in enumerate(message.inputs))
    return params


def input_from_proto(value: runs_pb2.JsonValue, index: int) -> JsonText:
    """Read an input of a submit, by its place among all of them."""
    return json_value_to_text(value, "inputs", index)


def submit_params_without_inputs(message: runs_pb2.SubmitRunRequest) -> SubmitParams:
    """Read the parameters of a submit but for its inputs, which may be many: they go into the empty list."""
    _check_encoding(message.result_encoding)
    fields: dict[str, object] = {
        "flow_id": message.flow_id,
        "inputs": [],
        "wait": message.wait,
    }
    if message.HasField("max_concurrency"):
        fields["max_concurrency"] = message.max_concurrency
    if message.HasField("overrides"):
        fields["overrides"] = object_text(json_value_to_text(message.overrides, "overrides"), "overrides")
    if message.HasField("observability"):
        fields["observability"] = observability_from_proto(message.observability)
    if message.HasField("timeout"):
        fields["timeout"] = _seconds(message.timeout, "timeout")
    if message.idempotency_key:
        fields["idempotency_key"] = message.idempotency_key
    if message.variables:
        fields["variables"] = _texts(message.variables, "variables")
    if message.flow_label:
        fields["flow_label"] = message.flow_label
    if message.extensions:
        fields["extensions"] = _extensions(message.extensions, SUBMIT_MEMBERS)
    return validated(SubmitParams, fields)


def submit_params_to_proto(
    params: SubmitParams, encoding: runs_pb2.ResultEncoding.ValueType = JSON
) -> runs_pb2.SubmitRunRequest:
    """Write the parameters of a submit; `encoding` is how its results shall be encoded."""
    message = runs_pb2.SubmitRunRequest(
        flow_id=params.flow_id,
        wait=params.wait,
        max_concurrency=params.max_concurrency,
        timeout=None if params.timeout is None else _duration(params.timeout),
        idempotency_key=params.idempotency_key or "",
        flow_label=params.flow_label or "",
        result_encoding=encoding,
    )
    for text in params.inputs:
        message.inputs.add().json = text
    if params.overrides is not None:
        message.overrides.json = params.overrides
    if params.observability is not None:
        message.observability.CopyFrom(observability_to_proto(params.observability))
    for name, text in params.variables.items():
        message.variables[name].json = text
    for name, text in params.extensions.items():
        message.extensions[name].json = text
    return message


def get_params_from_proto(message: runs_pb2.GetRunRequest) -> GetParams:
    """Read the parameters of a get."""
    _check_encoding(message.result_encoding)
    order = _ORDERS.get(message.result_order)
    if order is None:
        raise _unknown_number("result_order")
    fields: dict[str, object] = {
        "run_id": message.run_id,
        "wait": message.wait,
        "include_results": message.include_results,
        "result_order": order,
        "resume_token": message.resume_token,
    }
    if message.HasField("observability"):
        fields["observability"] = observability_from_proto(message.observability)
    if message.HasField("timeout"):
        fields["timeout"] = _seconds(message.timeout, "timeout")
    if message.HasField("heartbeat_interval"):
        fields["heartbeat_interval"] = _seconds(message.heartbeat_interval, "heartbeat_interval")
    if message.extensions:
        fields["extensions"] = _extensions(message.extensions, GET_MEMBERS)
    return validated(GetParams, fields)


def get_params_to_proto(
    params: GetParams, encoding: runs_pb2.ResultEncoding.ValueType = JSON
) -> runs_pb2.GetRunRequest:
    """Write the parameters of a get; `encoding` is how its results shall be encoded."""
    message = runs_pb2.GetRunRequest(
        run_id=params.run_id,
        wait=params.wait,
        include_results=params.include_results,
        result_order=_ORDER_NUMBERS[params.result_order],
        timeout=None if params.timeout is None else _duration(params.timeout),
        resume_token=params.resume_token,
        heartbeat_interval=None if params.heartbeat_interval is None else _duration(params.heartbeat_interval),
        result_encoding=encoding,
    )
    if params.observability is not None:
        message.observability.CopyFrom(observability_to_proto(params.observability))
    for name, text in params.extensions.items():
        message.extensions[name].json = text
    return message


def observability_from_proto(message: runs_pb2.ObservabilityContext) -> ObservabilityContext:
    """Read the field `observability`."""
    fields: dict[str, object] = {
        name: getattr(message, name) for name in _OBSERVABILITY_FIELDS if message.HasField(name)
    }
    if message.extensions:
        fields["extensions"] = _extensions(message.extensions, OBSERVABILITY_MEMBERS, "observability")
    return validated(ObservabilityContext, fields, "observability")


def observability_to_proto(context: ObservabilityContext) -> runs_pb2.ObservabilityContext:
    """Write the trace of a call."""
    message = runs_pb2.ObservabilityContext(
        trace_id=context.trace_id,
        span_id=context.span_id,
        run_id=context.run_id,
        flow_id=context.flow_id,
        step_id=context.step_id,
    )
    for name, text in context.extensions.items():
        message.extensions[name].json = text
    return message


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
    message.status = _STATE_NUMBERS[status.status]
    _set_statistics(message.items, status.items)
    _set_time(message.created_at, status.created_at)
    if status.completed_at is not None:
        _set_time(message.completed_at, status.completed_at)
    for result in status.results or ():
        _set_result(message.results.add(), result, encoding)
    for name, text in status.extensions.items():
        message.extensions[name].json = text


def run_status_from_proto(message: runs_pb2.RunStatus, *, with_results: bool) -> RunStatus:
    """Read a status. Protobuf cannot tell no results from results not asked for: `with_results` tells which it is."""
    fields: dict[str, object] = {
        "run_id": message.run_id,
        "flow_id": message.flow_id,
        "status": _state(message.status, "status"),
        "items": _statistics(message.items),
        "created_at": _nanoseconds(message.created_at, "created_at"),
        "extensions": _texts(message.extensions, "extensions"),
    }
    if message.HasField("flow_name"):
        fields["flow_name"] = message.flow_name
    if message.HasField("flow_label"):
        fields["flow_label"] = message.flow_label
    if message.HasField("completed_at"):
        fields["completed_at"] = _nanoseconds(message.completed_at, "completed_at")
    if with_results:
        fields["results"] = [_result(result, "results", index) for index, result in enumerate(message.results)]
    return validated(RunStatus, fields)


def blob_from_put_request(message: blobs_pb2.PutBlobRequest) -> Blob:
    """Read the blob to store. TooLarge if binary content exceeds the limit of JSON content."""
    kind = _BLOB_TYPES.get(message.type)
    if kind is None:
        raise _unknown_number("type")
    blob = _blob(message, kind)
    if kind is BlobType.FLOW and isinstance(blob.content, bytes):
        raise InvalidParams.field("binary", description="a flow is JSON: set json")
    return blob


def blob_to_put_request(blob: Blob) -> blobs_pb2.PutBlobRequest:
    """Write a blob to store."""
    kind = _BLOB_TYPE_NUMBERS[blob.type]
    if isinstance(blob.content, bytes):
        return blobs_pb2.PutBlobRequest(binary=blob.content, type=kind)
    return blobs_pb2.PutBlobRequest(json=blob.content, type=kind)


def blob_from_get_response(message: blobs_pb2.GetBlobResponse) -> Blob:
    """Read a stored blob."""
    kind = _BLOB_TYPES.get(message.type)
    if kind is None:
        raise _unknown_number("type")
    return _blob(message, kind)


def blob_to_get_response(blob: Blob) -> blobs_pb2.GetBlobResponse:
    """Write a stored blob."""
    kind = _BLOB_TYPE_NUMBERS[blob.type]
    if isinstance(blob.content, bytes):
        return blobs_pb2.GetBlobResponse(binary=blob.content, type=kind)
    return blobs_pb2.GetBlobResponse(json=blob.content, type=kind)


def _blob(message: blobs_pb2.PutBlobRequest | blobs_pb2.GetBlobResponse, kind: BlobType) -> Blob:
    content = message.WhichOneof("content")
    if content == "json":
        return Blob(json_text(message.json, "json"), kind)
    if content is None:
        raise InvalidParams.field("content", description="set json or binary")
    if len(message.binary) > MAX_JSON_BYTES:
        raise TooLarge(f"binary: more than {MAX_JSON_BYTES // 2**20} MiB")
    return Blob(message.binary, kind)


def _set_statistics(message: runs_pb2.ItemStatistics, items: ItemStatistics) -> None:
    message.total = items.total
    message.pending = items.pending
    message.running = items.running
    message.success = items.success
    message.failed = items.failed
    message.cancelled = items.cancelled
    for name, text in items.extensions.items():
        message.extensions[name].json = text


def _statistics(message: runs_pb2.ItemStatistics) -> ItemStatistics:
    fields: dict[str, object] = {
        "total": message.total,
        "pending": message.pending,
        "running": message.running,
        "success": message.success,
        "failed": message.failed,
        "cancelled": message.cancelled,
        "extensions": _texts(message.extensions, "items", "extensions"),
    }
    return validated(ItemStatistics, fields, "items")


def _set_result(message: runs_pb2.ItemResult, result: ItemResult, encoding: runs_pb2.ResultEncoding.ValueType) -> None:
    message.item_index = result.item_index
    message.status = _STATE_NUMBERS[result.status]
    if result.value is not None:
        set_json_value(message.value, result.value, encoding)
    elif result.error is not None:
        error = message.error
        error.code = result.error.code
        error.message = result.error.message
        if result.error.data is not None:
            set_json_value(error.data, result.error.data, encoding)
        for name, text in result.error.extensions.items():
            error.extensions[name].json = text
    if result.completed_at is not None:
        _set_time(message.completed_at, result.completed_at)
    for name, text in result.extensions.items():
        message.extensions[name].json = text


def _result(message: runs_pb2.ItemResult, *path: str | int) -> ItemResult:
    fields: dict[str, object] = {
        "item_index": message.item_index,
        "status": _state(message.status, *path, "status"),
        "extensions": _texts(message.extensions, *path, "extensions"),
    }
    outcome = message.WhichOneof("outcome")
    if outcome == "value":
        fields["value"] = json_value_to_text(message.value, *path, "value")
    elif outcome == "error":
        fields["error"] = _error(message.error, *path, "error")
    if message.HasField("completed_at"):
        fields["completed_at"] = _nanoseconds(message.completed_at, *path, "completed_at")
    return validated(ItemResult, fields, *path)


def _error(message: runs_pb2.ItemError, *path: str | int) -> ItemError:
    fields: dict[str, object] = {
        "code": message.code,
        "message": message.message,
        "extensions": _texts(message.extensions, *path, "extensions"),
    }
    if message.HasField("data"):
        fields["data"] = json_value_to_text(message.data, *path, "data")
    return validated(ItemError, fields, *path)


def _texts(values: Mapping[str, runs_pb2.JsonValue], *path: str | int) -> dict[str, JsonText]:
    return {name: json_value_to_text(value, *path, name) for name, value in values.items()}


def _extensions(
    values: Mapping[str, runs_pb2.JsonValue], reserved: frozenset[str], *path: str | int
) -> dict[str, JsonText]:
    for name in values:
        if name in reserved:
            raise InvalidParams.field(*path, "extensions", name, description="has a field of its own")
    return _texts(values, *path, "extensions")


def _state(number: runs_pb2.RunState.ValueType, *path: str | int) -> RunState:
    state = _STATES.get(number)
    if state is None:
        raise _unknown_number(*path)
    return state


def _check_encoding(number: runs_pb2.ResultEncoding.ValueType) -> None:
    if number not in _ENCODINGS:
        raise _unknown_number("result_encoding")


def _unknown_number(*path: str | int) -> InvalidParams:
    return InvalidParams.field(*path, description="not a number of this enum")


def _set_time(message: Timestamp, time: Nanoseconds) -> None:
    message.seconds, message.nanos = divmod(time, 10**9)


def _nanoseconds(message: Timestamp, *path: str | int) -> Nanoseconds:
    if not (MIN_SECONDS <= message.seconds <= MAX_SECONDS and 0 <= message.nanos < 10**9):
        raise InvalidParams.field(*path, description="not a time within the years 1 to 9999")
    return message.seconds * 10**9 + message.nanos


def _duration(seconds: float) -> Duration:
    """The duration to the nearest nanosecond."""
    whole = int(seconds)
    # The fraction of a double is exact, the product of a large double would not be.
    carry, nanos = divmod(round((seconds - whole) * 10**9), 10**9)
    return Duration(seconds=whole + carry, nanos=nanos)


def _seconds(message: Duration, *path: str | int) -> float:
    seconds, nanos = message.seconds, message.nanos
    if abs(seconds) > MAX_TIMEOUT or abs(nanos) >= 10**9 or seconds * nanos < 0:
        raise InvalidParams.field(*path, description="not a duration")
    return (seconds * 10**9 + nanos) / 10**9
