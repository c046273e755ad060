"""Clients that leave in the middle of their streams, by the hundred, are no errors, and neither are calls that a stop
cuts: the log says nothing of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from gateway.adapter.blobs_proto import blob_to_get_request
from runs.v1 import blobs_pb2, runs_pb2
from tests.support.command_line import CommandLine, finish
from tests.support.grpc_calls import Client, read_all
from tests.support.raw_http2 import RawHttp2, raw_http2

MIB = 1 << 20
ROUNDS = 12
CALLERS = 4
ANSWERS = 60
GET_BLOB = "/runs.v1.BlobsService/GetBlob"
GET_RUN = "/runs.v1.RunsService/GetRun"
SUBMIT = "/runs.v1.RunsService/SubmitRun"
UPLOAD = "/runs.v1.RunsService/SubmitRunStream"
WATCH = "/runs.v1.RunsService/WatchRuns"
HEALTH = "/grpc.health.v1.Health/Watch"

OUT_OF_TIME = ("take too long to stop and are killed", "not everything has ended in time")
"""A stop takes five seconds at most, and says so when a busy machine has not given it enough of them."""

MODES = [
    pytest.param(("--transport", "grpcio"), id="grpcio"),
    pytest.param(("--transport", "native"), id="native"),
    pytest.param(("--transport", "grpcio", "--workers", "2"), id="grpcio-workers"),
    pytest.param(("--transport", "native", "--workers", "2"), id="native-workers"),
]


class Calls:
    """Every kind of call, on one run with large results, one that goes on, and a blob."""

    def __init__(self, blob_id: str, flow_id: str, busy_id: str, finished: str, running: str) -> None:
        json_text = runs_pb2.JsonValue(json=f'"{"x" * 100_000}"')
        submit = runs_pb2.SubmitRunRequest(flow_id=flow_id, inputs=[json_text] * 20, wait=True)
        follow = [
            runs_pb2.GetRunRequest(run_id=run_id, wait=True, include_results=True) for run_id in (finished, running)
        ]
        self.blob = blob_to_get_request(blob_id)
        short = [runs_pb2.JsonValue(json=str(item)) for item in range(300)]
        self.busy = runs_pb2.SubmitRunRequest(flow_id=busy_id, inputs=short, max_concurrency=4)
        self.submit, self.follow = submit, follow
        self.whole = [
            (GET_BLOB, blob_to_get_request(blob_id).SerializeToString()),
            *((GET_RUN, request.SerializeToString()) for request in follow),
            (SUBMIT, submit.SerializeToString()),
            (HEALTH, b""),
        ]
        self.open = [
            (UPLOAD, runs_pb2.SubmitRunStreamRequest(parameters=submit).SerializeToString()),
            *((WATCH, runs_pb2.WatchRunsRequest(add=request).SerializeToString()) for request in follow),
        ]

    def make(self, raw: RawHttp2) -> list[int]:
        """Make all calls on one connection, and return their streams."""
        streams = [raw.open(path, request) for path, request in self.whole]
        return streams + [raw.open(path, request, end=False) for path, request in self.open]


@asynccontextmanager
async def log_of(home: Path, *flags: str) -> AsyncIterator[tuple[str, list[str]]]:
    """A gateway, and what it has logged when the block has been left."""
    addresses = ("--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--state", ":memory:")
    environment = {"TMPDIR": str(home)}
    process = await CommandLine(home).start(
        "serve", "--json", "--log-level", "warning", *addresses, *flags, env=environment
    )
    log: list[str] = []
    try:
        assert process.stdout is not None
        yield json.loads(await process.stdout.readline())["grpc"], log
    finally:
        process.terminate()
        ended = await finish(process)
        log += ended.err.splitlines()


async def calls_of(client: Client) -> Calls:
    """What there is to be asked for."""
    blob = await client.blobs.PutBlob(blobs_pb2.PutBlobRequest(binary=bytes(4 * MIB)))
    flow = await client.blobs.PutBlob(
        blobs_pb2.PutBlobRequest(json='{"output":{"$input":"$"}}', type=blobs_pb2.BLOB_TYPE_FLOW)
    )
    # It takes attempts for minutes to fail.
    step = {"id": "s", "component": "/builtin/get_blob", "input": {"blob_id": "0" * 64}}
    retried = {"steps": [step | {"onError": {"action": "retry", "maxRetries": 1000}}], "output": {"$step": "s"}}
    slow = await client.blobs.PutBlob(blobs_pb2.PutBlobRequest(json=json.dumps(retried), type=blobs_pb2.BLOB_TYPE_FLOW))
    step = {"id": "s", "component": "/builtin/get_blob", "input": {"blob_id": flow.blob_id}}
    busy = await client.blobs.PutBlob(
        blobs_pb2.PutBlobRequest(json=json.dumps({"steps": [step]}), type=blobs_pb2.BLOB_TYPE_FLOW)
    )
    large = runs_pb2.JsonValue(json=f'"{"x" * MIB}"')
    submit = runs_pb2.SubmitRunRequest(flow_id=flow.blob_id, inputs=[large] * 8, wait=True)
    finished = await client.runs.SubmitRun(submit)
    running = await client.runs.SubmitRun(
        runs_pb2.SubmitRunRequest(flow_id=slow.blob_id, inputs=[runs_pb2.JsonValue(json="1")])
    )
    return Calls(blob.blob_id, flow.blob_id, busy.blob_id, finished.run.run_id, running.run.run_id)


@pytest.mark.parametrize("flags", MODES)
async def test_clients_that_leave_are_no_errors(flags: tuple[str, ...], home: Path) -> None:
    async with log_of(home, *flags) as (address, log):
        client = Client(address)
        calls = await calls_of(client)
        for number in range(ROUNDS):
            # At once; while answers are made; and while they are being read, or not.
            async with raw_http2(address, window=100_000 * (number % 3)) as raw:
                streams = calls.make(raw)
                for _ in range(number * number):
                    await asyncio.sleep(0)
                if number % 3:
                    await raw.until(lambda raw=raw: raw.received)
                if number % 4 == 3:
                    for stream in streams:
                        raw.cancel(stream)
                    with suppress(ConnectionError):  # The native transport disconnects such a client.
                        await raw.flush()
            await client.blobs.PutBlob(blobs_pb2.PutBlobRequest(json=str(number)))
        await client.close()
    assert log == [], "\n".join(log)


async def keep_calling(client: Client, calls: Calls, answered: asyncio.Semaphore) -> None:
    """Make calls of every kind all the time, until the gateway has stopped; tell of each that has been answered."""

    async def repeat(call: Callable[[], Any]) -> None:
        with suppress(grpc.aio.AioRpcError):
            while True:
                begun = call()
                await (read_all(begun) if hasattr(begun, "read") else begun)
                answered.release()

    async def follow_busy() -> None:
        run = (await client.runs.SubmitRun(calls.busy)).run
        follow = runs_pb2.GetRunRequest(run_id=run.run_id, wait=True)
        await asyncio.gather(*(read_all(client.runs.GetRun(follow)) for _ in range(4)))

    finished, running = calls.follow
    upload = runs_pb2.SubmitRunStreamRequest(parameters=calls.submit)
    several: list[Callable[[], Any]] = [
        follow_busy,
        lambda: client.blobs.GetBlob(calls.blob),
        lambda: client.runs.SubmitRun(calls.submit),
        lambda: client.runs.SubmitRunStream(iter([upload])),
        lambda: client.runs.GetRun(finished),
        lambda: client.runs.GetRun(running),
        lambda: client.runs.WatchRuns(iter([runs_pb2.WatchRunsRequest(add=finished)])),
        lambda: client.runs.WatchRuns(iter([runs_pb2.WatchRunsRequest(add=running)])),
    ]
    await asyncio.gather(*(repeat(call) for call in several * CALLERS))


@pytest.mark.parametrize("flags", MODES)
async def test_a_stop_under_load_is_no_error(flags: tuple[str, ...], home: Path) -> None:
    answered = asyncio.Semaphore(0)
    async with AsyncExitStack() as stack:
        async with log_of(home, *flags) as (address, log):
            clients = [Client(address) for _ in range(3)]
            for client in clients:
                stack.push_async_callback(client.close)
            calls = await calls_of(clients[0])
            calling = [asyncio.create_task(keep_calling(client, calls, answered)) for client in clients]
            for _ in range(ANSWERS):
                await answered.acquire()
        await asyncio.gather(*calling)
    assert [line for line in log if not any(said in line for said in OUT_OF_TIME)] == [], "\n".join(log)
