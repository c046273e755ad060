import asyncio
from itertools import pairwise

import pytest

from gateway.concurrency.fair_queue import Turnstile
from gateway.core.errors import Overloaded


async def test_one_task_passes_in_each_iteration_in_order_of_arrival() -> None:
    turnstile = Turnstile()
    passed: list[int] = []

    async def work(name: int) -> None:
        await turnstile.enter()
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
    turnstile = Turnstile()
    tasks = [asyncio.create_task(turnstile.enter()) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[1].cancel()
    await tasks[2]
    await turnstile.enter()


async def test_newcomers_are_refused_when_too_many_queue_and_others_are_not() -> None:
    turnstile = Turnstile(max_queue=2)
    queueing = [asyncio.create_task(turnstile.enter()) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as caught:
        await turnstile.enter()
    assert caught.value.retry_after == 1.0
    await turnstile.resume()
    await asyncio.gather(*queueing)
    await turnstile.enter()
