"""How the engine is called."""

import asyncio
from typing import Any, cast

from gateway.flows.run_record import RunRecord
from gateway.runtimes.temporal.connection import TemporalConnection
from gateway.runtimes.temporal.engine import STARTS, Engine
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
