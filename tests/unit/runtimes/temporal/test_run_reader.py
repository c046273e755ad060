"""The reader of runs, over an engine whose answers the test gives."""

import asyncio
import tracemalloc
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import Overloaded, RunNotFound, Unavailable
from gateway.core.model import ResultOrder, RunState
from gateway.core.runtime import Page, Snapshot
from gateway.core.time_away import TimeAway
from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal import read_parts, run_reader
from gateway.runtimes.temporal.engine import Described, Engine, NoWorker
from gateway.runtimes.temporal.kept_results import put_results
from gateway.runtimes.temporal.messages import ItemCounts, KeptResult, ResultsPart, RunEnd, RunReport, RunResult
from gateway.runtimes.temporal.run_reader import RunReader
from gateway.storage.objects import ObjectStore

RECORD = RunRecord("r", "f", None, None, 1, None, None, "{}", None, "", None, "", 1)
END = RunEnd(RunState.SUCCESS, 3, ItemCounts(0, 1, 0, 0), 1, 2)
RESULT = RunResult(END, (ResultsPart(0, 1, 1, 0, 1, (KeptResult(0, "1", 2),)),))
RUNNING = RunReport(RunState.RUNNING, 1, ItemCounts(1, 0, 0, 0), 0, 0, 1)


class GivenEngine:
    """One run. `report` is what a question is answered; None if the run has ended, which `end` says to who waits."""

    def __init__(self) -> None:
        self.report: RunReport | Exception | None = RUNNING
        self.end = asyncio.Event()
        self.begun = self.is_here = True
        self.described: Described | Exception | None = None
        """What it is described as, unless as running."""
        self.given = RECORD, RESULT
        self.told = asyncio.Event()
        """Whether a question has been answered."""

    async def progress(self, run_id: str, seen: int) -> RunReport | None:
        self.told.set()
        if isinstance(self.report, Exception):
            raise self.report
        return self.report

    async def describe(self, run_id: str) -> Described:
        if isinstance(self.described, Exception):
            raise self.described
        return self.described or Described(self.given[0], None, None)

    async def has_begun(self, run_id: str) -> bool:
        return self.begun

    async def result(self, run_id: str) -> RunResult | None:
        if self.report is not None:
            await self.end.wait()
        return self.given[1]


@pytest.fixture
def engine() -> GivenEngine:
    return GivenEngine()


@pytest.fixture
async def reader(engine: GivenEngine, tmp_path: Path) -> RunReader:
    return RunReader(cast("Engine", engine), await ObjectStore.open(tmp_path.as_uri(), MemoryAccount()))


async def states(reader: RunReader) -> list[Snapshot]:
    return [snapshot async for snapshot in reader.watch("r")]


async def test_a_watch_ends_though_another_call_was_told_the_end(reader: RunReader, engine: GivenEngine) -> None:
    watching = asyncio.create_task(states(reader))
    await engine.told.wait()
    engine.report = None
    assert (await reader.get("r")).terminal
    engine.end.set()
    async with asyncio.timeout(5):
        seen = await watching
    assert [snapshot.revision for snapshot in seen][-1] == 3
    assert [snapshot.terminal for snapshot in seen] == [False] * (len(seen) - 1) + [True]


async def test_a_run_that_nobody_has_begun_with_is_pending(reader: RunReader, engine: GivenEngine) -> None:
    engine.report, engine.begun = NoWorker("nobody"), False
    assert (await reader.get("r")).status.status is RunState.PENDING


async def test_a_run_that_somebody_knows_more_of_is_unavailable(reader: RunReader, engine: GivenEngine) -> None:
    engine.report = NoWorker("nobody")
    with pytest.raises(Unavailable, match="nobody"):
        await reader.get("r")


@pytest.mark.parametrize("failure", [NoWorker("nobody"), Overloaded("full")])
async def test_a_watch_goes_on_after_a_question_has_failed(
    reader: RunReader, engine: GivenEngine, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    monkeypatch.setattr(run_reader, "SLOWEST", 0.01)
    engine.report = failure
    watching = asyncio.create_task(states(reader))
    await engine.told.wait()
    engine.report = None
    engine.end.set()
    async with asyncio.timeout(5):
        seen = await watching
    assert [snapshot.revision for snapshot in seen] == [0, 3]


async def test_a_watch_fails_when_nobody_answers_for_long(
    reader: RunReader, engine: GivenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_reader, "PATIENCE", 0.0)
    engine.report = NoWorker("nobody")
    with pytest.raises(Unavailable, match="nobody"):
        await states(reader)


async def test_results_are_read_when_somebody_answers_again(reader: RunReader, engine: GivenEngine) -> None:
    engine.report = NoWorker("nobody", retry_after=0.01)
    reading = asyncio.create_task(reader.results("r", Page(ResultOrder.BY_COMPLETION, 0, 1, 0, 1)))
    await engine.told.wait()
    engine.report = None
    engine.end.set()
    async with asyncio.timeout(5):
        assert [result.value for result in await reading] == ["1"]


async def test_draining_ends_a_watch(reader: RunReader, engine: GivenEngine) -> None:
    watching = asyncio.create_task(states(reader))
    await engine.told.wait()
    reader.drain()
    with pytest.raises(Unavailable, match="shutting down"):
        await watching


async def test_an_answer_without_news_ends_a_time_without_answers(
    reader: RunReader, engine: GivenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_reader, "SLOWEST", 0.01)
    told: list[str] = []

    class Noted(TimeAway):
        def success(self) -> None:
            told.append("answered")
            engine.report = NoWorker("nobody")

        def failure(self) -> bool:
            told.append("away")
            engine.report = RUNNING
            if len(told) > 4:
                engine.report = None
                engine.end.set()
            return True

    monkeypatch.setattr(run_reader, "TimeAway", Noted)
    async with asyncio.timeout(5):
        assert (await states(reader))[-1].terminal
    assert told == ["answered", "away"] * 3


async def test_a_page_by_index_keeps_no_more_than_it_holds(
    tmp_path: Path, engine: GivenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_parts, "PARTS_SIZE", 1)
    store = await ObjectStore.open(tmp_path.as_uri(), MemoryAccount())
    last = 40
    long = f'"{"x" * (1 << 20)}"'
    # The last items have ended first.
    kept = [KeptResult(index, long, 2) for index in reversed(range(last))]
    parts = [await put_results(store, f"part-{each.item_index}", [each]) for each in kept]
    record = replace(RECORD, total=last)
    end = RunEnd(RunState.SUCCESS, 3, ItemCounts(0, last, 0, 0), 1, 2)
    monkeypatch.setattr(engine, "given", (record, RunResult(end, tuple(parts))))
    engine.report = None
    reader = RunReader(cast("Engine", engine), store)
    tracemalloc.start()
    try:
        for start in (0, 20):
            page = Page(ResultOrder.BY_INDEX, start, last, 0, last)
            [result] = await reader.results("r", page)
            assert (result.item_index, result.value) == (start, long)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10 << 20


async def ended(reader: RunReader, engine: GivenEngine) -> Snapshot:
    """A run that has ended, as the reader knows it."""
    engine.report, engine.described = None, Described(RECORD, END, None)
    return await reader.get("r")


async def test_a_run_that_has_ended_is_looked_for_again_after_a_while(
    reader: RunReader, engine: GivenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = await ended(reader, engine)
    engine.described = RunNotFound("another gateway has deleted it")
    assert await reader.get("r") == known
    monkeypatch.setattr(run_reader, "LOOK_SECONDS", 0.0)
    for _ in range(2):
        with pytest.raises(RunNotFound):
            await reader.get("r")


async def test_what_is_known_of_a_run_is_told_while_the_engine_is_away(
    reader: RunReader, engine: GivenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = await ended(reader, engine)
    monkeypatch.setattr(run_reader, "LOOK_SECONDS", 0.0)
    engine.described = Unavailable("no answer")
    assert await reader.get("r") == known
    engine.is_here, engine.described = False, AssertionError("nobody asks")
    assert await reader.get("r") == known


async def test_a_run_that_has_the_id_of_a_deleted_one_is_another_run(
    reader: RunReader, engine: GivenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ended(reader, engine)
    monkeypatch.setattr(run_reader, "LOOK_SECONDS", 0.0)
    later = replace(RECORD, created_at=RECORD.created_at + 1)
    engine.described, engine.report = Described(later, None, None), RUNNING
    assert (await reader.get("r")).status.created_at == later.created_at
    # A delete of the earlier one, which is told late, is none of it.
    reader.deleted("r", RECORD.created_at)
    assert reader.known("r") is not None
    reader.deleted("r", later.created_at)
    assert reader.known("r") is None
