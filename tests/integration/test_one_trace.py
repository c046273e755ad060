"""One trace from the span of a client over everything that its run executes, in whatever process that is."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.adapter.params_proto import submit_params_to_proto
from gateway.core.model import Blob, BlobType, SubmitParams
from tests.integration.conftest import command
from tests.support import sdk
from tests.support.clients import GrpcClient
from tests.support.collector import Collector, ReceivedSpan, grpc_collector
from tests.support.command_line import CommandLine, Serving
from tests.support.component_health import components_available
from tests.support.component_server import Call, ComponentServer
from tests.support.traces import Parent, parent

SUBMIT = {"grpc": "runs.v1.RunsService/SubmitRun", "jsonrpc": "runs/submit"}
EXECUTE = "components/execute"
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
async def test_what_is_not_sampled_is_not_recorded_anywhere(
    commands: CommandLine, collector: Collector, sdk_python: Callable[[str], Path]
) -> None:
    component = f"/sdk={command(sdk.SERVER, python=sdk_python('0.11.2'))}"
    async with serving(commands, collector, "--state", ":memory:", "--component", component) as gateway:
        root = await submit(gateway, "grpc", ORCHESTRATE, TWO_ITEMS, sampled=False)
    assert [span.name for span in collector.spans if span.trace_id == f"{root.trace_id:032x}"] == []
