"""Several calls, of which some are under way at the same time."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from gateway.concurrency.tasks import first_failure


async def some_at_once(calls: Iterable[Callable[[], Coroutine[Any, Any, object]]], most: int) -> None:
    """Make calls, at most so many at the same time. The next one is taken when the one before has begun.

    If one fails, those under way are cancelled, and this raises what it has failed with.
    """
    places = asyncio.Semaphore(most)
    try:
        async with asyncio.TaskGroup() as group:
            for call in calls:
                await places.acquire()
                group.create_task(call()).add_done_callback(lambda _: places.release())
        return
    except BaseExceptionGroup as failures:
        failure = first_failure(failures)
    try:
        raise failure  # Not while the group is handled, which would become its context, and holds it.
    finally:
        del failure
