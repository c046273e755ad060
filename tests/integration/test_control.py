"""Ending runs and finding them again through the whole gateway: one body for each front and each state."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.core.control import (
    BulkProgress,
    CancelParams,
    CancelRunsParams,
    DeleteParams,
    DeleteRunsParams,
    ItemsParams,
    ListParams,
)
from gateway.core.errors import InvalidParams, InvalidRunId, RunNotEnded, RunNotFound
from gateway.core.model import Blob, BlobType, GetParams, RunState, RunStatus, SubmitParams
from gateway.core.page_token import binding_of_list, page_token
from gateway.core.run_filter import RunFilter, RunOrder
from tests.integration.conftest import Gateway, Start
from tests.support.clients import Client
from tests.support.component_server import Call, ComponentServer
from tests.support.scripted_runtime import MISSING_RUN

ECHO = '{"name":"echo","steps":[],"output":{"$input":"$"}}'
PICKY = '{"name":"picky","steps":[],"output":{"$input":"m"}}'
ENDLESS = json.dumps(
    {
        "name": "endless",
        "steps": [
            {
                "id": "s",
                "component": "/builtin/iterate",
                "input": {
                    "flow": {"$literal": {"steps": [], "output": {"next": {"$input": "$"}}}},
                    "initial_input": {"$input": "$"},
                    "max_iterations": 100_000,
                },
            }
        ],
        "output": {"$step": "s"},
    }
)
"""It iterates for longer than any test takes."""

LABELS = {"team": "a", "\N{EURO SIGN}": ""}


async def submit(client: Client, flow: str = ENDLESS, inputs: int = 2, **params: Any) -> RunStatus:
    flow_id = await client.put_blob(Blob(flow, BlobType.FLOW))
    return await client.submit(SubmitParams(flow_id=flow_id, inputs=["1"] * inputs, **params))


async def test_a_run_that_executes_is_cancelled(client: Client) -> None:
    run = await submit(client, flow_label="nightly", labels=LABELS)
    waiting = asyncio.create_task(client.get(GetParams(run_id=run.run_id, wait=True, include_results=True)))
    ended = await client.cancel(CancelParams(run_id=run.run_id, reason="too slow", wait=True))
    assert (ended.status, ended.cancel_reason) == (RunState.CANCELLED, "too slow")
    assert (ended.items.total, ended.items.cancelled) == (2, 2)
    assert (ended.flow_label, ended.labels, ended.results) == ("nightly", LABELS, None)
    assert ended.completed_at is not None
    assert (await waiting).status is RunState.CANCELLED
    assert await client.get(GetParams(run_id=run.run_id)) == ended
    again = await client.cancel(CancelParams(run_id=run.run_id.upper(), reason="again"))
    assert again == ended


async def test_a_run_that_has_ended_stays_as_it_is(client: Client) -> None:
    run = await submit(client, ECHO, wait=True)
    ended = await client.cancel(CancelParams(run_id=run.run_id, reason="too late"))
    assert (ended.status, ended.cancel_reason, ended.items.success) == (RunState.SUCCESS, None, 2)


async def test_runs_are_listed_as_get_shows_them(gateway: Gateway) -> None:
    for there, back in ((gateway.grpc, gateway.jsonrpc), (gateway.jsonrpc, gateway.grpc)):
        runs = [await submit(there, ECHO, flow_label=f"label {index}", labels=LABELS) for index in range(5)]
        run_ids = [run.run_id for run in runs]
        wanted = RunFilter(flow_label="label*", created_after=runs[0].created_at)
        for order in RunOrder:
            listed, token = [], ""
            while True:
                params = ListParams(filter=wanted, page_size=2, page_token=token, order=order, include_total=True)
                page = await back.list_runs(params)
                assert page.total_size == 5
                listed += page.runs
                token = page.next_page_token
                if not token:
                    break
            expected = run_ids if order is RunOrder.OLDEST_FIRST else run_ids[::-1]
            assert [run.run_id for run in listed] == expected
            assert [await there.get(GetParams(run_id=run.run_id)) for run in listed] == listed
        await there.delete_many(DeleteRunsParams(filter=RunFilter(), cancel=True))


async def test_runs_are_found_by_each_condition(client: Client) -> None:
    echo = await submit(client, ECHO, flow_label="nightly 1", labels=LABELS, wait=True)
    endless = await submit(client, flow_label="daily", labels={"team": "b"})
    found = {
        "states": RunFilter(states=(RunState.SUCCESS, RunState.FAILED)),
        "flow_ids": RunFilter(flow_ids=(echo.flow_id,)),
        "flow_label": RunFilter(flow_label="night*"),
        "flow_name": RunFilter(flow_name="echo"),
        "created": RunFilter(created_before=echo.created_at + 1, created_after=echo.created_at),
        "labels": RunFilter(labels=LABELS),
        "both": RunFilter(flow_label="nightly 1", labels={"team": "a"}, roots_only=True),
    }
    for name, wanted in found.items():
        page = await client.list_runs(ListParams(filter=wanted))
        assert [run.run_id for run in page.runs] == [echo.run_id], name
    for none in (RunFilter(parent_run_id=echo.run_id), RunFilter(root_run_id=echo.run_id)):
        assert (await client.list_runs(ListParams(filter=none))).runs == []
    assert len((await client.list_runs(ListParams(filter=RunFilter(roots_only=True)))).runs) == 2
    await client.cancel(CancelParams(run_id=endless.run_id))


async def test_a_run_is_deleted_when_it_has_ended(client: Client) -> None:
    run = await submit(client, idempotency_key="key")
    with pytest.raises(RunNotEnded):
        await client.delete(DeleteParams(run_id=run.run_id))
    await client.delete(DeleteParams(run_id=run.run_id.upper(), cancel=True))
    for act in (
        client.delete(DeleteParams(run_id=run.run_id)),
        client.get(GetParams(run_id=run.run_id)),
        client.cancel(CancelParams(run_id=run.run_id)),
        client.items(ItemsParams(run_id=run.run_id)),
    ):
        with pytest.raises(RunNotFound):
            await act
    assert (await client.list_runs(ListParams())).runs == []
    other = await submit(client, ECHO, idempotency_key="key")
    assert other.run_id != run.run_id


async def test_all_runs_that_match_are_cancelled_and_deleted(client: Client) -> None:
    done = await submit(client, ECHO, flow_label="mine", wait=True)
    for label in ("mine", "mine too", "other"):
        await submit(client, flow_label=label)
    mine = RunFilter(flow_label="mine*")
    assert await client.cancel_many(CancelRunsParams(filter=mine, reason="enough")) == BulkProgress(3, 2, 1)
    cancelled = (await client.list_runs(ListParams(filter=RunFilter(states=(RunState.CANCELLED,))))).runs
    assert [run.cancel_reason for run in cancelled] == ["enough"] * 2
    assert await client.delete_many(DeleteRunsParams(filter=RunFilter())) == BulkProgress(4, 3, 1)
    assert await client.delete_many(DeleteRunsParams(filter=RunFilter(), cancel=True)) == BulkProgress(1, 1, 0)
    with pytest.raises(RunNotFound):
        await client.get(GetParams(run_id=done.run_id))


async def test_items_tell_what_they_came_to(client: Client) -> None:
    flow_id = await client.put_blob(Blob(PICKY, BlobType.FLOW))
    inputs = ['{"m":1.50}', "{}", '{"m":null}']
    run = await client.submit(SubmitParams(flow_id=flow_id, inputs=inputs, wait=True))
    page = await client.items(ItemsParams(run_id=run.run_id, page_size=2))
    rest = await client.items(ItemsParams(run_id=run.run_id, page_size=2, page_token=page.next_page_token))
    items = page.items + rest.items
    assert [(item.item_index, item.status) for item in items] == [
        (0, RunState.SUCCESS),
        (1, RunState.FAILED),
        (2, RunState.SUCCESS),
    ]
    assert [item.result and item.result.value for item in items] == ["1.50", None, "null"]
    assert items[1].result is not None
    assert items[1].result.error is not None
    assert (items[1].result.error.code, rest.next_page_token) == (-32200, "")
    failed = await client.items(ItemsParams(run_id=run.run_id, states=(RunState.FAILED,)))
    assert failed.items == [items[1]]


async def test_items_that_execute_are_told_with_their_steps(client: Client) -> None:
    run = await submit(client, max_concurrency=1)
    while True:
        items = (await client.items(ItemsParams(run_id=run.run_id, include_inputs=True))).items
        if items[0].steps:
            break
    assert (items[0].status, items[1].status) == (RunState.RUNNING, RunState.PENDING)
    assert [item.input for item in items] == ["1", "1"]
    assert (items[0].steps[0].step_id, items[0].steps[0].component) == ("s", "/builtin/iterate")
    await client.cancel(CancelParams(run_id=run.run_id, wait=True))
    items = (await client.items(ItemsParams(run_id=run.run_id))).items
    assert [item.status for item in items] == [RunState.CANCELLED] * 2


async def test_a_token_belongs_to_its_list(client: Client) -> None:
    runs = [await submit(client, ECHO) for _ in range(2)]
    token = (await client.list_runs(ListParams(page_size=1))).next_page_token
    for params in (
        ListParams(page_token=token, order=RunOrder.OLDEST_FIRST),
        ListParams(page_token=token, filter=RunFilter(roots_only=True)),
        ListParams(page_token=token[:-2]),
        ListParams(page_token="x" * 10_000),
    ):
        with pytest.raises(InvalidParams) as caught:
            await client.list_runs(params)
        assert [violation.path for violation in caught.value.violations] == [("page_token",)]
    token = (await client.items(ItemsParams(run_id=runs[0].run_id, page_size=1))).next_page_token
    with pytest.raises(InvalidParams):
        await client.items(ItemsParams(run_id=runs[1].run_id, page_token=token))


async def test_ids_that_are_none_or_unknown_are_told(client: Client) -> None:
    for run_id, error in (("run", InvalidRunId), (MISSING_RUN, RunNotFound)):
        for act in (
            client.cancel(CancelParams(run_id=run_id)),
            client.delete(DeleteParams(run_id=run_id)),
            client.items(ItemsParams(run_id=run_id)),
        ):
            with pytest.raises(error):
                await act


async def test_those_who_follow_a_run_are_told_of_its_end_or_that_it_is_gone(client: Client) -> None:
    runs = [await submit(client) for _ in range(4)]
    following = [
        asyncio.create_task(client.get(GetParams(run_id=run.run_id, wait=True, include_results=bool(index % 2))))
        for index, run in enumerate(runs)
    ]
    for run in runs:
        await client.delete(DeleteParams(run_id=run.run_id, cancel=True))
    for ended in await asyncio.gather(*following, return_exceptions=True):
        assert isinstance(ended, RunNotFound) or (isinstance(ended, RunStatus) and ended.status is RunState.CANCELLED)


async def test_a_component_ends_and_finds_runs_while_it_executes(start: Start) -> None:
    """It cancels another run, and finds it and its own."""
    answers: asyncio.Queue[Any] = asyncio.Queue()
    other: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def component(call: Call) -> None:
        if "method" not in call.message:
            answers.put_nowait(call.message["result"])
            await call.accept()
            return
        await call.stream()
        found = []
        for method, params in (
            ("runs/cancel", {"runId": await other, "reason": "a component says so"}),
            ("runs/list", {"filter": {"states": ["running"]}}),
            ("runs/items", {"runId": await other}),
            ("runs/delete", {"filter": {"states": ["cancelled"]}}),
        ):
            await call.event({"jsonrpc": "2.0", "id": method, "method": method, "params": params})
            found.append(await answers.get())
        await call.output(found)

    async with ComponentServer(component).running() as url:
        gateway = await start(components={"/x": url})
        other.set_result((await submit(gateway.grpc, inputs=1)).run_id)
        flow = '{"steps":[{"id":"s","component":"/x/echo","input":1}],"output":{"$step":"s"}}'
        run = await submit(gateway.grpc, flow, 1, wait=True)
    assert run.results is not None
    cancelled, listed, items, deleted = json.loads(run.results[0].value or "null")
    assert (cancelled["status"], cancelled["cancelReason"]) == ("cancelled", "a component says so")
    assert [each["runId"] for each in listed["runs"]] == [run.run_id]
    assert [item["status"] for item in items["items"]] == ["cancelled"]
    assert deleted == {"matched": 1, "deleted": 1, "unchanged": 0}


async def test_a_component_may_cancel_the_run_that_it_executes_in(start: Start) -> None:
    """Its exchange ends, so it gets no answer, even if it waits for the end of everything."""

    async def component(call: Call) -> None:
        if "method" not in call.message:
            await call.accept()
            return
        await call.stream()
        run_id = call.message["params"]["observability"]["run_id"]
        params = {"runId": run_id, "wait": True, "reason": "no use"}
        await call.event({"jsonrpc": "2.0", "id": "c", "method": "runs/cancel", "params": params})

    async with ComponentServer(component).running() as url:
        gateway = await start(components={"/x": url})
        flow = '{"steps":[{"id":"s","component":"/x/echo","input":1}],"output":{"$step":"s"}}'
        run = await submit(gateway.grpc, flow, 1, wait=True)
        assert (run.status, run.cancel_reason) == (RunState.CANCELLED, "no use")


async def test_the_native_transport_serves_all_of_these_calls(start: Start, tmp_path: Path) -> None:
    client = (await start(transport="native", state=str(tmp_path / "state.db"))).grpc
    done = await submit(client, ECHO, wait=True)
    runs = [await submit(client, flow_label="mine") for _ in range(3)]
    ended = await client.cancel(CancelParams(run_id=runs[0].run_id, reason="why not", wait=True))
    assert (ended.status, ended.cancel_reason) == (RunState.CANCELLED, "why not")
    assert await client.cancel_many(CancelRunsParams(filter=RunFilter(flow_label="mine"))) == BulkProgress(3, 2, 1)
    listed = (await client.list_runs(ListParams(order=RunOrder.OLDEST_FIRST, include_total=True))).runs
    assert [run.run_id for run in listed] == [run.run_id for run in (done, *runs)]
    assert len((await client.items(ItemsParams(run_id=done.run_id))).items) == 2
    await client.delete(DeleteParams(run_id=done.run_id))
    assert await client.delete_many(DeleteRunsParams(filter=RunFilter())) == BulkProgress(3, 3, 0)
    with pytest.raises(RunNotFound):
        await client.items(ItemsParams(run_id=done.run_id))


async def test_cursors_that_no_server_has_made_are_refused(client: Client) -> None:
    """The checksum of a token keeps out mistakes only: anybody can make one."""
    await submit(client, ECHO)
    for order in RunOrder:
        for cursor in ("x", "-1", "9" * 30, "1" * 5_000, "[1]", "\N{EURO SIGN}", "1.5", "{}", "null", " ", "1,2", "\0"):
            binding = binding_of_list(ListParams(order=order))
            with pytest.raises(InvalidParams) as caught:
                await client.list_runs(ListParams(order=order, page_token=page_token(cursor, binding)))
            assert [violation.path for violation in caught.value.violations] == [("page_token",)]
