"""GetRun streams that break at any message and go on by their tokens, on the same gateway and on the next one."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any

import grpc
import pytest
from msgspec.structs import replace

from gateway.adapter.params_proto import get_params_to_proto
from gateway.adapter.status_proto import run_status_from_proto
from gateway.core.errors import Unavailable
from gateway.core.model import MIN_HEARTBEAT, Blob, BlobType, GetParams, ResultOrder, RunState, RunStatus, SubmitParams
from gateway.server.app import running
from gateway.server.settings import ServeSettings
from runs.v1 import runs_pb2
from tests.integration.conftest import STATES, Gateway, Start
from tests.support.clients import GrpcClient, fold, gateway_error
from tests.support.component_server import Call, ComponentServer

ECHO = '{"steps":[],"output":{"$input":"$"}}'
GATED = '{"steps":[{"id":"s","component":"/own/echo","input":{"$input":"$"}}],"output":{"$step":"s"}}'
ENCODINGS = (runs_pb2.RESULT_ENCODING_JSON, runs_pb2.RESULT_ENCODING_VALUE)
FINISHED_ONE_AFTER_THE_OTHER = [2, 4, 0, 1, 3]


class Gates:
    """A component whose executions end when their gates are opened."""

    def __init__(self) -> None:
        self._gates: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self._server = ComponentServer(self._execute)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve the component; the URL."""
        async with self._server.running() as url:
            yield url

    def open(self, *items: int) -> None:
        for item in items:
            self._gates[item].set()

    async def _execute(self, call: Call) -> None:
        item = call.message["params"]["input"]
        await self._gates[item].wait()
        await call.result({"output": item})


@pytest.fixture
async def gates() -> AsyncIterator[tuple[Gates, str]]:
    gates = Gates()
    async with gates.serving() as url:
        yield gates, url


async def submit(client: GrpcClient, flow: str, inputs: list[str], **params: Any) -> RunStatus:
    flow_id = await client.put_blob(Blob(flow, BlobType.FLOW))
    return await client.submit(SubmitParams(flow_id=flow_id, inputs=inputs, **params))


async def stream(
    client: GrpcClient, params: GetParams, encoding: runs_pb2.ResultEncoding.ValueType = runs_pb2.RESULT_ENCODING_JSON
) -> AsyncGenerator[runs_pb2.GetRunResponse, None]:
    """The messages of a GetRun stream."""
    call = client.runs.GetRun(get_params_to_proto(params, encoding))
    try:
        async for response in call:
            yield response
    except grpc.aio.AioRpcError as error:
        raise gateway_error(error) from None
    finally:
        call.cancel()


async def whole(
    client: GrpcClient, params: GetParams, encoding: runs_pb2.ResultEncoding.ValueType = runs_pb2.RESULT_ENCODING_JSON
) -> list[runs_pb2.GetRunResponse]:
    return [response async for response in stream(client, params, encoding)]


async def succeeded(client: GrpcClient, run_id: str, count: int) -> None:
    """Wait until so many items of a run have."""
    async with aclosing(stream(client, GetParams(run_id=run_id, wait=True))) as responses:
        async for response in responses:
            if response.run.items.success == count:
                return


def after(params: GetParams, responses: list[runs_pb2.GetRunResponse]) -> GetParams:
    """The parameters that go on after the last message."""
    return replace(params, resume_token=responses[-1].resume_token) if responses else params


def folded(responses: list[runs_pb2.GetRunResponse]) -> RunStatus:
    return fold([run_status_from_proto(response.run, with_results=True) for response in responses])


def indexes(responses: list[runs_pb2.GetRunResponse]) -> list[int]:
    return [result.item_index for response in responses for result in response.run.results]


@pytest.mark.parametrize(("order", "encoding", "wait"), list(product(ResultOrder, ENCODINGS, (False, True))))
async def test_a_finished_run_goes_on_after_every_message(
    gateway: Gateway, order: ResultOrder, encoding: runs_pb2.ResultEncoding.ValueType, *, wait: bool
) -> None:
    run_id = (await submit(gateway.grpc, ECHO, [str(item) for item in range(2500)], wait=True)).run_id
    params = GetParams(run_id=run_id, wait=wait, include_results=True, result_order=order)
    uncut = await whole(gateway.grpc, params, encoding)
    assert len(uncut) > 4
    assert folded(uncut).items.success == 2500
    assert sorted(indexes(uncut)) == list(range(2500))
    for index in range(1, len(uncut) + 1):
        rest = await whole(gateway.grpc, after(params, uncut[:index]), encoding)
        assert not any(response.restarted for response in rest)
        assert folded(uncut[:index] + rest) == folded(uncut)


@pytest.mark.parametrize(("state", "order", "length"), list(product(STATES.values(), ResultOrder, (1, 2, 3))))
async def test_a_stream_that_always_breaks_folds_to_the_uncut_one(
    start: Start, gates: tuple[Gates, str], tmp_path: Path, state: str, order: ResultOrder, length: int
) -> None:
    component, url = gates
    gateway = await start(state=state.format(tmp=tmp_path), components={"own": url})
    run_id = (await submit(gateway.grpc, GATED, [str(item) for item in range(5)])).run_id
    params = GetParams(run_id=run_id, wait=True, include_results=True, result_order=order)
    uncut = asyncio.create_task(whole(gateway.grpc, params))
    received: list[runs_pb2.GetRunResponse] = []
    for finished, item in enumerate(FINISHED_ONE_AFTER_THE_OTHER, 1):
        component.open(item)
        while not received or received[-1].run.items.success < finished:
            async with aclosing(stream(gateway.grpc, after(params, received))) as responses:
                for _ in range(length):
                    received.append(await anext(responses))
                    if received[-1].run.items.success == finished:
                        break
    received += await whole(gateway.grpc, after(params, received))
    assert not any(response.restarted for response in received)
    assert folded(received) == folded(await uncut)
    assert folded(received) == await gateway.jsonrpc.get(params)
    if order is ResultOrder.BY_COMPLETION:
        assert indexes(received) == FINISHED_ONE_AFTER_THE_OTHER
    revisions = [response.revision for response in received]
    assert revisions == sorted(revisions)


async def test_streams_that_time_out_add_up(start: Start, gates: tuple[Gates, str]) -> None:
    component, url = gates
    gateway = await start(components={"own": url})
    run_id = (await submit(gateway.grpc, GATED, [str(item) for item in range(5)])).run_id
    params = GetParams(run_id=run_id, wait=True, include_results=True)
    received: list[runs_pb2.GetRunResponse] = []
    seen: list[list[int]] = []
    for count, item in enumerate(FINISHED_ONE_AFTER_THE_OTHER[:4], 1):
        component.open(item)
        await succeeded(gateway.grpc, run_id, count)
        timed_out = await whole(gateway.grpc, replace(after(params, received), timeout=0.0))
        seen.append(indexes(timed_out))
        received += timed_out
    assert seen == [[item] for item in FINISHED_ONE_AFTER_THE_OTHER[:4]]
    component.open(3)
    received += await whole(gateway.grpc, after(params, received))
    assert indexes(received) == FINISHED_ONE_AFTER_THE_OTHER


@pytest.mark.parametrize("order", ResultOrder)
async def test_a_stream_goes_on_after_a_restart(gates: tuple[Gates, str], tmp_path: Path, order: ResultOrder) -> None:
    component, url = gates
    config = ServeSettings.model_validate(
        {
            "grpc_address": "127.0.0.1:0",
            "http_address": "127.0.0.1:0",
            "state": f"{tmp_path}/state.db",
            "components": {"own": url},
        }
    )
    received: list[runs_pb2.GetRunResponse] = []
    params = GetParams(run_id="-", wait=True, include_results=True, result_order=order)
    two_came = asyncio.Event()

    async def follow(address: str) -> None:
        client = GrpcClient(address)
        try:
            async with aclosing(stream(client, after(params, received))) as responses:
                async for response in responses:
                    received.append(response)
                    if response.run.items.success == 2:
                        two_came.set()
        finally:
            await client.close()

    async with running(config) as addresses:
        client = GrpcClient(addresses.grpc)
        run_id = (await submit(client, GATED, [str(item) for item in range(5)])).run_id
        params = replace(params, run_id=run_id)
        await client.close()
        following = asyncio.create_task(follow(addresses.grpc))
        component.open(*FINISHED_ONE_AFTER_THE_OTHER[:2])
        await two_came.wait()
    with pytest.raises(Unavailable):
        await following
    before = len(received)
    async with running(config) as addresses:
        following = asyncio.create_task(follow(addresses.grpc))
        component.open(0, 1, 3)
        await following
        client = GrpcClient(addresses.grpc)
        uncut = await whole(client, params)
        await client.close()
    assert not any(response.restarted for response in received)
    assert received[before].revision > received[before - 1].revision
    assert folded(received).status is RunState.SUCCESS
    assert folded(received) == folded(uncut)


@pytest.mark.parametrize("wait", [False, True])
async def test_a_token_that_is_not_understood_starts_anew(gateway: Gateway, *, wait: bool) -> None:
    runs = [(await submit(gateway.grpc, ECHO, ["1", "2", "3"], wait=True)).run_id for _ in range(2)]
    params, other = (GetParams(run_id=run_id, wait=wait, include_results=True) for run_id in runs)
    token = (await whole(gateway.grpc, params))[-1].resume_token
    assert len(token) < 64
    by_completion = replace(params, result_order=ResultOrder.BY_COMPLETION)
    foreign = [(await whole(gateway.grpc, of))[-1].resume_token for of in (other, by_completion)]
    changed = [token[:index] + bytes([token[index] ^ 1]) + token[index + 1 :] for index in range(len(token))]
    for false in (b"\0", b"x" * 1000, token[:-1], token + b"\0", *foreign, *changed):
        responses = await whole(gateway.grpc, replace(params, resume_token=false))
        assert [response.restarted for response in responses] == [True] + [False] * (len(responses) - 1)
        assert folded(responses) == await gateway.jsonrpc.get(params)
    assert [indexes([response]) for response in await whole(gateway.grpc, after(params, responses))] == [[]]


async def test_an_idle_stream_shows_that_it_lives_and_where_it_is(start: Start, gates: tuple[Gates, str]) -> None:
    component, url = gates
    gateway = await start(components={"own": url})
    run_id = (await submit(gateway.grpc, GATED, ["0", "1"])).run_id
    params = GetParams(run_id=run_id, wait=True, include_results=True, heartbeat_interval=MIN_HEARTBEAT)
    component.open(0)
    received: list[runs_pb2.GetRunResponse] = []
    async with aclosing(stream(gateway.grpc, params)) as responses:
        async for response in responses:
            received.append(response)
            if response.heartbeat and response.run.items.success == 1:
                break
    *_, told, heartbeat = received
    assert (heartbeat.revision, heartbeat.resume_token) == (told.revision, told.resume_token)
    assert not heartbeat.run.results
    component.open(1)
    received += await whole(gateway.grpc, after(params, received))
    assert indexes(received) == [0, 1]
