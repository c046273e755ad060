"""Takes what observes calls out of this process, as if it had never been written: to measure what observing costs."""

import inspect
from collections.abc import Callable
from typing import Any, Final

from gateway.fronts.grpc import grpcio_server, runs_servicer
from gateway.telemetry.metrics import Distribution
from gateway.telemetry.observed_calls import ObservedCall


def observe_nothing() -> None:
    """Count no call, keep no log of calls, and ask nobody whether there are spans."""
    module: Any = grpcio_server
    module.observing = _as_it_is
    for function in (module._request, module._taking):
        written = inspect.getsource(function).replace("context.call.source = ", "")
        exec(written, vars(module))
    for name in ("received", "sent", "resumes", "end"):
        setattr(ObservedCall, name, _nothing)
    setattr(Distribution, "observe", _nothing)  # noqa: B010
    trace_nothing()


def trace_nothing() -> None:
    """Ask nobody whether there are spans, but count calls."""
    setattr(ObservedCall, "trace", _nothing)  # noqa: B010
    vars(runs_servicer)["joined"] = _unchanged


def _as_it_is(serve: Any, *_: Any, **__: Any) -> Any:
    return serve


def _unchanged(_: Any, params: Any) -> Any:
    return params


def _nothing(*_: Any) -> None:
    return None


UNOBSERVED: Final[dict[str, Callable[[], None]]] = {"nothing": observe_nothing, "untraced": trace_nothing}
"""What can be taken out."""
