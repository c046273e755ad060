"""Tasks that take their first step at once: most calls end with it, and need no task of their own."""

import asyncio
import sys
from collections.abc import Coroutine, Generator
from contextvars import Context, copy_context
from typing import Any, Final, TypeAlias

Work: TypeAlias = Coroutine[Any, Any, None]

_ENDED: Final[Any] = object()

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

        Each takes its first step as a task that has not begun, in the context of that task. If it waits, the task goes
        on with it; otherwise the next coroutine of the same turn has the task, and has to find its context as it was.
        """

        def __init__(self) -> None:
            self._spare: tuple[asyncio.Task[None], _Begun, Context] | None = None

        def start(self, work: Work) -> asyncio.Task[None] | None:
            """Take the first step. Return the task that goes on with the coroutine; None if it has ended.

            It raises nothing but CancelledError.
            """
            loop = asyncio.get_running_loop()
            if self._spare is None or self._spare[1].entered:
                begun, context = _Begun(), copy_context()
                self._spare = asyncio.Task(begun.rest(), loop=loop, context=context), begun, context
            task, begun, context = self._spare
            # As asyncio's documentation asks of implementations of tasks.
            asyncio.tasks._enter_task(loop, task)
            steps = work.__await__()
            try:
                # Unlike `send`, this raises nothing at the end: an exception takes a frame and a traceback.
                waits_for = context.run(next, steps, _ENDED)
            except asyncio.CancelledError:
                return None
            finally:
                asyncio.tasks._leave_task(loop, task)
            if waits_for is _ENDED:
                return None
            begun.work, begun.waits_for = steps, waits_for
            self._spare = None
            return task

    class _Begun:
        """A coroutine that has taken its first step, and what it waits for; no coroutine, if none has waited."""

        __slots__ = ("entered", "waits_for", "work")

        def __init__(self) -> None:
            self.work: Generator[Any, None, None] | None = None
            self.waits_for: asyncio.Future[Any] | None = None
            self.entered = False

        def rest(self) -> Generator[Any, None, None]:
            """The rest of the coroutine, for a task."""
            steps = self._steps()
            next(steps)  # Otherwise a task that is cancelled before it begins would not execute any of it.
            return steps

        def _steps(self) -> Generator[Any, None, None]:
            cancelled = False
            try:
                yield
            except asyncio.CancelledError:
                cancelled = True
            self.entered = True
            work, waits_for = self.work, self.waits_for
            self.waits_for = None
            if work is None:
                return
            try:
                # As with any task that is cancelled, what it waits for is cancelled first.
                if cancelled and (waits_for is None or not waits_for.cancel()):
                    waits_for = work.throw(asyncio.CancelledError())
                while True:
                    try:
                        yield waits_for
                        break
                    except BaseException as error:
                        waits_for = work.throw(error)
                yield from work
            except StopIteration:
                return
