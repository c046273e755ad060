import asyncio

import pytest

from gateway.concurrency.canceller import BATCH, Canceller
from gateway.concurrency.task_pool import TaskPool


async def test_the_owner_waits_for_changes_that_tasks_tell_of() -> None:
    pool = TaskPool(Canceller())
    ended: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        pool.notify()

    for number in range(10):
        pool.start(work(number), lambda number=number: ended.append(number))  # type: ignore[misc]
    while len(ended) < 10:
        await pool.change()
    assert ended == [*range(10)]
    await pool.close()


async def test_what_a_task_raises_ends_the_use_of_the_pool() -> None:
    async def fail() -> None:
        raise LookupError("it failed")

    pool = TaskPool(Canceller())
    pool.start(fail())
    pool.start(asyncio.sleep(3600))
    with pytest.raises(LookupError):
        await pool.change()
    await pool.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_tasks_are_cancelled_a_few_in_each_turn_even_before_they_begin() -> None:
    pool = TaskPool(Canceller())
    ended: list[None] = []
    for _ in range(10 * BATCH):
        pool.start(asyncio.sleep(3600), lambda: ended.append(None))
    closing = asyncio.create_task(pool.close())
    before = most = 0
    while not closing.done():
        await asyncio.sleep(0)
        before, most = len(ended), max(most, len(ended) - before)
    assert len(ended) == 10 * BATCH
    assert most <= BATCH
