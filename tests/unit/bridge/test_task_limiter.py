"""The limit on tasks: they are admitted in order, and released once."""

import asyncio

from gateway.bridge.task_limiter import TaskLimiter


async def test_tasks_are_admitted_in_the_order_of_arrival() -> None:
    limiter, order = TaskLimiter(1), []

    async def task(name: str) -> None:
        await limiter.acquire(name)
        order.append(name)
        await asyncio.sleep(0)
        limiter.release(name)

    await asyncio.gather(*(task(name) for name in "abc"))
    assert order == ["a", "b", "c"]
    assert limiter.waiting == 0


async def test_a_task_is_released_once() -> None:
    limiter = TaskLimiter(1)
    await limiter.acquire("a")
    limiter.release("a")
    limiter.release("a")
    await limiter.acquire("b")
    late = asyncio.create_task(limiter.acquire("c"))
    await asyncio.sleep(0)
    assert limiter.waiting == 1
    limiter.release("b")
    await late


async def test_a_task_that_stops_waiting_leaves_its_turn_to_the_next() -> None:
    limiter = TaskLimiter(1)
    await limiter.acquire("a")
    leaving, staying = [asyncio.create_task(limiter.acquire(name)) for name in "bc"]
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    limiter.release("a")
    await staying


async def test_a_task_that_stops_waiting_when_it_is_admitted_can_be_released() -> None:
    limiter = TaskLimiter(1)
    await limiter.acquire("a")
    leaving = asyncio.create_task(limiter.acquire("b"))
    await asyncio.sleep(0)
    limiter.release("a")
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    limiter.release("b")
    await limiter.acquire("c")
