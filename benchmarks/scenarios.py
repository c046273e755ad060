"""The measurements: functions that measure a variant once, on servers of their own."""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import grpc

from benchmarks import measure
from benchmarks.measure import WATCH_RUNS, Failure, Server, follow, poll, server, streamed
from benchmarks.sample import FLOW, INPUT, RESULTS_RUN_ID, run_id
from runs.v1 import blobs_pb2, blobs_pb2_grpc, runs_pb2, runs_pb2_grpc

BARE: Final = "bare grpc.aio"
UNSCHEDULED: Final = "bare grpc.aio, default scheduling"
QUEUES: Final = "bare grpc.aio, a queue per subscriber"
BARE_NATIVE: Final = "bare native transport"
GATEWAY: Final = "gateway"
NATIVE: Final = "gateway, native transport"

MEMORY, JOURNAL = ":memory:", "runs.db"
NATIVE_OFFERED: Final = find_spec("pygrpc_native") is not None

DEMAND: Final = 200_000
"""Updates a second to keep a server busy all the time: several times as many as it can send."""

MAX_CHANGES: Final = 5_000
"""At most so many changes a second: making them must not keep a server busy."""

OVERLOAD: Final = 100_000
"""Updates a second in the scenario of overload."""

Metrics = Mapping[str, float]
Measure = Callable[[float], Metrics]
"""A function that measures a variant once, for about so many seconds."""


def paced(variant: str, runs: int = 1) -> AbstractContextManager[Server]:
    """Return a server whose runs change at a given rate."""
    if variant == BARE:
        return server("benchmarks.reference", "--runs", str(runs))
    if variant == BARE_NATIVE:
        return server("benchmarks.native_reference", "--runs", str(runs))
    transport = ("--transport", "native") if variant == NATIVE else ()
    return server("benchmarks.served", "--runs", str(runs), *transport)


def following(runs: int) -> list[list[runs_pb2.GetRunRequest]]:
    """Return requests that follow so many runs."""
    return [[runs_pb2.GetRunRequest(run_id=run_id(number), wait=True)] for number in range(runs)]


# --- Submits -----------------------------------------------------------------------------------------------------


def submit_request(flow_id: str, inputs: int = 1) -> runs_pb2.SubmitRunRequest:
    """Return a submit that waits for its results."""
    values = [runs_pb2.JsonValue(json=INPUT)] * inputs
    return runs_pb2.SubmitRunRequest(flow_id=flow_id, inputs=values, wait=True)


@contextmanager
def channel(target: Server) -> Iterator[grpc.Channel]:
    """Open a channel to a server, to prepare a measurement."""
    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(target.grpc, unlimited) as opened:
        yield opened


def put_flow(target: Server) -> str:
    """Store the flow and return its id."""
    with channel(target) as opened:
        request = blobs_pb2.PutBlobRequest(json=FLOW, type=blobs_pb2.BLOB_TYPE_FLOW)
        return str(blobs_pb2_grpc.BlobsServiceStub(opened).PutBlob(request).blob_id)


def submit(target: Server, request: runs_pb2.SubmitRunRequest) -> runs_pb2.SubmitRunResponse:
    """Submit once."""
    with channel(target) as opened:
        response: runs_pb2.SubmitRunResponse = runs_pb2_grpc.RunsServiceStub(opened).SubmitRun(request)
        return response


# --- Streams ---------------------------------------------------------------------------------------------------------


def fan_out(variant: str, subscribers: int, seconds: float, *, runs: int = 1) -> Metrics:
    """Measure updates a second to subscribers, spread over the runs, when there is always another update to send."""
    with paced(variant, runs) as target, follow(target, following(runs), subscribers, seconds=seconds) as load:
        measured = streamed(load, target, min(DEMAND / subscribers * runs, MAX_CHANGES))
        return {**measured.metrics(), "upstream_watches": target.command().get("watches", 0)}


def watch_runs(variant: str, runs: int, seconds: float) -> Metrics:
    """Measure updates a second of many runs on one stream."""
    adds = [runs_pb2.WatchRunsRequest(add=request) for (request,) in following(runs)]
    with (
        paced(variant, runs) as target,
        follow(target, [adds], 1, path=WATCH_RUNS, seconds=seconds, first=runs) as load,
    ):
        return streamed(load, target, MAX_CHANGES).metrics()


def watch_set(variant: str, followers: int, runs: int, seconds: float) -> Metrics:
    """Measure updates a second of a set of runs that many streams follow."""
    states = [runs_pb2.RUN_STATE_PENDING, runs_pb2.RUN_STATE_RUNNING]
    add = runs_pb2.WatchSet(name="running", filter=runs_pb2.RunFilter(states=states), only_new=True)
    request = runs_pb2.WatchRunsRequest(add_set=add)
    with (
        paced(variant, runs) as target,
        follow(target, [[request]], followers, path=WATCH_RUNS, seconds=seconds, first=1) as load,
    ):
        return streamed(load, target, MAX_CHANGES).metrics()


def overload(variant: str, subscribers: int, seconds: float) -> Metrics:
    """Measure the age of updates when there are more of them than can be sent."""
    serving = server("benchmarks.reference", "--queues") if variant == QUEUES else paced(variant)
    with serving as target, follow(target, following(1), subscribers, seconds=seconds) as load:
        measured = streamed(load, target, OVERLOAD / subscribers)
        return {**measured.metrics(), "memory_growth_mib": measured.grown / 2**20}


def slow_reader(stalled: int, subscribers: int, seconds: float) -> Metrics:
    """Measure updates a second, and the growth of memory, while some clients do not read."""
    with paced(GATEWAY) as target:
        with follow(target, following(1), subscribers, stalled=stalled, seconds=seconds) as load:
            measured = streamed(load, target, DEMAND / subscribers)
        return {**measured.metrics(), "memory_growth_mib": measured.grown / 2**20}


def idle_memory(variant: str, subscribers: int, seconds: float) -> Metrics:
    """Measure the memory for each subscriber of a run that does not change."""
    with paced(variant) as target:
        # The first streams allocate the memory that all share.
        with follow(target, following(1), 100) as load:
            load.event("open")
        time.sleep(0.5)
        before = target.memory()
        with follow(target, following(1), subscribers, seconds=seconds) as load:
            load.event("open")
            load.event("start")
            return {"kib_per_subscriber": (target.memory() - before) / subscribers / 1024}


def storm(variant: str, streams: int, seconds: float) -> Metrics:
    """Open many streams at once, cut them, and open as many again at the same moment."""
    with paced(variant) as target:
        with follow(target, following(1), streams) as load:
            first = load.event("open")
            load.kill()
        with follow(target, following(1), streams) as load:
            second = load.event("open")
        return {
            "served": min(first["answered"], second["answered"]),
            "reset": max(first["failed"], second["failed"]),
            "first_seconds": first["seconds"],
            "again_seconds": second["seconds"],
        }


def polling(pollers: int, rate: float, seconds: float) -> Metrics:
    """Measure the usual way to follow a run: `runs/get` every 100 ms."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "runs/get", "params": {"runId": run_id(0)}})
    with paced(GATEWAY) as target, poll(target, body, pollers, interval=0.1, seconds=seconds) as load:
        return streamed(load, target, rate).metrics()


def streaming(subscribers: int, rate: float, seconds: float) -> Metrics:
    """Measure the same by GetRun."""
    with paced(GATEWAY) as target, follow(target, following(1), subscribers, seconds=seconds) as load:
        return streamed(load, target, rate).metrics()


# --- Results ---------------------------------------------------------------------------------------------------------


def results(variant: str, items: int, seconds: float) -> Metrics:
    """Measure how fast the results of a finished run are streamed. Raises Failure if some are missing."""
    with tempfile.TemporaryDirectory() as directory, _finished_run(variant, items, directory) as (target, run):
        request = runs_pb2.GetRunRequest(run_id=run, wait=True, include_results=True)
        with follow(target, [[request]], 1) as load:  # a first time, so that memory has been allocated
            load.event("open")
            load.event("end")
        target.forget_peak()
        memory, cpu = target.memory(), target.cpu_seconds()
        with follow(target, [[request]], 1) as load:
            load.event("open")
            end = load.event("end")
        if end["failed"] or end["bytes"] < items * len(INPUT):
            raise Failure(f"the results are not complete: {end}")
        return {
            "items_per_s": items / end["seconds"],
            "mib_per_s": end["bytes"] / end["seconds"] / 2**20,
            "cpu_us_per_item": (target.cpu_seconds() - cpu) / items * 1e6,
            "messages": end["messages"],
            "peak_growth_mib": (target.memory("VmHWM") - memory) / 2**20,
        }


@contextmanager
def _finished_run(variant: str, items: int, directory: str) -> Iterator[tuple[Server, str]]:
    if variant == BARE:
        with server("benchmarks.reference", "--results", str(items)) as target:
            yield target, RESULTS_RUN_ID
        return
    with measure.gateway(state_in(MEMORY if MEMORY in variant else JOURNAL, directory)) as target:
        request = submit_request(put_flow(target), items)
        request.wait = False
        run = submit(target, request).run.run_id
        with channel(target) as opened:
            for _ in runs_pb2_grpc.RunsServiceStub(opened).GetRun(runs_pb2.GetRunRequest(run_id=run, wait=True)):
                pass
        yield target, run


def items(state: str, count: int, seconds: float) -> Metrics:
    """Measure the cost of an item in runs of `count` items."""
    with tempfile.TemporaryDirectory() as directory, measure.gateway(state_in(state, directory)) as target:
        request = submit_request(put_flow(target), count)
        request.wait = False
        cpu, begun, done = target.cpu_seconds(), time.monotonic(), 0
        with channel(target) as opened:
            runs = runs_pb2_grpc.RunsServiceStub(opened)
            while not done or time.monotonic() - begun < seconds:
                run = runs.SubmitRun(request).run.run_id
                *_, last = runs.GetRun(runs_pb2.GetRunRequest(run_id=run, wait=True))
                done += last.run.items.success
        lasted = time.monotonic() - begun
        return {"items_per_s": done / lasted, "cpu_us_per_item": (target.cpu_seconds() - cpu) / done * 1e6}


def state_in(name: str, directory: str) -> str:
    """Return the path of a state in a directory, or `:memory:`."""
    return name if name == MEMORY else str(Path(directory, name))


def translation(size: str, seconds: float) -> Metrics:
    """Measure the microseconds to translate an input of a size, each way."""
    times = measure.told("benchmarks.translation", "--size", size)
    return {**times, "ratio": times["json_format_us"] / times["text_us"]}
