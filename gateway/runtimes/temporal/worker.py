"""The worker: takes from the engine's queue what workflows and activities are to do next."""

from datetime import timedelta
from typing import Final

from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from gateway.runtimes.temporal.activities import Activities
from gateway.runtimes.temporal.chunk_execution import HEARTBEAT_SECONDS
from gateway.runtimes.temporal.connection import TemporalConnection
from gateway.runtimes.temporal.messages import TASK_QUEUE
from gateway.runtimes.temporal.worker_life import DRAIN_SECONDS, WorkerLife
from gateway.runtimes.temporal.workflow import RunWorkflow

STICKY_TIMEOUT: Final = timedelta(seconds=3)
"""After so long, a step of a workflow goes to any gateway, if the one that knows the workflow has not taken it."""

_THROTTLE: Final = timedelta(seconds=HEARTBEAT_SECONDS)


class EngineWorker:
    """Takes part in the execution of runs, from `start` until `stop`."""

    def __init__(self, connection: TemporalConnection, activities: Activities, max_items: int) -> None:
        self._activities = activities
        self._max_items = max_items
        self._life = WorkerLife(connection, lambda client: [self._of_runs(client)])

    def start(self) -> None:
        """Begin when the engine is there."""
        self._life.start()

    async def stop(self) -> None:
        """Take nothing more, and leave what does not end soon to others."""
        await self._life.stop()

    def _of_runs(self, client: Client) -> Worker:
        """The worker of workflows and their activities."""
        activities = self._activities
        return Worker(
            client,
            task_queue=TASK_QUEUE,
            workflows=[RunWorkflow],
            activities=[
                activities.execute_chunk,
                activities.keep_part,
                activities.keep_index,
                activities.cancel_nested,
            ],
            workflow_runner=UnsandboxedWorkflowRunner(),
            max_concurrent_activities=self._max_items,
            max_heartbeat_throttle_interval=_THROTTLE,
            default_heartbeat_throttle_interval=_THROTTLE,
            sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
            graceful_shutdown_timeout=timedelta(seconds=DRAIN_SECONDS),
        )
