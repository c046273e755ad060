"""Events of the SDK are counted with few labels, and levels of several queues are added up."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from temporalio.runtime import MetricBuffer

from gateway.runtimes.temporal.sdk_metrics import FEW, SELDOM, SdkMetrics
from tests.support.counted import Counted


class ScriptedBuffer:
    """Events that wait to be taken."""

    def __init__(self) -> None:
        self.waiting: list[Any] = []
        self.takes = 0

    def add(self, name: str, value: float, **attributes: object) -> None:
        self.waiting.append(SimpleNamespace(metric=SimpleNamespace(name=name), value=value, attributes=attributes))

    def retrieve_updates(self) -> list[Any]:
        taken, self.waiting = self.waiting, []
        self.takes += 1
        return taken


async def test_levels_are_the_last_ones_of_each_queue_together() -> None:
    buffer = ScriptedBuffer()
    metrics = SdkMetrics(cast(MetricBuffer, buffer))
    counted = Counted()
    for queue, level in (("a", 5), ("b", 2), ("a", 3)):
        buffer.add("temporal_worker_task_slots_used", level, worker_type="ActivityWorker", task_queue=queue)
    buffer.add("temporal_worker_task_slots_used", 9, worker_type="SomethingNew", task_queue="a")
    buffer.add("temporal_something_new", 9)
    assert await metrics.take() == 5
    assert counted.of("runs_gateway_temporal_task_slots_used") == {("activity",): 5}


async def test_failures_and_evictions_are_counted() -> None:
    buffer = ScriptedBuffer()
    metrics = SdkMetrics(cast(MetricBuffer, buffer))
    counted = Counted()
    buffer.add("temporal_activity_execution_failed", 1, activity_type="whatever")
    buffer.add("temporal_workflow_task_execution_failed", 2)
    buffer.add("temporal_request_failure", 1, operation="StartWorkflowExecution")
    buffer.add("temporal_long_request_failure", 1)
    buffer.add("temporal_sticky_cache_total_forced_eviction", 1)
    buffer.add("temporal_sticky_cache_miss", 1)
    buffer.add("temporal_activity_schedule_to_start_latency", 0.25)
    await metrics.take()
    assert counted.of("runs_gateway_temporal_tasks_failed_total") == {("activity",): 1, ("workflow",): 2}
    assert counted.of("runs_gateway_temporal_requests_failed_total") == {("short",): 1, ("long",): 1}
    assert counted.of("runs_gateway_temporal_cache_evictions_total") == {(): 1}
    assert counted.of("runs_gateway_temporal_cache_lookups_total") == {("miss",): 1}
    assert counted.of("runs_gateway_temporal_task_delay_seconds") == {("activity",): 1}


async def test_a_full_buffer_is_looked_into_more_often(monkeypatch: Any) -> None:
    buffer = ScriptedBuffer()
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        if seconds == 0:
            return
        waits.append(seconds)
        if len(waits) == 6:
            raise asyncio.CancelledError
        for _ in range(2 * FEW * (len(waits) < 4)):
            buffer.add("temporal_request", 1)

    monkeypatch.setattr("gateway.runtimes.temporal.sdk_metrics.asyncio.sleep", sleep)
    task = asyncio.ensure_future(SdkMetrics(cast(MetricBuffer, buffer)).follow())
    await asyncio.gather(task, return_exceptions=True)
    assert waits == [SELDOM, SELDOM / 2, SELDOM / 4, SELDOM / 8, SELDOM / 4, SELDOM / 2]
