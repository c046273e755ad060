"""TaskLimiter for tasks: taken in order, given back once."""

import asyncio

from gateway.bridge.task_limiter import TaskLimiter


async def test_places_are_taken_in_the_order_of_arrival() -> None:
    limiter, order = TaskLimiter(1), []

    async def task(name: str) -> None:
        await limiter.take(name)
        order.append(name)
        await asyncio.sleep(0)
        limiter.give_back(name)

    await asyncio.gather(*(task(name) for name in "abc"))
    assert order == ["a", "b", "c"]
    assert limiter.waiting == 0


async def test_a_place_is_given_back_once() -> None:
    limiter = TaskLimiter(1)
    await limiter.take("a")
    limiter.give_back("a")
    limiter.give_back("a")
    await limiter.take("b")
    late = asyncio.create_task(limiter.take("c"))
    await asyncio.sleep(0)
    assert limiter.waiting == 1
    limiter.give_back("b")
    await late


async def test_one_that_leaves_the_line_leaves_its_turn_to_the_next() -> None:
    limiter = TaskLimiter(1)
    await limiter.take("a")
    leaving, staying = [asyncio.create_task(limiter.take(name)) for name in "bc"]
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    limiter.give_back("a")
    await staying


async def test_one_that_leaves_when_its_turn_has_come_can_give_its_place_back() -> None:
    limiter = TaskLimiter(1)
    await limiter.take("a")
    leaving = asyncio.create_task(limiter.take("b"))
    await asyncio.sleep(0)
    limiter.give_back("a")
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    limiter.give_back("b")
    await limiter.take("c")
