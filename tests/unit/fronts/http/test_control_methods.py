import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapter.control_json import CONTROL_MEMBERS
from gateway.adapter.items_json import ITEMS_MEMBERS
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.items import StepState, StepStatus
from gateway.core.model import ItemError
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.runs import bulk
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from tests.support.http_front import RunningFront, call, post, running_front
from tests.support.scripted_runtime import FLOW, MISSING_RUN, ScriptedRuntime

OPTIONAL = ("cancel", "list_runs", "delete", "items")
"""The methods that a runtime need not have."""

METHODS = ("runs/cancel", "runs/list", "runs/delete", "runs/items")
NAMES = sorted(
    CONTROL_MEMBERS | ITEMS_MEMBERS | {"states", "flowIds", "flowLabel", "createdAfter", "labels", "rootsOnly"}
)


@pytest.fixture
async def front() -> AsyncIterator[RunningFront]:
    async with running_front() as front:
        yield front


async def submit(front: RunningFront, inputs: int = 2, **params: object) -> str:
    stored = await front.ask("blobs/put", {"data": json.loads(str(FLOW.content)), "blobType": "flow"})
    given = {"flowId": stored["blobId"], "inputs": list(range(inputs)), **params}
    run_id: str = (await front.ask("runs/submit", given))["runId"]
    return run_id


async def refused(front: RunningFront, method: str, params: object) -> tuple[int, dict[str, Any]]:
    """The code of an error, and its data."""
    connection = await front.connect()
    answer = await connection.send(call(method, params)).answer()
    await connection.close()
    error = answer.json()["error"]
    return error["code"], error["data"]


async def test_a_run_is_cancelled_with_a_reason(front: RunningFront) -> None:
    run_id = await submit(front)
    await front.runtime.succeed(0, "7")
    run = await front.ask("runs/cancel", {"runId": run_id, "reason": "too slow"})
    assert (run["runId"], run["status"], run["cancelReason"]) == (run_id, "cancelled", "too slow")
    assert (run["items"]["success"], run["items"]["cancelled"]) == (1, 1)
    assert "results" not in run
    assert await front.ask("runs/cancel", {"runId": run_id, "reason": "again"}) == run
    assert await front.ask("runs/get", {"runId": run_id}) == run


async def test_a_cancel_that_waits_answers_when_time_is_up(front: RunningFront) -> None:
    front.runtime.stopped.clear()
    run_id = await submit(front)
    run = await front.ask("runs/cancel", {"runId": run_id, "wait": True, "timeoutSecs": 0.001})
    assert run["status"] == "cancelled"


async def test_runs_are_listed_in_pages(front: RunningFront) -> None:
    run_ids = [await submit(front, labels={"n": str(index % 2)}) for index in range(5)]
    first = await front.ask("runs/list", {"pageSize": 3, "includeTotal": True})
    assert ([run["runId"] for run in first["runs"]], first["totalSize"]) == (run_ids[:1:-1], 5)
    rest = await front.ask("runs/list", {"pageSize": 3, "pageToken": first["nextPageToken"]})
    assert [run["runId"] for run in rest["runs"]] == run_ids[1::-1]
    assert rest.keys() == {"runs"}
    odd = await front.ask("runs/list", {"filter": {"labels": {"n": "1"}}, "order": "oldestFirst"})
    assert [run["runId"] for run in odd["runs"]] == run_ids[1::2]
    assert odd["runs"][0]["labels"] == {"n": "1"}
    assert await front.ask("runs/list", {"filter": {"states": ["failed"]}}) == {"runs": []}


async def test_a_long_page_is_made_while_it_is_read(front: RunningFront) -> None:
    labels = {f"{index:0255}": "x" * 255 for index in range(32)}
    run_ids = [await submit(front, inputs=0, labels=labels) for _ in range(60)]
    connection = await front.connect()
    connection.send(call("runs/list", {"pageSize": 50}, "Connection: close"))
    status, headers = await connection.head()
    assert (status, headers["transfer-encoding"]) == (200, "chunked")
    body = await connection.rest()
    assert len(body) > 50 * 32 * 500
    await front.holding(0)
    batch = [{"jsonrpc": "2.0", "id": number, "method": "runs/list", "params": {}} for number in range(3)]
    connection = await front.connect()
    connection.send(post(json.dumps(batch).encode(), "/", "Connection: close"))
    await connection.head()
    assert (await connection.rest()).count(f'"runId":"{run_ids[0]}"'.encode()) == 3


async def test_a_page_that_finds_no_room_is_refused() -> None:
    async with running_front(account=MemoryAccount(600_000)) as front:
        labels = {f"{index:0255}": "x" * 255 for index in range(32)}
        for _ in range(40):
            await submit(front, inputs=0, labels=labels)
        code, data = await refused(front, "runs/list", {})
        assert (code, data["reason"]) == (-32014, "OVERLOADED")
        assert len((await front.ask("runs/list", {"pageSize": 1}))["runs"]) == 1
        await front.holding(0)


async def test_runs_are_deleted(front: RunningFront) -> None:
    run_id = await submit(front)
    assert (await refused(front, "runs/delete", {"runId": run_id}))[1]["reason"] == "RUN_NOT_ENDED"
    assert await front.ask("runs/delete", {"runId": run_id, "cancel": True}) == {}
    for method in ("runs/delete", "runs/get", "runs/cancel", "runs/items"):
        assert (await refused(front, method, {"runId": run_id}))[0] == -32000


async def test_runs_that_match_are_cancelled_and_deleted(front: RunningFront) -> None:
    run_ids = [await submit(front, inputs=1, flowLabel="b" if index else "a") for index in range(4)]
    await front.runtime.succeed(0, run_id=run_ids[1])
    answer = await front.ask("runs/cancel", {"filter": {"flowLabel": "b"}, "reason": "enough"})
    assert answer == {"matched": 3, "cancelled": 2, "unchanged": 1}
    answer = await front.ask("runs/delete", {"filter": {}})
    assert answer == {"matched": 4, "deleted": 3, "unchanged": 1}
    assert front.runtime.run_ids == run_ids[:1]


async def test_a_caller_that_leaves_stops_a_cancel_of_many(
    front: RunningFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(20):
        await submit(front)
    begun, free = asyncio.Event(), asyncio.Event()
    cancel = front.runtime.cancel

    async def wait(*arguments: Any) -> Any:
        begun.set()
        await free.wait()
        return await cancel(*arguments)

    monkeypatch.setattr(front.runtime, "cancel", wait)
    connection = await front.connect()
    connection.send(call("runs/cancel", {"filter": {}}))
    await begun.wait()
    connection.reset()
    await front.holding(0)
    free.set()
    assert (await front.ask("runs/list", {"filter": {"states": ["cancelled"]}}))["runs"] == []
    assert front.runtime.cancelling == 0
    assert bulk.CONCURRENCY < 20


async def test_items_tell_what_executes(front: RunningFront) -> None:
    run_id = await submit(front, inputs=3)
    await front.runtime.start(1)
    error = ItemError(code=-32100, message="try again")
    front.runtime.tell_steps(1, StepStatus("call", "/python/udf", StepState.RUNNING, 2, error=error))
    await front.runtime.succeed(0, '{"a":1}')
    page = await front.ask("runs/items", {"runId": run_id, "pageSize": 2, "includeInputs": True})
    first, second = page["items"]
    assert (first["itemIndex"], first["status"], first["input"]) == (0, "success", 0)
    assert first["result"]["result"] == {"outcome": "success", "value": {"a": 1}}
    assert second["steps"] == [
        {
            "stepId": "call",
            "component": "/python/udf",
            "status": "running",
            "attempts": 2,
            "error": {"code": -32100, "message": "try again"},
        }
    ]
    rest = await front.ask("runs/items", {"runId": run_id, "pageSize": 2, "pageToken": page["nextPageToken"]})
    assert rest == {"items": [{"itemIndex": 2, "status": "pending"}]}
    done = await front.ask("runs/items", {"runId": run_id, "states": ["completed"]})
    assert [item["itemIndex"] for item in done["items"]] == [0]


async def test_a_long_item_is_read_in_parts(front: RunningFront) -> None:
    run_id = await submit(front, inputs=1)
    value = json.dumps("z" * 3_000_000)
    await front.runtime.succeed(0, value)
    connection = await front.connect()
    connection.send(call("runs/items", {"runId": run_id}, "Connection: close"))
    await connection.head()
    body = (await connection.rest()).replace(b"\r\n", b"")
    assert body.count(b"z") == 3_000_000
    await front.holding(0)


@pytest.mark.parametrize(
    ("method", "params", "fields"),
    [
        ("runs/cancel", {}, ["runId"]),
        ("runs/cancel", {"runId": "run"}, ["runId"]),
        ("runs/cancel", {"filter": {"flowIds": ["x"]}}, ["filter.flowIds[0]"]),
        ("runs/delete", {"runId": MISSING_RUN, "cancell": True}, ["cancell"]),
        ("runs/list", {"pageSize": -1}, ["pageSize"]),
        ("runs/list", {"page_size": 1}, ["page_size"]),
        ("runs/list", {"filter": {"flow_label": "x"}}, ["filter.flow_label"]),
        ("runs/items", {"run_id": MISSING_RUN}, ["run_id"]),
        ("runs/delete", {"run_id": MISSING_RUN}, ["run_id"]),
        ("runs/list", {"_meta": 5}, ["_meta"]),
        ("runs/get", {"runId": MISSING_RUN, "_meta": []}, ["_meta"]),
        ("runs/submit", {"flowId": "x", "inputs": [], "_meta": "text"}, ["_meta"]),
        ("blobs/put", {"data": 1, "_meta": True}, ["_meta"]),
        ("blobs/get", {"blobId": "x", "_meta": 1.5}, ["_meta"]),
        ("rpc.discover", {"_meta": 5}, ["_meta"]),
        ("runs/list", {"pageToken": "x"}, ["pageToken"]),
        ("runs/list", {"filter": {"createdAfter": "yesterday"}}, ["filter.createdAfter"]),
        ("runs/items", {"runId": MISSING_RUN, "pageToken": "A" * 70_000}, ["pageToken"]),
        ("runs/items", {"runId": MISSING_RUN, "states": ["lost"]}, ["states[0]"]),
    ],
)
async def test_what_breaks_a_rule_is_named(front: RunningFront, method: str, params: object, fields: list[str]) -> None:
    _, data = await refused(front, method, params)
    assert [violation["field"] for violation in data["violations"]] == fields


async def test_a_parameter_is_not_read_if_it_is_too_long(front: RunningFront) -> None:
    code, _ = await refused(front, "runs/list", {"filter": {"states": ["failed"] * 40_000}})
    assert code == -32013


async def test_lone_surrogates_are_refused(front: RunningFront) -> None:
    connection = await front.connect()
    body = b'{"jsonrpc":"2.0","id":1,"method":"runs/cancel","params":{"filter":{"flowLabel":"\\ud800"}}}'
    answer = (await connection.send(post(body)).answer()).json()
    assert answer["error"]["code"] == -32700


async def test_batches_and_notifications_work(front: RunningFront) -> None:
    run_ids = [await submit(front) for _ in range(2)]
    methods = JsonRpcMethods(RunsServices(front.service))
    batch = [
        {"jsonrpc": "2.0", "method": "runs/cancel", "params": {"runId": run_ids[0]}},
        {"jsonrpc": "2.0", "id": "a", "method": "runs/list", "params": {"pageSize": 1}},
        {"jsonrpc": "2.0", "id": "b", "method": "runs/items", "params": {"runId": run_ids[1]}},
    ]
    answers = json.loads(await methods.call(json.dumps(batch).encode()) or b"")
    assert [answer["id"] for answer in answers] == ["a", "b"]
    assert [len(answers[0]["result"]["runs"]), len(answers[1]["result"]["items"])] == [1, 2]
    assert (await front.ask("runs/get", {"runId": run_ids[0]}))["status"] == "cancelled"
    note = {"jsonrpc": "2.0", "method": "runs/delete", "params": {"filter": {}, "cancel": True}}
    assert await methods.call(json.dumps(note).encode()) is None
    assert front.runtime.run_ids == []


async def test_a_runtime_that_cannot_says_why(front: RunningFront) -> None:
    class Old(ScriptedRuntime):
        cancel, list_runs, delete, items = (getattr(ScriptedRuntime.__base__, name) for name in OPTIONAL)

    service = RunsService(Old(), grace=0)
    methods = JsonRpcMethods(RunsServices(service))
    for method in ("runs/cancel", "runs/delete", "runs/items"):
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"runId": MISSING_RUN}}
        error = json.loads(await methods.call(json.dumps(body).encode()) or b"")["error"]
        assert (error["code"], error["data"]["reason"]) == (-32018, "UNSUPPORTED")
    await service.close()


_odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        ["", "*", "a*", "running", "failed", "newestFirst", MISSING_RUN, "0" * 64, "2025-01-15T10:30:00Z"]
    )
    | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(method=st.sampled_from(METHODS), params=st.dictionaries(st.sampled_from(NAMES), _odd, max_size=4) | _odd)
async def test_no_parameters_cause_anything_but_an_answer(method: str, params: object) -> None:
    runtime = ScriptedRuntime()
    service = RunsService(runtime, grace=0)
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    answer = json.loads(await JsonRpcMethods(RunsServices(service)).call(body) or b"")
    if "error" in answer:
        assert answer["error"]["code"] in (-32700, -32602, -32000, -32004, -32005, -32600)
        assert answer["error"]["message"]
    await service.close()
