"""The trace of a submit goes on over the link of a worker, as it does over gRPC."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.core.model import ObservabilityContext, SubmitParams
from gateway.core.socket_directory import RUNTIME_SOCKET
from gateway.runtimes.relay.linked import LinkedRuntime
from gateway.telemetry import tracing
from tests.support.scripted_runtime import FLOW
from tests.support.traces import MadeSpans, gateway_spans
from tests.support.tracing_runtime import TracingRuntime
from tests.support.upstream import linked_upstream


@pytest.fixture
def spans() -> Iterator[MadeSpans]:
    with gateway_spans() as made:
        yield made


@pytest.fixture
def runtime() -> TracingRuntime:
    return TracingRuntime()


@pytest.fixture
async def linked(runtime: TracingRuntime, home: Path) -> AsyncIterator[LinkedRuntime]:
    async with linked_upstream(runtime, home):
        linked = LinkedRuntime(f"unix:{home / RUNTIME_SOCKET}")
        assert await linked.connect(10.0)
        yield linked
        await linked.close()


async def test_each_submit_is_in_the_trace_of_its_caller(
    spans: MadeSpans, runtime: TracingRuntime, linked: LinkedRuntime
) -> None:
    params = SubmitParams(flow_id=await linked.put_blob(FLOW), inputs=["1"])
    told = []
    for name in ("a", "b"):
        with tracing.span(name):
            told.append(ids := tracing.ids())
            assert ids is not None
            given = replace(params, observability=ObservabilityContext(trace_id=ids[0], span_id=ids[1]))
            await linked.submit(given, "")
            assert runtime.asked_for[-1].observability == given.observability
    await linked.submit(params, "")
    assert runtime.traces == [("submit", told[0]), ("submit", told[1]), ("submit", None)]


async def test_nothing_is_told_while_tracing_is_off(runtime: TracingRuntime, linked: LinkedRuntime) -> None:
    await linked.submit(SubmitParams(flow_id=await linked.put_blob(FLOW), inputs=["1"]), "")
    assert runtime.traces == [("submit", None)]
