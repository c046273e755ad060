"""The trace that a command is part of, if whoever runs it has one: a pipeline, or a script."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

VARIABLES: Final = ("TRACEPARENT", "TRACESTATE", "BAGGAGE")
"""The variables of the environment that tell it, as OpenTelemetry names them."""


@contextmanager
def in_trace_of_environment() -> Iterator[None]:
    """Let the calls of the block be part of the trace that the environment tells of. What is no trace is ignored."""
    carried = {name.lower(): value for name in VARIABLES if (value := os.environ.get(name))}
    if not carried:
        yield
        return
    from gateway.telemetry import tracing

    with tracing.in_trace(carried):
        yield
