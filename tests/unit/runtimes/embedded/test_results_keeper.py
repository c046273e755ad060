"""Results on their way to the journal: written together, one write at a time, in the order of completion."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.concurrency.memory_account import MemoryAccount
from gateway.concurrency.room import Room, RoomHolder
from gateway.core.errors import Unavailable
from gateway.core.model import ItemError, ItemResult, RunState
from gateway.flows.item_log import MAX_KEPT_BYTES, ItemLog, read_log
from gateway.flows.run_record import RunRecord
from gateway.runtimes.embedded import results_keeper
from gateway.runtimes.embedded.journal import Completion
from gateway.runtimes.embedded.memory_journal import MemoryJournal
from gateway.runtimes.embedded.results_keeper import MAX_TOGETHER, STOPPED_BYTES, ResultsKeeper
from gateway.runtimes.embedded.run import Run


class Slow(MemoryJournal):
    """Notes the places of each write, waits until it may go on, and refuses the writes that are to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[list[int]] = []
        self.may_write = asyncio.Semaphore(0)
        self.failing = 0
        self.begun = asyncio.Condition()

    async def complete(self, run_id: str, completions: Sequence[Completion], *arguments: Any) -> None:
        async with self.begun:
            self.writes.append([completion.place for completion in completions])
            self.begun.notify_all()
        await self.may_write.acquire()
        if self.failing:
            self.failing -= 1
            raise Unavailable("the disk is full")
        await super().complete(run_id, completions, *arguments)


class Keeping:
    """A run of some items whose results are being kept."""

    def __init__(self, total: int) -> None:
        self.journal = Slow()
        self.record = RunRecord("run", "flow", None, None, total, None, None, "{}", None, "", None, "", 7)
        self.run = Run(self.record)
        self.share = MemoryAccount().share()
        holder = RoomHolder(Room(self.share, 1 << 20).party())
        self.kept = 0
        self.keeper = ResultsKeeper(self.run, self.journal, holder, self.note)

    def note(self) -> None:
        self.kept += 1

    def add(self, *indexes: int, text: str = "1") -> None:
        for index in indexes:
            self.keeper.add(ItemResult(item_index=index, status=RunState.SUCCESS, value=text, completed_at=1))

    async def start(self) -> "asyncio.Task[None]":
        await self.journal.create(self.record, ["1"] * self.record.total)
        return asyncio.create_task(self.keeper.keep_all())

    async def begun(self, writes: int) -> None:
        async with self.journal.begun:
            await self.journal.begun.wait_for(lambda: len(self.journal.writes) == writes)


async def test_results_that_come_during_a_write_share_the_next_one() -> None:
    keeping = Keeping(5)
    task = await keeping.start()
    keeping.add(3)
    await keeping.begun(1)
    keeping.add(0, 4)
    keeping.add(1, 2)
    assert keeping.run.snapshot().completions == 0
    keeping.journal.may_write.release()
    await keeping.begun(2)
    assert (keeping.run.snapshot().completions, keeping.kept) == (1, 1)
    keeping.journal.may_write.release()
    await task
    assert keeping.journal.writes == [[0], [1, 2, 3, 4]]
    assert (keeping.run.finished, keeping.kept) == (True, 2)


async def test_a_write_that_is_refused_is_repeated_before_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results_keeper, "RETRY_SECONDS", 0)
    keeping = Keeping(2)
    keeping.journal.failing = 2
    for _ in range(4):
        keeping.journal.may_write.release()
    task = await keeping.start()
    keeping.add(1)
    await keeping.begun(1)
    keeping.add(0)
    await task
    assert keeping.journal.writes == [[0], [0], [0], [1]]


async def test_a_write_has_a_bounded_number_of_results() -> None:
    keeping = Keeping(2 * MAX_TOGETHER + 1)
    keeping.add(*range(MAX_TOGETHER - 1))
    assert not keeping.keeper.is_full
    keeping.add(*range(MAX_TOGETHER - 1, 2 * MAX_TOGETHER + 1))
    assert keeping.keeper.is_full
    for _ in range(3):
        keeping.journal.may_write.release()
    await (await keeping.start())
    assert [len(write) for write in keeping.journal.writes] == [MAX_TOGETHER, MAX_TOGETHER, 1]


async def test_what_is_kept_of_items_that_a_cancel_stops_is_bounded_and_takes_room_until_then() -> None:
    """Each of 100 items has 50 steps with errors, of some 50 KB."""
    keeping = Keeping(101)
    task = await keeping.start()
    for index in range(100):
        log = ItemLog(9, 1)
        for number in range(50):
            note = log.need(f"s{number}", "/c")
            assert note is not None
            note.begin()
            note.fail(ItemError(code=1, message="m" * 1_000), last=True)
        keeping.run.start(index, log)
    keeping.run.start(100)
    keeping.add(0)
    assert keeping.run.cancel("enough")
    keeping.keeper.end_cancelled()
    await keeping.begun(1)
    assert STOPPED_BYTES < keeping.share.held < STOPPED_BYTES + MAX_KEPT_BYTES
    keeping.journal.may_write.release()
    await task
    assert keeping.share.held == 0
    stopped = await keeping.journal.stopped_items("run", 0, 101)
    assert list(stopped) == list(range(1, 100))
    with_steps = [index for index, kept in stopped.items() if read_log(kept).steps]
    assert with_steps == list(range(1, len(with_steps) + 1))
    assert {(read_log(kept).started_at, read_log(kept).attempts) for kept in stopped.values()} == {(9, 1)}
    assert sum(map(len, stopped.values())) < STOPPED_BYTES + MAX_KEPT_BYTES


async def test_results_take_room_until_they_are_kept() -> None:
    keeping = Keeping(1)
    task = await keeping.start()
    keeping.add(0, text="1" * 10_000)
    await keeping.begun(1)
    assert keeping.share.held == 10_000
    keeping.journal.may_write.release()
    await task
    assert keeping.share.held == 0
