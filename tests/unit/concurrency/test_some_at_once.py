"""Several calls are made, some at the same time, and one that fails ends all of them."""

import asyncio

import pytest

from gateway.concurrency.some_at_once import some_at_once
from tests.support.garbage import left_behind, uncollected


async def test_no_more_are_under_way_than_may_be() -> None:
    full, may = asyncio.Event(), asyncio.Event()
    running = most = done = 0

    async def call() -> None:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        if running == 3:
            full.set()
        await may.wait()
        running -= 1
        done += 1

    async with asyncio.TaskGroup() as group:
        group.create_task(some_at_once([call] * 10, 3))
        await full.wait()
        may.set()
    assert (most, done) == (3, 10)


async def test_a_failure_ends_the_others_and_is_raised_as_it_is() -> None:
    cancelled = False

    async def waits() -> None:
        nonlocal cancelled
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled = True
            raise

    async def fails() -> None:
        raise KeyError("away")

    with uncollected():
        with pytest.raises(KeyError, match="away"):
            await some_at_once([waits, fails, waits], 2)
        left = left_behind()
    assert cancelled
    assert left == set()
