import asyncio
from itertools import pairwise

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
