"""The worker: takes from the engine's queue what workflows and activities are to do next."""

import asyncio
from datetime import timedelta
from typing import Final

from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from gateway.concurrency.tasks import create_shared_task
from gateway.core.errors import Unavailable
from gateway.runtimes.temporal.activities import Activities
from gateway.runtimes.temporal.chunk_execution import HEARTBEAT_SECONDS
from gateway.runtimes.temporal.connection import TemporalConnection
from gateway.runtimes.temporal.messages import TASK_QUEUE
from gateway.runtimes.temporal.workflow import RunWorkflow

DRAIN_SECONDS: Final = 2.0
"""How long items that execute have to end when the gateway stops. Others take up those that have not."""

_RETRY_SECONDS: Final = 1.0


class EngineWorker:
    """Takes part in the execution of runs, from `start` until `stop`."""

    def __init__(self, connection: TemporalConnection, activities: Activities, max_items: int) -> None:
        self._connection = connection
        self._activities = activities
        self._max_items = max_items
        self._worker: Worker | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin when the engine is there."""
        self._task = create_shared_task(self._run())

    async def stop(self) -> None:
        """Take nothing more, and leave what does not end soon to others."""
        if self._worker is not None:
            await self._worker.shutdown()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                client = await self._connection.worker_client()
            except Unavailable:
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            throttle = timedelta(seconds=HEARTBEAT_SECONDS)
            activities = self._activities
            self._worker = Worker(
                client,
                task_queue=TASK_QUEUE,
                workflows=[RunWorkflow],
                activities=[activities.execute_chunk, activities.keep_part, activities.cancel_nested],
                workflow_runner=UnsandboxedWorkflowRunner(),
                max_concurrent_activities=self._max_items,
                max_heartbeat_throttle_interval=throttle,
                default_heartbeat_throttle_interval=throttle,
                graceful_shutdown_timeout=timedelta(seconds=0),
            )
            await self._worker.run()
            return
