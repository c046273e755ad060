"""What the SDK counts becomes metrics of the gateway, with labels of closed sets: no names of runs or queues are kept.

The SDK writes each event into a buffer, some fifty for a run. It is emptied often, so that no turn of the event loop
has many of them.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from temporalio.runtime import MetricBuffer

from gateway.concurrency.time_slice import TimeSlice
from gateway.telemetry.metrics import Cell, Counter, Gauge, Histogram
from gateway.telemetry.temporal_metrics import (
    CACHE_EVICTIONS,
    CACHE_LOOKUPS,
    CACHED_WORKFLOWS,
    POLLERS,
    POLLS,
    REQUESTS_FAILED,
    TASK_DELAY,
    TASK_SECONDS,
    TASK_SLOTS_FREE,
    TASK_SLOTS_USED,
    TASKS_FAILED,
)

BUFFER_SIZE: Final = 10_000
"""How many events the SDK keeps. More are lost, and it logs that."""

SELDOM: Final = 0.2
OFTEN: Final = 0.01
"""Seconds between two looks into the buffer: when nothing happens, and at least."""

FEW: Final = 100
"""How many events there are to be for a look: with more, the next one is sooner."""

_TASKS: Final[Mapping[object, str]] = {
    "WorkflowWorker": "workflow",
    "ActivityWorker": "activity",
    "workflow_task": "workflow",
    "sticky_workflow_task": "workflow",
    "activity_task": "activity",
}
"""Kinds of tasks, as the SDK calls those who take them."""

_TakeEvent: TypeAlias = Callable[[float, Mapping[str, Any]], None]


class SdkMetrics:
    """Counts what is in a buffer of the SDK."""

    def __init__(self, buffer: MetricBuffer) -> None:
        self._buffer = buffer
        self._counts: Mapping[str, _TakeEvent] = {
            "temporal_worker_task_slots_used": _level(TASK_SLOTS_USED, "worker_type"),
            "temporal_worker_task_slots_available": _level(TASK_SLOTS_FREE, "worker_type"),
            "temporal_num_pollers": _level(POLLERS, "poller_type"),
            "temporal_sticky_cache_size": _level(CACHED_WORKFLOWS, None),
            "temporal_workflow_task_schedule_to_start_latency": _spread(TASK_DELAY, "workflow"),
            "temporal_activity_schedule_to_start_latency": _spread(TASK_DELAY, "activity"),
            "temporal_workflow_task_execution_latency": _spread(TASK_SECONDS, "workflow"),
            "temporal_activity_execution_latency": _spread(TASK_SECONDS, "activity"),
            "temporal_workflow_task_execution_failed": _sum(TASKS_FAILED, "workflow"),
            "temporal_activity_execution_failed": _sum(TASKS_FAILED, "activity"),
            "temporal_workflow_task_queue_poll_succeed": _sum(POLLS, "task"),
            "temporal_workflow_task_queue_poll_empty": _sum(POLLS, "none"),
            "temporal_sticky_cache_hit": _sum(CACHE_LOOKUPS, "hit"),
            "temporal_sticky_cache_miss": _sum(CACHE_LOOKUPS, "miss"),
            "temporal_sticky_cache_total_forced_eviction": _sum(CACHE_EVICTIONS),
            "temporal_request_failure": _sum(REQUESTS_FAILED, "short"),
            "temporal_long_request_failure": _sum(REQUESTS_FAILED, "long"),
        }

    async def take(self) -> int:
        """Count what has happened since the last time, and return how many events that were."""
        updates = self._buffer.retrieve_updates()
        counts = self._counts
        pace = TimeSlice()
        for update in updates:
            count = counts.get(update.metric.name)
            if count is not None:
                count(update.value, update.attributes)
            await pace.checkpoint()
        return len(updates)

    async def follow(self) -> None:
        """Count what happens, until it is cancelled."""
        pace = SELDOM
        while True:
            taken = await self.take()
            # To take them out of the buffer is one slice of work, and most of it.
            pace = min(SELDOM, max(OFTEN, pace * min(2.0, FEW / max(1, taken))))
            await asyncio.sleep(pace)


def _sum(counter: Counter, *labels: str) -> _TakeEvent:
    cell = counter.labels(*labels)

    def count(value: float, _: Mapping[str, Any]) -> None:
        cell.value += value

    return count


def _spread(histogram: Histogram, *labels: str) -> _TakeEvent:
    distribution = histogram.labels(*labels)

    def count(value: float, _: Mapping[str, Any]) -> None:
        distribution.observe(value)

    return count


def _level(gauge: Gauge, attribute: str | None) -> _TakeEvent:
    """Levels of several queues and pollers are added up: what counts is the last level of each."""
    levels: dict[tuple[object, object], float] = {}

    def cell_of(kind: object) -> Cell | None:
        if attribute is None:
            return gauge.labels()
        task = _TASKS.get(kind)
        return None if task is None else gauge.labels(task)

    def count(value: float, attributes: Mapping[str, Any]) -> None:
        kind = None if attribute is None else attributes.get(attribute)
        cell = cell_of(kind)
        if cell is not None:
            place = attributes.get("task_queue"), kind
            cell.value += value - levels.get(place, 0.0)
            levels[place] = value

    return count
