"""SIGTERM with `--drain-delay`: health turns first, calls are refused later."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import grpc
import pytest
from aiohttp import ClientSession
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.client import AsyncRunsClient
from tests.support.command_line import CommandLine, finish

FLOW = {"steps": [], "output": {"$input": "$"}}
DELAY = "60"
"""Longer than the test: what it sees, it sees before the delay is over."""


@pytest.mark.parametrize(
    "options", [(), ("--transport", "native"), ("--workers", "2")], ids=["grpcio", "native", "workers"]
)
async def test_calls_are_taken_while_health_reports_the_end(tmp_path: Path, options: tuple[str, ...]) -> None:
    command = CommandLine(tmp_path)
    async with command.serving("--state", ":memory:", "--drain-delay", DELAY, *options) as serving:
        async with grpc.aio.insecure_channel(serving.grpc) as channel, ClientSession() as http:
            health: Any = health_pb2_grpc.HealthStub(channel)
            states = health.Watch(health_pb2.HealthCheckRequest())
            assert (await states.read()).status == health_pb2.HealthCheckResponse.SERVING
            serving.process.send_signal(signal.SIGTERM)
            assert (await states.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            async with http.get(f"{serving.http}/health") as response:
                # With workers, another one may answer: it is told a little later.
                assert response.status == 503 or "--workers" in options
            async with AsyncRunsClient(serving.grpc, retry_for=0) as client:
                run = await client.submit_and_wait(await client.put_flow(FLOW), [1])
                assert run.finished
            states.cancel()
        # A second signal ends it at once, as always.
        serving.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert (await finish(serving.process)).code == -signal.SIGTERM


async def test_the_delay_ends_by_itself(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    async with command.serving("--state", ":memory:", "--drain-delay", "1") as serving:
        serving.process.send_signal(signal.SIGTERM)
        assert (await finish(serving.process)).code == 0
