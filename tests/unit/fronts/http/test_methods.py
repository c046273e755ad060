import asyncio
import json
import re
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest

from gateway.core.model import ItemError, JsonText
from gateway.fronts.http.methods import BATCH_CONCURRENCY, JsonRpcMethods
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from tests.support.followers import followed
from tests.support.scripted_runtime import FLOW, MISSING_BLOB, MISSING_RUN, ScriptedRuntime
from tests.support.tasks import all_ended


@pytest.fixture
def runtime() -> ScriptedRuntime:
    return ScriptedRuntime()


@pytest.fixture
async def service(runtime: ScriptedRuntime) -> AsyncIterator[RunsService]:
    service = RunsService(runtime, grace=0)
    yield service
    await service.close()


@pytest.fixture
def methods(service: RunsService) -> JsonRpcMethods:
    return JsonRpcMethods(RunsServices(service))


def request(method: str, params: object = None, **members: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params, **members}


def notification(method: str, params: object = None) -> dict[str, object]:
    return {"jsonrpc": "2.0", "method": method, "params": params}


async def call(methods: JsonRpcMethods, body: object, scope: str = "") -> Any:
    answer = await methods.call(json.dumps(body).encode(), scope)
    return None if answer is None else json.loads(answer)


async def result(methods: JsonRpcMethods, method: str, params: object, scope: str = "") -> Any:
    answer = await call(methods, request(method, params), scope)
    assert answer.keys() == {"jsonrpc", "id", "result"}
    return answer["result"]


async def error(methods: JsonRpcMethods, body: object) -> tuple[int, str]:
    answer = await call(methods, body)
    assert answer.keys() == {"jsonrpc", "id", "error"}
    return answer["error"]["code"], answer["error"]["message"]


async def put_flow(methods: JsonRpcMethods) -> str:
    flow: dict[str, str] = await result(
        methods, "blobs/put", {"data": json.loads(str(FLOW.content)), "blob_type": "flow"}
    )
    return flow["blobId"]


async def submit(methods: JsonRpcMethods, scope: str = "", **params: object) -> Any:
    flow_id = await put_flow(methods)
    return await result(methods, "runs/submit", {"flowId": flow_id, "inputs": [1, 2], **params}, scope)


async def test_submit_then_get(methods: JsonRpcMethods, runtime: ScriptedRuntime) -> None:
    run = await submit(methods, maxConcurrency=None, overrides=None)
    assert (run["status"], run["items"]["total"]) == ("pending", 2)
    assert "results" not in run
    await runtime.succeed(1, "12345678901234567890")
    got = await result(methods, "runs/get", {"runId": run["runId"], "includeResults": True})
    assert [(entry["itemIndex"], entry["result"]["value"]) for entry in got["results"]] == [(1, 12345678901234567890)]


async def test_submit_and_get_wait(methods: JsonRpcMethods, service: RunsService, runtime: ScriptedRuntime) -> None:
    submitting = asyncio.create_task(submit(methods, wait=True))
    await runtime.submitted(1)
    getting = asyncio.create_task(result(methods, "runs/get", {"runId": runtime.run_ids[0], "wait": True}))
    await followed(service, 2)
    await runtime.succeed(1)
    await runtime.succeed(0)
    assert [entry["itemIndex"] for entry in (await submitting)["results"]] == [0, 1]
    assert (await getting)["status"] == "success"


async def test_blobs_in_both_spellings(methods: JsonRpcMethods) -> None:
    data = '{"b":1,"a":1e400,"c":12345678901234567890}'
    body = f'{{"jsonrpc":"2.0","id":"x","method":"blobs/put","params":{{"data": {data} ,"blobType":"data"}}}}'
    stored = json.loads(await methods.call(body.encode()) or b"")["result"]
    assert stored["blobId"] == stored["blob_id"]
    for name in ("blobId", "blob_id"):
        answer = await methods.call(json.dumps(request("blobs/get", {name: stored["blobId"]})).encode())
        assert data.encode() in (answer or b"")
    found = await result(methods, "blobs/get", {"blob_id": stored["blobId"]})
    assert (found["blobType"], found["blob_type"]) == ("data", "data")


IDS = ["1", "-7", "1.0", "1e3", "-0.5E-2", '"x"', '"\\u00e9"', r'"\"\/\n"', "null", "12345678901234567890123"]


@pytest.mark.parametrize("given", IDS)
async def test_ids_are_echoed_as_they_are_spelled(methods: JsonRpcMethods, given: JsonText) -> None:
    body = f'{{"id":{given},"jsonrpc":"2.0","method":"runs/get","params":{{"runId":"{MISSING_RUN}"}}}}'
    answer = await methods.call(body.encode())
    assert answer is not None
    assert answer.startswith(f'{{"jsonrpc":"2.0","id":{given},"error":'.encode())


async def test_the_members_of_a_batch_get_their_ids_back(methods: JsonRpcMethods) -> None:
    calls = [f'{{"id":{given},"jsonrpc":"2.0","method":"runs/none"}}' for given in IDS]
    answer = await methods.call(f"[{','.join(calls)}]".encode())
    assert answer is not None
    texts = answer.decode()[1:-1].split(',{"jsonrpc"')
    assert [text.partition('"id":')[2].partition(',"error":')[0] for text in texts] == IDS


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"   ", -32700),
        (b"{", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"runs/get"} x', -32700),
        (b"\xff\xfe", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"runs/get","params":{"runId":NaN}}', -32700),
        (b"[" * 100_000, -32700),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, -32700),
        (b"[]", -32600),
        (b"1", -32600),
        (b"null", -32600),
        (b'"runs/get"', -32600),
        (b"{}", -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"runs/get"}', -32600),
        (b'{"id":1,"method":"runs/get"}', -32600),
        (b'{"jsonrpc":"2.0","id":1}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600),
        (b'{"jsonrpc":"2.0","id":{},"method":"runs/get"}', -32600),
        (b'{"jsonrpc":"2.0","id":[1],"method":"runs/get"}', -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":"runs/get"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"result":{}}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":""}', -32601),
        (b'{"jsonrpc":"2.0","id":1,"method":"runs/stop"}', -32601),
        (b'{"jsonrpc":"2.0","id":1,"method":"RUNS/GET"}', -32601),
        (b'{"jsonrpc":"2.0","id":1,"method":"runs/get"}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"runs/get","params":[]}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"runs/get","params":"x"}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"runs/get","params":{}}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"runs/get","params":{"runId":"x"}}', -32004),
        (b'{"jsonrpc":"2.0","id":1,"method":"runs/submit","params":{}}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"runs/submit","params":{"flowId":"x","inputs":{}}}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"runs/submit","params":{"flowId":"x","inputs":[]}}', -32005),
        (b'{"jsonrpc":"2.0","id":1,"method":"blobs/put","params":{}}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"blobs/get","params":{"blobId":1}}', -32602),
    ],
)
async def test_everything_gets_an_answer(methods: JsonRpcMethods, body: bytes, code: int) -> None:
    answer = await methods.call(body)
    assert answer is not None
    assert json.loads(answer)["error"]["code"] == code


async def test_errors_of_the_service_have_their_codes(methods: JsonRpcMethods) -> None:
    assert (await error(methods, request("runs/get", {"runId": MISSING_RUN})))[0] == -32000
    assert (await error(methods, request("runs/submit", {"flowId": MISSING_BLOB, "inputs": []})))[0] == -32005
    assert (await error(methods, request("blobs/get", {"blobId": MISSING_BLOB})))[0] == -32005
    flow_id = await put_flow(methods)
    code, message = await error(methods, request("runs/submit", {"flowId": flow_id, "inputs": [], "maxConcurrency": 0}))
    assert code == -32602
    assert "maxConcurrency" in message


async def test_notifications_are_executed_and_not_answered(methods: JsonRpcMethods, runtime: ScriptedRuntime) -> None:
    flow_id = await put_flow(methods)
    assert await call(methods, notification("runs/submit", {"flowId": flow_id, "inputs": []})) is None
    assert len(runtime.run_ids) == 1
    for bad in (notification("runs/submit", {}), notification("nothing"), notification("runs/get", {"runId": "x"})):
        assert await call(methods, bad) is None


async def test_a_batch_is_answered_in_order_without_its_notifications(
    methods: JsonRpcMethods, runtime: ScriptedRuntime
) -> None:
    flow_id = await put_flow(methods)
    run = await submit(methods)
    submitting = {"flowId": flow_id, "inputs": [1]}
    batch = [
        request("runs/get", {"runId": run["runId"], "wait": True}, id="waits"),
        notification("runs/submit", submitting),
        request("runs/submit", submitting, id=2),
        7,
        request("nothing", id=None),
        [],
    ]
    answering = asyncio.create_task(call(methods, batch))
    await runtime.submitted(3)
    await runtime.succeed(0, run_id=run["runId"])
    await runtime.succeed(1, run_id=run["runId"])
    answers = await answering
    assert [answer["id"] for answer in answers] == ["waits", 2, None, None, None]
    assert answers[0]["result"]["status"] == "success"
    assert [answer.get("error", {}).get("code") for answer in answers] == [None, None, -32600, -32601, -32600]


async def test_a_batch_of_notifications_has_no_answer(methods: JsonRpcMethods, runtime: ScriptedRuntime) -> None:
    flow_id = await put_flow(methods)
    assert await call(methods, [notification("runs/submit", {"flowId": flow_id, "inputs": []})] * 3) is None
    assert len(runtime.run_ids) == 3


async def test_a_batch_executes_a_bounded_number_of_calls_at_a_time(
    methods: JsonRpcMethods, service: RunsService, runtime: ScriptedRuntime
) -> None:
    run = await submit(methods)
    waiting = request("runs/get", {"runId": run["runId"], "wait": True})
    answering = asyncio.create_task(call(methods, [waiting] * (BATCH_CONCURRENCY + 5)))
    await followed(service, BATCH_CONCURRENCY)
    assert (await submit(methods))["status"] == "pending"
    await followed(service, BATCH_CONCURRENCY)
    await runtime.succeed(0, run_id=run["runId"])
    await runtime.succeed(1, run_id=run["runId"])
    assert len(await answering) == BATCH_CONCURRENCY + 5


@pytest.mark.parametrize("batch", [False, True])
async def test_cancelling_a_call_ends_its_waiting(
    methods: JsonRpcMethods, service: RunsService, runtime: ScriptedRuntime, *, batch: bool
) -> None:
    run = await submit(methods)
    waiting = request("runs/get", {"runId": run["runId"], "wait": True})
    answering = asyncio.create_task(call(methods, [waiting, waiting] if batch else waiting))
    await followed(service, 2 if batch else 1)
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering
    assert len(service.hub) == 0
    await all_ended()
    assert runtime.watching == 0


async def test_defects_are_told_as_an_id_alone(
    methods: JsonRpcMethods, runtime: ScriptedRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    await runtime.break_down(ValueError("the secret"))
    for body in (
        request("runs/get", {"runId": MISSING_RUN}),
        request("runs/submit", {"flowId": MISSING_BLOB, "inputs": []}),
        request("blobs/put", {"data": 1}),
        request("blobs/get", {"blobId": MISSING_BLOB}),
    ):
        answer = await call(methods, body)
        assert answer["error"]["code"] == -32603
        found = re.fullmatch("internal error, id ([0-9a-f]{32})", answer["error"]["message"])
        assert found is not None
        assert found[1] in caplog.text
        assert "the secret" in caplog.text
        assert "secret" not in json.dumps(answer)


async def test_a_drain_says_when_to_come_back(methods: JsonRpcMethods, runtime: ScriptedRuntime) -> None:
    flow_id = await put_flow(methods)
    await runtime.drain()
    answer = await call(methods, request("runs/submit", {"flowId": flow_id, "inputs": []}))
    assert (answer["error"]["code"], answer["error"]["data"]["retryAfterSecs"]) == (-32015, 1.0)


# Scopes of idempotency keys


TASK = {"trace_id": "t", "span_id": "s", "run_id": MISSING_RUN, "flow_id": "f", "step_id": "step"}


async def test_the_same_key_of_two_tasks_makes_two_runs(methods: JsonRpcMethods) -> None:
    runs = [
        (await submit(methods, subflowKey="key", observability={**TASK, **other}))["runId"]
        for other in ({}, {}, {"span_id": "s2"}, {"step_id": "step2"}, {"run_id": "r2"}, {"trace_id": "t2"})
    ]
    assert runs[0] == runs[1] == runs[5]
    assert len(set(runs)) == 4


@pytest.mark.parametrize("missing", ["run_id", "span_id"])
async def test_a_caller_that_tells_no_task_shares_one_scope(
    methods: JsonRpcMethods, runtime: ScriptedRuntime, missing: str
) -> None:
    first = await submit(methods, subflowKey="key")
    second = await submit(methods, subflowKey="key", observability={**TASK, missing: None})
    assert first["runId"] == second["runId"]
    assert runtime.scopes == ["", ""]


async def test_the_scope_that_a_caller_is_given_counts(methods: JsonRpcMethods, runtime: ScriptedRuntime) -> None:
    await submit(methods, scope="task-1", subflowKey="key", observability=TASK)
    await submit(methods, scope="task-2", subflowKey="key", observability=TASK)
    assert runtime.scopes == ["task-1", "task-2"]
    assert len(runtime.run_ids) == 2


async def test_parts_of_a_scope_do_not_run_into_each_other(methods: JsonRpcMethods, runtime: ScriptedRuntime) -> None:
    for run_id, step_id, span_id in (("a", 'b","c', "d"), ("a", "b", 'c","d'), ('a","b', "c", "d")):
        task = {"run_id": run_id, "step_id": step_id, "span_id": span_id}
        await submit(methods, subflowKey="key", observability=task)
    assert len(set(runtime.scopes)) == 3


# Sharing the loop


async def test_a_flood_of_calls_leaves_the_loop_to_others(
    methods: JsonRpcMethods, service: RunsService, runtime: ScriptedRuntime
) -> None:
    """However many calls become answerable at once, no iteration of the loop writes more than one answer."""
    run = await submit(methods)
    answered: list[Any] = []

    async def wait() -> None:
        answered.append(await result(methods, "runs/get", {"runId": run["runId"], "wait": True}))

    tasks = [asyncio.create_task(wait()) for _ in range(100)]
    await followed(service, 100)
    await runtime.succeed(0)
    await runtime.succeed(1)
    counts = [0]
    while len(answered) < 100:
        await asyncio.sleep(0)
        counts.append(len(answered))
    assert max(after - before for before, after in pairwise(counts)) == 1
    await asyncio.gather(*tasks)


async def test_a_long_answer_is_written_in_slices(methods: JsonRpcMethods, runtime: ScriptedRuntime) -> None:
    """While one is written, the loop turns, and short calls are answered."""
    flow_id = await put_flow(methods)
    run = await result(methods, "runs/submit", {"flowId": flow_id, "inputs": [0] * 1_000})
    for index in range(1_000):
        await runtime.succeed(index, run_id=run["runId"])
    long = asyncio.create_task(result(methods, "runs/get", {"runId": run["runId"], "includeResults": True}))
    short = 0
    while not long.done():
        await result(methods, "blobs/put", {"data": 1})
        short += 1
    assert short >= 4
    assert [entry["itemIndex"] for entry in (await long)["results"]] == list(range(1_000))


# What answers look like, to the byte


async def test_answers_are_what_they_always_were(methods: JsonRpcMethods, runtime: ScriptedRuntime) -> None:
    flow_id = await put_flow(methods)

    async def answer(body: str) -> str:
        text = await methods.call(body.encode())
        assert text is not None
        return text.decode().replace(runtime.run_ids[0], "RUN").replace(flow_id, "FLOW")

    async def get(**params: object) -> str:
        return await answer(json.dumps(request("runs/get", {"runId": runtime.run_ids[0], **params}, id="g")))

    submitting = {"flowId": flow_id, "inputs": [1, 2, 3], "flowLabel": "l"}
    head = '"runId":"RUN","flowId":"sha256:FLOW","flowName":"scripted","flowLabel":"l",'
    created = '"createdAt":"2025-01-15T10:30:00Z"'
    assert await answer(json.dumps(request("runs/submit", submitting))) == (
        f'{{"jsonrpc":"2.0","id":1,"result":{{{head}"status":"pending","items":{{"total":3,"pending":3,"running":0,'
        f'"success":0,"failed":0,"cancelled":0,"completed":0}},{created}}}}}'
    )
    assert (await get(includeResults=True)).endswith(f'"completed":0}},{created},"results":[]}}}}')
    await runtime.succeed(1, '{"b": 1e400,\r\n"a":[]}')
    await runtime.fail(0, ItemError(code=-32100, message="no", data="[1]"))
    await runtime.cancel_item(2)
    final = (
        f'{{"jsonrpc":"2.0","id":"g","result":{{{head}"status":"failed","items":{{"total":3,"pending":0,"running":0,'
        f'"success":1,"failed":1,"cancelled":1,"completed":1}},{created},"completedAt":"2025-01-15T10:30:03Z"'
    )
    failed = (
        '{"itemIndex":0,"status":"failed","result":{"outcome":"failed",'
        '"error":{"code":-32100,"message":"no","data":[1]}},"completedAt":"2025-01-15T10:30:02Z"}'
    )
    succeeded = (
        '{"itemIndex":1,"status":"completed","result":{"outcome":"success","value":{"b": 1e400,\r\n"a":[]},'
        '"result":{"b": 1e400,\r\n"a":[]}},"completedAt":"2025-01-15T10:30:01Z"}'
    )
    cancelled = '{"itemIndex":2,"status":"cancelled","completedAt":"2025-01-15T10:30:03Z"}'
    assert await get(wait=True) == f"{final}}}}}"
    assert await get(includeResults=True) == f'{final},"results":[{failed},{succeeded},{cancelled}]}}}}'
    by_completion = await get(wait=True, includeResults=True, resultOrder="by_completion")
    assert by_completion == f'{final},"results":[{succeeded},{failed},{cancelled}]}}}}'
    assert await answer(json.dumps(request("runs/get", {"runId": "x"}))) == (
        '{"jsonrpc":"2.0","id":1,"error":{"code":-32004,"message":"runId: expected a UUID","data":'
        '{"reason":"INVALID_RUN_ID","violations":[{"field":"runId","description":"expected a UUID"}]}}}'
    )


async def test_parameters_of_streams_change_no_single_answer(methods: JsonRpcMethods) -> None:
    run = await submit(methods)
    params = {"runId": run["runId"], "wait": True, "timeoutSecs": 0, "includeResults": True}
    assert await result(methods, "runs/get", {**params, "resumeToken": "x", "heartbeatSecs": 0.1}) == await result(
        methods, "runs/get", params
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("resumeToken", 5),
        ("resumeToken", ["x"]),
        ("heartbeatSecs", "1"),
        ("heartbeatSecs", 0.09),
        ("heartbeatSecs", True),
    ],
)
async def test_malformed_parameters_of_streams_are_named(methods: JsonRpcMethods, name: str, value: object) -> None:
    answer = await call(methods, request("runs/get", {"runId": MISSING_RUN, name: value}))
    assert answer["error"]["code"] == -32602
    assert [violation["field"] for violation in answer["error"]["data"]["violations"]] == [name]


async def test_a_long_name_of_a_method_is_cut(methods: JsonRpcMethods) -> None:
    code, message = await error(methods, request("m" * 2_000_000))
    assert (code, len(message) < 300) == (-32601, True)
    assert message.startswith("no method 'mmm")
