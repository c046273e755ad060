# ruff: noqa: N802 - the contract names the methods.
"""The bare reference: grpc.aio on uvloop with the messages and the tuning of the gateway, and no logic.

A submit is answered with its inputs as results. A run is its latest message, made once for each change, and an event.
With `--queues` each subscriber has a queue instead, as such servers usually do.
"""

import argparse
import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from hmac import compare_digest
from pathlib import Path
from typing import Any

import grpc
import uvloop
from grpc import aio

from benchmarks.control import Pacer, obey, tell
from benchmarks.sample import FLOW_ID, INPUT, ITEMS, RESULTS_RUN_ID, run_id
from gateway.fronts.grpc.server import GrpcLimits, server_options
from gateway.server.app import tune_interpreter
from gateway.server.scheduling import use_batch_scheduling
from runs.v1 import runs_pb2, runs_pb2_grpc

TOKEN = bytes(34)
"""A resume token as long as the gateway's."""

RESULTS_BYTES = 1 << 20
"""The bytes of result text in a message."""

_Context = aio.ServicerContext[Any, Any]


class Run:
    """A run that changes: its latest message, and the subscribers to notify."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.revision = 0
        self.queues: set[asyncio.Queue[runs_pb2.GetRunResponse]] = set()
        self.streams: set[Stream] = set()
        self.changed = asyncio.Event()
        self.change()

    def change(self) -> None:
        """Make the next message."""
        self.revision += 1
        self.message = _update(self.run_id, self.revision)
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()
        for queue in self.queues:
            queue.put_nowait(self.message)
        for stream in self.streams:
            stream.add(self)


class Stream:
    """A stream of many runs: the runs that have changed since they were sent."""

    def __init__(self) -> None:
        self.changed: dict[Run, None] = {}
        self.waiting = asyncio.Event()

    def add(self, run: Run) -> None:
        """Note that a run has changed."""
        self.changed[run] = None
        self.waiting.set()


class Runs(runs_pb2_grpc.RunsServiceServicer):
    """The methods of the service."""

    def __init__(self, runs: int, queues: bool, results: int) -> None:
        self._runs = {run_id(number): Run(run_id(number)) for number in range(runs)}
        self._turn = itertools.cycle(self._runs.values())
        self._queues = queues
        self._results = list(_result_messages(results))

    def change(self) -> None:
        """Change the run whose turn it is."""
        next(self._turn).change()

    async def SubmitRun(self, request: runs_pb2.SubmitRunRequest, context: _Context) -> runs_pb2.SubmitRunResponse:
        return finished(request)

    async def SubmitRunStream(
        self, requests: AsyncIterator[runs_pb2.SubmitRunStreamRequest], context: _Context
    ) -> runs_pb2.SubmitRunResponse:
        whole = runs_pb2.SubmitRunRequest()
        async for request in requests:
            whole.MergeFrom(request.parameters)
            whole.inputs.extend(request.inputs)
        return finished(whole)

    async def GetRun(self, request: runs_pb2.GetRunRequest, context: _Context) -> None:  # type: ignore[override]
        if request.run_id == RESULTS_RUN_ID:
            for message in self._results:
                await context.write(message)
            return
        run = self._runs[request.run_id]
        if self._queues:
            await _follow_by_queue(run, context)
        sent = None
        while True:
            if run.message is sent:
                await run.changed.wait()
            sent = run.message
            await context.write(sent)

    async def WatchRuns(  # type: ignore[override]
        self, requests: AsyncIterator[runs_pb2.WatchRunsRequest], context: _Context
    ) -> None:
        stream = Stream()
        reading = asyncio.create_task(self._add_all(requests, stream))
        try:
            while True:
                await stream.waiting.wait()
                stream.waiting.clear()
                changed, stream.changed = stream.changed, {}
                for run in changed:
                    await context.write(runs_pb2.WatchRunsResponse(run_id=run.run_id, update=run.message))
        finally:
            reading.cancel()
            for run in self._runs.values():
                run.streams.discard(stream)

    async def _add_all(self, requests: AsyncIterator[runs_pb2.WatchRunsRequest], stream: Stream) -> None:
        async for request in requests:
            run = self._runs[request.add.run_id]
            run.streams.add(stream)
            stream.add(run)


class TokenCheck(aio.ServerInterceptor):
    """Compares the token of a call with the one that there is: what interceptors usually do, in one line."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}"

    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        if not compare_digest(str(dict(handler_call_details.invocation_metadata)["authorization"]), self._expected):
            raise PermissionError
        return await continuation(handler_call_details)


def finished(request: runs_pb2.SubmitRunRequest) -> runs_pb2.SubmitRunResponse:
    """Return the answer to a submit: the inputs as results."""
    total = len(request.inputs)
    run = runs_pb2.RunStatus(
        run_id=RESULTS_RUN_ID,
        flow_id=request.flow_id,
        flow_name="echo",
        status=runs_pb2.RUN_STATE_SUCCESS,
        items=runs_pb2.ItemStatistics(total=total, success=total),
    )
    now = time.time_ns()
    run.created_at.FromNanoseconds(now)
    run.completed_at.FromNanoseconds(now)
    for index, value in enumerate(request.inputs):
        result = run.results.add(item_index=index, status=runs_pb2.RUN_STATE_SUCCESS, value=value)
        result.completed_at.FromNanoseconds(now)
    return runs_pb2.SubmitRunResponse(run=run)


async def _follow_by_queue(run: Run, context: _Context) -> None:
    queue: asyncio.Queue[runs_pb2.GetRunResponse] = asyncio.Queue()
    queue.put_nowait(run.message)
    run.queues.add(queue)
    try:
        while True:
            await context.write(await queue.get())
    finally:
        run.queues.discard(queue)


def _update(run_id: str, revision: int) -> runs_pb2.GetRunResponse:
    done = revision % ITEMS
    run = runs_pb2.RunStatus(
        run_id=run_id,
        flow_id=FLOW_ID,
        flow_name="benchmark",
        status=runs_pb2.RUN_STATE_RUNNING,
        items=runs_pb2.ItemStatistics(total=ITEMS, pending=ITEMS - done, success=done),
    )
    run.created_at.FromNanoseconds(time.time_ns())
    return runs_pb2.GetRunResponse(run=run, revision=revision, resume_token=TOKEN)


def _result_messages(count: int) -> Iterator[runs_pb2.GetRunResponse]:
    """Yield the results of a finished run, in messages of about a mebibyte."""
    for start in range(0, count, RESULTS_BYTES // len(INPUT)):
        message = _update(RESULTS_RUN_ID, count)
        message.run.status = runs_pb2.RUN_STATE_SUCCESS
        for index in range(start, min(start + RESULTS_BYTES // len(INPUT), count)):
            result = message.run.results.add(item_index=index, status=runs_pb2.RUN_STATE_SUCCESS)
            result.value.json = INPUT
            result.completed_at.CopyFrom(message.run.created_at)
        yield message


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until standard input ends."""
    runs = Runs(arguments.runs, arguments.queues, arguments.results)  # type: ignore[abstract]  # It has what is measured.
    interceptors = [TokenCheck(arguments.token)] if arguments.token else []
    server = aio.server(interceptors=interceptors, options=server_options(GrpcLimits()))
    runs_pb2_grpc.add_RunsServiceServicer_to_server(runs, server)
    if arguments.tls_cert:
        port = server.add_secure_port("127.0.0.1:0", _credentials(arguments.tls_cert, arguments.tls_key))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    tune_interpreter()
    tell(grpc=f"127.0.0.1:{port}")
    try:
        await obey(Pacer(runs.change), dict)
    finally:
        await server.stop(0)


def _credentials(cert: str, key: str) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials([(Path(key).read_bytes(), Path(cert).read_bytes())])


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--queues", action="store_true")
    parser.add_argument("--results", type=int, default=0, help="how many results the finished run has")
    parser.add_argument("--default-scheduling", action="store_true")
    parser.add_argument("--tls-cert")
    parser.add_argument("--tls-key")
    parser.add_argument("--token", help="let in only those that present it")
    arguments = parser.parse_args()
    if not arguments.default_scheduling:
        use_batch_scheduling()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(arguments))


if __name__ == "__main__":
    main()
