import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from gateway.components import ComponentError, Components
from gateway.core.model import ObservabilityContext
from gateway.telemetry import tracing
from tests.support.component_server import Call, ComponentServer, Script
from tests.support.spans import EndedSpans, ids_of, recorded_spans

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
TASK = ObservabilityContext(trace_id=TRACE_ID, span_id=SPAN_ID, run_id="r", step_id="s")


@pytest.fixture
def spans() -> Iterator[EndedSpans]:
    with recorded_spans() as spans:
        yield spans


@asynccontextmanager
async def components(
    script: Script, seen: list[Any] | None = None
) -> AsyncIterator[tuple[Components, ComponentServer]]:
    """Components below `/sdk`. `seen` gets the ids of the span in which each request of them is served."""

    async def callback(body: bytes, scope: str) -> bytes | None:
        assert seen is not None
        seen.append(tracing.ids())
        return b'{"jsonrpc":"2.0","id":"1","result":{}}'

    server = ComponentServer(script)
    async with server.running() as url:
        made = Components({"/sdk": url})
        await made.start(callback, None)
        await made.ready()
        try:
            yield made, server
        finally:
            await made.close()


async def execute(made: Components, component: str = "/sdk/double") -> str:
    return await made.execute(component, "1", attempt=3, observability=TASK, scope="task")


async def answer(call: Call) -> None:
    await call.result({"output": 1})


async def test_the_server_is_told_the_span_of_the_execution(spans: EndedSpans) -> None:
    async with components(answer) as (made, server):
        with tracing.span("step", parent=tracing.of_ids(TRACE_ID, "1" * 16)):
            await execute(made)
    span = spans.only("components/execute")
    assert spans.way(span)[1:] == ["step", "components/execute"]
    assert span.kind is SpanKind.CLIENT
    assert span.attributes == {
        "rpc.system": "jsonrpc",
        "rpc.method": "components/execute",
        "rpc.jsonrpc.version": "2.0",
        "runs.component": "/sdk/double",
        "runs.attempt": 3,
    }
    trace_id, span_id = ids_of(span)
    call = server.calls[-1]
    parent = f"00-{trace_id}-{span_id}-01"
    assert call.headers["traceparent"] == parent
    assert call.message["params"]["_meta"] == {"traceparent": parent}
    told = call.message["params"]["observability"]
    assert told == {"trace_id": trace_id, "span_id": span_id, "run_id": "r", "step_id": "s"}


async def test_without_a_current_span_the_parent_is_the_one_that_the_task_names(spans: EndedSpans) -> None:
    async with components(answer) as (made, _):
        await execute(made)
    span = spans.only("components/execute")
    assert span.parent is not None
    assert (ids_of(span)[0], trace.format_span_id(span.parent.span_id)) == (TRACE_ID, SPAN_ID)


async def test_the_span_that_an_engine_names_is_linked_if_it_is_not_the_parent(spans: EndedSpans) -> None:
    async with components(answer) as (made, _):
        await execute(made)
        with tracing.span("task"):
            await execute(made)
    first, second = spans.named("components/execute")
    assert first.links == ()
    (link,) = second.links
    assert tracing.ids(trace.set_span_in_context(trace.NonRecordingSpan(link.context))) == (TRACE_ID, SPAN_ID)


async def test_nothing_changes_while_tracing_is_off() -> None:
    async with components(answer) as (made, server):
        await execute(made)
    call = server.calls[-1]
    assert "traceparent" not in call.headers
    assert "_meta" not in call.message["params"]
    assert call.message["params"]["observability"]["span_id"] == SPAN_ID


async def test_requests_of_the_component_are_served_in_the_span(spans: EndedSpans) -> None:
    async def script(call: Call) -> None:
        if call.message.get("method") != "components/execute":
            await call.accept()
            return
        await call.stream()
        await call.event({"jsonrpc": "2.0", "id": "1", "method": "runs/get", "params": {}})
        await delivered.wait()
        await call.output(1)

    delivered = asyncio.Event()
    seen: list[Any] = []

    async def accept(call: Call) -> None:
        await script(call)
        if "method" not in call.message:
            delivered.set()

    async with components(accept, seen) as (made, _):
        await execute(made)
    assert seen == [ids_of(spans.only("components/execute"))]


async def test_a_failure_is_marked_with_its_code_and_nothing_else(spans: EndedSpans) -> None:
    async def fail(call: Call) -> None:
        await call.error(-32100, "secret")

    async with components(fail) as (made, _):
        with pytest.raises(ComponentError):
            await execute(made)
    span = spans.only("components/execute", error_type="-32100", rpc_jsonrpc_error__code=-32100)
    assert (span.status.status_code, span.status.description, span.events) == (StatusCode.ERROR, None, ())


async def test_an_execution_that_is_abandoned_ends_its_span(spans: EndedSpans) -> None:
    began = asyncio.Event()

    async def hang(call: Call) -> None:
        began.set()
        await call.closed()

    async with components(hang) as (made, _):
        execution = asyncio.create_task(execute(made))
        await began.wait()
        execution.cancel()
        with pytest.raises(asyncio.CancelledError):
            await execution
    assert [event.name for event in spans.only("components/execute").events] == ["cancelled"]


async def test_names_that_flows_choose_are_cut(spans: EndedSpans) -> None:
    async with components(answer) as (made, _):
        await execute(made, f"/sdk/{'x' * 1_000}")
    (span,) = spans.all()
    assert len(str((span.attributes or {})["runs.component"])) == 255
