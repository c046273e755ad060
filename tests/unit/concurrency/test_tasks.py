"""Exceptions that nobody is left to be told of."""

import asyncio
import gc
from typing import Any

import pytest

from gateway.concurrency.tasks import retrieve_exception


async def fail() -> None:
    raise ValueError("broken")


@pytest.mark.parametrize(("retrieved", "complaints"), [(True, 0), (False, 1)])
async def test_an_exception_of_a_task_without_callers_is_not_complained_about(retrieved: bool, complaints: int) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    task = asyncio.create_task(fail())
    if retrieved:
        task.add_done_callback(retrieve_exception)
    await asyncio.wait({task})
    del task
    gc.collect()
    assert len(told) == complaints


async def test_callers_get_the_exception_all_the_same() -> None:
    task = asyncio.create_task(fail())
    task.add_done_callback(retrieve_exception)
    with pytest.raises(ValueError, match="broken"):
        await task


async def test_a_cancelled_task_has_none() -> None:
    task = asyncio.create_task(fail())
    task.add_done_callback(retrieve_exception)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
