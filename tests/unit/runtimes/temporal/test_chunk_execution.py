"""A chunk of items: its results are kept though the storage is away for a while, and none executes twice for that."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace as replace_info
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace
from temporalio.testing import ActivityEnvironment

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import Unavailable
from gateway.core.model import Blob, BlobType, JsonText, RunState
from gateway.flows.flow_cache import FlowCache
from gateway.flows.item_work import SharedWork
from gateway.flows.run_record import RunRecord
from gateway.flows.task import Host
from gateway.runtimes.temporal import chunk_execution
from gateway.runtimes.temporal.chunk_execution import ChunkExecution
from gateway.runtimes.temporal.executing_runs import ExecutingRuns
from gateway.runtimes.temporal.kept_inputs import KeptInputs
from gateway.runtimes.temporal.kept_results import get_results, put_results
from gateway.runtimes.temporal.messages import (
    ChunkDone,
    ChunkSplit,
    Inputs,
    ItemChunk,
    ItemCounts,
    KeptResult,
    ResultsPart,
    RunReport,
)
from gateway.runtimes.temporal.stored_flows import StoredFlows
from gateway.storage.blob_objects import BlobObjects
from gateway.storage.objects import ObjectStore

ECHO = Blob('{"steps":[],"output":{"$input":"$"}}', BlobType.FLOW)
TEXTS = ("1", '"two"', "[3]")


class NobodySplits:
    """Runs that are told of no chunk that was split."""

    async def split(self, run_id: str, told: ChunkSplit) -> bool:
        raise AssertionError(f"the run {run_id} was told {told}")

    async def progress(self, run_id: str, seen: int) -> RunReport | None:
        return None


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
    execution = ChunkExecution(
        store, KeptInputs(store), flows, runs, lambda _: cast("Host", None), split_runs=NobodySplits()
    )
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


class ToldRuns:
    """Runs that are told of chunks that are split. `known` is what they know of before."""

    def __init__(self, known: tuple[tuple[int, int], ...] = ()) -> None:
        self.told: list[ChunkSplit] = []
        self.heard = asyncio.Event()
        self._report = RunReport(RunState.RUNNING, 1, ItemCounts(1, 0, 0, 0), 0, 0, 1, split=known)

    async def split(self, run_id: str, told: ChunkSplit) -> bool:
        self.told.append(told)
        self.heard.set()
        return True

    async def progress(self, run_id: str, seen: int) -> RunReport | None:
        return self._report


@pytest.fixture
def slow_items(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Of three items, the second one waits until this is set. A chunk is split at once."""
    gate = asyncio.Event()
    execute = chunk_execution._Items.result

    async def result(self: chunk_execution._Items, index: int, text: JsonText) -> KeptResult:
        if index == 1:
            await gate.wait()
        return await execute(self, index, text)

    monkeypatch.setattr(chunk_execution._Items, "result", result)
    monkeypatch.setattr(chunk_execution, "CHUNK_SECONDS", 0.05)
    return gate


async def test_an_item_that_takes_long_splits_its_chunk(
    chunks: tuple[ChunkExecution, ItemChunk], slow_items: asyncio.Event
) -> None:
    execution, chunk = chunks
    runs = execution._split_runs = ToldRuns()
    short = replace(chunk, inline=10_000)
    executing = asyncio.create_task(ActivityEnvironment().run(execution.execute, short))
    await runs.heard.wait()
    slow_items.set()
    done: ChunkDone = await executing
    [told] = runs.told
    assert told.part is not None
    assert done.part is not None
    assert (told.start, told.at, told.part.high, done.rest, done.part.low) == (0, 1, 1, 2, 1)


async def test_a_chunk_that_is_cancelled_after_a_split_tells_nothing_twice(
    chunks: tuple[ChunkExecution, ItemChunk], slow_items: asyncio.Event
) -> None:
    execution, chunk = chunks
    runs = execution._split_runs = ToldRuns()
    environment = ActivityEnvironment()
    executing = asyncio.create_task(environment.run(execution.execute, chunk))
    await runs.heard.wait()
    environment.cancel()
    done: ChunkDone = await executing
    assert (done.rest, done.part) == (1, None)


async def test_who_executes_a_split_chunk_again_executes_the_rest_of_it(
    chunks: tuple[ChunkExecution, ItemChunk], monkeypatch: pytest.MonkeyPatch
) -> None:
    execution, chunk = chunks
    execution._split_runs = ToldRuns(known=((0, 2),))
    environment = ActivityEnvironment()
    environment.info = replace_info(environment.info, attempt=2)
    done: ChunkDone = await environment.run(execution.execute, replace(chunk, inline=10_000))
    assert done.part is not None
    assert [(each.item_index, each.value) for each in done.part.results or ()] == [(2, TEXTS[2])]
    assert done.rest == 3
