"""The parameters of a call, as they go to the runtime: their trace goes on from the span of the call."""

from typing import TypeVar

from msgspec.structs import replace

from gateway.core.model import GetParams, ObservabilityContext, SubmitParams
from gateway.telemetry import tracing
from gateway.telemetry.observed_calls import ObservedCall

_P = TypeVar("_P", bound=SubmitParams | GetParams)


def joined(call: ObservedCall, params: _P) -> _P:
    """The parameters, with the trace and span of the call as those that they belong to, while tracing is on.

    An idempotency key counts within the task that the ids name, to a server that they are passed on to: they stay then.
    """
    given = params.observability
    if tracing.tracer is None:
        if given is not None:
            call.trace_id = given.trace_id
        return params
    ids = call.join(None, None) if given is None else call.join(given.trace_id, given.span_id)
    if ids is None:
        return params
    if given is None:
        return replace(params, observability=ObservabilityContext(trace_id=ids[0], span_id=ids[1]))
    if isinstance(params, SubmitParams) and params.idempotency_key is not None and given.run_id and given.span_id:
        return params
    return replace(params, observability=replace(given, trace_id=ids[0], span_id=ids[1]))
