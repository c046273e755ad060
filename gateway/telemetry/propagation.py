"""The headers by which a trace goes from process to process, as the variable OTEL_PROPAGATORS names them."""

from collections.abc import Iterable, Mapping
from functools import cache
from types import ModuleType
from typing import Final

from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

MOST_CARRIED: Final = 4_096
"""How long the headers of a trace may be that go on, in characters and all together. Servers of gRPC take 8 KiB of
metadata in all, and a call is not to fail because of what its caller has put there."""

_STANDARD: Final = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])


class UnknownPropagator(Exception):
    """OTEL_PROPAGATORS names what is not installed."""


def check_propagators() -> None:
    """Raise UnknownPropagator if OTEL_PROPAGATORS names what is not installed. Then the usual headers count."""
    found = _configured()
    if isinstance(found, str):
        raise UnknownPropagator(found)


def carried_fields() -> Iterable[str]:
    """The names of the headers."""
    return _propagator().fields


def read_context(carrier: Mapping[str, str]) -> Context:
    """The context that headers carry, which is empty if they carry none."""
    return _propagator().extract(carrier, Context())


def write_context(context: Context | None) -> dict[str, str]:
    """The headers that carry a context, by default the current one. Those that find no room are left out."""
    carrier: dict[str, str] = {}
    _propagator().inject(carrier, context)
    if sum(map(len, carrier.values())) <= MOST_CARRIED:
        return carrier
    room = MOST_CARRIED
    kept: dict[str, str] = {}
    for name, value in carrier.items():
        if len(value) <= room:
            kept[name] = value
            room -= len(value)
    return kept


def _propagator() -> TextMapPropagator:
    found = _configured()
    if isinstance(found, str):
        return _STANDARD
    configured: TextMapPropagator = found.get_global_textmap()
    return configured


@cache
def _configured() -> ModuleType | str:
    """The module that has read OTEL_PROPAGATORS, or why it could not. Importing it fails then, each time."""
    try:
        from opentelemetry import propagate
    except Exception as error:
        return str(error)
    return propagate
