"""Payloads come back as they were written, wherever the engine, the storage and their encodings have had them."""

import hashlib
from itertools import product
from typing import Any

import pytest

from gateway.core.model import Blob, BlobType, GetParams, ResultOrder, RunState, RunStatus, SubmitParams
from tests.integration.conftest import FRONTS, Gateway, Start

ECHO = '{"steps":[],"output":{"given":{"$input":"$"},"v":{"$variable":"v"}}}'

TEXTS = {
    "whole": str(2**60 + 1),
    "beyond-doubles": "[1e400,-1E+400,0.1234567890123456789,-0.0,6.0,1e2]",
    "order": '{"z":1,"a":{"c":2,"b":3},"":null}',
    "twice": '{"a":1,"b":2,"a":3}',
    "escapes": '"\\u0061\\/\\ud83d\\ude00 \\u0000 ü 😀"',
    "space": '{ "a" :  [ 1 , 2 ] }',
    "deep": "[" * 200 + "]" * 200,
    "empty": '""',
    "long": '{"n":1e400,"t":"' + "ü" * 200_000 + '"}',
}
"""Some go through the engine, and the long one by the storage."""


@pytest.fixture
async def gateway(runtime_here: dict[str, Any], start: Start) -> Gateway:
    return await start(**runtime_here, metrics_address="off")


async def echoed(gateway: Gateway, front: str, inputs: list[str], variable: str = "1") -> RunStatus:
    client = gateway.client(front)
    flow_id = await client.put_blob(Blob(ECHO, BlobType.FLOW))
    params = SubmitParams(flow_id=flow_id, inputs=inputs, variables={"v": variable}, wait=True)
    status = await client.submit(params)
    got = await client.get(GetParams(run_id=status.run_id, include_results=True))
    assert got.results == status.results
    return got


@pytest.mark.parametrize("front", FRONTS)
async def test_texts_come_back_as_they_were(gateway: Gateway, front: str) -> None:
    run = await echoed(gateway, front, list(TEXTS.values()))
    values = [result.value for result in run.results or []]
    assert dict(zip(TEXTS, values, strict=True)) == {name: f'{{"given":{text},"v":1}}' for name, text in TEXTS.items()}
    for name in ("whole", "beyond-doubles", "order", "long"):
        run = await echoed(gateway, front, ["0"], TEXTS[name])
        assert [result.value for result in run.results or []] == [f'{{"given":0,"v":{TEXTS[name]}}}'], name


@pytest.mark.slow
@pytest.mark.parametrize("runtime_here", ["temporal"], indirect=True)
async def test_twenty_megabytes_come_back_as_they_were(gateway: Gateway) -> None:
    text = f'["{"x" * (20 << 20)}",{2**60 + 1}]'
    run = await echoed(gateway, "grpc", [text])
    assert run.results is not None
    assert run.results[0].value == f'{{"given":{text},"v":1}}'
    for front, order in product(FRONTS, ResultOrder):
        params = GetParams(run_id=run.run_id, include_results=True, result_order=order)
        assert (await gateway.client(front).get(params)).results == run.results


async def test_a_run_of_nothing_has_nothing(gateway: Gateway) -> None:
    for front in FRONTS:
        run = await echoed(gateway, front, [])
        assert (run.status, run.items.total, run.results) == (RunState.SUCCESS, 0, [])


async def test_blobs_of_bytes_come_back_as_they_were(gateway: Gateway) -> None:
    for content in (b"", b"\x00\xff", bytes(range(256)) * 5_000):
        blob_id = await gateway.grpc.put_blob(Blob(content, BlobType.DATA))
        assert blob_id == f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert await gateway.grpc.get_blob(blob_id) == Blob(content, BlobType.DATA)
