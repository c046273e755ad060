"""The methods of JSON-RPC as their calls are observed: those of clients, and those of components while they execute."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from opentelemetry import context as contexts

from gateway.adapter import jsonrpc
from gateway.adapter.json_members import META, Params, members_of
from gateway.core.errors import GatewayError, Internal
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.responses import RPC_PATH, HttpResponse, denial, refusal
from gateway.fronts.http.rpc_method import Origin
from gateway.telemetry import tracing
from gateway.telemetry.call_metrics import CANCELLED, CallOrigin, jsonrpc_cells
from gateway.telemetry.observed_calls import CallSource, ObservedCall, ObservedMethod
from gateway.telemetry.propagation import carried_fields
from gateway.telemetry.semconv import RPC_NAMES

UNKNOWN: Final = "unknown"
"""The name of calls of no method: clients may make up any."""

MAX_META: Final = 16 << 10
"""The longest `_meta` that is read, in characters: what it says of a trace has at most some kilobytes."""

_JOINS: Final = frozenset({"runs/submit", "runs/get"})
"""The methods whose parameters may name a trace by `observability`."""

_STREAMS: Final = ("runs/get", "runs/watch")
_MOST_OF_ID: Final = 64


class ObservedMethods:
    """What observes the calls of methods with these names, and of others."""

    def __init__(self, names: Collection[str]) -> None:
        self._of_clients = _methods(names, "client")
        self._of_components = _methods(names, "component")
        self._streams = {name: _method(name, "client", streams=True) for name in _STREAMS}

    def begin(self, call: jsonrpc.Call, origin: Origin) -> ObservedCall:
        """A call begins."""
        methods = self._of_components if origin.scope else self._of_clients
        method = None if isinstance(call, jsonrpc.Refused) else methods.get(call.method)
        observed = ObservedCall(methods[UNKNOWN] if method is None else method)
        observed.received(_size(call, origin))
        if tracing.tracer is not None:
            params = None if isinstance(call, jsonrpc.Refused) else call.params
            headers = None if origin.client is None else origin.client.headers
            observed.trace(_carried(headers, params), contexts.get_current() if origin.scope else None)
            _name_request(observed, call.id)
        return observed

    @contextmanager
    def stream(self, asked: jsonrpc.Call | jsonrpc.Batch, request: HttpRequest) -> Iterator[ObservedCall]:
        """What observes a call that is answered by a stream of events, while the block lasts."""
        assert isinstance(asked, jsonrpc.Request)
        call = ObservedCall(self._streams[asked.method])
        call.source = request
        call.received(request.call_bytes or 0)
        if tracing.tracer is not None:
            call.trace(_carried(request.headers, asked.params))
            _name_request(call, asked.id)
        del asked, request
        try:
            yield call
        finally:
            # `status` tells how it has ended, unless its client left.
            call.end(call.code if call.status else CANCELLED, call.status or "CANCELLED")

    def refusal(self, request: HttpRequest, error: GatewayError) -> HttpResponse:
        """The answer to a request that is refused: a call, if it is not known yet what calls it holds."""
        response = refusal(request, error)
        if request.path == RPC_PATH and request.method == "POST" and request.call_bytes is None:
            code, size = str(error.jsonrpc_code), len(response.body)
            self._of_clients[UNKNOWN].refuse(code, error.grpc_status, request, size)
        return response


def ended(call: ObservedCall, error: GatewayError | None, source: CallSource | None) -> None:
    """A call has been answered, with this error if there is one."""
    if error is None:
        call.end("", "OK", source)
    else:
        call.end(str(error.jsonrpc_code), error.grpc_status, source)


def fails(call: ObservedCall, error: GatewayError | None = None) -> None:
    """A stream is about to end by an error, or by being cut."""
    call.code, call.status = str(Internal.code), Internal.grpc_status
    if error is not None:
        call.code, call.status = str(error.jsonrpc_code), error.grpc_status


def denied(call: ObservedCall, request_id: str, error: GatewayError) -> HttpResponse:
    """The answer to a call that no stream answers, since it has failed at once."""
    fails(call, error)
    response = denial(request_id, error)
    call.sent(len(response.body))
    return response


def _methods(names: Collection[str], origin: CallOrigin) -> dict[str, ObservedMethod]:
    return {name: _method(name, origin) for name in (*names, UNKNOWN)}


def _method(name: str, origin: CallOrigin, *, streams: bool = False) -> ObservedMethod:
    return ObservedMethod("jsonrpc", name, jsonrpc_cells(name, origin, streams=streams), joins=name in _JOINS)


def _size(call: jsonrpc.Call, origin: Origin) -> int:
    """The bytes of a call: of its request, or of its parameters in a batch, which hold it but for a little."""
    if origin.client is not None and origin.client.call_bytes:
        return origin.client.call_bytes
    params = None if isinstance(call, jsonrpc.Refused) else call.params
    return len(params) if isinstance(params, str) else 0


def _name_request(call: ObservedCall, request_id: str | None) -> None:
    if request_id is not None and request_id != "null":
        call.attributes = RPC_NAMES.of_request_id(request_id.strip('"')[:_MOST_OF_ID])


def _carried(headers: Mapping[str, Any] | None, params: Params) -> dict[str, str]:
    """What headers say of the trace that a call belongs to, or else what `_meta` in its parameters says."""
    fields = carried_fields()
    if headers is not None:
        carrier = {field: ",".join(_all(headers, field)) for field in fields if field in headers}
        if carrier:
            return carrier
    try:
        if isinstance(params, str):
            params = members_of(params) if f'"{META}"' in params else None
        meta = params.get(META) if isinstance(params, dict) else None
        if not isinstance(meta, str) or len(meta) > MAX_META:
            return {}
        given = msgspec.json.decode(meta)
    except (GatewayError, msgspec.DecodeError, RecursionError):
        return {}
    if not isinstance(given, dict):
        return {}
    return {field: given[field] for field in fields if isinstance(given.get(field), str)}


def _all(headers: Any, field: str) -> list[str]:
    values: list[str] = headers.getall(field)
    return values
