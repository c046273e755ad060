"""The worker: takes from the engine's queue what workflows and activities are to do next."""

from datetime import timedelta
from typing import Final

from temporalio.client import Client
from temporalio.worker import FixedSizeSlotSupplier, UnsandboxedWorkflowRunner, Worker, WorkerTuner

from gateway.flows.item_work import SharedWork
from gateway.runtimes.temporal.activities import Activities
from gateway.runtimes.temporal.connection import TemporalConnection
from gateway.runtimes.temporal.heartbeat import HEARTBEAT_SECONDS
from gateway.runtimes.temporal.item_slots import ItemSlots
from gateway.runtimes.temporal.messages import TASK_QUEUE, UPKEEP_QUEUE
from gateway.runtimes.temporal.worker_life import DRAIN_SECONDS, WorkerLife
from gateway.runtimes.temporal.workflow import RunWorkflow

STICKY_TIMEOUT: Final = timedelta(seconds=3)
"""After so long, a step of a workflow goes to any gateway, if the one that knows the workflow has not taken it."""

WORKFLOW_TASKS: Final = 100
"""How many workflows may do their next step at the same time."""

UPKEEP_TASKS: Final = 64
UPKEEP_POLLS: Final = 2
"""How many such activities execute at the same time, and how many calls wait for them."""

_THROTTLE: Final = timedelta(seconds=HEARTBEAT_SECONDS)


class EngineWorker:
    """Takes part in the execution of runs, from `start` until `stop`."""

    def __init__(self, connection: TemporalConnection, activities: Activities, shared: SharedWork) -> None:
        self._activities = activities
        self._shared = shared
        self._slots: ItemSlots | None = None
        self._life = WorkerLife(connection, lambda client: [self._of_runs(client), self._of_upkeep(client)])

    def start(self) -> None:
        """Begin when the engine is there."""
        self._life.start()

    async def stop(self) -> None:
        """Take nothing more, and leave what does not end soon to others."""
        if self._slots is not None:
            self._slots.close()
        await self._life.stop()

    def _of_runs(self, client: Client) -> Worker:
        """The worker of workflows, and of the items of runs."""
        self._slots = ItemSlots(self._shared)
        tuner = WorkerTuner.create_composite(
            workflow_supplier=FixedSizeSlotSupplier(WORKFLOW_TASKS),
            activity_supplier=self._slots,
            local_activity_supplier=FixedSizeSlotSupplier(1),
            nexus_supplier=FixedSizeSlotSupplier(1),
        )
        return Worker(
            client,
            task_queue=TASK_QUEUE,
            workflows=[RunWorkflow],
            activities=[self._activities.execute_chunk],
            workflow_runner=UnsandboxedWorkflowRunner(),
            tuner=tuner,
            max_heartbeat_throttle_interval=_THROTTLE,
            default_heartbeat_throttle_interval=_THROTTLE,
            sticky_queue_schedule_to_start_timeout=STICKY_TIMEOUT,
            graceful_shutdown_timeout=timedelta(seconds=DRAIN_SECONDS),
        )

    def _of_upkeep(self, client: Client) -> Worker:
        """The worker of what runs need besides their items."""
        activities = self._activities
        return Worker(
            client,
            task_queue=UPKEEP_QUEUE,
            activities=[activities.keep_part, activities.keep_index, activities.cancel_nested],
            max_concurrent_activities=UPKEEP_TASKS,
            max_concurrent_activity_task_polls=UPKEEP_POLLS,
            max_heartbeat_throttle_interval=_THROTTLE,
            default_heartbeat_throttle_interval=_THROTTLE,
            graceful_shutdown_timeout=timedelta(seconds=DRAIN_SECONDS),
        )
