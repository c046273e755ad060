"""Tasks whose callers may have left, or are cancelled."""

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, TypeVar

from gateway.core.internal_errors import release_frames

T = TypeVar("T")


def create_shared_task(work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
    """Start a task that works for many callers, or that outlives the call in which it begins.

    Its context is empty: what it does is no part of the trace of whoever happened to come first.
    """
    return asyncio.create_task(work, context=Context())


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


def first_failure(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first failure of a group of tasks, which is raised for all of them."""
    first: BaseException = failures
    while isinstance(first, BaseExceptionGroup):
        first.__traceback__ = None  # The group of tasks holds the exception in its frame.
        first = first.exceptions[0]
    return first
