import asyncio

import pytest

from gateway.concurrency.canceller import BATCH, Canceller
from gateway.concurrency.task_pool import TaskPool


async def test_as_many_tasks_as_the_limit_says_run_at_the_same_time() -> None:
    pool = TaskPool(3, Canceller())
    running = most = 0

    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    ended: list[None] = []
    for _ in range(10):
        await pool.free()
        pool.start(work(), lambda: ended.append(None))
    await pool.join()
    await pool.close()
    assert (most, len(ended)) == (3, 10)


async def test_what_a_task_raises_ends_the_use_of_the_pool() -> None:
    async def fail() -> None:
        raise LookupError("it failed")

    pool = TaskPool(2, Canceller())
    pool.start(fail(), lambda: None)
    pool.start(asyncio.sleep(3600), lambda: None)
    with pytest.raises(LookupError):
        await pool.join()
    with pytest.raises(LookupError):
        await pool.free()
    await pool.close()


async def test_tasks_are_cancelled_a_few_in_each_turn() -> None:
    pool = TaskPool(1_000, Canceller())
    ended: list[None] = []
    for _ in range(10 * BATCH):
        pool.start(asyncio.sleep(3600), lambda: ended.append(None))
    await asyncio.sleep(0)
    closing = asyncio.create_task(pool.close())
    before = most = 0
    while not closing.done():
        await asyncio.sleep(0)
        before, most = len(ended), max(most, len(ended) - before)
    assert len(ended) == 10 * BATCH
    assert most <= BATCH
