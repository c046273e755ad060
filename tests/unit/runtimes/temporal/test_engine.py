"""How the engine is called."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionStartedEventAttributes
from temporalio.service import RPCError, RPCStatusCode

from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal.connection import TemporalConnection
from gateway.runtimes.temporal.engine import STARTS, Engine, NoWorker
from gateway.runtimes.temporal.messages import Inputs, StartRun
from tests.unit.runtimes.temporal.test_engine_call import Site

RECORD = RunRecord("r", "f", None, None, 1, None, None, "{}", None, "", None, "", 1)


class SlowClient:
    """Starts runs when it may. `open` is how many are being started."""

    def __init__(self) -> None:
        self.open = self.most = 0
        self.full = asyncio.Event()
        self.may = asyncio.Event()

    async def start_workflow(self, *_: Any, **__: Any) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        if self.open == STARTS:
            self.full.set()
        await self.may.wait()
        self.open -= 1


async def test_an_engine_gets_a_few_runs_at_the_same_time() -> None:
    site, client = Site(), SlowClient()
    site.client = cast("Any", client)
    site.presence.is_here = True
    engine = Engine(cast("TemporalConnection", site))
    start = StartRun(RECORD, Inputs(("1",)))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(engine.start(start)) for _ in range(3 * STARTS)]
        await client.full.wait()
        client.may.set()
    assert all(task.result() for task in tasks)
    assert client.most == STARTS
    await site.presence.close()


class AskedClient:
    """A run, of whose executions one is asked: what it answers, and the kinds of the events in its history."""

    def __init__(self, answer: BaseException | None, *events: "EventType.ValueType") -> None:
        self._answer = answer
        self._events = events
        self.continued = ""

    def get_workflow_handle(self, *_: Any, **__: Any) -> "AskedClient":
        return self

    async def query(self, *_: Any, **__: Any) -> object:
        if self._answer is not None:
            raise self._answer
        return ()

    async def fetch_history_events(self, *, page_size: int) -> AsyncGenerator[HistoryEvent, None]:
        started = WorkflowExecutionStartedEventAttributes(continued_execution_run_id=self.continued)
        yield HistoryEvent(event_type=STARTED, workflow_execution_started_event_attributes=started)
        for kind in self._events:
            yield HistoryEvent(event_type=kind)


STARTED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED
TOLD = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
FAILED = EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
DONE = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
NOT_NOW = RPCError("said by the engine", RPCStatusCode.FAILED_PRECONDITION, b"")


@asynccontextmanager
async def asked(client: AskedClient) -> AsyncIterator[Engine]:
    site = Site()
    site.client = cast("Any", client)
    site.presence.is_here = True
    yield Engine(cast("TemporalConnection", site))
    await site.presence.close()


async def test_a_run_that_was_only_told_something_has_not_begun() -> None:
    async with asked(AskedClient(None, *[TOLD] * 20, FAILED)) as engine:
        assert not await engine.has_begun("r")
    async with asked(AskedClient(None, *[TOLD] * 20, DONE)) as engine:
        assert await engine.has_begun("r")


async def test_nobody_answers_when_the_last_steps_of_a_run_have_failed() -> None:
    async with asked(AskedClient(NOT_NOW)) as engine:
        with pytest.raises(NoWorker):
            await engine.progress("r", 0)


async def test_a_run_has_begun_before_it_goes_on_in_another_execution() -> None:
    client = AskedClient(None)
    client.continued = "earlier"
    async with asked(client) as engine:
        assert await engine.has_begun("r")
