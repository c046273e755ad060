"""A gateway whose state cannot be written: health says so for as long as it lasts, and submits are refused."""

import asyncio
import json
import re
import resource
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.core.errors import GatewayError, StateUnavailable
from gateway.core.model import Blob, BlobType, GetParams, SubmitParams
from tests.support.clients import GrpcClient
from tests.support.command_line import CommandLine, Serving
from tests.support.tasks import LIMIT

FLOW = Blob(json.dumps({"steps": [], "output": {"$input": "$"}}), BlobType.FLOW)
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
MODES = [pytest.param((), id="one process"), pytest.param(("--workers", "2"), id="workers")]


@pytest.fixture
def commands(home: Path) -> CommandLine:
    return CommandLine(home)


@asynccontextmanager
async def watched_health(address: str, service: str) -> AsyncIterator[Any]:
    """A stream of the states of a service."""
    async with aio.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        yield stub.Watch(health_pb2.HealthCheckRequest(service=service))


async def until(watch: Any, state: int) -> None:
    """Wait until a service is reported to have a state."""
    async with asyncio.timeout(LIMIT):
        while (await watch.read()).status != state:
            pass


async def http_health(serving: Serving) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as http, http.get(f"{serving.http}/health") as response:
        return response.status, await response.json()


async def state_up(serving: Serving) -> float:
    async with aiohttp.ClientSession() as http, http.get(serving.metrics) as response:
        text = await response.text()
    (value,) = re.findall(r'^runs_gateway_state_up{runtime="embedded"} (\S+)$', text, re.MULTILINE)
    return float(value)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("service", ["", "runs.v1.RunsService"])
async def test_a_state_that_was_deleted(mode: tuple[str, ...], service: str, commands: CommandLine, home: Path) -> None:
    async with commands.serving(*mode, "--state", str(home / "kept" / "runs.db")) as serving:
        client = GrpcClient(serving.grpc)
        params = SubmitParams(flow_id=await client.put_blob(FLOW), inputs=["1"])
        run_id = (await client.submit(params)).run_id
        async with watched_health(serving.grpc, service) as watch:
            await until(watch, SERVING)
            shutil.rmtree(home / "kept")
            await until(watch, NOT_SERVING)
        with pytest.raises(StateUnavailable):
            await client.submit(params)
        assert (await client.get(GetParams(run_id=run_id))).run_id == run_id
        reason = "the state is lost: runs.db was deleted, moved or replaced"
        # It may be another worker that answers, which learns of it at another moment, and of nothing else before.
        async with asyncio.timeout(LIMIT):
            while (health := await http_health(serving))[0] == 200:
                pass
        assert health == (503, {"status": "unhealthy", "reason": reason})
        await client.close()


@pytest.mark.parametrize("mode", MODES)
async def test_a_disk_that_is_full_for_a_while(mode: tuple[str, ...], commands: CommandLine) -> None:
    async with commands.serving(*mode, "--metrics-address", "127.0.0.1:0") as serving:
        client = GrpcClient(serving.grpc)
        params = SubmitParams(flow_id=await client.put_blob(FLOW), inputs=["1"])
        async with watched_health(serving.grpc, "runs.v1.RunsService") as watch:
            await until(watch, SERVING)
            assert await state_up(serving) == 1, "the series is there before anything fails"
            # No file of the process can grow, which is what a disk without room looks like to it.
            limit = resource.prlimit(serving.process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            with pytest.raises(StateUnavailable):
                await client.submit(params)
            await until(watch, NOT_SERVING)
            assert await state_up(serving) == 0
            resource.prlimit(serving.process.pid, resource.RLIMIT_FSIZE, limit)
            await until(watch, SERVING)
            assert await state_up(serving) == 1
        assert (await client.submit(params)).run_id
        await client.close()


async def test_a_state_that_contradicts_itself_stops_the_gateway(commands: CommandLine) -> None:
    async with commands.serving() as serving:
        client = GrpcClient(serving.grpc)
        flow_id = await client.put_blob(FLOW)
        # Runs with keys are numbered, and somebody has taken the next number.
        with closing(sqlite3.connect(serving.state)) as other, other:
            other.execute(
                "INSERT INTO runs (run, run_id, flow_id, total, variables, scope, fingerprint, created_at) "
                "VALUES (1, 'other', 'x', 1, '{}', '', '', 1)"
            )
        with pytest.raises(GatewayError):
            await client.submit(SubmitParams(flow_id=flow_id, inputs=["1"], idempotency_key="k"))
        await client.close()
        _, err = await serving.process.communicate()
    assert serving.process.returncode == 1
    last = err.decode().splitlines()[-1]
    assert last.startswith(f"error: the state {serving.state} contradicts what is to be written (UNIQUE constraint")
