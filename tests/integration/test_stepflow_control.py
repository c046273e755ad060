"""Cancelling, listing and looking into runs of the released engines."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path

import pytest

from gateway.core.errors import ParentCancelled, RunNotFound, Unsupported
from gateway.core.items import Item, StepState
from gateway.core.model import Blob, BlobType, ObservabilityContext, ResultOrder, RunState, RunStatus, SubmitParams
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.runtime import Page
from gateway.runtimes.stepflow.runtime import StepflowRuntime
from gateway.storage.idempotency import Keys
from tests.support.engine import RELEASES, Engine
from tests.support.held_tasks import COMPONENT, PULLING, HeldTasks, engine_with_held_tasks

pytestmark = pytest.mark.slow

HELD = json.dumps(
    {
        "name": "held",
        "steps": [
            {"id": "s", "component": COMPONENT, "input": {"$input": "$"}},
            {"id": "t", "component": COMPONENT, "input": {"$step": "s"}},
        ],
        "output": {"$step": "t"},
    }
)
ECHO = '{"name":"echo","steps":[],"output":{"$input":"$"}}'
PICKY = '{"name":"picky","steps":[],"output":{"$input":"m"}}'
NO_RUN = "00000000-0000-0000-0000-000000000000"
ALL = Page(ResultOrder.BY_INDEX, 0, 9, 0, 9)


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def held(release: str, tmp_path: Path) -> AsyncIterator[tuple[Engine, HeldTasks]]:
    async with engine_with_held_tasks(release, tmp_path) as held:
        yield held


@asynccontextmanager
async def runtime_over(engine: Engine, folder: Path) -> AsyncIterator[StepflowRuntime]:
    async with AsyncExitStack() as stack:
        keys = await Keys.open(str(folder / "keys.db"))
        stack.push_async_callback(keys.close)
        runtime = await StepflowRuntime.open(engine.url, keys)
        stack.push_async_callback(runtime.close)
        yield runtime


async def submitted(runtime: StepflowRuntime, flow: str, inputs: list[str], **params: object) -> RunStatus:
    flow_id = await runtime.put_blob(Blob(flow, BlobType.FLOW))
    return (await runtime.submit(SubmitParams(flow_id=flow_id, inputs=inputs, **params), "")).status  # type: ignore[arg-type]


async def end_of(runtime: StepflowRuntime, run_id: str) -> RunStatus:
    async with aclosing(runtime.watch(run_id)) as states:
        return [state.status async for state in states][-1]


async def items_of(runtime: StepflowRuntime, run_id: str, *states: RunState) -> list[Item]:
    return (await runtime.items(run_id, states, 0, 100, with_inputs=True)).items


async def test_a_cancelled_run_stays_so_whatever_the_engine_says(
    held: tuple[Engine, HeldTasks], tmp_path: Path
) -> None:
    engine, tasks = held
    async with runtime_over(engine, tmp_path) as runtime:
        run = await submitted(runtime, HELD, ['{"n":1}', '{"n":2}'])
        await tasks.waiting(2)
        watching = asyncio.create_task(end_of(runtime, run.run_id))
        await asyncio.sleep(0)
        end = (await runtime.cancel(run.run_id, "no need")).status
        assert (end.status, end.cancel_reason, end.items.cancelled) == (RunState.CANCELLED, "no need", 2)
        assert await watching == end
        assert (await runtime.cancel(run.run_id, "again")).status == end
        # The engine goes on. When nothing is left to do, some releases say that the run is completed.
        for _ in range(2):
            await tasks.waiting(2)
            await tasks.end()
        shown = await engine_state_after(runtime, run.run_id)
        assert (await runtime.get(run.run_id)).status == end
        assert [result.status for result in await runtime.results(run.run_id, ALL)] == [RunState.CANCELLED] * 2
        assert {item.status for item in await items_of(runtime, run.run_id)} == {RunState.CANCELLED}
    async with runtime_over(engine, tmp_path) as runtime:
        assert (await runtime.get(run.run_id)).status == end, shown
        assert await end_of(runtime, run.run_id) == end
        assert (
            await runtime.list_runs(RunFilter(states=(RunState.CANCELLED,)), RunOrder.NEWEST_FIRST, "", 9)
        ).runs == [end]


async def engine_state_after(runtime: StepflowRuntime, run_id: str) -> RunStatus:
    """What the engine shows of a run once it has had the time to change its mind."""
    for _ in range(20):
        shown = (await runtime._runs._shown(run_id)).status
        if shown.status is not RunState.CANCELLED:
            break
        await asyncio.sleep(0.05)
    return shown


async def test_a_finished_run_stays_as_it_was(held: tuple[Engine, HeldTasks], tmp_path: Path) -> None:
    async with runtime_over(held[0], tmp_path) as runtime:
        run = await submitted(runtime, PICKY, ['{"m":1}', "{}"])
        end = await end_of(runtime, run.run_id)
        assert end.status is RunState.FAILED
        assert (await runtime.cancel(run.run_id, "too late")).status == end
        # Another client of the engine cancels it there.
        await runtime._runs._cancelled(run.run_id)
        assert (await runtime.get(run.run_id)).status == end
        results = await runtime.results(run.run_id, ALL)
        assert [result.value for result in results] == ["1", None]
        with pytest.raises(RunNotFound):
            await runtime.cancel(NO_RUN, None)


async def test_runs_inside_are_cancelled_and_none_begins(held: tuple[Engine, HeldTasks], tmp_path: Path) -> None:
    engine, tasks = held
    async with runtime_over(engine, tmp_path) as runtime:
        outer = await submitted(runtime, HELD, ['{"n":1}'])
        inside, parent = [outer], outer
        for depth in (1, 2):
            trace = ObservabilityContext(run_id=parent.run_id)
            parent = await submitted(runtime, HELD, [f'{{"n":{depth + 1}}}'], observability=trace)
            assert (parent.parent_run_id, parent.root_run_id) == (inside[-1].run_id, outer.run_id)
            assert parent.depth == depth
            inside.append(parent)
        await tasks.waiting(3)
        await runtime.cancel(outer.run_id, "all of it")
        for run in inside:
            end = (await runtime.get(run.run_id)).status
            assert end.status is RunState.CANCELLED
            assert (end.cancel_reason or "").endswith("all of it")
        with pytest.raises(ParentCancelled):
            await submitted(runtime, HELD, ["{}"], observability=ObservabilityContext(run_id=parent.run_id))
        family = await runtime.list_runs(RunFilter(root_run_id=outer.run_id), RunOrder.OLDEST_FIRST, "", 9)
        assert [run.run_id for run in family.runs] == [run.run_id for run in inside[1:]]
        await tasks.end()


async def test_labels_are_kept_and_found(held: tuple[Engine, HeldTasks], tmp_path: Path) -> None:
    engine = held[0]
    async with runtime_over(engine, tmp_path) as runtime:
        others = [await submitted(runtime, ECHO, [str(number)]) for number in range(5)]
        labelled = await submitted(
            runtime, ECHO, ["9"], labels={"team": "x"}, flow_label="nightly", idempotency_key="k"
        )
        assert (labelled.labels, labelled.flow_label) == ({"team": "x"}, "nightly")
        await asyncio.gather(*(end_of(runtime, run.run_id) for run in [*others, labelled]))
    async with runtime_over(engine, tmp_path) as runtime:
        for wanted in (RunFilter(labels={"team": "x"}), RunFilter(flow_label="night*", flow_name="echo")):
            page = await runtime.list_runs(wanted, RunOrder.NEWEST_FIRST, "", 9)
            assert [run.run_id for run in page.runs] == [labelled.run_id]
            assert await runtime.count_runs(wanted) == 1
        assert await runtime.count_runs(RunFilter(states=(RunState.SUCCESS,))) == 6
        found, cursor = list[str](), "first"
        while cursor:
            page = await runtime.list_runs(RunFilter(), RunOrder.OLDEST_FIRST, cursor.removeprefix("first"), 2)
            found += [run.run_id for run in page.runs]
            cursor = page.cursor
        assert sorted(found) == sorted(run.run_id for run in [*others, labelled])
        for refused in ({"execution_timeout": 1.0},):
            with pytest.raises(Unsupported, match="execution_timeout"):
                await submitted(runtime, ECHO, ["1"], **refused)
        with pytest.raises(Unsupported, match="deletes no runs"):
            await runtime.delete(labelled.run_id, cancel=False)


async def test_items_with_their_steps(held: tuple[Engine, HeldTasks], release: str, tmp_path: Path) -> None:
    engine, tasks = held
    async with runtime_over(engine, tmp_path) as runtime:
        run = await submitted(runtime, HELD, ['{"n":1}', '{"n":2}'])
        await tasks.waiting(2)
        await tasks.end({"n": 1})
        await tasks.waiting(2)
        items = await items_of(runtime, run.run_id)
        assert [item.item_index for item in items] == [0, 1]
        if release in PULLING:
            assert [step.step_id for step in items[0].steps] == ["s", "t"]
            assert [step.status for step in items[0].steps] == [StepState.SUCCESS, StepState.RUNNING]
            assert {step.component for step in items[0].steps} == {COMPONENT}
            assert [item.status for item in items] == [RunState.RUNNING] * 2
        else:
            assert [item.input for item in items] == ['{"n":1}', '{"n":2}']
        ending = asyncio.create_task(end_of(runtime, run.run_id))
        while not ending.done():  # 0.10 tries again what has failed.
            await tasks.end({"n": 1}, success=False)
            await tasks.end({"n": 2})
            await asyncio.sleep(0.02)
        assert (await ending).status is RunState.FAILED
        items = await items_of(runtime, run.run_id)
        assert [item.status for item in items] == [RunState.FAILED, RunState.SUCCESS]
        assert items[1].result is not None
        assert items[1].result.value == '{"n":2}'
        assert [step.status for step in items[0].steps] == [StepState.SUCCESS, StepState.FAILED]
        assert [item.item_index for item in await items_of(runtime, run.run_id, RunState.FAILED)] == [0]
        rest = (await runtime.items(run.run_id, (), 0, 1, with_inputs=False)).rest
        assert rest == 1
        with pytest.raises(RunNotFound):
            await items_of(runtime, NO_RUN)
