import asyncio
from itertools import pairwise
from typing import Any

import pytest

from gateway.concurrency.fair_turns import FairTurns, Line


class Work:
    """Tasks whose pieces of work take a tenth of a turn, by a clock that only they move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.done: list[str] = []
        self.turns = FairTurns(budget=1.0, clock=lambda: self.now)

    async def task(self, line: Line, name: str, pieces: int) -> None:
        for _ in range(pieces):
            await line.checkpoint()
            self.now += 0.1
            self.done.append(name)


async def test_all_lines_together_get_one_budget_in_each_turn_of_the_event_loop() -> None:
    work = Work()
    lines = [work.turns.line() for _ in range(20)]
    tasks = [asyncio.create_task(work.task(line, "", 5)) for line in lines for _ in range(50)]
    times = [work.now]
    while len(work.done) < 5_000:
        await asyncio.sleep(0)
        times.append(work.now)
    assert max(after - before for before, after in pairwise(times)) < 1.2
    await asyncio.gather(*tasks)


async def test_lines_take_turns_however_many_tasks_each_has() -> None:
    work = Work()
    large, small = work.turns.line(), work.turns.line()
    tasks = [asyncio.create_task(work.task(large, "large", 10)) for _ in range(500)]
    await asyncio.sleep(0)
    await work.task(small, "small", 100)
    assert work.done.count("large") < 1_000
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_task_that_has_left_takes_no_turn() -> None:
    work = Work()
    line = work.turns.line()
    tasks = [asyncio.create_task(work.task(line, str(number), 20)) for number in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert work.done.count("2") == 20


async def test_a_piece_of_work_that_takes_very_long_is_followed_by_a_rest() -> None:
    """Otherwise such pieces would follow each other, one in each turn of the event loop."""
    loop = asyncio.get_running_loop()
    worked = 0.0
    turns = FairTurns(budget=0.0001, worked=lambda: worked)
    rests: list[float] = []
    call_later = loop.call_later

    def later(seconds: float, call: Any, *arguments: Any) -> asyncio.TimerHandle:
        rests.append(seconds)
        return call_later(0, call, *arguments)

    async def task(line: Line, piece: float) -> None:
        nonlocal worked
        for _ in range(3):
            await line.checkpoint()
            worked += piece

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "call_later", later)
        await asyncio.gather(*(task(turns.line(), 0.0002) for _ in range(2)))
        assert rests == []
        await asyncio.gather(*(task(turns.line(), 0.05) for _ in range(2)))
    assert rests
    assert all(rest >= 0.1 for rest in rests)
