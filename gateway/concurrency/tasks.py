"""Tasks whose callers may have left."""

import asyncio
from contextlib import suppress
from typing import Any


def retrieve_exception(task: "asyncio.Task[Any]") -> None:
    """A done callback for tasks that several callers, or none, wait for: they get the exception.

    Without it, asyncio logs the exception of a task whose callers have all left, as one that was never retrieved. A
    task that was cancelled keeps what it has raised, with all frames that it passed, until it is asked for: where one
    of these holds the task, they would hold each other.
    """
    with suppress(asyncio.CancelledError):
        task.exception()
