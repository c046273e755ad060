"""Runs that take too long are cancelled, over restarts too."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.core.clock import LATEST
from gateway.core.model import MAX_TIMEOUT, RunState
from gateway.flows.new_record import deadline_of
from gateway.flows.run_record import RunRecord
from gateway.runtimes.embedded import deadlines
from gateway.runtimes.embedded.deadlines import Deadlines
from tests.support.embedded import Embedded, opened
from tests.support.held_component import HELD, HeldComponent

SHORT = 0.05
RECORD = RunRecord("run", "flow", None, None, 1, None, None, "{}", None, "", None, "", 1_000)


@pytest.fixture
async def held() -> AsyncIterator[HeldComponent]:
    held = HeldComponent()
    async with held.server.running():
        yield held


@asynccontextmanager
async def started(held: HeldComponent, state: Path | None = None) -> AsyncIterator[Embedded]:
    async with opened(state, components={"/test": held.server.url}) as embedded:
        await embedded.start()
        yield embedded


def test_the_shorter_time_counts_and_the_longest_is_the_last_that_can_be_kept() -> None:
    assert deadline_of(5, None, None) is None
    assert deadline_of(5, 2.0, None) == deadline_of(5, None, 2.0) == deadline_of(5, 2.0, 3.0) == 2_000_000_005
    assert deadline_of(5, MAX_TIMEOUT, None) == LATEST


async def test_a_run_that_takes_too_long_is_cancelled(held: HeldComponent) -> None:
    async with started(held) as embedded:
        last = await embedded.submit(HELD, 1, execution_timeout=SHORT)
        assert (last.status, last.items.cancelled) == (RunState.CANCELLED, 1)
        assert last.cancel_reason == "the run took longer than 0.05 seconds (execution_timeout)"
        await held.loses(1)


async def test_the_setting_bounds_all_runs(held: HeldComponent) -> None:
    async with started(held) as embedded:
        embedded.runtime._deadlines.run_timeout = SHORT
        for given in (None, MAX_TIMEOUT):
            last = await embedded.submit(HELD, 1, execution_timeout=given)
            assert last.cancel_reason == "the run took longer than 0.05 seconds (run_timeout)"


async def test_a_run_that_ends_in_time_and_one_that_may_take_ten_thousand_years(held: HeldComponent) -> None:
    held.release(1)
    async with started(held) as embedded:
        for given in (60.0, MAX_TIMEOUT):
            assert (await embedded.submit(HELD, 1, execution_timeout=given)).status is RunState.SUCCESS
        assert [*embedded.runtime._deadlines._ticks.values()] == [{}, {}]


async def test_a_deadline_that_passes_while_the_gateway_is_down(held: HeldComponent, tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    async with started(held, state) as embedded:
        status = await embedded.submit(HELD, 1, wait=False)
        await held.executes(1)
        late = "UPDATE runs SET created_at = created_at - 3000000000, deadline = created_at - 1500000000"
        await embedded.journal._file.write(lambda db: db.execute(late) and None)  # type: ignore[attr-defined]
    async with started(held, state) as embedded:
        last = await embedded.wait(status.run_id)
        assert last.status is RunState.CANCELLED
        assert last.cancel_reason == "the run took longer than 1.5 seconds (execution_timeout)"
    assert len(held.given) == 1


async def test_many_runs_share_a_timer_and_are_cancelled_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = 0
    monkeypatch.setattr(deadlines, "now", lambda: moment)
    monkeypatch.setattr(deadlines, "TOGETHER", 3)
    expired: list[str] = []
    may_end = asyncio.Event()

    async def expire(run_id: str, reason: str) -> None:
        expired.append(run_id)
        await may_end.wait()

    runs = Deadlines(expire)
    for number in range(10):
        runs.add(replace(RECORD, run_id=str(number), deadline=1_000_000_000 + number))
    assert len(runs._order) == 1
    runs.discard(replace(RECORD, run_id="4", deadline=1_000_000_004))
    runs._look()
    assert (expired, runs._due) == ([], type(runs._due)())
    moment = 1_100_000_000
    runs._look()
    await asyncio.sleep(0)
    assert expired == ["0", "1", "2"]
    may_end.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not runs._expiring
    assert expired == [str(number) for number in range(10) if number != 4]
    await runs.close()


async def test_a_clock_that_is_set_forward_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer of a day wakes after a minute."""
    delays: list[float] = []
    loop = asyncio.get_running_loop()

    def call_later(delay: float, *_: Any) -> asyncio.Handle:
        delays.append(delay)
        return asyncio.Handle(lambda: None, (), loop)

    monkeypatch.setattr(loop, "call_later", call_later)
    runs = Deadlines(lambda run_id, reason: asyncio.sleep(0))
    runs.add(replace(RECORD, deadline=LATEST))
    assert delays == [deadlines.LONGEST_SLEEP]
    await runs.close()
