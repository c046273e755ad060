"""What pages of runs and items, and calls that concern many runs, make the gateway hold and do at once."""

import asyncio
import tracemalloc
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.control import BulkProgress, CancelRunsParams, ListParams
from gateway.core.model import ItemStatistics, RunState, RunStatus
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.runtime import RunPage, Snapshot
from gateway.fronts.grpc import GrpcFront
from gateway.fronts.grpc.server import Transport
from gateway.runs.listing import AT_ONCE, READS, RunLists
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from runs.v1 import runs_pb2
from tests.support.grpc_calls import Client
from tests.support.raw_http2 import RawHttp2, raw_http2
from tests.support.scripted_run import START
from tests.support.scripted_runtime import ScriptedRuntime

MIB = 1 << 20
LIST_RUNS = "/runs.v1.RunsService/ListRuns"
LIST_ITEMS = "/runs.v1.RunsService/ListItems"


class ManyRuns(ScriptedRuntime):
    """`count` runs, made when they are listed. `most` is the largest number of pages that were read at once."""

    def __init__(self, count: int, labels: dict[str, str] | None = None) -> None:
        super().__init__()
        self.count = count
        self.labels = labels or {}
        self.now = self.most = self.cancelled = 0

    async def list_runs(self, wanted: RunFilter, order: RunOrder, cursor: str, limit: int) -> RunPage:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        start = int(cursor or 0)
        stop = min(start + limit, self.count)
        return RunPage([self._status(n) for n in range(start, stop)], str(stop) if stop < self.count else "")

    async def cancel(self, run_id: str, reason: str | None, until: float | None = None) -> Snapshot:
        self.cancelled += 1
        return Snapshot(self._status(0, RunState.CANCELLED), 1, completions=0, prefix=0)

    def _status(self, number: int, state: RunState = RunState.RUNNING) -> RunStatus:
        return RunStatus(
            run_id=str(uuid.UUID(int=number)),
            flow_id="sha256:" + "0" * 64,
            status=state,
            items=ItemStatistics(total=1),
            created_at=START,
            labels=self.labels,
        )


@pytest.fixture(params=["grpcio", "native"])
def transport(request: Any) -> Transport:
    transport: Transport = request.param
    return transport


@asynccontextmanager
async def serving(
    transport: Transport, runtime: ScriptedRuntime, memory: int
) -> AsyncIterator[tuple[MemoryAccount, Client, RawHttp2]]:
    service, account = RunsService(runtime, grace=0), MemoryAccount(memory)
    front = GrpcFront(RunsServices(service), "127.0.0.1:0", account=account, transport=transport)
    await front.start()
    client = Client(front.address)
    try:
        async with raw_http2(front.address) as raw:
            yield account, client, raw
    finally:
        await client.close()
        await front.stop(0)
        await service.close()


async def test_pages_of_runs_that_are_not_read_stay_within_the_share(transport: Transport) -> None:
    """Those that do not fit are refused; another client gets its page."""
    labels = {f"{index:0255}": "x" * 255 for index in range(32)}
    async with serving(transport, ManyRuns(1_000, labels), 24 * MIB) as (account, client, raw):
        request = runs_pb2.ListRunsRequest(page_size=1_000).SerializeToString()
        streams = [raw.open(LIST_RUNS, request) for _ in range(30)]
        await raw.until(lambda: len(raw.ended) >= 15)
        assert account.held <= 12 * MIB
        assert (await client.runs.ListRuns(runs_pb2.ListRunsRequest())).runs
        for stream in streams:
            raw.give_window(4 * MIB, stream)
        await raw.until(lambda: len(raw.ended) == len(streams))
        assert sum(size > MIB for size in raw.received.values()) >= 2
    assert account.held == 0


async def test_long_items_that_are_not_read_stay_within_the_share(transport: Transport) -> None:
    runtime = ScriptedRuntime()
    async with serving(transport, runtime, 24 * MIB) as (account, client, raw):
        run = await client.submit(inputs=1)
        await runtime.succeed(0, f'"{"x" * 2 * MIB}"')
        request = runs_pb2.ListItemsRequest(run_id=run.run_id).SerializeToString()
        streams = [raw.open(LIST_ITEMS, request) for _ in range(20)]
        await raw.until(lambda: len(raw.ended) >= 10)
        assert account.held <= 12 * MIB
        for stream in streams:
            raw.give_window(4 * MIB, stream)
        await raw.until(lambda: len(raw.ended) == len(streams))
        assert sum(size > MIB for size in raw.received.values()) >= 1
    assert account.held == 0


async def test_only_some_pages_are_read_at_once() -> None:
    runtime = ManyRuns(2_000)
    lists = RunLists(runtime)
    pages = await asyncio.gather(*(lists.runs(ListParams(page_size=500)) for _ in range(100)))
    assert {len(page.runs) for page in pages} == {500}
    assert runtime.most == READS


async def test_many_runs_are_kept_as_their_ids_alone() -> None:
    """The runs themselves would take a hundred times as much."""
    runtime = ManyRuns(20_000)
    account = MemoryAccount()
    service = RunsService(runtime, grace=0, account=account)
    cancelling = service.bulk.cancel(CancelRunsParams(filter=RunFilter()))
    async with aclosing(service.bulk.cancel(CancelRunsParams(filter=RunFilter()))) as first:
        await anext(first)  # All that is made once is made.
    tracemalloc.start()
    assert await anext(cancelling) == BulkProgress(20_000, 0, 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000 * 20 + AT_ONCE * 3_000
    assert 20_000 * 16 <= account.held <= 20_000 * 24
    async for last in cancelling:
        told = last
    assert told == BulkProgress(20_000, 20_000, 0)
    assert runtime.cancelled >= 20_000
    await service.close()


async def test_a_call_that_concerns_many_runs_leaves_others_their_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime of this test answers at once: without pauses, nothing else would happen until all is done."""
    monkeypatch.setattr("gateway.concurrency.fair_queue.SLICE_SECONDS", 0.0)
    runtime = ManyRuns(2_000)
    service = RunsService(runtime, grace=0)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    async for _ in service.bulk.cancel(CancelRunsParams(filter=RunFilter())):
        pass
    other.cancel()
    assert turns >= 2_000
    await service.close()
