"""Ending runs, finding them again and looking into them, on every runtime over every front."""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.core.control import (
    CancelParams,
    CancelRunsParams,
    DeleteParams,
    DeleteRunsParams,
    ItemsParams,
    ListParams,
    RunList,
)
from gateway.core.errors import InvalidParams, InvalidRunId, RunNotEnded, RunNotFound, Unsupported
from gateway.core.model import GetParams, RunState, RunStatus
from gateway.core.run_filter import RunFilter, RunOrder
from tests.conformance import differences
from tests.conformance.systems import FRONTS, System, submit, system_over
from tests.support.held_tasks import COMPONENT
from tests.support.runtimes import RUNTIMES, STEPFLOW
from tests.support.updates import Follower

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

PICKY = '{"name":"control","steps":[],"output":{"$input":"m"}}'


def iterating(inner: dict[str, Any] | None = None) -> dict[str, Any]:
    """A step that iterates over a flow, which consists of the step `inner` if there is one."""
    steps = [] if inner is None else [inner]
    # A step whose output nothing needs is not executed.
    following = {"$step": inner["id"], "path": "$.result"} if inner else {"$input": "$"}
    given: dict[str, Any] = {
        "flow": {"$literal": {"steps": steps, "output": {"next": following}}},
        "initial_input": {"$input": "$"},
        "max_iterations": {"$literal": 100_000},
    }
    return {"id": "s", "component": "/builtin/iterate", "input": given}


def long_flow(system: System, name: str = "long") -> str:
    """A flow that takes longer than any test.

    An engine goes on with what it has cancelled, so there it only waits: iterations would be in the way of what comes.
    """
    # Nested: quick machines have done with the inner ones before other gateways hear of a cancel.
    step = iterating(iterating())
    if system.runtime in STEPFLOW:
        step = {"id": "s", "component": COMPONENT, "input": {"$input": "$"}}
    return json.dumps({"name": name, "steps": [step], "output": {"$step": "s"}})


MISSING = "00000000-0000-4000-8000-000000000000"


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=RUNTIMES)
async def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    folder: Path = tmp_path_factory.mktemp("runtime")
    async with system_over(request.param, folder, held=True) as system:
        yield system


@pytest.fixture(params=FRONTS)
def client(request: pytest.FixtureRequest, system: System) -> Follower:
    if system.shows(differences.NO_CONTROL) and "nothing" not in request.node.name:
        pytest.skip("it has none of these calls")
    return system.client(request.param)


async def listed(client: Follower, **params: Any) -> list[RunStatus]:
    """The runs of all pages."""
    runs, token = [], ""
    while True:
        page: RunList = await client.list_runs(ListParams(page_token=token, **params))
        runs += page.runs
        token = page.next_page_token
        if not token:
            return runs


async def test_a_runtime_that_has_nothing_of_this_says_so(system: System, client: Follower) -> None:
    if not system.shows(differences.NO_CONTROL):
        return
    run = await submit(client, PICKY, ['{"m":1}'], wait=True)
    for act in (
        lambda: client.cancel(CancelParams(run_id=run.run_id)),
        lambda: client.list_runs(ListParams()),
        lambda: client.items(ItemsParams(run_id=run.run_id)),
        lambda: client.delete(DeleteParams(run_id=run.run_id)),
        lambda: client.cancel_many(CancelRunsParams(filter=RunFilter())),
    ):
        with pytest.raises(Unsupported):
            await act()


async def test_a_run_that_executes_is_cancelled(system: System, client: Follower) -> None:
    run = await submit(client, long_flow(system), ["0", "1"], max_concurrency=1)
    ended = await client.cancel(CancelParams(run_id=run.run_id, reason="too slow", wait=True))
    assert (ended.status, ended.cancel_reason, ended.items.cancelled) == (RunState.CANCELLED, "too slow", 2)
    assert await client.get(GetParams(run_id=run.run_id, wait=True)) == ended
    told = (await client.get(GetParams(run_id=run.run_id, include_results=True))).results or []
    assert {(result.status, result.value, result.error) for result in told} <= {(RunState.CANCELLED, None, None)}
    shown = system.shows(differences.CANCELLED_ITEMS)
    assert [result.item_index for result in told] == ([0, 1] if shown else [])
    again = await client.cancel(CancelParams(run_id=run.run_id.upper(), reason="again"))
    assert (again.status, again.cancel_reason) == (RunState.CANCELLED, "too slow")
    if not system.shows(differences.CANCEL_WAITS_NOT):
        items = (await client.items(ItemsParams(run_id=run.run_id))).items
        assert [item.status for item in items] == [RunState.CANCELLED] * 2


async def test_a_run_that_has_ended_stays_as_it_is(client: Follower) -> None:
    run = await submit(client, PICKY, ['{"m":1}'], wait=True)
    ended = await client.cancel(CancelParams(run_id=run.run_id, reason="too late"))
    assert (ended.status, ended.cancel_reason) == (RunState.SUCCESS, None)
    assert (await client.get(GetParams(run_id=run.run_id))).status is RunState.SUCCESS


async def test_runs_are_listed_in_both_orders(client: Follower) -> None:
    text = json.dumps({"name": f"listed by {type(client).__name__}", "steps": [], "output": {"$input": "m"}})
    runs = [await submit(client, text, ['{"m":1}'], wait=True) for _ in range(5)]
    await submit(client, PICKY, ['{"m":1}'], wait=True)
    wanted = RunFilter(flow_ids=(runs[0].flow_id,), states=(RunState.SUCCESS,))
    newest = await listed(client, filter=wanted, page_size=2)
    oldest = await listed(client, filter=wanted, page_size=2, order=RunOrder.OLDEST_FIRST)
    assert {run.run_id for run in newest} == {run.run_id for run in runs}
    assert [run.run_id for run in newest] == [run.run_id for run in reversed(oldest)]
    assert (await client.list_runs(ListParams(filter=wanted, include_total=True))).total_size == 5
    by_name = await listed(client, filter=RunFilter(flow_name="listed by*", flow_ids=wanted.flow_ids))
    assert [run.run_id for run in by_name] == [run.run_id for run in newest]
    assert await listed(client, filter=RunFilter(flow_ids=wanted.flow_ids, states=(RunState.FAILED,))) == []


async def test_a_run_is_deleted_when_it_has_ended(system: System, client: Follower) -> None:
    run = await submit(client, long_flow(system), ["0"])
    if system.shows(differences.NO_DELETE):
        with pytest.raises(Unsupported):
            await client.delete(DeleteParams(run_id=run.run_id, cancel=True))
        with pytest.raises(Unsupported):
            await client.delete_many(DeleteRunsParams(filter=RunFilter(flow_ids=(run.flow_id,))))
    else:
        with pytest.raises(RunNotEnded):
            await client.delete(DeleteParams(run_id=run.run_id))
        await client.delete(DeleteParams(run_id=run.run_id, cancel=True))
        with pytest.raises(RunNotFound):
            await client.get(GetParams(run_id=run.run_id))
        assert run.run_id not in [each.run_id for each in await listed(client)]
    with suppress(RunNotFound):
        await client.cancel(CancelParams(run_id=run.run_id))


async def test_items_tell_what_they_came_to(system: System, client: Follower) -> None:
    run = await submit(client, PICKY, ['{"m":1}', "{}", '{"m":null}'], wait=True)
    first = await client.items(ItemsParams(run_id=run.run_id, page_size=2, include_inputs=True))
    rest = await client.items(
        ItemsParams(run_id=run.run_id, page_size=2, include_inputs=True, page_token=first.next_page_token)
    )
    items = first.items + rest.items
    states = [RunState.SUCCESS, RunState.FAILED, RunState.SUCCESS]
    assert [(item.item_index, item.status) for item in items] == list(enumerate(states))
    assert [item.result.value if item.result else "" for item in items] == ["1", None, "null"]
    failed = await client.items(ItemsParams(run_id=run.run_id, states=(RunState.FAILED,)))
    assert [item.item_index for item in failed.items] == [1]
    if system.shows(differences.NO_INPUTS):
        assert [item.input for item in items] == [None] * 3


async def test_tokens_and_ids_are_checked(client: Follower) -> None:
    run = await submit(client, PICKY, ['{"m":1}', '{"m":2}'], wait=True)
    await submit(client, PICKY, ['{"m":1}'], wait=True)
    token = (await client.list_runs(ListParams(page_size=1))).next_page_token
    with pytest.raises(InvalidParams):
        await client.list_runs(ListParams(page_token=token, order=RunOrder.OLDEST_FIRST))
    with pytest.raises(InvalidParams):
        await client.items(ItemsParams(run_id=run.run_id, page_token=token))
    for run_id, error in (("run", InvalidRunId), (MISSING, RunNotFound)):
        with pytest.raises(error):
            await client.cancel(CancelParams(run_id=run_id))
        with pytest.raises(error):
            await client.items(ItemsParams(run_id=run_id))


async def test_all_runs_of_a_flow_are_cancelled(system: System, client: Follower) -> None:
    flow = long_flow(system, f"many by {type(client).__name__}")
    runs = [await submit(client, flow, ["0"]) for _ in range(3)]
    ended = await client.cancel(CancelParams(run_id=runs[0].run_id))
    told = await client.cancel_many(CancelRunsParams(filter=RunFilter(flow_ids=(ended.flow_id,)), reason="enough"))
    states = [(await client.get(GetParams(run_id=run.run_id))).status for run in runs]
    assert (told.matched, told.done + told.unchanged) == (3, 3)
    assert (told.done, states) == (2, [RunState.CANCELLED] * 3)
