"""Records histories of workflows on a real server, for the release that is to come: `make temporal-histories`.

Later releases replay them. So those of a release stay as they are once it is out.
"""

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

from temporalio.client import Client, WorkflowHandle, WorkflowHistory

from gateway.core.control import CancelParams
from gateway.core.model import Blob, BlobType, GetParams, RunStatus, SubmitParams
from gateway.runtimes.temporal.converter import DATA_CONVERTER
from gateway.runtimes.temporal.messages import NESTED
from gateway.runtimes.temporal.run_names import workflow_id
from gateway.server.app import running
from gateway.server.settings import ServeSettings
from tests.support.clients import GrpcClient
from tests.support.component_server import Call, ComponentServer
from tests.support.held_component import HELD, HeldComponent
from tests.support.temporal_histories import FOLDER, write
from tests.support.temporal_server import NAMESPACE, TemporalServer

ECHO: Final = {"output": {"$input": "$"}}
PAIR: Final = {"output": [{"$input": "$"}, 1]}
"""A flow whose pace nobody knows yet, as it is in no other scenario."""

SHORT: Final = {"output": "short"}
WORK: Final[dict[str, Any]] = {
    "steps": [{"id": "s", "component": "/work/do", "input": {"$input": "$"}}],
    "output": {"$step": "s"},
}

ITEMS: Final = 1_520
"""A run with so many items in chunks of their own begins anew."""

SECONDS: Final = 0.15
"""Items that take so long are in chunks of their own."""

SIZE: Final = 9_000
"""Results with so many characters are objects."""


class Recording(NamedTuple):
    """What the runs to be recorded need."""

    client: GrpcClient
    engine: Client
    held: HeldComponent

    async def submit(self, flow: Any, *inputs: Any, **params: Any) -> RunStatus:
        """Submit a run of a flow that is written in Python."""
        flow_id = await self.client.put_blob(Blob(json.dumps(flow), BlobType.FLOW))
        return await self.client.submit(SubmitParams(flow_id=flow_id, inputs=list(map(json.dumps, inputs)), **params))

    def workflow(self, run: RunStatus, engine_run: str | None = None) -> WorkflowHandle[Any, Any]:
        """The workflow of a run, the latest one if it has begun anew."""
        return self.engine.get_workflow_handle(workflow_id(run.run_id), run_id=engine_run)

    async def ended(self, run: RunStatus) -> list[WorkflowHistory]:
        """The histories of a run, which has ended or will, in order."""
        await self.client.get(GetParams(run_id=run.run_id, wait=True))
        histories = [await self.workflow(run).fetch_history()]
        while before := histories[0].events[0].workflow_execution_started_event_attributes.continued_execution_run_id:
            histories.insert(0, await self.workflow(run, before).fetch_history())
        return histories


Scenario = Callable[[Recording], Awaitable[list[WorkflowHistory]]]


def _of(flow: Any, *inputs: Any, **params: Any) -> Scenario:
    async def record(recording: Recording) -> list[WorkflowHistory]:
        return await recording.ended(await recording.submit(flow, *inputs, **params))

    return record


def _around(flow: Any) -> Any:
    given = {"workflow": {"$literal": flow}, "items": [{"$input": "$"}]}
    step = {"id": "m", "component": "/builtin/map", "input": given}
    return {"steps": [step], "output": {"$step": "m", "path": "successful"}}


async def _cancelled(recording: Recording) -> list[WorkflowHistory]:
    """One item has ended, one executes, and one has not begun."""
    recording.held.release("a")
    run = await recording.submit(HELD, "a", "b", "c", max_concurrency=1)
    await _executes(recording, "b")
    await recording.client.cancel(CancelParams(run_id=run.run_id, reason="no need"))
    return await recording.ended(run)


async def _announced(recording: Recording) -> list[WorkflowHistory]:
    """Somebody has told the run of one inside it, so that these are cancelled."""
    run = await recording.submit(HELD, "d")
    await _executes(recording, "d")
    await recording.workflow(run).signal(NESTED)
    await recording.client.cancel(CancelParams(run_id=run.run_id))
    return await recording.ended(run)


async def _by_operator(recording: Recording) -> list[WorkflowHistory]:
    run = await recording.submit(HELD, "e")
    await _executes(recording, "e")
    await recording.workflow(run).cancel()
    return await recording.ended(run)


async def _nested(recording: Recording) -> list[WorkflowHistory]:
    """The run, and the one inside it."""
    run = await recording.submit(_around(ECHO), 1)
    return [*await recording.ended(run), *await _inside(recording, run)]


async def _cancelled_nested(recording: Recording) -> list[WorkflowHistory]:
    run = await recording.submit(_around(HELD), "f")
    await _executes(recording, "f")
    await recording.client.cancel(CancelParams(run_id=run.run_id, reason="no need"))
    return [*await recording.ended(run), *await _inside(recording, run)]


async def _inside(recording: Recording, run: RunStatus) -> list[WorkflowHistory]:
    while True:
        async for found in recording.engine.list_workflows(f"RunsParent = '{run.run_id}'"):
            return [await recording.engine.get_workflow_handle(found.id).fetch_history()]
        await asyncio.sleep(0.1)


async def _executes(recording: Recording, value: str) -> None:
    held = recording.held
    async with held.changed:
        await held.changed.wait_for(lambda: value in held.given)


SCENARIOS: Final[dict[str, Scenario]] = {
    "one_item": _of(ECHO, 1),
    "several_chunks": _of(PAIR, *range(40), max_concurrency=2),
    "failed_items": _of(WORK, {}, {"fails": True}, {}),
    "items_handed_out_again": _of(WORK, *({"seconds": 1.1 * (index % 2)} for index in range(1, 9)), max_concurrency=1),
    "split": _of(WORK, {}, {"seconds": 1.6}, *[{}] * 10, max_concurrency=1),
    "long_inputs": _of(SHORT, "x" * 100_000, "y" * 100_000),
    "results_in_objects": _of(ECHO, *range(1_100), max_concurrency=4),
    "results_put_together": _of(WORK, *[{"seconds": SECONDS, "size": 12_000}] * 12, max_concurrency=2),
    "begun_anew": _of(WORK, *[{"seconds": SECONDS, "size": SIZE}] * ITEMS, max_concurrency=200),
    "before_deadline": _of(ECHO, 1, execution_timeout=60.0),
    "deadline": _of(HELD, "g", execution_timeout=0.5),
    "cancelled": _cancelled,
    "cancelled_nested_announced": _announced,
    "cancelled_by_operator": _by_operator,
    "nested": _nested,
    "cancelled_nested": _cancelled_nested,
}


async def _do_work(call: Call) -> None:
    """A component that takes `seconds` and gives `size` characters, or fails."""
    wanted = call.message["params"]["input"]
    await asyncio.sleep(wanted.get("seconds", 0))
    if wanted.get("fails"):
        await call.error(-32_100, "it does not work")
    else:
        await call.result({"output": "x" * wanted.get("size", 1)})


@asynccontextmanager
async def _recording(folder: Path) -> AsyncIterator[Recording]:
    server, held = TemporalServer(folder), HeldComponent()
    worker = ComponentServer(
        _do_work,
        {"initialize": {"serverProtocolVersion": 1}, "components/list": {"components": [{"component": "/do"}]}},
    )
    await server.start()
    try:
        async with held.server.running(), worker.running():
            settings = ServeSettings(
                runtime=server.runtime(),
                blobs=f"file://{folder}",
                components={"/test": held.server.url, "/work": worker.url},
                grpc_address="127.0.0.1:0",
                http_address="127.0.0.1:0",
                metrics_address="off",
            )
            async with running(settings) as gateway:
                client = GrpcClient(gateway.grpc)
                engine = await Client.connect(server.address, namespace=NAMESPACE, data_converter=DATA_CONVERTER)
                yield Recording(client, engine, held)
                await client.close()
    finally:
        await server.stop()


async def main() -> None:
    """Record all scenarios."""
    release = version("runs-gateway")
    shutil.rmtree(FOLDER / release, ignore_errors=True)
    (FOLDER / release).mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        async with _recording(Path(folder)) as recording:
            for name, scenario in SCENARIOS.items():
                histories = await scenario(recording)
                for number, history in enumerate(histories, 1):
                    file = write(history, release, name if len(histories) == 1 else f"{name}_{number}")
                    size = file.stat().st_size
                    sys.stdout.write(f"{file.relative_to(FOLDER)}: {len(history.events)} events, {size} bytes\n")


if __name__ == "__main__":
    asyncio.run(main())
