"""The gateway's service and fronts over runs that change at a given rate, to measure the cost of following runs alone.

`createdAt` of a run is the time of its last change, so that the age of a status can be read from it.
"""

import argparse
import asyncio
import itertools
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, get_args

import uvloop

from benchmarks.control import Pacer, obey, tell
from benchmarks.sample import FLOW_ID, ITEMS, run_id
from benchmarks.unobserved import UNOBSERVED
from gateway.access.configured_access import ConfiguredAccess
from gateway.access.granted import Roles
from gateway.access.tokens_file import MAX_TOKENS_FILE, read_tokens
from gateway.access.watched_file import WatchedFile
from gateway.concurrency.memory_account import MemoryAccount
from gateway.concurrency.notify import Notify
from gateway.core.errors import BlobNotFound, FlowNotFound, RunNotFound
from gateway.core.model import Blob, ItemResult, ItemStatistics, RunState, RunStatus, SubmitParams
from gateway.core.owner import DEFAULT_NAMESPACE
from gateway.core.run_filter import RunFilter
from gateway.core.run_sets import SetChange, SetEvent, SetPart
from gateway.core.runtime import Page, Runtime, Snapshot
from gateway.core.server_tls import ServerTls, ServerTlsFiles
from gateway.fronts.grpc import GrpcFront
from gateway.fronts.grpc.server import Transport
from gateway.fronts.http.front import HttpFront
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.fronts.link.front import LinkFront
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from gateway.server.app import tune_interpreter
from gateway.server.scheduling import use_batch_scheduling
from gateway.server.trace_export import exported_traces

_PART: Final = 32
"""How many changes of a set are told together, as by the embedded runtime."""


class PacedRuntime(Runtime):
    """A runtime whose runs never finish, and change one after the other."""

    def __init__(self, runs: int) -> None:
        self.watches = 0
        self._runs = {run_id(number): _Run(run_id(number)) for number in range(runs)}
        self._turn = itertools.cycle(self._runs.values())
        self._followed: list[dict[_Run, None]] = []
        self._change_made = Notify()

    def change(self) -> None:
        """Change the run whose turn it is."""
        run = next(self._turn)
        run.change()
        if self._followed:
            for changed in self._followed:
                changed[run] = None
            self._change_made.set()

    async def get(self, run_id: str) -> Snapshot:
        return self._find(run_id).snapshot

    async def watch(self, run_id: str) -> AsyncGenerator[Snapshot, None]:
        run = self._find(run_id)
        self.watches += 1
        try:
            while True:
                snapshot = run.snapshot
                yield snapshot
                if run.snapshot is snapshot:
                    await run.changed.wait()
        finally:
            self.watches -= 1

    async def watch_set(self, wanted: RunFilter, position: bytes, *, only_new: bool) -> AsyncGenerator[SetPart, None]:
        """All runs, then those that change, as the log of the embedded runtime tells them: a few in each part."""
        if not only_new:
            for some in _batches(list(self._runs.values())):
                changes = [_told(SetEvent.ADDED, run, index) for index, run in some]
                yield SetPart(changes, changes[-1].position)
        yield SetPart([], _position(1, 0), caught_up=True)
        changed: dict[_Run, None] = {}
        self._followed.append(changed)
        number = itertools.count(1)
        while True:
            if not changed:
                await self._change_made.wait()
                continue
            first = list(itertools.islice(changed, _PART))
            for run in first:
                del changed[run]
            changes = [_told(SetEvent.CHANGED, run, next(number), 1) for run in first]
            yield SetPart(changes, changes[-1].position)
            await asyncio.sleep(0)

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        return []

    async def submit(self, params: SubmitParams, scope: str) -> Snapshot:
        raise FlowNotFound("nothing is executed here")

    async def put_blob(self, blob: Blob, namespace: str = DEFAULT_NAMESPACE) -> str:
        return FLOW_ID

    async def get_blob(self, blob_id: str, namespace: str | None = None) -> Blob:
        raise BlobNotFound("nothing is kept here")

    async def drain(self) -> None:
        return None

    async def close(self) -> None:
        return None

    def _find(self, run_id: str) -> "_Run":
        run = self._runs.get(run_id)
        if run is None:
            raise RunNotFound(f"no run has the id '{run_id}'")
        return run


def _batches(runs: "list[_Run]") -> "Iterator[list[tuple[int, _Run]]]":
    numbered = list(enumerate(runs, 1))
    for start in range(0, len(runs), _PART):
        yield numbered[start : start + _PART]


def _position(stage: int, number: int) -> bytes:
    return bytes([stage]) + number.to_bytes(41)


def _told(event: SetEvent, run: "_Run", number: int, stage: int = 0) -> SetChange:
    snapshot = run.snapshot
    return SetChange(event, run.run_id, snapshot.status, snapshot.revision, _position(stage, number))


class _Run:
    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.revision = 0
        self.changed = asyncio.Event()
        self.change()

    def change(self) -> None:
        self.revision += 1
        done = self.revision % ITEMS
        status = RunStatus(
            run_id=self.run_id,
            flow_id=FLOW_ID,
            flow_name="benchmark",
            status=RunState.RUNNING,
            items=ItemStatistics(total=ITEMS, pending=ITEMS - done, success=done),
            created_at=time.time_ns(),
        )
        self.snapshot = Snapshot(status, self.revision, completions=done, prefix=done)
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until standard input ends."""
    runtime = PacedRuntime(arguments.runs)
    service = RunsService(runtime)
    link = arguments.link
    serving = _to_clients(service, arguments) if link is None else _to_workers(runtime, service, link)
    async with exported_traces("otlp" if arguments.traces else "off"), serving as addresses:
        tune_interpreter()
        tell(**addresses)
        await obey(Pacer(runtime.change), lambda: {"watches": runtime.watches})
    await service.close()


@asynccontextmanager
async def _to_clients(service: RunsService, arguments: argparse.Namespace) -> AsyncIterator[dict[str, str]]:
    tls = ServerTls(ServerTlsFiles(arguments.tls_cert, arguments.tls_key)) if arguments.tls_cert else None
    access = None
    if arguments.tokens:
        access = ConfiguredAccess(
            tokens=WatchedFile(arguments.tokens, partial(read_tokens, roles=Roles({})), MAX_TOKENS_FILE)
        )
    services = RunsServices(service)
    grpc = GrpcFront(services, "127.0.0.1:0", access=access, tls=tls, transport=arguments.transport)
    http = HttpFront(JsonRpcMethods(RunsServices(service)), "127.0.0.1:0")
    await grpc.start()
    await http.start()
    try:
        yield {"grpc": grpc.address, "http": http.address}
    finally:
        await grpc.stop(0)
        await http.stop(0)


@asynccontextmanager
async def _to_workers(runtime: Runtime, service: RunsService, path: str) -> AsyncIterator[dict[str, str]]:
    front = LinkFront(runtime, service.hub, path, MemoryAccount())
    await front.start()
    try:
        yield {"grpc": front.address}
    finally:
        await front.stop()


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--transport", choices=get_args(Transport), default="grpcio")
    parser.add_argument("--link", help="serve links of workers at this path, and no clients")
    parser.add_argument("--tls-cert")
    parser.add_argument("--tls-key")
    parser.add_argument("--tokens", help="a file of tokens")
    parser.add_argument("--unobserved", choices=UNOBSERVED, help="what is taken out")
    parser.add_argument("--traces", help="the URL of a collector of spans")
    arguments = parser.parse_args()
    if arguments.unobserved:
        UNOBSERVED[arguments.unobserved]()
    if arguments.traces:
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = arguments.traces
    use_batch_scheduling()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(arguments))


if __name__ == "__main__":
    main()
