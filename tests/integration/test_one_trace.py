"""One trace from the span of a client over everything that its run executes, in whatever process that is."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.adapter.params_proto import submit_params_to_proto
from gateway.core.model import Blob, BlobType, SubmitParams
from tests.integration.conftest import command
from tests.support import sdk
from tests.support.bridged_engine import QUEUE, bridged_engine
from tests.support.clients import GrpcClient
from tests.support.collector import Collector, ReceivedSpan, grpc_collector
from tests.support.command_line import CommandLine, Serving
from tests.support.component_health import components_available
from tests.support.component_server import Call, ComponentServer
from tests.support.temporal_server import TemporalServer
from tests.support.traces import Parent, parent

SUBMIT = {"grpc": "runs.v1.RunsService/SubmitRun", "jsonrpc": "runs/submit"}
EXECUTE = "components/execute"
ENGINE = "temporal.api.workflowservice.v1.WorkflowService/"
STEP = ["item", "step", EXECUTE]
RUN = [STEP[:1], STEP[:2], STEP]
SUB_RUN = [*STEP, "runs/submit"]
RUN_WITH_TWO_ITEMS_BELOW = sorted([*RUN, SUB_RUN, *(SUB_RUN + way for way in RUN + RUN)])
DOUBLE: dict[str, Any] = {
    "name": "sub",
    "steps": [{"id": "d", "component": "/sdk/double", "input": {"$input": "$"}}],
    "output": {"$step": "d"},
}


def flow(component: str) -> dict[str, Any]:
    """A flow whose only step is a component."""
    return {"steps": [{"id": "s", "component": component, "input": {"$input": "$"}}], "output": {"$step": "s"}}


ORCHESTRATE = flow("/sdk/orchestrator")
TWO_ITEMS = {"flow": DOUBLE, "items": [{"n": 1}, {"n": 2}]}


@pytest.fixture
def commands(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with grpc_collector() as collector:
        yield collector


@asynccontextmanager
async def serving(commands: CommandLine, collector: Collector, *arguments: str) -> AsyncIterator[Serving]:
    """A gateway that tells the collector its spans, the last ones when it stops."""
    env = {**collector.environment, "OTEL_BSP_SCHEDULE_DELAY": "20"}
    async with commands.serving(*arguments, "--metrics-address", "off", "--traces", "otlp", env=env) as serving:
        if "--component" in arguments:
            await components_available(serving.grpc, ["/sdk"])
        yield serving


async def submit(
    serving: Serving, front: str, document: Any, item: Any, *, wait: bool = True, sampled: bool = True
) -> Parent:
    """Submit a run over a front, in the trace of a client's span, which is returned."""
    client = GrpcClient(serving.grpc)
    span = parent(sampled=sampled)
    try:
        flow_id = await client.put_blob(Blob(json.dumps(document), BlobType.FLOW))
        if front == "grpc":
            params = SubmitParams(flow_id=flow_id, inputs=[json.dumps(item)], wait=wait)
            await client.runs.SubmitRun(submit_params_to_proto(params), metadata=(("traceparent", span.header),))
        else:
            body = {"flowId": flow_id, "inputs": [item], "wait": wait}
            call = {"jsonrpc": "2.0", "id": 1, "method": "runs/submit", "params": body}
            async with (
                aiohttp.ClientSession() as http,
                http.post(serving.http, json=call, headers={"traceparent": span.header}) as response,
            ):
                assert "result" in await response.json()
    finally:
        await client.close()
    return span


def ways(spans: list[ReceivedSpan], root: Parent) -> list[list[str]]:
    """The names from below the client's span to each span of its trace, sorted. All spans have one id each."""
    found = {span.span_id: span for span in spans if span.trace_id == f"{root.trace_id:032x}"}
    assert len(found) == len([span for span in spans if span.trace_id == f"{root.trace_id:032x}"])
    paths = []
    for span in found.values():
        path, upper = [span.name], span.parent
        while upper != f"{root.span_id:016x}":
            path.insert(0, found[upper].name)
            upper = found[upper].parent
        paths.append(path)
    return sorted(paths)


def below(way: list[str], ways: list[list[str]]) -> list[list[str]]:
    """The ways, below another one, and that one with its beginnings."""
    return sorted([*(way[: length + 1] for length in range(len(way))), *(way + more for more in ways)])


@pytest.mark.slow
@pytest.mark.parametrize("front", SUBMIT)
@pytest.mark.parametrize("version", ["0.11.2", "0.10.0"])
@pytest.mark.parametrize("workers", [1, 2])
async def test_a_run_with_runs_inside_it(
    commands: CommandLine,
    collector: Collector,
    sdk_python: Callable[[str], Path],
    front: str,
    version: str,
    workers: int,
) -> None:
    component = f"/sdk={command(sdk.SERVER, python=sdk_python(version))}"
    arguments = ("--state", ":memory:", "--workers", str(workers), "--component", component)
    async with serving(commands, collector, *arguments) as gateway:
        root = await submit(gateway, front, ORCHESTRATE, TWO_ITEMS)
    assert ways(collector.spans, root) == below([SUBMIT[front]], RUN_WITH_TWO_ITEMS_BELOW)


@pytest.mark.slow
@pytest.mark.parametrize("front", SUBMIT)
async def test_a_run_behind_a_relay(
    commands: CommandLine, collector: Collector, sdk_python: Callable[[str], Path], front: str
) -> None:
    component = f"/sdk={command(sdk.SERVER, python=sdk_python('0.11.2'))}"
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(
            serving(commands, collector, "--state", ":memory:", "--component", component)
        )
        relay = await stack.enter_async_context(serving(commands, collector, "--runtime", f"grpc://{upstream.grpc}"))
        root = await submit(relay, front, ORCHESTRATE, TWO_ITEMS)
    way = [SUBMIT[front], SUBMIT["grpc"], SUBMIT["grpc"]]
    found = [each for each in ways(collector.spans, root) if "runs.v1.RunsService/GetRun" not in each]
    assert found == below(way, RUN_WITH_TWO_ITEMS_BELOW)


@pytest.mark.slow
@pytest.mark.parametrize("front", SUBMIT)
async def test_a_run_that_a_gateway_takes_and_another_executes(
    commands: CommandLine,
    collector: Collector,
    sdk_python: Callable[[str], Path],
    temporal_server: TemporalServer,
    tmp_path: Path,
    front: str,
) -> None:
    component = f"/sdk={command(sdk.SERVER, python=sdk_python('0.11.2'))}"
    runtime = temporal_server.runtime(f"test-{uuid.uuid4()}")
    shared = ("--runtime", runtime, "--blobs", f"file://{tmp_path}", "--component", component)
    async with AsyncExitStack() as stack:
        # Calls for this one fail: it has no front.
        env = {**collector.environment, "OTEL_BSP_SCHEDULE_DELAY": "20"}
        off = ("--metrics-address", "off", "--http-address", "127.0.0.1:0", "--traces", "otlp")
        worker = await commands.start("serve", *shared, *off, "--roles", "worker", "--json", env=env)
        stack.push_async_callback(worker.communicate)
        stack.callback(worker.terminate)
        assert worker.stdout is not None
        assert await worker.stdout.readline()
        gateway = await stack.enter_async_context(serving(commands, collector, *shared, "--roles", "front"))
        root = await submit(gateway, front, ORCHESTRATE, TWO_ITEMS)
    found = [way for way in ways(collector.spans, root) if not way[-1].startswith(ENGINE)]
    assert found == below([SUBMIT[front]], RUN_WITH_TWO_ITEMS_BELOW)
    started = [way[:-1] for way in ways(collector.spans, root) if way[-1] == f"{ENGINE}StartWorkflowExecution"]
    assert sorted(started) == sorted([[SUBMIT[front]], [SUBMIT[front], *SUB_RUN]])


async def test_a_run_that_goes_on_after_its_gateway_was_killed(
    commands: CommandLine, collector: Collector, tmp_path: Path
) -> None:
    began = asyncio.Event()

    async def script(call: Call) -> None:
        if began.is_set():
            await call.result({"output": 1})
        else:
            began.set()
            await call.closed()

    server = ComponentServer(script)
    state = ("--state", str(tmp_path / "state.db"))
    async with server.running() as url:
        arguments = (*state, "--component", f"/sdk={url}")
        async with serving(commands, collector, *arguments) as gateway:
            root = await submit(gateway, "grpc", flow("/sdk/double"), 1, wait=False)
            await began.wait()
            await collector.until(lambda spans: any(span.name == SUBMIT["grpc"] for span in spans))
            gateway.process.kill()
        async with serving(commands, collector, *arguments) as gateway:
            await collector.until(lambda spans: any(span.name == "item" for span in spans))
    assert ways(collector.spans, root) == below([SUBMIT["grpc"]], RUN)


@pytest.mark.slow
@pytest.mark.parametrize("front", SUBMIT)
async def test_a_run_of_an_engine(
    commands: CommandLine, collector: Collector, sdk_python: Callable[[str], Path], tmp_path: Path, front: str
) -> None:
    component = f"/sdk={command(sdk.SERVER, python=sdk_python('0.11.2'))}"
    async with bridged_engine("0.13.0", tmp_path) as engine:
        arguments = ("--state", ":memory:", "--runtime", engine.runtime, "--queue", QUEUE, "--component", component)
        async with serving(commands, collector, *arguments) as gateway:
            root = await submit(gateway, front, ORCHESTRATE, TWO_ITEMS)
    found = [way for way in ways(collector.spans, root) if not way[-1].startswith(("GET", "POST"))]
    outer = [SUBMIT[front], EXECUTE]
    assert found == below([*outer, "runs/submit"], [[EXECUTE]] * 2)


@pytest.mark.slow
async def test_a_run_of_an_engine_whose_tasks_another_process_executes(
    commands: CommandLine, collector: Collector, sdk_python: Callable[[str], Path], tmp_path: Path
) -> None:
    component = f"/sdk={command(sdk.SERVER, python=sdk_python('0.11.2'))}"
    env = {**collector.environment, "OTEL_BSP_SCHEDULE_DELAY": "20"}
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(bridged_engine("0.13.0", tmp_path))
        gateway = await stack.enter_async_context(
            serving(commands, collector, "--state", ":memory:", "--runtime", engine.runtime)
        )
        arguments = ("--engine", engine.url, "--queue", QUEUE, "--gateway", f"grpc://{gateway.grpc}")
        bridge = await commands.start(
            "bridge", *arguments, "--component", component, "--metrics-address", "off", "--traces", "otlp", env=env
        )
        try:
            root = await submit(gateway, "grpc", ORCHESTRATE, TWO_ITEMS)
        finally:
            bridge.terminate()
            await bridge.communicate()
    assert [SUBMIT["grpc"]] in ways(collector.spans, root)
    executions = {span.span_id: span for span in collector.named(EXECUTE)}
    (first,) = (span for span in executions.values() if span.attributes["runs.component"] == "/sdk/orchestrator")
    (callback,) = collector.named("runs/submit")
    # The engine names a trace of its own for the first run.
    assert first.trace_id != f"{root.trace_id:032x}"
    assert callback.parent == first.span_id
    inner = [span for span in executions.values() if span.attributes["runs.component"] == "/sdk/double"]
    assert [span.parent for span in inner] == [callback.span_id] * 2
    assert {span.trace_id for span in (callback, *inner)} == {first.trace_id}


@pytest.mark.slow
async def test_what_is_not_sampled_is_not_recorded_anywhere(
    commands: CommandLine, collector: Collector, sdk_python: Callable[[str], Path]
) -> None:
    component = f"/sdk={command(sdk.SERVER, python=sdk_python('0.11.2'))}"
    async with serving(commands, collector, "--state", ":memory:", "--component", component) as gateway:
        root = await submit(gateway, "grpc", ORCHESTRATE, TWO_ITEMS, sampled=False)
    assert [span.name for span in collector.spans if span.trace_id == f"{root.trace_id:032x}"] == []
