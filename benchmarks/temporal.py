"""Gateways on a Temporal server: runs a second, what they cost each part, and how long a run and an update take.

The engine is the development server, with its state in a file, and the storage an S3 server: both cost more, or less,
where they are others. All share two cores with the load.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Final
from unittest.mock import patch

from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from benchmarks import measure
from benchmarks.measure import BOTH_CORES, SETTLE, Failure, Server
from benchmarks.sample import FLOW, INPUT
from benchmarks.scenarios import Metrics, submit_request
from runs.v1 import blobs_pb2, blobs_pb2_grpc, runs_pb2, runs_pb2_grpc
from tests.support.component_server import Call, ComponentServer
from tests.support.s3_server import S3Server
from tests.support.temporal_server import TemporalServer

IN_FLIGHT: Final = 64
"""How many submits wait at the same time."""

FOLLOWERS: Final = 100
_ITEM_SECONDS, _AT_ONCE = 0.1, 4
"""The run that is followed: how long its items take, and how many execute at the same time."""

_SLICES: Final = 3
"""How often the gateway and the bare SDK take turns."""

_SLOW_FLOW: Final = '{"steps":[{"id":"s","component":"/slow/echo","input":{"$input":"$"}}],"output":{"$step":"s"}}'


class _Parts:
    """An engine, a storage and gateways, each as processes of its own."""

    def __init__(self, engine: TemporalServer, storage: S3Server, gateways: Sequence[Server]) -> None:
        self.engine = engine
        self.gateways = gateways
        self._storage = storage

    def cpu_seconds(self) -> tuple[float, float, float]:
        """The processor time of the gateways, the engine and the storage."""
        return (
            sum(gateway.cpu_seconds() for gateway in self.gateways),
            measure.cpu_seconds(self.engine.pid),
            measure.cpu_seconds(self._storage.pid),
        )


@contextmanager
def _running(gateways: int, *flags: str) -> Iterator[_Parts]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engine, storage = TemporalServer(folder), S3Server(folder)
        own = os.sched_getaffinity(0)
        os.sched_setaffinity(0, BOTH_CORES)
        try:
            stack.callback(engine.end)
            engine.launch()
            stack.callback(storage.kill)
            storage.launch()
        finally:
            os.sched_setaffinity(0, own)
        stack.enter_context(patch.dict(os.environ, storage.environment()))
        flags = ("--runtime", engine.runtime(), "--blobs", storage.url, *flags)
        opened = [stack.enter_context(measure.gateway("", *flags, cores=BOTH_CORES)) for _ in range(gateways)]
        yield _Parts(engine, storage, opened)


@asynccontextmanager
async def _stubs(parts: _Parts, flow: str) -> AsyncIterator[tuple[list["runs_pb2_grpc.RunsServiceAsyncStub"], str]]:
    """Clients of all gateways, and the id of a flow."""
    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(aio.insecure_channel(each.grpc)) for each in parts.gateways]
        request = blobs_pb2.PutBlobRequest(json=flow, type=blobs_pb2.BLOB_TYPE_FLOW)
        flow_id = (await blobs_pb2_grpc.BlobsServiceStub(channels[0]).PutBlob(request)).blob_id
        yield [runs_pb2_grpc.RunsServiceStub(channel) for channel in channels], flow_id


async def _submits(
    stubs: Sequence["runs_pb2_grpc.RunsServiceAsyncStub"],
    request: runs_pb2.SubmitRunRequest,
    concurrency: int,
    seconds: float,
) -> list[float]:
    """Submit runs for so long, and return how many seconds each took. Raises Failure if a result is missing."""
    found: list[float] = []
    end = time.perf_counter() + seconds

    async def one_after_the_other(stub: "runs_pb2_grpc.RunsServiceAsyncStub") -> None:
        while (begun := time.perf_counter()) < end:
            answer = await stub.SubmitRun(request)
            if len(answer.run.results) != len(request.inputs) or answer.run.results[-1].value.json != INPUT:
                raise Failure(f"not the result that was expected: {answer}")
            found.append(time.perf_counter() - begun)

    await asyncio.gather(*(one_after_the_other(stubs[number % len(stubs)]) for number in range(concurrency)))
    return found


def throughput(gateways: int, items: int, seconds: float) -> Metrics:
    """Measure runs of so many items on so many gateways."""

    async def measured(parts: _Parts) -> Metrics:
        async with _stubs(parts, FLOW) as (stubs, flow_id):
            request = submit_request(flow_id, items)
            await _submits(stubs, request, IN_FLIGHT, SETTLE)
            before, begun = parts.cpu_seconds(), time.perf_counter()
            done = len(await _submits(stubs, request, IN_FLIGHT, seconds))
            lasted = time.perf_counter() - begun
            used = [after - earlier for after, earlier in zip(parts.cpu_seconds(), before, strict=True)]
        names = ("gateway_ms_per_item", "engine_ms_per_item", "storage_ms_per_item")
        costs = {name: part / done / items * 1e3 for name, part in zip(names, used, strict=True)}
        return {"runs_per_s": done / lasted, "items_per_s": done * items / lasted, **costs}

    with _running(gateways) as parts:
        return asyncio.run(measured(parts))


def latency(concurrency: int, seconds: float) -> Metrics:
    """Measure runs of one item, and workflows of the bare SDK that do the same, on one engine in turn."""

    async def measured(parts: _Parts, bare: Server) -> tuple[list[float], list[float]]:
        direct: list[float] = []
        through: list[float] = []
        async with _stubs(parts, FLOW) as (stubs, flow_id):
            for number in range(_SLICES + 1):
                some = await _submits(stubs, submit_request(flow_id), concurrency, seconds / _SLICES)
                others = bare.command(concurrency=concurrency, seconds=seconds / _SLICES)["seconds"]
                if number:  # The first ones warm up.
                    through += some
                    direct += others
        return direct, through

    with (
        _running(1) as parts,
        measure.server("benchmarks.temporal_reference", parts.engine.address, cores=BOTH_CORES) as bare,
    ):
        direct, through = asyncio.run(measured(parts, bare))
    return {
        **_times("direct", direct),
        **_times("gateway", through),
        "ratio": median(through) / median(direct),
        "ratio_p99": _p99(through) / _p99(direct),
    }


def ages(seconds: float) -> Metrics:
    """Measure how old results are when followers have them, who follow one run on two gateways."""

    async def answer(call: Call) -> None:
        await asyncio.sleep(_ITEM_SECONDS)
        await call.result({"output": call.message["params"]["input"]})

    async def measured() -> list[float]:
        server = ComponentServer(answer)
        async with server.running():
            with ExitStack() as stack:
                # In a thread, since the gateways ask the component server when they start.
                running = _running(2, "--component", f"/slow={server.url}")
                parts = await asyncio.to_thread(stack.enter_context, running)
                return await _followed(parts, round(seconds / _ITEM_SECONDS * _AT_ONCE))

    found = asyncio.run(measured())
    return {"age_p50_ms": median(found) * 1e3, "age_p99_ms": _p99(found) * 1e3}


async def _followed(parts: _Parts, items: int) -> list[float]:
    """The ages of the results of a run, in seconds, when each follower has them."""
    found: list[float] = []

    async def follow(stub: "runs_pb2_grpc.RunsServiceAsyncStub", run_id: str) -> None:
        seen = 0
        async for update in stub.GetRun(runs_pb2.GetRunRequest(run_id=run_id, wait=True, include_results=True)):
            now = time.time()
            found.extend(now - _seconds(result.completed_at) for result in update.run.results)
            seen += len(update.run.results)
        if seen != items:
            raise Failure(f"{seen} results came instead of {items}")

    async with _stubs(parts, _SLOW_FLOW) as (stubs, flow_id):
        request = submit_request(flow_id, items)
        request.wait = False
        request.max_concurrency = _AT_ONCE
        run_id = (await stubs[0].SubmitRun(request)).run.run_id
        await asyncio.gather(*(follow(stubs[number % 2], run_id) for number in range(FOLLOWERS)))
    return found


def _seconds(time_stamp: Timestamp) -> float:
    return float(time_stamp.ToNanoseconds() / 1e9)


def _times(name: str, seconds: Sequence[float]) -> Metrics:
    return {f"{name}_p50_ms": median(seconds) * 1e3, f"{name}_p99_ms": _p99(seconds) * 1e3}


def _p99(seconds: Sequence[float]) -> float:
    return quantiles(seconds, n=100, method="inclusive")[98]
