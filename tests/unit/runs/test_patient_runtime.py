"""A runtime that waits, for what executes, while what it needs is away."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.core.errors import ComponentUnavailable, GatewayError, Overloaded, QuotaExceeded, RunNotFound, Unavailable
from gateway.core.model import ResultOrder, RunState, SubmitParams
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.runtime import Page, Runtime, Snapshot
from gateway.runs import patient_runtime
from gateway.runs.patient_runtime import PatientRuntime
from tests.support.scripted_runtime import FLOW, MISSING_RUN, ScriptedRuntime


class FailingRuntime(ScriptedRuntime):
    """Fails with `errors`, one after the other, before it does what it is told, or with `late` ones after that."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[GatewayError] = []
        self.late: list[GatewayError] = []
        self.failed = asyncio.Event()

    def _fail_or_go_on(self) -> None:
        if self.errors:
            self.failed.set()
            raise self.errors.pop(0)

    async def submit(self, params: SubmitParams, scope: str) -> Snapshot:
        snapshot = await super().submit(params, scope)
        if self.late:
            raise self.late.pop(0)
        return snapshot


@pytest.fixture
def runtime() -> FailingRuntime:
    return FailingRuntime()


@pytest.fixture
def patient(runtime: FailingRuntime, monkeypatch: pytest.MonkeyPatch) -> PatientRuntime:
    monkeypatch.setattr(patient_runtime, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(patient_runtime, "LAST_PAUSE", 0.001)
    return PatientRuntime(runtime)


async def submitted(runtime: Runtime) -> str:
    flow_id = await runtime.put_blob(FLOW)
    return (await runtime.submit(SubmitParams(flow_id=flow_id, inputs=["1"]), "")).status.run_id


PAGE = Page(ResultOrder.BY_INDEX, 0, 1, 0, 1)
CALLS: dict[str, Callable[[Runtime, str, str], Awaitable[object]]] = {
    "put_blob": lambda runtime, run_id, flow_id: runtime.put_blob(FLOW),
    "get_blob": lambda runtime, run_id, flow_id: runtime.get_blob(flow_id),
    "peek_blob": lambda runtime, run_id, flow_id: runtime.peek_blob(flow_id),
    "owner_of_run": lambda runtime, run_id, flow_id: runtime.owner_of_run(run_id),
    "submit": lambda runtime, run_id, flow_id: runtime.submit(SubmitParams(flow_id=flow_id, inputs=["1"]), ""),
    "get": lambda runtime, run_id, flow_id: runtime.get(run_id),
    "get_known": lambda runtime, run_id, flow_id: runtime.get_known(run_id),
    "get_since": lambda runtime, run_id, flow_id: runtime.get_since(run_id, 0),
    "results": lambda runtime, run_id, flow_id: runtime.results(run_id, PAGE),
    "cancel": lambda runtime, run_id, flow_id: runtime.cancel(run_id, None),
    "delete": lambda runtime, run_id, flow_id: runtime.delete(run_id, cancel=True),
    "items": lambda runtime, run_id, flow_id: runtime.items(run_id, [], 0, 1, with_inputs=False),
    "list_runs": lambda runtime, run_id, flow_id: runtime.list_runs(RunFilter(), RunOrder.NEWEST_FIRST, "", 1),
    "count_runs": lambda runtime, run_id, flow_id: runtime.count_runs(RunFilter()),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_waits_until_what_it_needs_is_back(
    runtime: FailingRuntime, patient: PatientRuntime, name: str
) -> None:
    run_id = await submitted(runtime)
    flow_id = await runtime.put_blob(FLOW)
    runtime.errors = [Unavailable("away"), Overloaded("full"), Unavailable("away", retry_after=10.0)]
    async with asyncio.timeout(5):
        await CALLS[name](patient, run_id, flow_id)
    assert not runtime.errors


@pytest.mark.parametrize("error", [RunNotFound("none"), ComponentUnavailable("away"), QuotaExceeded("full")])
async def test_other_errors_are_raised(runtime: FailingRuntime, patient: PatientRuntime, error: GatewayError) -> None:
    runtime.errors = [error]
    with pytest.raises(type(error)):
        await patient.get(MISSING_RUN)


async def test_there_is_no_limit_while_something_is_away_but_one_while_something_is_full(
    runtime: FailingRuntime, patient: PatientRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patient_runtime, "FULL_SECONDS", 0.0)
    run_id = await submitted(runtime)
    runtime.errors = [Unavailable("away"), Unavailable("away"), Overloaded("full")]
    with pytest.raises(Overloaded, match="full"):
        await patient.get(run_id)
    assert not runtime.errors


async def test_a_submit_whose_answer_was_lost_makes_one_run(runtime: FailingRuntime, patient: PatientRuntime) -> None:
    flow_id = await runtime.put_blob(FLOW)
    runtime.late = [Unavailable("lost"), Unavailable("lost")]
    snapshot = await patient.submit(SubmitParams(flow_id=flow_id, inputs=["1"]), "")
    another = await patient.submit(SubmitParams(flow_id=flow_id, inputs=["1"]), "")
    assert snapshot.status.run_id != another.status.run_id
    assert await runtime.count_runs(RunFilter()) == 2


async def test_a_watch_goes_on_to_the_end(runtime: FailingRuntime, patient: PatientRuntime) -> None:
    run_id = await submitted(runtime)
    runtime.errors = [Unavailable("away"), Overloaded("full")]

    async def states() -> list[RunState]:
        return [snapshot.status.status async for snapshot in patient.watch(run_id)]

    watching = asyncio.create_task(states())
    await runtime.failed.wait()
    await runtime.succeed(0, "1")
    async with asyncio.timeout(5):
        assert (await watching)[-1] is RunState.SUCCESS
    assert not runtime.watching


async def test_a_watch_of_what_does_not_exist_ends(patient: PatientRuntime) -> None:
    with pytest.raises(RunNotFound):
        await anext(patient.watch(MISSING_RUN))


async def test_a_runtime_that_drains_ends_no_watch_of_what_executes(
    runtime: FailingRuntime, patient: PatientRuntime
) -> None:
    run_id = await submitted(runtime)
    changes = patient.watch(run_id)
    await anext(changes)
    await runtime.drain()
    assert not (await anext(changes)).terminal
    assert runtime.opened == 2
    await changes.aclose()


async def test_it_is_no_other_runtime(runtime: FailingRuntime, patient: PatientRuntime) -> None:
    assert patient.readiness is runtime.readiness
    assert patient.stored_bytes("default") == runtime.stored_bytes("default")
    assert patient.is_at_hand(MISSING_RUN) is runtime.is_at_hand(MISSING_RUN)
    await patient.drain()
    await patient.close()
    assert not runtime.closed
