"""The state in memory counts what it takes, and takes no more than its part of the account."""

import gc
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import Overloaded, TooLarge
from gateway.core.model import Blob, BlobType, ItemError, ItemResult, ResultOrder, RunState
from gateway.core.packed_texts import PackedTexts
from gateway.core.run_filter import RunFilter
from gateway.core.runtime import Page
from gateway.flows.run_ids import RUN_IDS
from gateway.flows.run_record import Outcome, RunRecord
from gateway.runtimes.embedded import memory_index
from gateway.runtimes.embedded.ended_run import ended_at_once
from gateway.runtimes.embedded.journal import Completion, Ended
from gateway.runtimes.embedded.memory_journal import ITEM_BYTES, STATE_FRACTION, MemoryJournal
from gateway.runtimes.embedded.recent_runs import RECENT_FRACTION, RecentRuns
from gateway.runtimes.embedded.run_terms import Term, terms_of

ITEMS = 3_000
RUNS = 300


def record(run_id: str, total: int) -> RunRecord:
    return RunRecord(
        run_id, "sha256:" + "ab" * 32, "name", None, total, None, None, "{}", None, "", run_id, "p" * 64, 7
    )


def result(index: int, value: str) -> ItemResult:
    return ItemResult(item_index=index, status=RunState.SUCCESS, value=value, completed_at=1_700_000_000 + index)


def failure(index: int) -> ItemResult:
    error = ItemError(code=-32_100, message=f"broken {index}", data=f'"{index}"')
    return ItemResult(item_index=index, status=RunState.FAILED, error=error, completed_at=1_700_000_000 + index)


async def one_run(journal: MemoryJournal, make: Callable[[int], ItemResult]) -> None:
    """A run of many one-character items, all finished but the last one."""
    await journal.create(record("run", ITEMS), [str(index) for index in range(ITEMS)])
    for index in range(ITEMS - 1):
        await journal.complete("run", [Completion(index, make(index))])


async def successes(journal: MemoryJournal) -> None:
    await one_run(journal, lambda index: result(index, str(index + ITEMS)))


async def texts(journal: MemoryJournal) -> None:
    await one_run(journal, lambda index: result(index, f'"{"é中"[index % 2] * 500}{index}"'))


async def failures(journal: MemoryJournal) -> None:
    await one_run(journal, failure)


async def small_runs(journal: MemoryJournal) -> None:
    for number in range(RUNS):
        ended = Ended(Outcome(RunState.SUCCESS, 1, 0, 9), [result(0, str(number + 1_000))])
        await journal.create(record(f"run-{number:036}", 1), (), ended)


async def many_inputs(journal: MemoryJournal) -> None:
    packed = PackedTexts()
    packed.extend(str(index) for index in range(200_000))
    await journal.create(record("packed", 0), packed)


async def blobs(journal: MemoryJournal) -> None:
    for number in range(RUNS):
        await journal.put_blob(f"blob-{number}", Blob(f'"{"中" * 1_000}{number}"', BlobType.DATA))


@pytest.mark.parametrize("fill", [successes, texts, failures, small_runs, many_inputs, blobs])
async def test_what_the_state_counts_is_what_it_takes(fill: Callable[[MemoryJournal], Awaitable[None]]) -> None:
    account = MemoryAccount()
    journal = MemoryJournal(account)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await fill(journal)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.8 * (after - before) <= account.held <= 1.6 * (after - before)


async def test_what_is_given_back_is_what_was_taken() -> None:
    account = MemoryAccount(8_000_000)
    journal = MemoryJournal(account)
    for number in range(50):
        run_id = f"run-{number}"
        await journal.create(record(run_id, 200), [str(index) for index in range(200)])
        for index in range(200):
            outcome = Outcome(RunState.SUCCESS, 200, 0, 9) if index == 199 else None
            await journal.complete(run_id, [Completion(index, result(index, str(index)))], outcome)
        assert account.held <= account.limit * STATE_FRACTION
    kept = [number for number in range(50) if await journal.load(f"run-{number}") is not None]
    assert kept == list(range(kept[0], 50))
    assert 200 * ITEM_BYTES * len(kept) < account.held


async def test_a_run_that_the_state_can_never_hold_is_refused_at_once() -> None:
    account = MemoryAccount(8_000_000)
    journal = MemoryJournal(account)
    with pytest.raises(TooLarge):
        await journal.create(record("run", 10_000), ["1"] * 10_000)
    assert account.held == 0
    await journal.create(record("half", 5_000), ["1"] * 5_000)
    with pytest.raises(Overloaded):
        await journal.create(record("other", 5_000), ["1"] * 5_000)
    account.share().take(2_000_000)
    assert await journal.results("half", Page(ResultOrder.BY_INDEX, 0, 5_000, 0, 0)) == []


async def test_recent_runs_take_their_part_of_the_account_and_no_more() -> None:
    account = MemoryAccount(16 << 20)
    recent, journal = RecentRuns(account), MemoryJournal()
    outcome = Outcome(RunState.SUCCESS, 300, 0, 9)
    for number in range(100):
        results = [result(index, str(index)) for index in range(300)]
        recent.put(ended_at_once(record(f"run-{number}", 300), outcome, journal, results))
        assert account.held <= account.limit * RECENT_FRACTION
    assert recent.get("run-0") is None
    newest = recent.get("run-99")
    assert newest is not None
    recent.put(newest)
    held = account.held
    recent.remove("run-99")
    recent.remove("run-99")
    assert account.held == held - newest.size


async def test_runs_that_are_alike_are_indexed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    journal, indexed = MemoryJournal(), 0

    def counted(*run: Any) -> list[Term]:
        nonlocal indexed
        indexed += 1
        return terms_of(*run)

    monkeypatch.setattr(memory_index, "terms_of", counted)
    ended = Ended(Outcome(RunState.SUCCESS, 1, 0, 9), [result(0, "1")])
    for number in range(10 * memory_index.BEHIND):
        run_id = RUN_IDS.next(7)
        await journal.create(replace(record(run_id, 1), key=None), (), ended)
        assert len(journal._index._missing) < memory_index.BEHIND
        if number % memory_index.BEHIND == 5:
            assert await journal.count(RunFilter()) == number + 1
    assert indexed <= 20
