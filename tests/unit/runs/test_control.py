import asyncio
import time
from collections.abc import AsyncGenerator

import pytest

from gateway.core.control import CancelParams, DeleteParams
from gateway.core.errors import InvalidRunId, RunNotEnded, RunNotFound
from gateway.core.model import MAX_TIMEOUT, GetParams, ObservabilityContext, RunState, RunStatus, SubmitParams
from gateway.core.runtime import Snapshot
from gateway.runs.control import RunControl
from gateway.runs.service import RunsService
from gateway.runs.update import Update
from tests.support.scripted_runtime import FLOW, MISSING_RUN, ScriptedRuntime


@pytest.fixture
def runtime() -> ScriptedRuntime:
    return ScriptedRuntime()


async def submit(runtime: ScriptedRuntime, inputs: int = 3, parent: str | None = None) -> str:
    flow_id = await runtime.put_blob(FLOW)
    trace = None if parent is None else ObservabilityContext(run_id=parent)
    params = SubmitParams(flow_id=flow_id, inputs=["1"] * inputs, observability=trace)
    return (await runtime.submit(params, "")).status.run_id


async def test_what_has_results_keeps_them_and_a_run_is_cancelled_once(runtime: ScriptedRuntime) -> None:
    control = RunControl(runtime)
    run_id = await submit(runtime)
    await runtime.start(0)
    await runtime.succeed(1)
    run = await control.cancel(CancelParams(run_id=run_id.upper(), reason="too slow"))
    assert (run.status, run.cancel_reason) == (RunState.CANCELLED, "too slow")
    assert (run.items.success, run.items.cancelled) == (1, 2)
    assert await control.cancel(CancelParams(run_id=run_id, reason="again")) == run


async def test_runs_inside_a_run_are_cancelled_with_it(runtime: ScriptedRuntime) -> None:
    outer = await submit(runtime)
    inner = await submit(runtime, parent=await submit(runtime, parent=outer))
    other = await submit(runtime)
    await RunControl(runtime).cancel(CancelParams(run_id=outer))
    states = [(await runtime.get(run_id)).status.status for run_id in (inner, other)]
    assert states == [RunState.CANCELLED, RunState.PENDING]


async def test_to_wait_is_to_wait_until_nothing_executes(runtime: ScriptedRuntime) -> None:
    run_id = await submit(runtime)
    runtime.stopped.clear()
    cancelling = asyncio.create_task(RunControl(runtime).cancel(CancelParams(run_id=run_id, wait=True)))
    while not runtime.cancelling:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert not cancelling.done()
    runtime.stopped.set()
    assert (await cancelling).status is RunState.CANCELLED


class Waits(ScriptedRuntime):
    """Keeps until when a cancel may wait."""

    until: float | None = None

    async def cancel(self, run_id: str, reason: str | None, until: float | None = None) -> Snapshot:
        self.until = until
        return await super().cancel(run_id, reason)


@pytest.mark.parametrize(
    ("wait", "patience", "remaining", "seconds"),
    [
        (False, 5.0, 60.0, None),
        (True, 5.0, 60.0, 5.0),
        (True, 60.0, 5.0, 5.0),
        (True, None, 5.0, 5.0),
        (True, 5.0, None, 5.0),
        (True, None, None, MAX_TIMEOUT),
    ],
)
async def test_a_cancel_waits_as_a_get_does(
    wait: bool, patience: float | None, remaining: float | None, seconds: float | None
) -> None:
    runtime = Waits()
    params = CancelParams(run_id=await submit(runtime), wait=wait, timeout=patience)
    begun = time.monotonic()
    answer_by = None if remaining is None else begun + remaining
    await RunControl(runtime).cancel(params, answer_by=answer_by)
    if seconds is None:
        assert runtime.until is None
    else:
        assert runtime.until is not None
        assert begun + seconds <= runtime.until + 1e-3 <= time.monotonic() + seconds + 2e-3


async def test_a_run_is_deleted_when_it_has_ended(runtime: ScriptedRuntime) -> None:
    control = RunControl(runtime)
    run_id = await submit(runtime, inputs=1)
    with pytest.raises(RunNotEnded):
        await control.delete(DeleteParams(run_id=run_id))
    await runtime.succeed(0)
    await control.delete(DeleteParams(run_id=run_id.upper()))
    for act in (control.delete(DeleteParams(run_id=run_id)), control.cancel(CancelParams(run_id=run_id))):
        with pytest.raises(RunNotFound):
            await act


async def read(stream: AsyncGenerator[Update, None]) -> None:
    async for _ in stream:
        pass


async def test_those_who_follow_a_run_that_is_deleted_are_told(runtime: ScriptedRuntime) -> None:
    service = RunsService(runtime, grace=0)
    run_id = await submit(runtime)
    stream = service.follow(GetParams(run_id=run_id, wait=True))
    waiting = asyncio.create_task(service.get(GetParams(run_id=run_id, wait=True)))
    await anext(stream)
    await runtime.watched(1)
    await service.control.delete(DeleteParams(run_id=run_id, cancel=True))
    with pytest.raises(RunNotFound):
        await read(stream)
    # A wait ends with the terminal state, if it sees that before the run has gone.
    ended = (await asyncio.gather(waiting, return_exceptions=True))[0]
    assert isinstance(ended, RunNotFound) or (isinstance(ended, RunStatus) and ended.status is RunState.CANCELLED)
    await service.close()


@pytest.mark.parametrize("run_id", ["run", MISSING_RUN + "0", "", "\ud800"])
async def test_an_id_that_is_no_uuid_is_refused(runtime: ScriptedRuntime, run_id: str) -> None:
    control = RunControl(runtime)
    for act in (control.delete(DeleteParams(run_id=run_id)), control.cancel(CancelParams(run_id=run_id))):
        with pytest.raises(InvalidRunId):
            await act
