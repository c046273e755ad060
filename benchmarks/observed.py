"""What metrics, the log of calls and traces cost, for a call and for an update, beside a gateway without their code."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from benchmarks import measure, unary
from benchmarks.measure import LOAD_CORE, SUBMIT_RUN, Failure, Server, follow, streamed
from benchmarks.scenarios import DEMAND, MAX_CHANGES, MEMORY, Metrics, following, put_flow, submit, submit_request

NOTHING: Final = "nothing is observed"
UNTRACED: Final = "metrics, no code of traces"
OBSERVED: Final = "metrics, traces off"
TRACED: Final = "metrics, traces on"
VARIANTS: Final = (NOTHING, UNTRACED, OBSERVED, TRACED)

SUBSCRIBERS: Final = 1_000

_QUIET: Final = "import os; os.dup2(os.open(os.devnull, os.O_WRONLY), 2); "
"""The log of calls is written, but not shown."""

_TAKEN_OUT: Final = {NOTHING: "nothing", UNTRACED: "untraced"}


def submits(variant: str, seconds: float) -> Metrics:
    """Measure many submits in flight. Raises Failure if spans were to come and none did."""
    with _before(variant) as (before, sink), measure.gateway(MEMORY, *_flags(sink), before=before) as target:
        request = submit_request(put_flow(target))
        calls = unary.grpc_calls(target, SUBMIT_RUN, request, submit(target, request))
        measured = unary.many(target, calls, seconds)._asdict()
        _check(sink)
        return measured


def updates(variant: str, seconds: float) -> Metrics:
    """Measure updates of one run to many subscribers, when there is always another one to send."""
    taken_out = ("--unobserved", _TAKEN_OUT[variant]) if variant in _TAKEN_OUT else ()
    with _before(variant) as (_, sink):
        traces = () if sink is None else ("--traces", f"http://{sink.http}")
        with (
            measure.server("benchmarks.served", *taken_out, *traces) as target,
            follow(target, following(1), SUBSCRIBERS, seconds=seconds) as load,
        ):
            return streamed(load, target, min(DEMAND / SUBSCRIBERS, MAX_CHANGES)).metrics()


@contextmanager
def _before(variant: str) -> Iterator[tuple[str, Server | None]]:
    """The statements that prepare a server of a variant, and what takes its spans, on the core of the load."""
    if variant in _TAKEN_OUT:
        yield f"{_QUIET}from benchmarks.unobserved import UNOBSERVED; UNOBSERVED['{_TAKEN_OUT[variant]}'](); ", None
    elif variant == OBSERVED:
        yield _QUIET, None
    else:
        with measure.server("benchmarks.span_sink", cores=frozenset({LOAD_CORE})) as sink:
            yield f"{_QUIET}os.environ['OTEL_EXPORTER_OTLP_ENDPOINT'] = 'http://{sink.http}'; ", sink


def _flags(sink: Server | None) -> tuple[str, ...]:
    return () if sink is None else ("--traces", "otlp")


def _check(sink: Server | None) -> None:
    if sink is not None and not sink.command()["received"]:
        raise Failure("no spans have come")
