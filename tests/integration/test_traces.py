"""One trace over whole gateways: processes that send their spans to a collector of this test."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from aiohttp import ClientSession
from opentelemetry import baggage
from opentelemetry import context as contexts
from opentelemetry.sdk.trace import ReadableSpan

from gateway.client import AsyncRunsClient, RunState
from gateway.telemetry import tracing
from tests.support.collector import Collector, ReceivedSpan, grpc_collector, http_collector
from tests.support.command_line import CommandLine, Serving
from tests.support.component_server import Call, ComponentServer
from tests.support.traces import MadeSpans, client_spans, parent

FLOW = {"steps": [{"id": "s", "component": "/c/echo", "input": {"$input": "$"}}], "output": {"$step": "s"}}
Collected: TypeAlias = Callable[[], AbstractAsyncContextManager[Collector]]

SUBMIT = "runs.v1.RunsService/SubmitRun"


@pytest.fixture
def commands(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with http_collector() as made:
        yield made


class Echo:
    """A component that returns its input, and notes the headers of its executions."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []

    async def answer(self, call: Call) -> None:
        self.headers.append(call.headers)
        await call.result({"output": call.message["params"]["input"]})


@asynccontextmanager
async def gateways(
    commands: CommandLine, collector: Collector, **arguments: tuple[str, ...]
) -> AsyncIterator[dict[str, Serving]]:
    """Serve gateways by their names, each over the one before it: `{}` in its arguments is the address of that one."""
    serving: dict[str, Serving] = {}
    before: Any = None
    async with AsyncExitStack() as stack:
        for name, given in arguments.items():
            told = [each.format(before) for each in given]
            environment = {**collector.environment, "OTEL_SERVICE_NAME": name, "OTEL_BSP_SCHEDULE_DELAY": "50"}
            served = commands.serving("--traces", "otlp", "--metrics-address", "off", *told, env=environment)
            serving[name] = before = await stack.enter_async_context(served)
        yield serving


def of(spans: list[ReceivedSpan], service: str, name: str, kind: str) -> ReceivedSpan:
    """The only span of a service with this name and kind."""
    (found,) = (
        span for span in spans if (span.resource["service.name"], span.name, span.kind) == (service, name, kind)
    )
    return found


def hexadecimal(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.span_id:016x}"


@pytest.fixture
def spans() -> Iterator[MadeSpans]:
    with client_spans() as made:
        yield made


@pytest.mark.parametrize(
    ("collected", "workers"),
    [(grpc_collector, ()), (http_collector, ("--workers", "2"))],
    ids=["grpc", "workers"],
)
async def test_one_trace_leads_from_the_client_over_a_relay_to_the_component(
    commands: CommandLine, collected: Collected, spans: MadeSpans, workers: tuple[str, ...]
) -> None:
    echo = Echo()
    async with (
        collected() as collector,
        ComponentServer(echo.answer).running() as url,
        gateways(
            commands,
            collector,
            runtime=("--state", ":memory:", "--component", f"/c={url}", *workers),
            relay=("--runtime", "grpc://{0.grpc}"),
        ) as serving,
        AsyncRunsClient(serving["relay"].grpc) as client,
    ):
        flow_id = await client.put_flow(FLOW)
        with spans.tracer.start_as_current_span("mine"):
            token = contexts.attach(baggage.set_baggage("who", "me"))
            run = await client.submit_and_wait(flow_id, [1, 2])
            contexts.detach(token)
        assert run.status is RunState.SUCCESS
    # They have stopped, and so sent all.
    mine, asked = spans.one("mine"), spans.one(SUBMIT)
    assert mine.context is not None
    ours = [span for span in collector.spans if span.trace_id == f"{mine.context.trace_id:032x}"]
    at_relay = of(ours, "relay", SUBMIT, "server")
    passed_on = of(ours, "relay", SUBMIT, "client")
    at_runtime = of(ours, "runtime", SUBMIT, "server")
    assert (at_relay.parent, passed_on.parent, at_runtime.parent) == (
        hexadecimal(asked),
        at_relay.span_id,
        passed_on.span_id,
    )
    children: dict[str, list[ReceivedSpan]] = {}
    for span in ours:
        children.setdefault(span.parent, []).append(span)
    items = children[at_runtime.span_id]
    assert [item.name for item in items] == ["item", "item"]
    steps = [step for item in items for step in children[item.span_id]]
    assert [step.name for step in steps] == ["step", "step"]
    executions = [execution for step in steps for execution in children[step.span_id]]
    assert [execution.name for execution in executions] == ["components/execute"] * 2
    told = {headers["traceparent"].split("-")[2] for headers in echo.headers}
    assert told == {execution.span_id for execution in executions}
    assert {headers["baggage"] for headers in echo.headers} == {"who=me"}
    assert len({span.span_id for span in collector.spans}) == len(collector.spans)
    names = {span.name for span in ours}
    assert names == {SUBMIT, "runs.v1.RunsService/GetRun", "item", "step", "components/execute"}


async def test_what_is_not_sampled_has_no_span_anywhere(commands: CommandLine, collector: Collector) -> None:
    echo = Echo()
    async with (
        ComponentServer(echo.answer).running() as url,
        gateways(
            commands,
            collector,
            runtime=("--state", ":memory:", "--component", f"/c={url}", "--workers", "2"),
            relay=("--runtime", "grpc://{0.grpc}"),
        ) as serving,
        AsyncRunsClient(serving["relay"].grpc) as client,
    ):
        with tracing.in_trace({"traceparent": parent(sampled=False).header, "tracestate": "a=b"}):
            run = await client.submit_and_wait(await client.put_flow(FLOW), [1])
        assert run.status is RunState.SUCCESS
    trace_id = f"{parent().trace_id:032x}"
    assert [span for span in collector.spans if span.trace_id == trace_id] == []
    (headers,) = echo.headers
    assert headers["traceparent"].startswith(f"00-{trace_id}-")
    assert headers["traceparent"].endswith("-00")
    assert headers["tracestate"] == "a=b"


async def test_a_command_is_in_the_trace_of_its_environment(
    commands: CommandLine, collector: Collector, tmp_path: Path
) -> None:
    flow = tmp_path / "flow.json"
    flow.write_text(json.dumps({"steps": [], "output": {"$input": "$"}}))
    async with gateways(commands, collector, runtime=("--state", ":memory:")):
        finished = await commands.run("put", str(flow), env={"TRACEPARENT": parent().header})
        assert finished.code == 0, finished
    (put,) = collector.named("runs.v1.BlobsService/PutBlob")
    assert (put.trace_id, put.parent) == (f"{parent().trace_id:032x}", f"{parent().span_id:016x}")


@pytest.mark.parametrize("way", ["headers", "_meta", "observability"])
async def test_one_trace_leads_over_json_rpc_however_it_is_named(
    commands: CommandLine, collector: Collector, way: str
) -> None:
    remote = parent()
    headers: dict[str, str] = {}
    params: dict[str, Any] = {"inputs": [1]}
    carried = {"traceparent": remote.header, "tracestate": "a=b"}
    if way == "headers":
        headers = carried
    elif way == "_meta":
        params["_meta"] = carried
    else:
        params["observability"] = {"trace_id": f"{remote.trace_id:032x}", "span_id": f"{remote.span_id:016x}"}
    async with (
        gateways(
            commands, collector, runtime=("--state", ":memory:"), front=("--runtime", "jsonrpc+{0.http}")
        ) as serving,
        AsyncRunsClient(serving["front"].grpc) as client,
        ClientSession() as session,
    ):
        params["flowId"] = await client.put_flow({"steps": [], "output": {"$input": "$"}})
        body = {"jsonrpc": "2.0", "id": 1, "method": "runs/submit", "params": params}
        async with session.post(serving["front"].http, json=body, headers=headers) as answered:
            assert "result" in await answered.json()
    ours = [span for span in collector.spans if span.trace_id == f"{remote.trace_id:032x}"]
    at_front = of(ours, "front", "runs/submit", "server")
    passed_on = of(ours, "front", "runs/submit", "client")
    at_runtime = of(ours, "runtime", "runs/submit", "server")
    (item,) = collector.named("item")
    ways = (at_front.parent, passed_on.parent, at_runtime.parent, item.parent)
    assert ways == (f"{remote.span_id:016x}", at_front.span_id, passed_on.span_id, at_runtime.span_id)
    assert {span.trace_state for span in ours} == ({""} if way == "observability" else {"a=b"})
