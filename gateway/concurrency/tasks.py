"""Tasks whose callers may have left, or are cancelled."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from gateway.core.internal_errors import release_frames


def retrieve_exception(task: "asyncio.Future[Any]") -> None:
    """A done callback for tasks that several callers, or none, wait for: they get the exception.

    Without it, asyncio logs the exception of a task whose callers have all left, as one that was never retrieved. A
    task that was cancelled keeps what it has raised, with all frames that it passed, until it is asked for: where one
    of these holds the task, they would hold each other.
    """
    try:
        task.exception()
    except asyncio.CancelledError as cancelled:
        release_frames(cancelled)


async def to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Do work that being cancelled once does not interrupt."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
