"""Limits of callers, and the audit log, of a gateway as a user runs it."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from runs.v1 import blobs_pb2, blobs_pb2_grpc, runs_pb2, runs_pb2_grpc
from tests.support.command_line import CommandLine, Serving

FLOW = '{"steps":[],"output":{"$input":"$"}}'
CONNECTIONS = 12
ALLOWED = 7


@pytest.fixture
def commands(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@asynccontextmanager
async def serving(commands: CommandLine, tmp_path: Path, settings: str, *flags: str) -> AsyncIterator[Serving]:
    config = tmp_path / "settings.toml"
    config.write_text(settings)
    audit = ("--audit-log", str(tmp_path / "audit.log"))
    async with commands.serving("--config", str(config), "--state", ":memory:", *audit, *flags) as gateway:
        yield gateway


async def connected(stack: AsyncExitStack, address: str, number: int) -> list[grpc.aio.Channel]:
    """Connections of their own: the kernel spreads them over the workers."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(address, options=options) for _ in range(number)]
    return [await stack.enter_async_context(channel) for channel in channels]


async def outcome(call: Any) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


@pytest.mark.parametrize("workers", ["1", "3"])
async def test_a_limit_is_that_of_the_whole_gateway(commands: CommandLine, tmp_path: Path, workers: str) -> None:
    """Whatever worker has which connection, exactly as many requests pass as the limit says."""
    rule = f"[[limits]]\nrequests_per_second = 0.001\nburst = {ALLOWED}\n"
    async with serving(commands, tmp_path, rule, "--workers", workers) as gateway, AsyncExitStack() as stack:
        channels = await connected(stack, gateway.grpc, CONNECTIONS)
        stubs = [runs_pb2_grpc.RunsServiceStub(channel) for channel in channels]
        outcomes = await asyncio.gather(*(outcome(stub.ListRuns(runs_pb2.ListRunsRequest())) for stub in stubs))
    assert sorted(outcomes) == ["OK"] * ALLOWED + ["RESOURCE_EXHAUSTED"] * (CONNECTIONS - ALLOWED)
    lines = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    assert sum(line.get("count", 1) for line in lines) == CONNECTIONS - ALLOWED
    assert {line["quota"] for line in lines if "quota" in line} == {"requests_per_second"}


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_namespace_stores_no_more_than_it_may(commands: CommandLine, tmp_path: Path, workers: str) -> None:
    rule = "[[limits]]\nmax_stored_bytes = 30_000\n"
    async with serving(commands, tmp_path, rule, "--workers", workers) as gateway, AsyncExitStack() as stack:
        (channel,) = await connected(stack, gateway.grpc, 1)
        blobs, runs = blobs_pb2_grpc.BlobsServiceStub(channel), runs_pb2_grpc.RunsServiceStub(channel)
        put = blobs_pb2.PutBlobRequest(json=FLOW, type=blobs_pb2.BLOB_TYPE_FLOW)
        flow_id = (await blobs.PutBlob(put)).blob_id
        submit = runs_pb2.SubmitRunRequest(
            flow_id=flow_id, inputs=[runs_pb2.JsonValue(json=json.dumps("x" * 10_000))], wait=True
        )
        outcomes = [await outcome(runs.SubmitRun(submit)) for _ in range(8)]
        assert outcomes[0] == "OK"
        assert outcomes[-1] == "RESOURCE_EXHAUSTED"
        assert outcomes == sorted(outcomes), "what is full stays full"
        assert await outcome(blobs.PutBlob(blobs_pb2.PutBlobRequest(binary=b"x"))) == "RESOURCE_EXHAUSTED"
        assert await outcome(runs.ListRuns(runs_pb2.ListRunsRequest())) == "OK", "reading goes on"


async def test_the_audit_log_is_rotated_as_logrotate_does(commands: CommandLine, tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    async with serving(commands, tmp_path, "", "--workers", "2") as gateway, AsyncExitStack() as stack:
        (channel,) = await connected(stack, gateway.grpc, 1)
        runs = runs_pb2_grpc.RunsServiceStub(channel)
        cancel = runs_pb2.CancelRunsRequest(filter=runs_pb2.RunFilter(labels={"a": "b"}))
        async for _ in runs.CancelRuns(cancel):
            pass
        while not log.read_text():  # noqa: ASYNC110
            await asyncio.sleep(0)
        log.rename(tmp_path / "audit.log.1")
        os.kill(gateway.process.pid, signal.SIGHUP)  # Those who rotate logs may send it.
        async for _ in runs.CancelRuns(cancel):
            pass
        assert await outcome(runs.ListRuns(runs_pb2.ListRunsRequest())) == "OK", "the gateway serves on"
    for name in ("audit.log", "audit.log.1"):
        (line,) = (tmp_path / name).read_text().splitlines()
        assert (json.loads(line)["method"], json.loads(line)["code"]) == ("CancelRuns", "OK")
