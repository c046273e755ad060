"""Parameters of the runs methods <-> JSON, in every dialect of the component protocol.

Readers accept the document's spelling and those of Stepflow 0.9 to 0.11; writers use the document's. Members that the
specification does not name go to `extensions` and come back out of it. A resume token is written in the URL-safe
base64 alphabet without padding; any other text is read as a token, too, one that no server understands.

Paths of errors use the names of `gateway.core.model`.
"""

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence

from gateway.adapter.json_members import (
    Member,
    Members,
    Params,
    members_of,
    optional_text,
    read_members,
    read_params,
    write_object,
)
from gateway.core.errors import InvalidParams
from gateway.core.json_text import boolean, elements, integer, number, object_text, quote, string
from gateway.core.model import GetParams, JsonText, ObservabilityContext, ResultOrder, SubmitParams
from gateway.core.packed_texts import PackedTexts
from gateway.core.validation import validated

_ORDERS = {
    "byIndex": ResultOrder.BY_INDEX,
    "by_index": ResultOrder.BY_INDEX,
    "byCompletion": ResultOrder.BY_COMPLETION,
    "by_completion": ResultOrder.BY_COMPLETION,
}


def submit_params_from_json(params: Params) -> SubmitParams:
    """Read the parameters of runs/submit, unless that has been done."""
    if isinstance(params, SubmitParams):
        return params
    return validated(SubmitParams, read_params(params, SUBMIT))


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
    add_seconds(parts, "timeoutSecs", params.timeout)
    if params.idempotency_key is not None:
        parts.append(f'"subflowKey":{quote(params.idempotency_key)}')
    if params.variables:
        parts.append(f'"variables":{write_object([], params.variables)}')
    if params.flow_label is not None:
        parts.append(f'"flowLabel":{quote(params.flow_label)}')
    if params.labels:
        parts.append(f'"labels":{labels_to_json(params.labels)}')
    add_seconds(parts, "executionTimeoutSecs", params.execution_timeout)
    return write_object(parts, params.extensions, SUBMIT_MEMBERS)


def get_params_from_json(params: Params) -> GetParams:
    """Read the parameters of runs/get."""
    return validated(GetParams, read_params(params, GET))


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
    add_seconds(parts, "timeoutSecs", params.timeout)
    if params.resume_token:
        parts.append(f'"resumeToken":"{resume_token_to_text(params.resume_token)}"')
    add_seconds(parts, "heartbeatSecs", params.heartbeat_interval)
    return write_object(parts, params.extensions, GET_MEMBERS)


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


def observability_from_json(text: Params, *path: str | int) -> ObservabilityContext:
    """Read a trace; its members may be spelled in snake_case or camelCase."""
    return validated(ObservabilityContext, read_members(text, OBSERVABILITY, *path), *path)


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
    return write_object(parts, context.extensions, OBSERVABILITY_MEMBERS)


def _result_order(text: JsonText, *path: str | int) -> ResultOrder:
    order = _ORDERS.get(string(text, *path))
    if order is None:
        raise InvalidParams.field(*path, description="expected 'byIndex' or 'byCompletion'")
    return order


def seconds_from_json(text: JsonText, *path: str | int) -> float:
    """Read a number of seconds, to the nanosecond: the resolution of durations in a gRPC message."""
    return round(number(text, *path), 9)


def resume_token_from_json(text: JsonText, *path: str | int) -> bytes:
    """Read the member of a request that holds a token."""
    return resume_token_from_text(string(text, *path))


def _inputs(inputs: JsonText | PackedTexts, *path: str | int) -> Sequence[JsonText]:
    return inputs if isinstance(inputs, PackedTexts) else elements(inputs, *path)


def labels_from_json(text: Params, *path: str | int) -> dict[str, str]:
    """Read labels: an object of strings."""
    return {name: string(member, *path, name) for name, member in members_of(text, *path).items()}


def labels_to_json(labels: Mapping[str, str]) -> JsonText:
    """Write labels."""
    return f"{{{','.join(f'{quote(name)}:{quote(value)}' for name, value in labels.items())}}}"


def _add_observability(parts: list[str], context: ObservabilityContext | None) -> None:
    if context is not None:
        parts.append(f'"observability":{observability_to_json(context)}')


def add_seconds(parts: list[str], name: str, seconds: float | None) -> None:
    """Add a member with a number of seconds, if there is one."""
    if seconds is not None:
        # Whole seconds as an integer: the real runtimes know no other.
        parts.append(f'"{name}":{int(seconds) if seconds.is_integer() else repr(seconds)}')


OBSERVABILITY: Members = {
    "trace_id": Member("trace_id", string),
    "traceId": Member("trace_id", string),
    "span_id": Member("span_id", string),
    "spanId": Member("span_id", string),
    "run_id": Member("run_id", string),
    "runId": Member("run_id", string),
    "flow_id": Member("flow_id", string),
    "flowId": Member("flow_id", string),
    "step_id": Member("step_id", string),
    "stepId": Member("step_id", string),
}
SUBMIT: Members = {
    "flowId": Member("flow_id", string),
    "inputs": Member("inputs", _inputs),
    "wait": Member("wait", boolean),
    "maxConcurrency": Member("max_concurrency", integer),
    "overrides": Member("overrides", object_text),
    "observability": Member("observability", observability_from_json),
    "timeoutSecs": Member("timeout", seconds_from_json),
    "subflowKey": Member("idempotency_key", string),
    "variables": Member("variables", members_of),
    "flowLabel": Member("flow_label", optional_text),
    "labels": Member("labels", labels_from_json),
    "executionTimeoutSecs": Member("execution_timeout", seconds_from_json),
}
GET: Members = {
    "runId": Member("run_id", string),
    "wait": Member("wait", boolean),
    "includeResults": Member("include_results", boolean),
    "resultOrder": Member("result_order", _result_order, spellings=tuple(_ORDERS)),
    "observability": Member("observability", observability_from_json),
    "timeoutSecs": Member("timeout", seconds_from_json),
    "resumeToken": Member("resume_token", resume_token_from_json),
    "heartbeatSecs": Member("heartbeat_interval", seconds_from_json),
}

SUBMIT_MEMBERS = frozenset(SUBMIT)
GET_MEMBERS = frozenset(GET)
OBSERVABILITY_MEMBERS = frozenset(OBSERVABILITY)
"""Members that have fields of their own and so are no extensions; likewise the two above."""
