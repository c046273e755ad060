"""Whole gateways on a real Temporal server: who takes calls, who executes, and what happens when the server is away."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.core.model import Blob, BlobType, GetParams, RunState, SubmitParams
from gateway.server.app import running
from gateway.server.settings import ServeSettings
from tests.integration.conftest import Gateway, Start
from tests.support.clients import GrpcClient, JsonRpcClient
from tests.support.command_line import CommandLine
from tests.support.component_server import Call, ComponentServer
from tests.support.temporal_server import TemporalServer

pytestmark = pytest.mark.slow

FLOW = json.dumps(
    {"steps": [{"id": "s", "component": "/test/echo", "input": {"$input": "$"}}], "output": {"$step": "s"}}
)


class Echo:
    """A component server whose component answers with its input, when it may. Inputs are noted."""

    def __init__(self) -> None:
        self.inputs: list[Any] = []
        self.may = asyncio.Event()
        self.may.set()
        self.came = asyncio.Condition()
        self.server = ComponentServer(self._answer)

    async def _answer(self, call: Call) -> None:
        async with self.came:
            self.inputs.append(call.message["params"]["input"])
            self.came.notify_all()
        await self.may.wait()
        await call.result({"output": call.message["params"]["input"]})

    async def executing(self, number: int) -> None:
        """Wait until so many executions have begun."""
        async with self.came:
            await self.came.wait_for(lambda: len(self.inputs) >= number)


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    async with echo.server.running():
        yield echo


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[TemporalServer]:
    """A server of its own, for tests that end it."""
    server = TemporalServer(tmp_path)
    await server.start()
    yield server
    await server.kill()


Settings = Callable[..., dict[str, Any]]


@pytest.fixture
def settings(tmp_path: Path, echo: Echo) -> Settings:
    """The settings of gateways on a server that belong together."""
    namespace = f"test-{uuid.uuid4()}"
    blobs = tmp_path / "blobs"
    blobs.mkdir()

    def settings(server: TemporalServer, **more: Any) -> dict[str, Any]:
        return {
            "runtime": server.runtime(namespace),
            "blobs": f"file://{blobs}",
            "components": {"/test": echo.server.url},
            **more,
        }

    return settings


async def submitted(gateway: Gateway, *inputs: Any) -> str:
    flow = await gateway.grpc.put_blob(Blob(FLOW, BlobType.FLOW))
    run = await gateway.grpc.submit(SubmitParams(flow_id=flow, inputs=list(map(json.dumps, inputs))))
    return run.run_id


async def outputs(gateway: Gateway, run_id: str) -> list[Any]:
    """Wait for the end of a run; what its items have resulted in."""
    run = await gateway.grpc.get(GetParams(run_id=run_id, wait=True, include_results=True))
    assert run.status is RunState.SUCCESS
    return [json.loads(result.value or "") for result in run.results or ()]


async def test_one_takes_calls_and_another_executes(
    temporal_server: TemporalServer, start: Start, settings: Settings, echo: Echo
) -> None:
    front = await start(**settings(temporal_server, gateway_roles=("front",)))
    run_id = await submitted(front, 1, 2, 3)
    assert (await front.grpc.get(GetParams(run_id=run_id))).status in (RunState.PENDING, RunState.RUNNING)
    assert echo.inputs == []
    worker = settings(temporal_server, gateway_roles=("worker",), http_address="127.0.0.1:0", metrics_address="off")
    async with running(ServeSettings.model_validate(worker)) as addresses:
        assert await outputs(front, run_id) == [1, 2, 3]
        assert addresses.grpc == ""
        async with aiohttp.ClientSession() as session, session.get(f"http://{addresses.http}/readyz") as ready:
            assert ready.status == 200


async def test_any_gateway_serves_any_run(
    temporal_server: TemporalServer, start: Start, settings: Settings, echo: Echo
) -> None:
    first, second = [await start(**settings(temporal_server)) for _ in range(2)]
    run_id = await submitted(first, 2**60 + 1, {"b": 1, "a": 2})
    assert await outputs(second, run_id) == await outputs(first, run_id) == [2**60 + 1, {"b": 1, "a": 2}]


async def test_a_gateway_serves_before_its_engine_is_there(
    server: TemporalServer, start: Start, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.server.temporal_backend.CONNECT_SECONDS", 0.1)
    await server.kill()
    gateway = await start(**settings(server))
    ready = f"http://{gateway.addresses.http}/readyz"
    async with aiohttp.ClientSession() as session:
        async with session.get(ready) as answer:
            assert (answer.status, "upstream" in await answer.text()) == (503, True)
        flow = await gateway.grpc.put_blob(Blob(FLOW, BlobType.FLOW))
        submit = asyncio.create_task(gateway.grpc.submit(SubmitParams(flow_id=flow, inputs=["1"], wait=True)))
        await server.start()
        assert (await submit).status is RunState.SUCCESS
        async with session.get(ready) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("end", [TemporalServer.kill, TemporalServer.stop], ids=["killed", "stopped"])
async def test_runs_go_on_when_the_engine_is_back(
    server: TemporalServer, start: Start, settings: Settings, echo: Echo, end: Any
) -> None:
    gateway = await start(**settings(server))
    echo.may.clear()
    runs = [await submitted(gateway, *range(number, number + 3)) for number in range(5)]
    await echo.executing(15)
    await end(server)
    echo.may.set()
    await server.start()
    for number, run_id in enumerate(runs):
        assert await outputs(gateway, run_id) == list(range(number, number + 3))
    assert await outputs(gateway, await submitted(gateway, "more")) == ["more"]


async def test_processes_share_the_runtime_of_the_first_one(
    temporal_server: TemporalServer, settings: Settings, echo: Echo, tmp_path: Path, home: Path
) -> None:
    given = settings(temporal_server)
    flags = ("--runtime", given["runtime"], "--blobs", given["blobs"], "--component", f"/test={echo.server.url}")
    async with CommandLine(tmp_path).serving(*flags, "--workers", "2", env={"TMPDIR": str(home)}) as serving:
        grpc, http = GrpcClient(serving.grpc), JsonRpcClient(serving.http.removeprefix("http://"))
        try:
            flow = await http.put_blob(Blob(FLOW, BlobType.FLOW))
            run = await grpc.submit(SubmitParams(flow_id=flow, inputs=["1", "2"], wait=True))
            assert run.status is RunState.SUCCESS
            followed = await http.get(GetParams(run_id=run.run_id, wait=True, include_results=True))
            assert [result.value for result in followed.results or ()] == ["1", "2"]
        finally:
            await grpc.close()
            await http.close()


async def test_a_worker_alone_says_where_it_serves(
    temporal_server: TemporalServer, settings: Settings, tmp_path: Path
) -> None:
    given = settings(temporal_server)
    flags = ("--runtime", given["runtime"], "--blobs", given["blobs"], "--roles", "worker", "--json")
    process = await CommandLine(tmp_path).start("serve", "--http-address", "127.0.0.1:0", *flags)
    assert process.stdout is not None
    told = json.loads(await process.stdout.readline())
    process.terminate()
    await process.communicate()
    assert told.keys() == {"http", "runtime", "memory"}
    assert process.returncode == 0
