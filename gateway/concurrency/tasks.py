"""Tasks whose callers may have left."""

import asyncio
from typing import Any


def retrieve_exception(task: "asyncio.Task[Any]") -> None:
    """A done callback for tasks that several callers, or none, wait for: they get the exception.

    Without it, asyncio logs the exception of a task whose callers have all left, as one that was never retrieved.
    """
    if not task.cancelled():
        task.exception()
