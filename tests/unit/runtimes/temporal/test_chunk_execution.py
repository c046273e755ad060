"""A chunk of items: its results are kept though the storage is away for a while, and none executes twice for that."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest
from temporalio.testing import ActivityEnvironment

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import Unavailable
from gateway.core.model import Blob, BlobType
from gateway.flows.flow_cache import FlowCache
from gateway.flows.item_work import SharedWork
from gateway.flows.run_record import RunRecord
from gateway.flows.task import Host
from gateway.runtimes.temporal import chunk_execution
from gateway.runtimes.temporal.chunk_execution import ChunkExecution
from gateway.runtimes.temporal.executing_runs import ExecutingRuns
from gateway.runtimes.temporal.kept_inputs import KeptInputs
from gateway.runtimes.temporal.kept_results import get_results, put_results
from gateway.runtimes.temporal.messages import ChunkDone, Inputs, ItemChunk, KeptResult, ResultsPart
from gateway.runtimes.temporal.stored_flows import StoredFlows
from gateway.storage.blob_objects import BlobObjects
from gateway.storage.objects import ObjectStore

ECHO = Blob('{"steps":[],"output":{"$input":"$"}}', BlobType.FLOW)
TEXTS = ("1", '"two"', "[3]")


class AwayStore:
    """Where results are kept, but for the first `away` calls of all `calls`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.away = 0
        self.calls = 0
        self.called = asyncio.Event()
        monkeypatch.setattr(chunk_execution, "put_results", self._put)

    async def _put(self, store: ObjectStore, key: str, results: Sequence[KeptResult]) -> ResultsPart:
        self.calls += 1
        self.called.set()
        if self.calls <= self.away:
            raise Unavailable("the object storage is away", retry_after=0.001)
        return await put_results(store, key, results)


@pytest.fixture
async def store(tmp_path: Path) -> ObjectStore:
    return await ObjectStore.open(tmp_path.as_uri(), MemoryAccount())


@pytest.fixture
async def chunks(store: ObjectStore) -> tuple[ChunkExecution, ItemChunk]:
    """What executes chunks, and one whose results are objects."""
    flows = StoredFlows(BlobObjects(store, MemoryAccount()), FlowCache())
    flow_id = await flows.put(ECHO, "default")
    runs = ExecutingRuns(SharedWork(4, MemoryAccount()))
    record = RunRecord("r", flow_id, None, None, 3, None, None, "{}", None, "", None, "", 1)
    execution = ChunkExecution(store, KeptInputs(store), flows, runs, lambda _: cast("Host", None))
    return execution, ItemChunk(record, 0, 3, Inputs(TEXTS), inline=0)


async def test_results_are_kept_when_the_storage_is_back(
    chunks: tuple[ChunkExecution, ItemChunk], store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = AwayStore(monkeypatch)
    away.away = 3
    execution, chunk = chunks
    done: ChunkDone = await ActivityEnvironment().run(execution.execute, chunk)
    assert (done.rest, away.calls) == (3, 4)
    assert done.part is not None
    results = await get_results(store, done.part)
    assert [(result.item_index, result.value) for result in results] == list(enumerate(TEXTS))


@pytest.mark.parametrize("end", ["cancel", "worker_shutdown", "patience"])
async def test_a_storage_that_stays_away_is_given_up(
    chunks: tuple[ChunkExecution, ItemChunk], monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    away = AwayStore(monkeypatch)
    away.away = 1 << 30
    if end == "patience":
        monkeypatch.setattr(chunk_execution, "STORE_PATIENCE", 0.0)
    execution, chunk = chunks
    environment = ActivityEnvironment()
    executing = asyncio.create_task(environment.run(execution.execute, chunk))
    await away.called.wait()
    if end != "patience":
        getattr(environment, end)()
    with pytest.raises((Unavailable, asyncio.CancelledError)):
        await executing


async def test_short_results_go_without_the_storage(
    chunks: tuple[ChunkExecution, ItemChunk], monkeypatch: pytest.MonkeyPatch
) -> None:
    away = AwayStore(monkeypatch)
    execution, chunk = chunks
    short = ItemChunk(chunk.record, chunk.start, chunk.stop, chunk.inputs, inline=10_000)
    done: ChunkDone = await ActivityEnvironment().run(execution.execute, short)
    assert done.part is not None
    assert [result.value for result in done.part.results or ()] == list(TEXTS)
    assert not away.calls
