from opentelemetry import context as contexts
from opentelemetry.context import Context

from gateway.telemetry import tracing
from gateway.telemetry.execution_spans import attached
from gateway.telemetry.observed_calls import ObservedCall, ObservedMethod
from tests.support.spans import recorded_spans
from tests.support.traces import parent


def joined(otherwise: Context | None, trace_id: str, span_id: str) -> tuple[bool, dict[str, str]]:
    """Whether a call of a component is recorded whose parameters name a span, and what it carries on."""
    with recorded_spans() as spans, attached(Context()):
        call = ObservedCall(ObservedMethod("jsonrpc", "runs/submit", joins=True))
        call.trace({}, otherwise)
        call.join(trace_id, span_id)
        carried = tracing.injected(contexts.get_current())
        call.end("", "OK")
        return bool(spans.all()), carried


def test_a_call_that_names_the_span_in_which_it_is_made_is_sampled_as_that_is() -> None:
    span = parent(sampled=False)
    execution = tracing.extracted({"traceparent": span.header, "tracestate": "a=b", "baggage": "user=x"})
    recorded, carried = joined(execution, f"{span.trace_id:032x}", f"{span.span_id:016x}")
    assert not recorded
    assert (carried["tracestate"], carried["baggage"]) == ("a=b", "user=x")
    assert carried["traceparent"].endswith("-00")


def test_a_call_that_names_another_span_is_in_its_trace() -> None:
    execution = tracing.extracted({"traceparent": parent(sampled=False).header})
    recorded, carried = joined(execution, "1" * 32, "2" * 16)
    assert recorded
    assert carried["traceparent"].startswith(f"00-{'1' * 32}-")
