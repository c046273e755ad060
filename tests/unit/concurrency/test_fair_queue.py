import asyncio
from itertools import pairwise

import pytest

from gateway.concurrency.fair_queue import FairQueue
from gateway.core.errors import Overloaded


async def test_one_task_passes_in_each_iteration_in_order_of_arrival() -> None:
    fair_queue = FairQueue()
    passed: list[int] = []

    async def work(name: int) -> None:
        await fair_queue.admit()
        passed.append(name)

    tasks = [asyncio.create_task(work(name)) for name in range(20)]
    counts = []
    while len(passed) < 20:
        await asyncio.sleep(0)
        counts.append(len(passed))
    steps = [after - before for before, after in pairwise(counts)]
    assert max(steps) == 1
    assert passed == list(range(20))
    await asyncio.gather(*tasks)


async def test_a_task_that_leaves_the_queue_takes_no_turn() -> None:
    fair_queue = FairQueue()
    tasks = [asyncio.create_task(fair_queue.admit()) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[1].cancel()
    await tasks[2]
    await fair_queue.admit()


async def test_newcomers_are_refused_when_too_many_queue_and_others_are_not() -> None:
    fair_queue = FairQueue(max_queue=2)
    queueing = [asyncio.create_task(fair_queue.admit()) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as caught:
        await fair_queue.admit()
    assert caught.value.retry_after == 1.0
    await fair_queue.yield_turn()
    await asyncio.gather(*queueing)
    await fair_queue.admit()
