"""JSON-RPC 2.0 envelopes: requests, batches, responses and errors.

Ids are strings, numbers or null, and are echoed as they are spelled: `1.0` and `1e3` as well. The `data` of an error,
from another JSON-RPC server or set where the error was raised, is written as it is. An error without gets `data` with
its reason, the fields that break their rules, the limit of callers that is reached (`quota`, and whose it is:
`subject`), and the time to wait before a retry:

    {"reason": "INVALID_PARAMS", "violations": [{"field": "inputs[3]", "description": "..."}], "retryAfterSecs": 1.5}
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from gateway.adapter.json_members import Params
from gateway.adapter.remote_errors import parse_path, remote_error
from gateway.core.errors import (
    GatewayError,
    GivenName,
    InvalidFlow,
    InvalidParams,
    InvalidRequest,
    ParseError,
    Path,
    QuotaExceeded,
    RemoteError,
    Violation,
    render_path,
)
from gateway.core.json_text import (
    MAX_MEMBERS,
    elements,
    integer,
    json_text,
    members,
    number,
    quote,
    string,
    too_many,
)
from gateway.core.model import JsonText

MAX_BATCH = 1_000
"""The most requests in one batch."""

_JSON_NAMES = {
    "flow_id": "flowId",
    "max_concurrency": "maxConcurrency",
    "timeout": "timeoutSecs",
    "idempotency_key": "subflowKey",
    "flow_label": "flowLabel",
    "run_id": "runId",
    "include_results": "includeResults",
    "result_order": "resultOrder",
    "resume_token": "resumeToken",
    "heartbeat_interval": "heartbeatSecs",
    "blob_id": "blobId",
    "blob_type": "blobType",
    "flow_ids": "flowIds",
    "flow_name": "flowName",
    "created_after": "createdAfter",
    "created_before": "createdBefore",
    "parent_run_id": "parentRunId",
    "root_run_id": "rootRunId",
    "roots_only": "rootsOnly",
    "only_new": "onlyNew",
    "execution_timeout": "executionTimeoutSecs",
    "page_size": "pageSize",
    "page_token": "pageToken",
    "include_total": "includeTotal",
    "include_inputs": "includeInputs",
}
"""The parameters, and the conditions of a filter, whose names in JSON-RPC differ from those of the model."""

_FILTER = "filter"
"""The parameter whose members have names like parameters."""

_MODEL_NAMES = {json_name: name for name, json_name in _JSON_NAMES.items()}


class Request(NamedTuple):
    """A request, or a notification if it has no id. `id` is JSON: `null` is an id."""

    id: JsonText | None
    method: str
    params: Params


class Refused(NamedTuple):
    """A malformed request, and the error that answers it."""

    id: JsonText
    error: GatewayError


Call: TypeAlias = Request | Refused


class Batch(NamedTuple):
    """Several calls in one body; at least one."""

    calls: list[Call]


def parse_body(body: str | bytes) -> Call | Batch:
    """Read the body of a POST.

    Raises ParseError if it is not JSON, InvalidRequest if it is an empty batch or one of more than MAX_BATCH calls,
    TooLarge if it is too long. A single call that is malformed becomes a `Refused` in its place.
    """
    try:
        text = json_text(body)
        batch = elements(text) if text.startswith("[") else None
    except InvalidParams as error:
        raise ParseError(error.message) from None
    if batch is None:
        return call_from_text(text)
    refuse_batch(len(batch))
    return Batch([call_from_text(member) for member in batch])


def refuse_batch(number: int) -> None:
    """Raises InvalidRequest if a batch must not hold this number of requests."""
    if not number:
        raise InvalidRequest("a batch holds at least one request")
    if number > MAX_BATCH:
        raise InvalidRequest(f"a batch holds at most {MAX_BATCH:,} requests")


def call_from_text(text: JsonText) -> Call:
    """Read a call."""
    try:
        given = members(text)
    except InvalidParams as error:
        return Refused("null", InvalidRequest(f"not a request: {error.message}"))
    return call_from_members(given)


def call_from_members(given: dict[str, Any]) -> Call:
    """Read a call of which the members are known: texts, but for `params`."""
    request_id = "null"
    try:
        if not _is_id(given.get("id", "null")):
            raise InvalidParams.field("id", description="expected a string, a number or null")
        request_id = given.get("id", "null")
        if len(given) > MAX_MEMBERS:
            raise too_many()
        version = given.get("jsonrpc", "null")
        if version != '"2.0"' and string(version, "jsonrpc") != "2.0":
            raise InvalidParams.field("jsonrpc", description="expected '2.0'")
        method = string(given.get("method", "null"), "method")
    except InvalidParams as error:
        return Refused(request_id, InvalidRequest(f"not a request: {error.message}"))
    params = given.get("params")
    return Request(given.get("id"), method, None if params == "null" else params)


def request(request_id: JsonText, method: str, params: JsonText) -> str:
    """Write a request."""
    return f'{{"jsonrpc":"2.0","id":{request_id},"method":{quote(method)},"params":{params}}}'


def response(request_id: JsonText, result: JsonText) -> str:
    """Write the answer to a request."""
    return f'{{"jsonrpc":"2.0","id":{request_id},"result":{result}}}'


def around_result(request_id: JsonText) -> tuple[str, str]:
    """What stands before and after the result in the answer to a request."""
    return f'{{"jsonrpc":"2.0","id":{request_id},"result":', "}"


def around_params(method: str) -> tuple[str, str]:
    """What stands before and after the parameters in a notification."""
    return f'{{"jsonrpc":"2.0","method":{quote(method)},"params":', "}"


def error_response(request_id: JsonText | None, error: GatewayError) -> str:
    """Write the answer to a request that failed; None for one whose id is not known."""
    return f'{{"jsonrpc":"2.0","id":{request_id or "null"},"error":{error_object(error)}}}'


def error_object(error: GatewayError) -> JsonText:
    """Write the error itself: `{code, message, data}`."""
    data = error_data(error)
    end = "" if data is None else f',"data":{data}'
    return f'{{"code":{error.jsonrpc_code},"message":{quote(error_message(error))}{end}}}'


def error_message(error: GatewayError) -> str:
    """The message of an error, with fields spelled as JSON-RPC spells them."""
    if error.data is not None or not isinstance(error, InvalidParams):
        return error.message
    return error.describe(_json_violations(error))


def error_data(error: GatewayError) -> JsonText | None:
    """The `data` of an error; None for one of another server that had none."""
    if error.data is not None:
        return error.data
    if isinstance(error, RemoteError):
        return None
    parts = [f'"reason":{quote(error.reason)}']
    if isinstance(error, InvalidParams):
        parts.append(f'"violations":[{",".join(map(_violation_text, _json_violations(error)))}]')
    if isinstance(error, QuotaExceeded):
        parts.append(f'"quota":{quote(error.quota)},"subject":{quote(error.subject)}')
    if error.retry_after is not None:
        parts.append(f'"retryAfterSecs":{error.retry_after!r}')
    return f"{{{','.join(parts)}}}"


def parse_response(body: str | bytes, request_id: JsonText | None = None) -> JsonText:
    """The result in the answer of another server. Raises the error that the answer holds if it holds one.

    Raises RemoteError if the body is not an answer, or not that to the request with `request_id`. An error may come
    without id: that of a request which could not be read.
    """
    try:
        given = members(json_text(body))
        answered = given.get("id", "null")
        if request_id is not None and answered != request_id and (answered != "null" or "error" not in given):
            raise InvalidParams.field("id", description="not that of the request")
        if "result" in given and given.get("error", "null") == "null":
            return given["result"]
        error = _read_error(given.get("error", "null"))
    except InvalidParams as broken:
        error = RemoteError(RemoteError.code, f"the answer is no JSON-RPC response: {broken.message}")
    try:
        raise error
    finally:
        del error  # It holds this frame.


def parse_error(body: str | bytes) -> GatewayError | None:
    """The error in the answer of another server; None if the body is anything else, such as an error of a proxy."""
    try:
        given = members(json_text(body))
        return _read_error(given["error"]) if "jsonrpc" in given and "error" in given else None
    except GatewayError:
        return None


def _is_id(text: JsonText) -> bool:
    return text == "null" or text[0] in '"-0123456789'


def _json_violations(error: InvalidParams) -> Iterable[Violation]:
    """The violations with paths as JSON-RPC spells them. Those inside a flow are spelled by the flow."""
    if isinstance(error, InvalidFlow):
        return error.violations
    return [Violation(_renamed(path, _JSON_NAMES), description) for path, description in error.violations]


def _violation_text(violation: Violation) -> JsonText:
    return f'{{"field":{quote(render_path(violation.path))},"description":{quote(violation.description)}}}'


def _renamed(path: Path, names: dict[str, str]) -> Path:
    first = path[0] if path else None
    if isinstance(first, GivenName):
        return path
    if first == _FILTER:
        return (first, *_renamed(path[1:], names))
    return (names.get(first, first), *path[1:]) if isinstance(first, str) else path


def _read_error(text: JsonText) -> GatewayError:
    given = members(text, "error")
    data = given.get("data")
    details = _read_data(data)
    return remote_error(
        integer(given.get("code", "null"), "error", "code"),
        string(given.get("message", "null"), "error", "message"),
        data=data,
        **details._asdict(),
    )


class _ErrorDetails(NamedTuple):
    """What the data of an error holds, if it is that of a server like this one."""

    reason: str | None = None
    violations: Sequence[Violation] = ()
    retry_after: float | None = None
    quota: str = ""
    subject: str = ""


def _read_data(data: JsonText | None) -> _ErrorDetails:
    try:
        given = members(data or "null")
        reason = string(given.get("reason", "null"))
        violations = [_read_violation(text, reason) for text in elements(given.get("violations", "[]"))]
        retry_after = number(given["retryAfterSecs"]) if "retryAfterSecs" in given else None
        quota, subject = string(given.get("quota", '""')), string(given.get("subject", '""'))
    except InvalidParams:
        return _ErrorDetails()
    return _ErrorDetails(reason, violations, retry_after, quota, subject)


def _read_violation(text: JsonText, reason: str) -> Violation:
    given = members(text)
    path = parse_path(string(given.get("field", "null")))
    if reason != InvalidFlow.reason:
        path = _renamed(path, _MODEL_NAMES)
    return Violation(path, string(given.get("description", "null")))
