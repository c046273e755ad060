import asyncio
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.control import BulkProgress, CancelRunsParams, DeleteRunsParams
from gateway.core.errors import Overloaded, RunNotFound, TooLarge, Unavailable
from gateway.core.model import RunState, SubmitParams
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.runtime import RunPage, Snapshot
from gateway.runs import bulk
from gateway.runs.bulk import BulkCalls
from gateway.runs.listing import RunLists
from tests.support.scripted_runtime import FLOW, ScriptedRuntime

ALL = RunFilter()
MINE = RunFilter(flow_label="mine*")


async def submitted(runtime: ScriptedRuntime, labels: list[str]) -> list[str]:
    flow_id = await runtime.put_blob(FLOW)
    return [
        (await runtime.submit(SubmitParams(flow_id=flow_id, inputs=["1"], flow_label=label), "")).status.run_id
        for label in labels
    ]


def calls(runtime: ScriptedRuntime, account: MemoryAccount | None = None) -> BulkCalls:
    return BulkCalls(runtime, RunLists(runtime), (account or MemoryAccount()).share(small=0))


async def states(runtime: ScriptedRuntime, run_ids: list[str]) -> list[RunState]:
    return [(await runtime.get(run_id)).status.status for run_id in run_ids]


@given(st.lists(st.tuples(st.sampled_from(["mine", "mine too", "other"]), st.booleans()), max_size=20))
async def test_the_numbers_of_a_cancel_add_up(runs: list[tuple[str, bool]]) -> None:
    runtime = ScriptedRuntime()
    run_ids = await submitted(runtime, [label for label, _ in runs])
    for run_id, (_, ended) in zip(run_ids, runs, strict=True):
        if ended:
            await runtime.succeed(0, run_id=run_id)
    told = [progress async for progress in calls(runtime).cancel(CancelRunsParams(filter=MINE, reason="enough"))]
    mine = [ended for label, ended in runs if label != "other"]
    assert told[0] == BulkProgress(len(mine), 0, mine.count(True))
    assert told[-1] == BulkProgress(len(mine), mine.count(False), mine.count(True))
    for run_id, (label, ended) in zip(run_ids, runs, strict=True):
        status = (await runtime.get(run_id)).status
        cancelled = label != "other" and not ended
        assert (status.status is RunState.CANCELLED) == cancelled
        assert status.cancel_reason == ("enough" if cancelled else None)


@pytest.mark.parametrize("cancel", [False, True])
async def test_a_delete_leaves_what_has_not_ended_unless_it_cancels(cancel: bool) -> None:
    runtime = ScriptedRuntime()
    run_ids = await submitted(runtime, ["mine", "mine", "other"])
    await runtime.succeed(0, run_id=run_ids[0])
    told = [progress async for progress in calls(runtime).delete(DeleteRunsParams(filter=MINE, cancel=cancel))]
    assert told[-1] == BulkProgress(2, 2 if cancel else 1, 0 if cancel else 1)
    assert runtime.run_ids == (run_ids[2:] if cancel else run_ids[1:])


class Growing(ScriptedRuntime):
    """Runs are submitted, and deleted, between the pages of a list."""

    async def list_runs(self, wanted: RunFilter, order: RunOrder, cursor: str, limit: int) -> RunPage:
        page = await super().list_runs(wanted, order, cursor, min(limit, 2))
        await submitted(self, ["mine", "later"])
        await self.delete(page.runs[0].run_id, cancel=True)
        return page


async def test_the_set_is_that_of_the_beginning() -> None:
    runtime = Growing()
    await submitted(runtime, ["mine"] * 6)
    told = [progress async for progress in calls(runtime).cancel(CancelRunsParams(filter=MINE))]
    # Three of them have been deleted by the time it is their turn.
    assert told[-1] == BulkProgress(6, 3, 3)
    assert await states(runtime, runtime.run_ids) == [RunState.CANCELLED] * 3 + [RunState.PENDING] * 6


class Slow(ScriptedRuntime):
    """A cancel waits until `free` is set; `most` is the largest number of cancels at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()
        self.begun = asyncio.Event()
        self.now = self.most = 0
        self.failing: Exception | None = None

    async def cancel(self, run_id: str, reason: str | None, until: float | None = None) -> Snapshot:
        self.now += 1
        self.most = max(self.most, self.now)
        self.begun.set()
        try:
            await self.free.wait()
            if self.failing is not None:
                raise self.failing
        finally:
            self.now -= 1
        return await super().cancel(run_id, reason, until)


async def test_a_few_at_a_time_and_a_caller_that_leaves_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "PROGRESS_SECONDS", 0.0)
    runtime = Slow()
    account = MemoryAccount()
    run_ids = await submitted(runtime, ["mine"] * 30)
    async with aclosing(calls(runtime, account).cancel(CancelRunsParams(filter=ALL))) as told:
        for _ in range(3):
            assert await anext(told) == BulkProgress(30, 0, 0)
        await runtime.begun.wait()
        assert 30 * 16 <= account.held <= 30 * 32
    assert runtime.most == bulk.CONCURRENCY
    assert (runtime.now, account.held) == (0, 0)
    assert await states(runtime, run_ids) == [RunState.PENDING] * 30


async def test_a_runtime_that_fails_ends_the_call() -> None:
    runtime = Slow()
    await submitted(runtime, ["mine"] * 30)
    runtime.free.set()
    runtime.failing = Unavailable("its state is gone")
    with pytest.raises(Unavailable):
        async for _ in calls(runtime).cancel(CancelRunsParams(filter=ALL)):
            pass
    assert runtime.now == 0
    runtime.failing = RunNotFound("deleted meanwhile")
    told = [progress async for progress in calls(runtime).cancel(CancelRunsParams(filter=ALL))]
    assert told[-1] == BulkProgress(30, 0, 30)


async def test_too_many_runs_are_refused_before_anything_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = ScriptedRuntime()
    run_ids = await submitted(runtime, ["mine"] * 10)
    monkeypatch.setattr(bulk, "MAX_RUNS", 9)
    with pytest.raises(TooLarge, match="more than 9 runs match: narrow the filter"):
        await anext(calls(runtime).cancel(CancelRunsParams(filter=ALL)))
    monkeypatch.undo()
    with pytest.raises(Overloaded):
        await anext(calls(runtime, MemoryAccount(100)).cancel(CancelRunsParams(filter=ALL)))
    assert await states(runtime, run_ids) == [RunState.PENDING] * 10
