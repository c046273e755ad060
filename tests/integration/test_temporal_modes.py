"""What clients can do, in every way in which gateways on a Temporal server are put together."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.client import AsyncRunsClient, RunsClient
from tests.support.command_line import CommandLine, Serving
from tests.support.component_server import Call, ComponentServer
from tests.support.event_stream import folded, following
from tests.support.temporal_modes import MODES, serving_as
from tests.support.temporal_server import TemporalServer

pytestmark = pytest.mark.slow

FLOW = {"steps": [{"id": "s", "component": "/test/echo", "input": {"$input": "$"}}], "output": {"$step": "s"}}
BIG = 2**60 + 1


async def _echo(call: Call) -> None:
    await call.result({"output": call.message["params"]["input"]})


@pytest.fixture
def commands(home: Path) -> CommandLine:
    return CommandLine(home)


@pytest.fixture(params=MODES)
async def serving(
    request: pytest.FixtureRequest, temporal_server: TemporalServer, commands: CommandLine, tmp_path: Path
) -> AsyncIterator[Serving]:
    async with ComponentServer(_echo).running() as url:
        runtime = temporal_server.runtime(f"test-{uuid.uuid4()}")
        flags = ("--runtime", runtime, "--blobs", f"file://{tmp_path}", "--component", f"/test={url}")
        async with serving_as(request.param, commands, *flags) as serving:
            yield serving


async def test_every_client_submits_and_follows(serving: Serving, commands: CommandLine, tmp_path: Path) -> None:
    run_id = await _with_the_async_client(serving)
    await asyncio.to_thread(_with_the_blocking_client, serving, run_id)
    await _over_http(serving, run_id)
    await _by_commands(commands, run_id, tmp_path)


async def _with_the_async_client(serving: Serving) -> str:
    async with AsyncRunsClient(serving.grpc) as client:
        flow_id = await client.put_flow(FLOW)
        keyed: dict[str, Any] = {"idempotency_key": "k", "flow_label": "nightly"}
        run = await client.submit_and_wait(flow_id, [BIG, {"b": 1, "a": 2}], **keyed)
        assert [result.value for result in run.results or ()] == [BIG, {"b": 1, "a": 2}]
        assert (await client.submit(flow_id, [BIG, {"b": 1, "a": 2}], **keyed)).run_id == run.run_id
        updates = [update async for update in client.watch(run.run_id)]
        assert updates[-1].run.status == "success"
        return str(run.run_id)


def _with_the_blocking_client(serving: Serving, run_id: str) -> None:
    with RunsClient(serving.grpc) as client:
        assert [result.value for result in client.results(run_id)] == [BIG, {"b": 1, "a": 2}]
        run = client.submit_and_wait(client.put_flow(FLOW), [1])
        assert client.get(run.run_id).status == "success"


async def _over_http(serving: Serving, run_id: str) -> None:
    async with aiohttp.ClientSession() as session:
        params = {"runId": run_id, "wait": True, "includeResults": True}
        async with following(session, serving.http, params) as events:
            *notifications, response = [event async for event in events]
        assert folded(notifications) == response.message["result"]
        ask = [{"jsonrpc": "2.0", "id": number, "method": "runs/get", "params": {"runId": run_id}} for number in (1, 2)]
        async with session.post(serving.http, json=ask) as answer:
            answers: list[dict[str, Any]] = await answer.json()
        assert sorted(each["id"] for each in answers) == [1, 2]
        assert all(each["result"]["status"] == "success" for each in answers)


async def _by_commands(commands: CommandLine, run_id: str, folder: Path) -> None:
    (flow := folder / "flow.json").write_text(json.dumps(FLOW))
    flow_id = await commands.output("put", str(flow))
    told = json.loads(await commands.output("submit", flow_id, "--input", "1", "--wait", "--json"))
    assert told["status"] == "success"
    assert json.loads(await commands.output("get", run_id, "--json"))["status"] == "success"
    assert "success" in await commands.output("watch", run_id)
