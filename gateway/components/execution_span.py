"""The span of an execution by a component server: that of a client, which the server and its requests belong to."""

from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec.structs import replace
from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind, Tracer, get_current_span, set_span_in_context

from gateway.components.error import ComponentError
from gateway.components.server import Execution
from gateway.core.model import JsonText
from gateway.telemetry import execution_spans, tracing
from gateway.telemetry.semconv import ATTEMPT, CANCELLED, COMPONENT, RPC_NAMES, SpanAttributes

METHOD: Final = "components/execute"


async def in_execution_span(
    tracer: Tracer, component: str, execution: Execution, execute: Callable[[Execution], Awaitable[JsonText]]
) -> JsonText:
    """Execute the component with this full path in a span, which its server is told."""
    parent = _parent(execution)
    span = tracer.start_span(
        METHOD, parent, SpanKind.CLIENT, _attributes(component, execution), _links(execution, parent)
    )
    context = set_span_in_context(span, parent)
    trace_id, span_id = tracing.ids(context) or (None, None)
    execution = execution._replace(
        observability=replace(execution.observability, trace_id=trace_id, span_id=span_id),
        carried=tracing.injected(context),
    )
    with execution_spans.current(span, parent):
        try:
            return await execute(execution)
        except ComponentError as error:
            execution_spans.failed_with(span, error.code)
            span.set_attributes(RPC_NAMES.of_code("jsonrpc", str(int(error.code))))
            raise
        except CancelledError:
            span.add_event(CANCELLED)
            raise


def _parent(execution: Execution) -> Context:
    """The current context, or that of the span elsewhere that the execution is for: the task of an engine."""
    context = contexts.get_current()
    if tracing.ids(context) is not None:
        return context
    return tracing.of_ids(execution.observability.trace_id, execution.observability.span_id) or context


def _links(execution: Execution, parent: Context) -> list[Link]:
    """The span that the execution is for, unless that is the parent: an engine has a trace of its own for each run."""
    told = execution.observability
    if (told.trace_id, told.span_id) == tracing.ids(parent):
        return []
    context = tracing.of_ids(told.trace_id, told.span_id)
    return [] if context is None else [Link(get_current_span(context).get_span_context())]


def _attributes(component: str, execution: Execution) -> SpanAttributes:
    return {
        **RPC_NAMES.of_method("jsonrpc", METHOD),
        COMPONENT: execution_spans.named(component),
        ATTEMPT: execution.attempt,
    }
