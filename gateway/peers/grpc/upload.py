"""Sending the parts of an upload, so that the answer of a call that ends early is not lost.

When grpc fails to send after the answer has come, it puts an error of its own in the place of the answer
(https://github.com/grpc/grpc/issues/36066), unless the sending is cancelled before it notices.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from grpc import aio

from runs.v1 import runs_pb2


class Sending:
    """What is being sent on a call; given up at once when the call has ended."""

    def __init__(
        self, call: "aio.StreamUnaryCall[runs_pb2.SubmitRunStreamRequest, runs_pb2.SubmitRunResponse]"
    ) -> None:
        self._task: asyncio.Task[None] | None = None
        call.add_done_callback(self._give_up)

    async def done(self, sending: Coroutine[Any, Any, None]) -> bool:
        """Whether the call takes what is sent; one that has ended does not, and its answer says why."""
        self._task = asyncio.create_task(sending)
        try:
            await self._task
        except (aio.AioRpcError, aio.InternalError, asyncio.InvalidStateError):
            return False
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return False
        return True

    def _give_up(self, _: object) -> None:
        if self._task is not None:
            self._task.cancel()
