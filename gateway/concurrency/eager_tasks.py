"""Tasks that take their first step at once: most calls end with it, and need no task of their own."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeAlias

Work: TypeAlias = Coroutine[Any, Any, None]

if sys.version_info >= (3, 12):

    class EagerTasks:
        """Starts coroutines, from callbacks of the event loop and not from tasks."""

        def start(self, work: Work) -> asyncio.Task[None] | None:
            """Take the first step. Return the task that goes on with the coroutine; None if it has ended.

            It raises nothing but CancelledError.
            """
            task = asyncio.Task(work, loop=asyncio.get_running_loop(), eager_start=True)
            return None if task.done() else task

else:

    class EagerTasks:
        """Starts coroutines, from callbacks of the event loop and not from tasks.

        Each takes its first step as a task that has not begun. If it waits, that task goes on with it; otherwise the
        next coroutine of the same turn has the task.
        """

        def __init__(self) -> None:
            self._spare: tuple[asyncio.Task[None], _Begun] | None = None

        def start(self, work: Work) -> asyncio.Task[None] | None:
            """Take the first step. Return the task that goes on with the coroutine; None if it has ended.

            It raises nothing but CancelledError.
            """
            loop = asyncio.get_running_loop()
            if self._spare is None or self._spare[1].entered:
                begun = _Begun()
                self._spare = asyncio.Task(begun, loop=loop), begun
            task, begun = self._spare
            # As asyncio's documentation asks of implementations of tasks.
            asyncio.tasks._enter_task(loop, task)
            try:
                waits_for = work.send(None)
            except (StopIteration, asyncio.CancelledError):
                return None
            finally:
                asyncio.tasks._leave_task(loop, task)
            begun.work, begun.waits_for = work, waits_for
            self._spare = None
            return task

    class _Begun(Work):
        """What a task executes: the rest of a coroutine that waits for something, or nothing if there is no such."""

        __slots__ = ("entered", "waits_for", "work")

        def __init__(self) -> None:
            self.work: Work | None = None
            self.waits_for: asyncio.Future[Any] | None = None
            self.entered = False

        def send(self, value: Any) -> Any:
            if self.work is None:
                self.entered = True
                raise StopIteration
            if self.entered:
                return self.work.send(value)
            self.entered = True
            waits_for, self.waits_for = self.waits_for, None
            return waits_for

        def throw(self, error: Any, *rest: Any) -> Any:
            self.entered = True
            waits_for, self.waits_for = self.waits_for, None
            # Where it is cancelled before it has begun, what it waits for is cancelled first, as with any task.
            if waits_for is not None and waits_for.cancel():
                return waits_for
            try:
                if self.work is None:
                    raise error
                return self.work.throw(error, *rest)
            finally:
                del error  # It holds this frame.

        def close(self) -> None:
            if self.work is not None:
                self.work.close()

        def __await__(self) -> Any:
            raise TypeError("only a task executes it")
