"""How long a question about a run waits for its answer, which gateways give that execute runs: not if there are none.

The engine lists who has asked for work in the last minutes, and when. One who has nothing to do asks once a minute, so
that this alone does not tell that somebody has gone. But whoever is there takes what waits, and asks for more.
"""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, Final, TypeVar

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest

from gateway.runtimes.temporal.connection import TemporalConnection
from gateway.runtimes.temporal.messages import TASK_QUEUE

_T = TypeVar("_T")

ANSWER_SECONDS: Final = 10.0
"""How long a question waits if somebody is there. Gateways that are busy take seconds."""

SOON_SECONDS: Final = 1.0
"""After so long without an answer, it is looked whether somebody is there."""

SILENT_SECONDS: Final = 0.25
"""And so if nobody was there the last time."""

LOOK_SECONDS: Final = 1.0
"""For so long it stays known who is there."""

_TIMEOUT: Final = timedelta(seconds=5)


class QuestionPatience:
    """See the module."""

    def __init__(self, connection: TemporalConnection) -> None:
        self._connection = connection
        self._looking = asyncio.Lock()
        self._known_until = 0.0
        self._asked: int | None = None
        """When somebody has asked for work last, by the clock of the engine."""
        self._silence: int | None = None
        """The same, at the end of a question that nobody has taken."""
        self._is_silent = False

    async def answer(self, question: Coroutine[Any, Any, _T]) -> _T:
        """The answer of a question. Raises TimeoutError if none comes, and what the question does."""
        asking = asyncio.create_task(question)
        try:
            await asyncio.wait({asking}, timeout=SILENT_SECONDS if self._is_silent else SOON_SECONDS)
            if not asking.done() and not await self.is_silent():
                before = self._asked
                await asyncio.wait({asking}, timeout=ANSWER_SECONDS - SOON_SECONDS)
                if not asking.done():
                    await self._was_silent(before)
            if asking.done():
                self._silence = None
                return asking.result()
            raise TimeoutError
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            # Its error has this frame.
            del asking

    async def is_silent(self) -> bool:
        """Whether nobody is there who answers. May raise what `EngineCall` does."""
        async with self._looking:
            now = asyncio.get_running_loop().time()
            if now >= self._known_until:
                self._asked = await self._look()
                self._known_until = now + LOOK_SECONDS
        self._is_silent = self._asked is None or self._asked == self._silence
        return self._is_silent

    async def _was_silent(self, before: int | None) -> None:
        """Nobody has taken a question for long. If nobody has asked for work either, nobody is there."""
        await self.is_silent()
        if self._asked == before:
            self._silence = before

    async def _look(self) -> int | None:
        queue = DescribeTaskQueueRequest(
            namespace=self._connection.address.namespace,
            task_queue=TaskQueue(name=TASK_QUEUE),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
        async with self._connection.engine_call("DescribeTaskQueue") as client:
            found = await client.workflow_service.describe_task_queue(queue, timeout=_TIMEOUT)
        return max((poller.last_access_time.ToNanoseconds() for poller in found.pollers), default=None)
