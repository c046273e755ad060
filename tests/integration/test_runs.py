"""Runs through the whole gateway: one body for each front and each state."""

import asyncio
import hashlib
import json
import uuid
from contextlib import aclosing
from itertools import product
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.core.errors import (
    BlobNotFound,
    FlowNotFound,
    IdempotencyConflict,
    InvalidBlobId,
    InvalidFlow,
    InvalidParams,
    InvalidRunId,
    RunNotFound,
)
from gateway.core.model import Blob, BlobType, GetParams, ItemResult, ResultOrder, RunState, RunStatus, SubmitParams
from tests.integration.conftest import Gateway, Start
from tests.support.clients import Client, fold
from tests.support.component_server import Call, ComponentServer

ECHO = '{"name":"echo","steps":[],"output":{"$input":"$"}}'
PICKY = '{"name":"picky","steps":[],"output":{"$input":"m"}}'
HARD_PAYLOADS = [
    str(2**60 + 1),
    "1e400",
    "0.1234567890123456789",
    "-0.0",
    "null",
    '{"z":1,"a":null,"m":{}}',
    '"\\u0000\\ud83d\\ude00 ü"',
    "[]",
    '""',
]


async def put_flow(client: Client, text: str) -> str:
    return await client.put_blob(Blob(text, BlobType.FLOW))


async def submit(client: Client, flow: str, inputs: list[str], **params: Any) -> RunStatus:
    flow_id = await put_flow(client, flow)
    return await client.submit(SubmitParams(flow_id=flow_id, inputs=inputs, **params))


def values(results: list[ItemResult] | None) -> list[str | None]:
    assert results is not None
    return [result.value for result in results]


async def test_submit_and_wait_returns_the_results_by_index(client: Client) -> None:
    status = await submit(client, ECHO, ["1", "2", "3"], wait=True, flow_label="nightly")
    assert status.status is RunState.SUCCESS
    assert (status.flow_name, status.flow_label) == ("echo", "nightly")
    assert (status.items.total, status.items.success) == (3, 3)
    assert values(status.results) == ["1", "2", "3"]
    assert status.completed_at is not None
    assert status.created_at <= status.completed_at
    assert [result.item_index for result in status.results or []] == [0, 1, 2]


async def test_submit_without_wait_returns_a_run_to_get(client: Client) -> None:
    accepted = await submit(client, ECHO, ["1"])
    assert accepted.results is None
    final = await client.get(GetParams(run_id=accepted.run_id, wait=True, include_results=True))
    assert (final.run_id, final.status, values(final.results)) == (accepted.run_id, RunState.SUCCESS, ["1"])
    assert (await client.get(GetParams(run_id=accepted.run_id.upper()))).run_id == accepted.run_id


async def test_no_inputs_make_a_run_that_succeeds_at_once(client: Client) -> None:
    status = await submit(client, ECHO, [])
    assert (status.status, status.items.total) == (RunState.SUCCESS, 0)
    assert status.completed_at is not None
    got = await client.get(GetParams(run_id=status.run_id, wait=True, include_results=True))
    assert got.results == []


async def test_one_failed_item_fails_the_run_and_leaves_the_others(client: Client) -> None:
    status = await submit(client, PICKY, ['{"m":1}', "{}", '{"m":null}'], wait=True)
    assert status.status is RunState.FAILED
    assert (status.items.success, status.items.failed) == (2, 1)
    assert values(status.results) == ["1", None, "null"]
    failed = (status.results or [])[1]
    assert failed.error is not None
    assert (failed.status, failed.error.code, failed.error.message) == (
        RunState.FAILED,
        -32200,
        "Input path $.m not found",
    )


@pytest.mark.parametrize("payload", HARD_PAYLOADS)
async def test_payloads_pass_unchanged_between_the_fronts(gateway: Gateway, payload: str) -> None:
    for there, back in ((gateway.grpc, gateway.jsonrpc), (gateway.jsonrpc, gateway.grpc)):
        accepted = await submit(there, ECHO, [payload, f'{{"k":{payload}}}'], wait=True)
        assert values(accepted.results) == [payload, f'{{"k":{payload}}}']
        got = await back.get(GetParams(run_id=accepted.run_id, include_results=True))
        assert got == accepted


async def test_blobs_come_back_in_their_compact_form(gateway: Gateway) -> None:
    text, form = '{"b":  1e400, "a":[null, 0.10]}', '{"b":1e400,"a":[null,0.1]}'
    blob_id = await gateway.grpc.put_blob(Blob(text, BlobType.DATA))
    assert blob_id == f"sha256:{hashlib.sha256(form.encode()).hexdigest()}"
    bare = await gateway.jsonrpc.put_blob(Blob(text, BlobType.DATA))
    assert blob_id == f"sha256:{bare}"
    for name in (blob_id, bare, bare.upper()):
        assert await gateway.grpc.get_blob(name) == Blob(form, BlobType.DATA)
        assert await gateway.jsonrpc.get_blob(name) == Blob(form, BlobType.DATA)
    binary = await gateway.grpc.put_blob(Blob(b"\x00\xff", BlobType.DATA))
    assert await gateway.grpc.get_blob(binary) == Blob(b"\x00\xff", BlobType.DATA)


@pytest.mark.parametrize("size", [1, 20_000], ids=["short", "long"])
async def test_spellings_of_one_blob_have_one_id_over_every_lane(gateway: Gateway, size: int) -> None:
    value = [{"a": "é", "n": 1.5}] * size
    form = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    spaced = json.dumps(value, indent=1).replace("1.5", "15e-1")
    fronts: tuple[Client, ...] = (gateway.grpc, gateway.jsonrpc)
    ids = {await client.put_blob(Blob(text, BlobType.DATA)) for text in (form, spaced) for client in fronts}
    body = f'{{"data": {spaced} , "blobType":"data"}}'.encode()
    url = f"http://{gateway.addresses.http}/api/v1/blobs"
    async with aiohttp.request("POST", url, data=body, headers={"content-type": "application/json"}) as response:
        ids.add((await response.json())["blobId"])
    step = f'{{"id":"p","component":"/builtin/put_blob","input":{{"data": {{"$literal": {spaced}}} }}}}'
    flow = f'{{"steps":[{step}],"output":{{"$step":"p","path":"blob_id"}}}}'
    status = await submit(gateway.grpc, flow, ["1"], wait=True)
    ids.add(str(json.loads(values(status.results)[0] or "null")))
    assert {each.removeprefix("sha256:") for each in ids} == {hashlib.sha256(form.encode()).hexdigest()}


@pytest.mark.parametrize("size", [1, 20_000], ids=["short", "long"])
async def test_a_blob_that_a_component_puts_has_the_id_of_its_compact_form(start: Start, size: int) -> None:
    value = [{"a": "é", "n": 1.5}] * size
    stored: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def puts(call: Call) -> None:
        if "method" not in call.message:
            stored.set_result(call.message["result"]["blobId"])
            await call.accept()
            return
        await call.stream()
        put = {"jsonrpc": "2.0", "id": "p", "method": "blobs/put", "params": {"data": value, "blobType": "data"}}
        await call.event(put)
        await call.output(await stored)

    async with ComponentServer(puts).running() as url:
        gateway = await start(components={"/x": url})
        flow = '{"steps":[{"id":"s","component":"/x/echo","input":1}],"output":{"$step":"s"}}'
        status = await submit(gateway.grpc, flow, ["1"], wait=True)
    form = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    blob_id = str(json.loads(values(status.results)[0] or "null"))
    assert blob_id.removeprefix("sha256:") == hashlib.sha256(form.encode()).hexdigest()


async def test_a_flow_stored_as_data_runs(client: Client) -> None:
    flow_id = await client.put_blob(Blob(ECHO, BlobType.DATA))
    status = await client.submit(SubmitParams(flow_id=flow_id.removeprefix("sha256:"), inputs=["7"], wait=True))
    assert values(status.results) == ["7"]
    assert status.flow_id == "sha256:" + flow_id.removeprefix("sha256:")


async def test_the_same_key_returns_the_same_run_and_refuses_other_parameters(client: Client) -> None:
    first = await submit(client, ECHO, ["1"], idempotency_key="k", variables={"a": "1", "b": "2"})
    again = await submit(client, ECHO, ["1"], idempotency_key="k", variables={"b": "2", "a": "1"}, wait=True)
    assert again.run_id == first.run_id
    assert values(again.results) == ["1"]
    for other in ({"inputs": ["2"]}, {"inputs": ["1"], "flow_label": "x"}, {"inputs": ["1"], "max_concurrency": 2}):
        with pytest.raises(IdempotencyConflict):
            await submit(client, ECHO, idempotency_key="k", variables={"a": "1", "b": "2"}, **other)


async def test_the_same_key_at_the_same_time_makes_one_run(client: Client) -> None:
    flow_id = await put_flow(client, ECHO)
    params = SubmitParams(flow_id=flow_id, inputs=["1"], idempotency_key="at once", wait=True)
    runs = await asyncio.gather(*(client.submit(params) for _ in range(20)))
    assert len({run.run_id for run in runs}) == 1


async def test_what_does_not_exist_is_not_found(client: Client) -> None:
    with pytest.raises(FlowNotFound):
        await client.submit(SubmitParams(flow_id="sha256:" + "0" * 64, inputs=[]))
    with pytest.raises(RunNotFound):
        await client.get(GetParams(run_id=str(uuid.UUID(int=0))))
    with pytest.raises(BlobNotFound):
        await client.get_blob("0" * 64)


async def test_malformed_ids_are_refused_by_their_fields(client: Client) -> None:
    for attempt, error, field in (
        (client.submit(SubmitParams(flow_id="sha256:abc123...", inputs=[])), InvalidBlobId, "flow_id"),
        (client.get(GetParams(run_id="no-uuid")), InvalidRunId, "run_id"),
        (client.get_blob("sha256:"), InvalidParams, "blob_id"),
    ):
        with pytest.raises(error) as raised:
            await attempt
        assert [violation.path[0] for violation in raised.value.violations] == [field]


@pytest.mark.parametrize(
    ("flow", "place"),
    [
        ("[]", None),
        (
            '{"steps":[{"id":"a","component":"/builtin/eval","input":{"$step":"b"}},{"id":"b","component":"/x"}]}',
            "steps",
        ),
        ('{"steps":[{"id":"a","component":"/builtin/eval"},{"id":"a","component":"/builtin/eval"}]}', "steps"),
        ('{"steps":[],"output":{"$what":1}}', "output"),
        ('{"steps":[],"output":{"$step":"nowhere"}}', "output"),
    ],
)
async def test_invalid_flows_are_refused_when_stored_and_when_run(client: Client, flow: str, place: str | None) -> None:
    with pytest.raises(InvalidFlow) as raised:
        await put_flow(client, flow)
    places = {violation.path[0] if violation.path else None for violation in raised.value.violations}
    assert place in places
    stored = await client.put_blob(Blob(flow, BlobType.DATA))
    with pytest.raises(InvalidFlow) as refused:
        await client.submit(SubmitParams(flow_id=stored, inputs=["1"]))
    assert refused.value.violations[0].path[0] == "flow_id"


async def test_unknown_components_are_refused_when_submitted(client: Client) -> None:
    for component in ("/nowhere/x", "/builtin/nothing"):
        flow_id = await put_flow(
            client, f'{{"steps":[{{"id":"s","component":"{component}"}}],"output":{{"$step":"s"}}}}'
        )
        with pytest.raises(InvalidFlow, match=component):
            await client.submit(SubmitParams(flow_id=flow_id, inputs=["1"]))


@pytest.mark.parametrize(("wait", "include", "order"), list(product((False, True), (False, True), ResultOrder)))
async def test_a_stream_folds_to_the_answer_of_runs_get(
    gateway: Gateway, wait: bool, include: bool, order: ResultOrder
) -> None:
    accepted = await submit(gateway.grpc, PICKY, ['{"m":1}', "{}"] * 20, max_concurrency=3)
    params = GetParams(run_id=accepted.run_id, wait=wait, include_results=include, result_order=order)
    async with aclosing(gateway.grpc.follow(params)) as stream:
        live = [status async for status in stream]
    if wait:
        assert fold(live) == await gateway.jsonrpc.get(params)
        assert live[-1].status is RunState.FAILED
    else:
        assert len({status.status for status in live}) == 1
    await gateway.jsonrpc.get(GetParams(run_id=accepted.run_id, wait=True))
    async with aclosing(gateway.grpc.follow(params)) as stream:
        finished = fold([status async for status in stream])
    assert finished == await gateway.jsonrpc.get(params)
    assert (finished.results is not None) == include
    if include:
        indexes = [result.item_index for result in finished.results or []]
        assert sorted(indexes) == list(range(40))
        assert order is ResultOrder.BY_COMPLETION or indexes == sorted(indexes)


async def test_results_larger_than_a_message_arrive_in_several(gateway: Gateway) -> None:
    large = '"' + "x" * 300_000 + '"'
    accepted = await submit(gateway.grpc, ECHO, [large] * 8)
    params = GetParams(run_id=accepted.run_id, wait=True, include_results=True)
    async with aclosing(gateway.grpc.follow(params)) as stream:
        updates = [status async for status in stream]
    assert values(fold(updates).results) == [large] * 8
    assert max(sum(len(r.value or "") for r in update.results or []) for update in updates) < 2 << 20
    assert fold(updates) == await gateway.jsonrpc.get(params)


async def test_a_flow_loads_files_below_the_directories_that_a_setting_allows(start: Start, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    step = '{"id":"l","component":"/builtin/load_file","input":{"path":{"$input":"$"}}}'
    flow = f'{{"steps":[{step}],"output":{{"$step":"l"}}}}'
    metadata = f'{{"resolved_path":"{tmp_path}/a.json","size_bytes":8,"format":"json"}}'
    for settings, expected in (
        ({}, None),
        ({"file_directories": str(tmp_path)}, f'{{"data":{{"a": 1}},"metadata":{metadata}}}'),
    ):
        gateway = await start(**settings)
        status = await submit(gateway.grpc, flow, ['"a.json"'], wait=True)
        assert values(status.results) == [expected]
        error = (status.results or [])[0].error
        assert expected or (error is not None and error.code == -32103)
