"""What is done once for many callers is no part of the trace of the first of them."""

from collections.abc import Iterator

import pytest

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.model import ResultOrder, SubmitParams
from gateway.core.position import Position
from gateway.runs.hub import Hub
from gateway.runs.shared_reads import SharedReads
from gateway.telemetry import tracing
from tests.support.scripted_runtime import FLOW
from tests.support.traces import MadeSpans, gateway_spans
from tests.support.tracing_runtime import TracingRuntime


@pytest.fixture
def spans() -> Iterator[MadeSpans]:
    with gateway_spans() as made:
        yield made


async def test_the_watch_of_a_run_and_its_reads_are_of_no_caller(spans: MadeSpans) -> None:
    runtime = TracingRuntime()
    hub, reads = Hub(runtime, grace=0), SharedReads(runtime, MemoryAccount().share())
    with tracing.span("the first caller"):
        ids = tracing.ids()
        submitted = SubmitParams(flow_id=await runtime.put_blob(FLOW), inputs=["1"])
        run_id = (await runtime.submit(submitted, "")).status.run_id
        await runtime.succeed(0, "1")
        with hub.watch(run_id) as watch:
            snapshot = await watch.changed()
            assert snapshot is not None
            await reads.after(snapshot, Position(ResultOrder.BY_INDEX), last=False)
    assert runtime.traces == [("submit", ids), ("watch", None), ("results", None)]
    await reads.close()
    await hub.close()
