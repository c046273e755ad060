"""Parameters of the runs methods <-> protobuf messages.

Readers raise InvalidParams with the path of the field that breaks its rule; writers assume what the model promises.
"""

from collections.abc import Sequence
from typing import Literal

from gateway.adapter.params_json import GET_MEMBERS, OBSERVABILITY_MEMBERS, SUBMIT_MEMBERS
from gateway.adapter.proto_fields import (
    ANY_SIZE,
    JSON,
    read_extensions,
    read_seconds,
    read_texts,
    to_duration,
    unknown_number,
    write_texts,
)
from gateway.adapter.values import json_value_to_text
from gateway.core.json_parts import Checkpoint, long_json_text
from gateway.core.json_text import object_text
from gateway.core.model import GetParams, JsonText, ObservabilityContext, ResultOrder, SubmitParams
from gateway.core.validation import validated
from runs.v1 import runs_pb2

_OBSERVABILITY_FIELDS: tuple[Literal["trace_id", "span_id", "run_id", "flow_id", "step_id"], ...] = (
    "trace_id",
    "span_id",
    "run_id",
    "flow_id",
    "step_id",
)
_ORDERS = {
    runs_pb2.RESULT_ORDER_UNSPECIFIED: ResultOrder.BY_INDEX,
    runs_pb2.RESULT_ORDER_BY_INDEX: ResultOrder.BY_INDEX,
    runs_pb2.RESULT_ORDER_BY_COMPLETION: ResultOrder.BY_COMPLETION,
}
_ORDER_NUMBERS = {order: number for number, order in _ORDERS.items()}
_ENCODINGS = frozenset(runs_pb2.ResultEncoding.values())


def submit_params_from_proto(message: runs_pb2.SubmitRunRequest) -> SubmitParams:
    """Read the parameters of a submit."""
    inputs: list[JsonText] = []
    params = submit_params_without_inputs(message, inputs)
    for index, value in enumerate(message.inputs):
        inputs.append(input_from_proto(value, index))
    return params


def input_from_proto(value: runs_pb2.JsonValue, index: int) -> JsonText:
    """Read an input of a submit, by its place among all of them."""
    return json_value_to_text(value, "inputs", index)


async def long_input_from_proto(value: runs_pb2.JsonValue, index: int, checkpoint: Checkpoint) -> JsonText:
    """Read a long input, in turns with everything else."""
    if value.WhichOneof("encoding") != "json":
        return input_from_proto(value, index)
    return await long_json_text(value.json, checkpoint, "inputs", index, "json")


def submit_params_without_inputs(message: runs_pb2.SubmitRunRequest, inputs: Sequence[JsonText]) -> SubmitParams:
    """Read the parameters of a submit but for its inputs, which may be many: these are to be filled in later."""
    check_encoding(message.result_encoding)
    flow_id, wait = message.flow_id, message.wait
    fields: dict[str, object] = {}
    if message.HasField("max_concurrency"):
        fields["max_concurrency"] = message.max_concurrency
    if message.HasField("overrides"):
        fields["overrides"] = object_text(json_value_to_text(message.overrides, "overrides"), "overrides")
    if message.HasField("observability"):
        fields["observability"] = observability_from_proto(message.observability)
    if message.HasField("timeout"):
        fields["timeout"] = read_seconds(message.timeout, "timeout")
    if message.idempotency_key:
        fields["idempotency_key"] = message.idempotency_key
    if message.variables:
        fields["variables"] = read_texts(message.variables, "variables")
    if message.flow_label:
        fields["flow_label"] = message.flow_label
    if message.labels:
        fields["labels"] = dict(message.labels)
    if message.HasField("execution_timeout"):
        fields["execution_timeout"] = read_seconds(message.execution_timeout, "execution_timeout")
    if message.extensions:
        fields["extensions"] = read_extensions(message.extensions, SUBMIT_MEMBERS)
    if flow_id and not fields:  # There is nothing to check.
        return SubmitParams(flow_id=flow_id, inputs=inputs, wait=wait)
    return validated(SubmitParams, {"flow_id": flow_id, "inputs": inputs, "wait": wait, **fields})


def submit_params_to_proto(
    params: SubmitParams, encoding: runs_pb2.ResultEncoding.ValueType = JSON
) -> runs_pb2.SubmitRunRequest:
    """Write the parameters of a submit, for a client that receives messages of any size.

    `encoding` is how its results shall be encoded.
    """
    message = runs_pb2.SubmitRunRequest(
        flow_id=params.flow_id,
        wait=params.wait,
        max_concurrency=params.max_concurrency,
        timeout=None if params.timeout is None else to_duration(params.timeout),
        idempotency_key=params.idempotency_key or "",
        flow_label=params.flow_label or "",
        labels=params.labels,
        execution_timeout=None if params.execution_timeout is None else to_duration(params.execution_timeout),
        result_encoding=encoding,
        max_response_message_bytes=ANY_SIZE,
    )
    for text in params.inputs:
        message.inputs.add().json = text
    if params.overrides is not None:
        message.overrides.json = params.overrides
    if params.observability is not None:
        message.observability.CopyFrom(observability_to_proto(params.observability))
    write_texts(message.variables, params.variables)
    write_texts(message.extensions, params.extensions)
    return message


def get_params_from_proto(message: runs_pb2.GetRunRequest) -> GetParams:
    """Read the parameters of a get."""
    check_encoding(message.result_encoding)
    order = _ORDERS.get(message.result_order)
    if order is None:
        raise unknown_number("result_order")
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
        fields["timeout"] = read_seconds(message.timeout, "timeout")
    if message.HasField("heartbeat_interval"):
        fields["heartbeat_interval"] = read_seconds(message.heartbeat_interval, "heartbeat_interval")
    if message.extensions:
        fields["extensions"] = read_extensions(message.extensions, GET_MEMBERS)
    return validated(GetParams, fields)


def get_params_to_proto(
    params: GetParams, encoding: runs_pb2.ResultEncoding.ValueType = JSON
) -> runs_pb2.GetRunRequest:
    """Write the parameters of a get, for a client that receives messages of any size.

    `encoding` is how its results shall be encoded.
    """
    message = runs_pb2.GetRunRequest(
        run_id=params.run_id,
        wait=params.wait,
        include_results=params.include_results,
        result_order=_ORDER_NUMBERS[params.result_order],
        timeout=None if params.timeout is None else to_duration(params.timeout),
        resume_token=params.resume_token,
        heartbeat_interval=None if params.heartbeat_interval is None else to_duration(params.heartbeat_interval),
        result_encoding=encoding,
        max_response_message_bytes=ANY_SIZE,
    )
    if params.observability is not None:
        message.observability.CopyFrom(observability_to_proto(params.observability))
    write_texts(message.extensions, params.extensions)
    return message


def observability_from_proto(message: runs_pb2.ObservabilityContext) -> ObservabilityContext:
    """Read the field `observability`."""
    fields: dict[str, object] = {
        name: getattr(message, name) for name in _OBSERVABILITY_FIELDS if message.HasField(name)
    }
    if message.extensions:
        fields["extensions"] = read_extensions(message.extensions, OBSERVABILITY_MEMBERS, "observability")
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
    write_texts(message.extensions, context.extensions)
    return message


def check_encoding(number: runs_pb2.ResultEncoding.ValueType) -> None:
    """Raises InvalidParams if no encoding of results has this number."""
    if number not in _ENCODINGS:
        raise unknown_number("result_encoding")
