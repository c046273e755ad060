"""Unmodified JSON-RPC component servers behind a bridge, on the engines that no longer speak JSON-RPC."""

import asyncio
import json
import shlex
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway.core.model import Blob, BlobType, GetParams, ItemError, RunState, RunStatus, SubmitParams
from gateway.runtimes.stepflow.engine import EngineRestClient
from gateway.runtimes.stepflow.release import release_of
from gateway.runtimes.stepflow.runs import Runs
from gateway.server.app import bridging
from gateway.server.settings import BridgeSettings
from tests.integration.conftest import Gateway, Start, command
from tests.support import sdk
from tests.support.bridged_engine import ITSELF, QUEUE, bridged_engine
from tests.support.command_line import CommandLine, finish
from tests.support.engine import Engine
from tests.support.hold import Held
from tests.support.lifelines import Lifelines

pytestmark = pytest.mark.slow

PAIRS = [("0.13.0", "0.11.2"), ("0.13.0", "0.10.0"), ("0.13.0", "0.9.2"), ("0.12.0", "0.11.2")]
"""Engines, each with a release of the SDK that was made for engines before it."""

DOUBLE: dict[str, Any] = {
    "name": "sub",
    "steps": [{"id": "d", "component": "/sdk/double", "input": {"$input": "$"}}],
    "output": {"$step": "d"},
}


class Both(NamedTuple):
    """A gateway that is a bridge of an engine, and one that executes by itself, with the same component server."""

    bridged: Gateway
    embedded: Gateway


@pytest.fixture(params=PAIRS, ids=lambda pair: f"engine-{pair[0]}-sdk-{pair[1]}")
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    pair: tuple[str, str] = request.param
    return pair


@pytest.fixture
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    """An engine; the newest, if the test does not go through the pairs."""
    pair = request.getfixturevalue("pair") if "pair" in request.fixturenames else PAIRS[0]
    async with bridged_engine(pair[0], tmp_path) as engine:
        yield engine


@pytest.fixture
async def both(engine: Engine, start: Start, sdk_python: Callable[[str], Path], pair: tuple[str, str]) -> Both:
    components = {"/sdk": command(sdk.SERVER, python=sdk_python(pair[1]))}
    bridged = await start(runtime=engine.runtime, queue=QUEUE, components=components)
    return Both(bridged, await start(components=components))


@pytest.fixture
async def held() -> AsyncIterator[Held]:
    async with Held().listening() as held:
        yield held


async def run(gateway: Gateway, component: str, payload: Any, **step: Any) -> RunStatus:
    """A run with one item, whose only step is a component."""
    step = {"id": "s", "component": f"/sdk/{component}", "input": {"$input": "$"}, **step}
    flow_id = await put_flow(gateway, {"steps": [step], "output": {"$step": "s"}})
    return await gateway.grpc.submit(SubmitParams(flow_id=flow_id, inputs=[json.dumps(payload)], wait=True))


async def output(gateway: Gateway, component: str, payload: Any, **step: Any) -> Any:
    """What a component returns."""
    status = await run(gateway, component, payload, **step)
    assert status.results is not None
    assert status.results[0].error is None, status.results[0].error
    return json.loads(status.results[0].value or "")


async def failure(gateway: Gateway, component: str, payload: Any, **step: Any) -> ItemError:
    """How a component fails."""
    status = await run(gateway, component, payload, **step)
    assert status.status is RunState.FAILED
    assert status.results is not None
    assert status.results[0].error is not None
    return status.results[0].error


async def put_flow(gateway: Gateway, flow: Any) -> str:
    return await gateway.grpc.put_blob(Blob(json.dumps(flow), BlobType.FLOW))


async def test_sub_workflow_orchestration(both: Both) -> None:
    payload = {"flow": DOUBLE, "items": [{"n": n} for n in range(8)]}
    bridged, embedded = [await output(gateway, "orchestrator", payload) for gateway in both]
    assert bridged == embedded
    assert bridged["results"] == [{"outcome": "success", "result": {"doubled": 2 * n}} for n in range(8)]


async def test_batch_processing_with_partial_failures(both: Both) -> None:
    outputs = []
    for gateway in both:
        flow_id = await put_flow(gateway, DOUBLE)
        outputs.append(
            await output(gateway, "batch_processor", {"flow_id": flow_id, "items": [{"n": 1}, {}, {"n": 3}]})
        )
    bridged, embedded = outputs
    assert (bridged["processed"], bridged["failed"]) == (embedded["processed"], embedded["failed"]) == (2, 1)
    assert bridged["results"][0::2] == embedded["results"][0::2]
    assert bridged["results"][1]["error"]["message"] == embedded["results"][1]["error"]["message"]


async def test_async_execution_with_polling(both: Both) -> None:
    outputs = []
    for gateway in both:
        flow_id = await put_flow(gateway, DOUBLE)
        outputs.append(await output(gateway, "async_processor", {"flow_id": flow_id, "data": {"n": 21}}))
    assert outputs[0] == outputs[1]
    assert outputs[0]["results"] == [{"outcome": "success", "result": {"doubled": 42}}]


async def test_everything_else_is_as_without_a_bridge(both: Both) -> None:
    assert await output(both.bridged, "wild/a/b", {}) == {"path": "a/b"}
    task = await output(both.bridged, "task", {})
    assert (task["attempt"], task["step_id"]) == (1, "s")
    assert await output(both.bridged, "echo", {"n": 6, "half": 0.5}) == {"n": 6, "half": 0.5}
    data = {"text": "ü", "n": 7}
    assert (await output(both.bridged, "blobs", {"data": data}))["data"] == data
    bridged, embedded = [await failure(gateway, "fail", {"message": "on purpose"}) for gateway in both]
    assert bridged.message == embedded.message
    assert bridged.code == -32100
    assert "/nowhere" in (await failure(both.bridged, "nowhere", {})).message


async def test_runs_nest_without_deadlock_however_few_tasks_may_execute(
    engine: Engine, start: Start, sdk_python: Callable[[str], Path]
) -> None:
    components = {"/sdk": command(sdk.SERVER, python=sdk_python("0.11.2"))}
    gateway = await start(runtime=engine.runtime, queue=QUEUE, components=components, max_tasks=1)
    nested, depth = await output(gateway, "nest", {"depth": 6, "component": "/sdk/nest"}), 0
    while nested["depth"]:
        nested, depth = nested["inner"]["result"], depth + 1
    assert depth == 6


async def test_a_task_whose_server_was_killed_is_executed_again(
    engine: Engine, start: Start, sdk_python: Callable[[str], Path], tmp_path: Path
) -> None:
    components = {"/sdk": command(sdk.SERVER, python=sdk_python("0.11.2"))}
    gateway = await start(runtime=engine.runtime, queue=QUEUE, components=components)
    assert await output(gateway, "crash_once", {"marker": str(tmp_path / "crashed")}) == {"attempt": 2}


async def test_a_server_that_always_dies_fails_its_item_and_nothing_else(
    engine: Engine, start: Start, sdk_python: Callable[[str], Path]
) -> None:
    components = {"/sdk": command(sdk.SERVER, python=sdk_python("0.11.2"))}
    gateway = await start(runtime=engine.runtime, queue=QUEUE, components=components)
    error = await failure(gateway, "crash", {})
    assert "the component server" in error.message
    assert await output(gateway, "double", {"n": 4}) == {"doubled": 8}


async def test_several_component_servers_share_a_bridge(
    start: Start, sdk_python: Callable[[str], Path], tmp_path: Path
) -> None:
    components = {
        "/new": command(sdk.SERVER, python=sdk_python("0.11.2")),
        "/old": command(sdk.SERVER, python=sdk_python("0.9.2")),
    }
    steps = [
        {"id": "new", "component": "/new/double", "input": {"$input": "$"}},
        {"id": "old", "component": "/old/double", "input": {"n": {"$step": "new", "path": "$.doubled"}}},
        {"id": "process", "component": "/new/process", "input": {}},
        {"id": "other", "component": "/old/process", "input": {}},
    ]
    output = {"doubled": {"$step": "old"}, "processes": [{"$step": "process"}, {"$step": "other"}]}
    async with bridged_engine("0.13.0", tmp_path, route="/") as engine:
        gateway = await start(runtime=engine.runtime, queue=QUEUE, components=components)
        flow_id = await put_flow(gateway, {"steps": steps, "output": output})
        status = await gateway.grpc.submit(SubmitParams(flow_id=flow_id, inputs=['{"n":4}'], wait=True))
    assert status.results is not None
    result = json.loads(status.results[0].value or "null")
    assert result["doubled"] == {"doubled": 16}
    assert result["processes"][0] != result["processes"][1]


async def test_several_bridges_share_a_queue(engine: Engine, start: Start, sdk_python: Callable[[str], Path]) -> None:
    components = {"/sdk": command(sdk.SERVER, python=sdk_python("0.11.2"))}
    gateways = [await start(runtime=engine.runtime, queue=QUEUE, components=components) for _ in range(2)]
    flow_id = await put_flow(gateways[0], {**DOUBLE, "steps": [{**DOUBLE["steps"][0], "component": "/sdk/process"}]})
    status = await gateways[0].grpc.submit(SubmitParams(flow_id=flow_id, inputs=["{}"] * 20, wait=True))
    assert status.status is RunState.SUCCESS
    assert len({result.value for result in status.results or ()}) == 2


async def test_bridges_that_share_a_gateway_submit_no_run_twice(
    engine: Engine, start: Start, sdk_python: Callable[[str], Path], tmp_path: Path, held: Held
) -> None:
    gateway = await start(runtime=engine.runtime, state=str(tmp_path / "keys.db"))
    server = f"/sdk={command(sdk.SERVER, python=sdk_python('0.11.2'))}"
    bridge = ("bridge", "--engine", engine.url, "--queue", QUEUE, "--gateway", f"grpc://{gateway.addresses.grpc}")
    flow_id = await put_flow(gateway, {"steps": [], "output": {"$input": "$"}})
    async with AsyncExitStack() as stack:

        async def started() -> asyncio.subprocess.Process:
            process = await CommandLine(tmp_path).start(*bridge, "--component", server, "--json")
            stack.push_async_callback(_killed, process)
            assert process.stdout is not None
            assert await process.stdout.readline()
            return process

        first = await started()
        payload = {"flow_id": flow_id, "port": held.port}
        executed = asyncio.create_task(output(gateway, "submit_and_hold", payload))
        await held.next()
        await started()
        await _killed(first)
        release = await held.next()
        release()
        run_id = (await executed)["run_id"]
    assert await _runs_of(engine, flow_id) == [run_id]


async def test_numbers_that_the_engine_may_have_rounded_are_refused_unless_told_otherwise(
    engine: Engine, start: Start, sdk_python: Callable[[str], Path]
) -> None:
    components = {"/sdk": command(sdk.SERVER, python=sdk_python("0.11.2"))}
    gateway = await start(runtime=engine.runtime, queue=QUEUE, components=components)
    error = await failure(gateway, "double", {}, input={"n": 2**52 + 1})
    assert "output.doubled" in error.message
    error = await failure(gateway, "echo", {}, input={"a": [{"n": 2**53}]})
    assert "input.a[0].n" in error.message


async def test_lossy_numbers_are_rounded_as_the_engine_does(
    engine: Engine, start: Start, sdk_python: Callable[[str], Path]
) -> None:
    components = {"/sdk": command(sdk.SERVER, python=sdk_python("0.11.2"))}
    gateway = await start(runtime=engine.runtime, queue=QUEUE, components=components, lossy_numbers=True)
    assert await output(gateway, "double", {}, input={"n": 2**53 + 1}) == {"doubled": 2**54}


async def test_a_bridge_that_stops_finishes_what_it_has_claimed(
    engine: Engine, start: Start, sdk_python: Callable[[str], Path], held: Held
) -> None:
    other = await start(runtime=engine.runtime)
    components = {"/sdk": command(sdk.SERVER, python=sdk_python("0.11.2"))}
    async with AsyncExitStack() as stack:
        config = BridgeSettings(
            engine=engine.url, queue=QUEUE, components=components, state=":memory:", metrics_address="off"
        )
        await stack.enter_async_context(bridging(config))
        claimed = asyncio.create_task(output(other, "hold", {"port": held.port}))
        release = await held.next()
        stopping = asyncio.create_task(stack.pop_all().aclose())
        await asyncio.sleep(0)
        release()
        await stopping
    assert await claimed == {"held": True}


async def test_what_executes_when_the_engine_restarts_is_completed_and_executed_once(
    start: Start, sdk_python: Callable[[str], Path], tmp_path: Path, held: Held
) -> None:
    components = {"/sdk": command(sdk.SERVER, python=sdk_python("0.11.2"))}
    async with bridged_engine("0.13.0", tmp_path, queue_seconds=3) as engine:
        gateway = await start(runtime=engine.runtime, queue=QUEUE, components=components)
        flow_id = await put_flow(gateway, {**DOUBLE, "steps": [{**DOUBLE["steps"][0], "component": "/sdk/hold"}]})
        inputs = [json.dumps({"port": held.port})] * 2
        submitted = await gateway.grpc.submit(SubmitParams(flow_id=flow_id, inputs=inputs))
        first, second = await held.next(), await held.next()
        await engine.kill()
        first()
        await engine.start(*ITSELF)
        second()
        status = await gateway.grpc.get(GetParams(run_id=submitted.run_id, wait=True, include_results=True))
        assert [result.value for result in status.results or ()] == ['{"held":true}'] * 2
        assert held.count == 2


async def test_a_bridge_is_a_command_that_a_signal_ends_in_order(
    engine: Engine, start: Start, sdk_python: Callable[[str], Path], tmp_path: Path, held: Held
) -> None:
    other = await start(runtime=engine.runtime)
    server = f"/sdk={command(sdk.SERVER, python=sdk_python('0.11.2'))}"
    process = await CommandLine(tmp_path).start(
        "bridge", "--engine", engine.url, "--queue", QUEUE, "--component", server, "--max-tasks", "2", "--json"
    )
    assert process.stdout is not None
    ready = json.loads(await process.stdout.readline())
    assert (ready["engine"], ready["queue"]) == (engine.url, QUEUE)
    claimed = asyncio.create_task(output(other, "hold", {"port": held.port}))
    release = await held.next()
    process.terminate()
    release()
    assert await claimed == {"held": True}
    finished = await finish(process)
    assert finished.code == 0, finished


async def test_no_process_is_left_when_a_bridge_is_killed(engine: Engine, start: Start, tmp_path: Path) -> None:
    other = await start(runtime=engine.runtime)
    server = command(Path(__file__).parent.parent / "data/components/mortal_server.py", str(tmp_path / "calls"))
    launched = f"/sdk={shlex.join(['/bin/sh', '-c', f'{server} & wait'])}"
    process = await CommandLine(tmp_path).start(
        "bridge", "--engine", engine.url, "--queue", QUEUE, "--component", launched, "--json"
    )
    assert process.stdout is not None
    assert await process.stdout.readline()
    async with Lifelines().listening() as lifelines:
        assert await output(other, "hold", lifelines.port) == 1
        await lifelines.held(3)
        process.kill()
        await process.wait()
        await lifelines.cut()


async def test_an_engine_that_cannot_be_a_bridges_is_refused_in_one_line(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path)
    old = Engine("0.11.1", tmp_path, {"plugins": {"builtin": {"type": "builtin"}}, "routes": {}})
    await old.start()
    try:
        for url, what in ((old.url, "which has no queues"), ("http://127.0.0.1:1", "start the engine")):
            arguments = ("--engine", url, "--queue", "q", "--component", "/a=http://127.0.0.1:1")
            finished = await cli.run("bridge", *arguments)
            assert (finished.code, finished.out) == (1, ""), finished
            line = finished.err.splitlines()[-1]
            assert what in line
            assert line.endswith("(--engine)")
    finally:
        await old.stop()


@pytest.mark.parametrize("again", ["/a=http://127.0.0.1:1", "/a/=http://127.0.0.1:1"])
async def test_a_prefix_that_is_given_twice_is_refused(engine: Engine, tmp_path: Path, again: str) -> None:
    first = "/a=http://127.0.0.1:2"
    for settings in (("serve", "--runtime", engine.runtime), ("bridge", "--engine", engine.url)):
        finished = await CommandLine(tmp_path).run(
            *settings, "--queue", "q", "--component", first, "--component", again
        )
        assert (finished.code, finished.out) == (2, ""), finished
        [line] = finished.err.splitlines()
        assert "--component" in line


async def _killed(process: asyncio.subprocess.Process) -> None:
    """End a process as a crash would."""
    if process.returncode is None:
        process.kill()
    await process.communicate()


async def _runs_of(engine: Engine, flow_id: str) -> list[str]:
    """The runs of a flow that the engine has."""
    connection = EngineRestClient(engine.url)
    try:
        runs = await Runs(connection, await release_of(connection)).latest(100)
    finally:
        await connection.close()
    return [run.run_id for run in runs if run.flow_id == flow_id]
