"""The spans of steps: one for each, with an event for each attempt that has failed."""

from asyncio import CancelledError
from collections.abc import Awaitable, Callable

from opentelemetry import trace
from opentelemetry.trace import Tracer

from gateway.core.model import ItemError
from gateway.flows.flow import Step
from gateway.flows.values import Value
from gateway.telemetry import execution_spans, tracing
from gateway.telemetry.semconv import ATTEMPT, ATTEMPT_FAILED, CANCELLED, COMPONENT, ERROR_TYPE, STEP_ID, SpanAttributes


async def in_step_span(
    tracer: Tracer, step: Step, attempts: Callable[[], Awaitable[Value | ItemError]]
) -> Value | ItemError:
    """Execute a step in a span below the current one. A step that its flow gives a value has not failed."""
    attributes: SpanAttributes = {
        STEP_ID: execution_spans.named(step.id),
        COMPONENT: execution_spans.named(step.component),
    }
    with execution_spans.current(tracer.start_span("step", attributes=attributes)) as span:
        try:
            outcome = await attempts()
        except CancelledError:
            span.add_event(CANCELLED)
            raise
        except Exception as error:
            tracing.failed(span, type(error).__name__)
            raise
        if isinstance(outcome, ItemError):
            execution_spans.failed_with(span, outcome.code)
        return outcome


def attempt_failed(attempt: int, error: ItemError) -> None:
    """Note in the current span that an attempt has failed."""
    trace.get_current_span().add_event(ATTEMPT_FAILED, {ATTEMPT: attempt, ERROR_TYPE: str(error.code)})
