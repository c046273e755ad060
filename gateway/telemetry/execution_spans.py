"""The spans of what executes: an item, a step, and the execution of a component by its server.

While one lasts it is the current one: what is called meanwhile, and the tasks that are started, belong to it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

from gateway.telemetry import tracing

MAX_NAME: Final = 255
"""How long an attribute may be whose text flows choose, in characters."""


@contextmanager
def attached(context: Context) -> Iterator[None]:
    """Let a context be the current one, while the block lasts."""
    token = contexts.attach(context)
    try:
        yield
    finally:
        contexts.detach(token)


@contextmanager
def current(span: Span, parent: Context | None = None) -> Iterator[Span]:
    """Let a span be the current one while the block lasts, and end with it. `parent` has the baggage."""
    token = contexts.attach(trace.set_span_in_context(span, parent))
    try:
        yield span
    finally:
        contexts.detach(token)
        span.end()


def named(text: str) -> AttributeValue:
    """A name that a flow has chosen, as an attribute."""
    return text if len(text) <= MAX_NAME else text[:MAX_NAME]


def failed_with(span: Span, code: int) -> None:
    """Mark a span as that of a failure with this code. What its message says is not for spans."""
    tracing.failed(span, str(int(code)))
