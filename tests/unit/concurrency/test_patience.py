"""Waits that end after a time, many with one timer."""

import asyncio

import pytest

from gateway.concurrency.patience import Patience

FOREVER = 600.0


async def test_a_wait_returns_its_result() -> None:
    patience = Patience(FOREVER, TimeoutError)
    assert await patience.wait(asyncio.sleep(0, "result")) == "result"
    patience.close()


async def test_a_wait_that_takes_too_long_ends() -> None:
    patience = Patience(0.01, TimeoutError)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await patience.wait(asyncio.Event().wait())
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    patience.close()


async def test_waits_of_many_tasks_end_with_those_that_go_on_left_alone() -> None:
    patience = Patience(0.01, TimeoutError)
    late = [asyncio.create_task(patience.wait(asyncio.Event().wait())) for _ in range(100)]
    results = await asyncio.gather(*late, return_exceptions=True)
    assert all(isinstance(result, TimeoutError) for result in results)
    assert await patience.wait(asyncio.sleep(0, "result")) == "result"
    patience.close()


async def test_an_error_of_what_is_waited_for_is_raised() -> None:
    async def fail() -> None:
        raise ValueError("no")

    patience = Patience(FOREVER, TimeoutError)
    with pytest.raises(ValueError, match="no"):
        await patience.wait(fail())
    patience.close()


async def test_a_task_that_is_cancelled_meanwhile_stays_cancelled() -> None:
    patience = Patience(FOREVER, TimeoutError)
    waiting = asyncio.create_task(patience.wait(asyncio.Event().wait()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    patience.close()
