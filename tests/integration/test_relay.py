"""Gateways that relay to another: what follows runs there goes on whatever happens to the upstream."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest

from gateway.adapter.params_proto import get_params_to_proto
from gateway.core.model import Blob, BlobType, GetParams, ResultOrder, RunState, RunStatus, SubmitParams
from gateway.server.app import running
from gateway.server.settings import ServeSettings
from runs.v1 import runs_pb2
from tests.integration.conftest import Gateway, Start
from tests.support.clients import GrpcClient, fold
from tests.support.component_server import Call, ComponentServer
from tests.support.followers import followed, unwatched
from tests.support.scripted_runtime import FLOW, ScriptedRuntime
from tests.support.upstream import Upstream

SUBSCRIBERS = 50


@pytest.fixture
def scripted() -> ScriptedRuntime:
    return ScriptedRuntime()


@pytest.fixture
async def upstream(scripted: ScriptedRuntime, tmp_path: Path) -> AsyncIterator[Upstream]:
    upstream = Upstream(scripted, tmp_path / "upstream.sock")
    await upstream.start()
    yield upstream
    await upstream.stop()


async def submit(client: GrpcClient, flow: str, items: int) -> str:
    flow_id = await client.put_blob(Blob(flow, BlobType.FLOW))
    inputs = [str(index) for index in range(items)]
    return (await client.submit(SubmitParams(flow_id=flow_id, inputs=inputs))).run_id


class Subscriber:
    """Follows a run to its end, with its results."""

    def __init__(self, client: GrpcClient, run_id: str, order: ResultOrder) -> None:
        self.order = order
        self.statuses: list[RunStatus] = []
        self._client = client
        self._params = GetParams(run_id=run_id, wait=True, include_results=True, result_order=order)
        self._changed = asyncio.Condition()

    async def follow(self) -> RunStatus:
        """The fold of everything that came."""
        async with aclosing(self._client.follow(self._params)) as stream:
            async for status in stream:
                async with self._changed:
                    self.statuses.append(status)
                    self._changed.notify_all()
        return fold(self.statuses)

    async def told(self, finished: int) -> None:
        """Wait until a state with so many finished items has come."""
        async with self._changed:
            await self._changed.wait_for(lambda: any(status.items.success >= finished for status in self.statuses))


async def follow_all(client: GrpcClient, run_id: str) -> tuple[list[Subscriber], list["asyncio.Task[RunStatus]"]]:
    orders = list(ResultOrder)
    subscribers = [Subscriber(client, run_id, orders[number % 2]) for number in range(SUBSCRIBERS)]
    return subscribers, [asyncio.create_task(subscriber.follow()) for subscriber in subscribers]


async def test_a_relay_follows_a_run_once_for_all_its_subscribers(
    start: Start, scripted: ScriptedRuntime, upstream: Upstream
) -> None:
    relay = await start(runtime=upstream.address)
    below = await start(runtime=f"grpc://{relay.addresses.grpc}")
    run_id = await submit(relay.grpc, str(FLOW.content), 2)
    tasks = []
    for gateway in (relay, below):
        subscribers, following = await follow_all(gateway.grpc, run_id)
        await asyncio.gather(*(subscriber.told(0) for subscriber in subscribers))
        tasks += following
    await followed(upstream.service, 1)
    await scripted.succeed(1, '"b"')
    await scripted.succeed(0, '"a"')
    for final in await asyncio.gather(*tasks):
        assert final.status is RunState.SUCCESS
        assert {result.item_index: result.value for result in final.results or []} == {0: '"a"', 1: '"b"'}
    await unwatched(upstream.service)


async def test_subscribers_go_on_when_the_upstream_was_cut_off(
    start: Start, scripted: ScriptedRuntime, upstream: Upstream
) -> None:
    relay = await start(runtime=upstream.address)
    run_id = await submit(relay.grpc, str(FLOW.content), 4)
    subscribers, tasks = await follow_all(relay.grpc, run_id)
    for index in (2, 0, 1):
        await scripted.succeed(index, str(index))
        await asyncio.gather(*(subscriber.told(1) for subscriber in subscribers))
        await upstream.stop()
        await upstream.start()
    await scripted.succeed(3, "3")
    expected = {ResultOrder.BY_INDEX: [0, 1, 2, 3], ResultOrder.BY_COMPLETION: [2, 0, 1, 3]}
    for subscriber, task in zip(subscribers, tasks, strict=True):
        results = (await task).results or []
        assert [result.item_index for result in results] == expected[subscriber.order]


async def test_subscribers_go_on_when_a_gateway_with_a_state_was_restarted(start: Start, tmp_path: Path) -> None:
    released = asyncio.Event()

    async def answer(call: Call) -> None:
        number = call.message["params"]["input"]
        if number >= 3:
            await released.wait()
        await call.result({"output": number})

    flow = {
        "steps": [{"id": "s", "component": "/test/echo", "input": {"$input": "$"}}],
        "output": {"$step": "s"},
    }
    address = f"unix:{tmp_path}/upstream.sock"
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(ComponentServer(answer).running())
        config = ServeSettings(
            grpc_address=address,
            http_address="127.0.0.1:0",
            metrics_address="off",
            state=str(tmp_path / "state.db"),
            components={"/test": url},
        )
        async with running(config):
            relay: Gateway = await start(runtime=address)
            run_id = await submit(relay.grpc, json.dumps(flow), 6)
            subscribers, tasks = await follow_all(relay.grpc, run_id)
            await asyncio.gather(*(subscriber.told(3) for subscriber in subscribers))
        released.set()
        async with running(config):
            for subscriber, task in zip(subscribers, tasks, strict=True):
                final = await task
                params = GetParams(run_id=run_id, include_results=True, result_order=subscriber.order)
                assert final == await relay.jsonrpc.get(params)
                assert (final.status, final.items.success) == (RunState.SUCCESS, 6)


async def test_a_token_is_good_at_the_upstream_and_at_every_relay(start: Start) -> None:
    upstream = await start()
    relays = [await start(runtime=f"grpc://{upstream.addresses.grpc}") for _ in range(2)]
    flow = '{"steps":[],"output":{"$input":"$"}}'
    run_id = await submit(relays[0].grpc, flow, 1_000)
    await relays[0].grpc.get(GetParams(run_id=run_id, wait=True))
    for order in ResultOrder:
        token, indexes = b"", []
        # A message from each in turn.
        for gateway in [upstream, *relays] * 2:
            params = GetParams(run_id=run_id, include_results=True, result_order=order, resume_token=token)
            call = gateway.grpc.runs.GetRun(get_params_to_proto(params))
            response = await call.read()
            call.cancel()
            assert isinstance(response, runs_pb2.GetRunResponse)
            assert not response.restarted
            indexes += [result.item_index for result in response.run.results]
            token = response.resume_token
        everything = await upstream.grpc.get(GetParams(run_id=run_id, include_results=True, result_order=order))
        assert indexes == [result.item_index for result in everything.results or []]


async def test_a_gateway_starts_before_its_upstream(
    start: Start, scripted: ScriptedRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.server.backend.CONNECT_SECONDS", 0.0)
    upstream = Upstream(scripted, tmp_path / "later.sock")
    relay = await start(runtime=upstream.address)
    submitting = asyncio.create_task(submit(relay.grpc, str(FLOW.content), 1))
    await asyncio.sleep(0)
    await upstream.start()
    assert await submitting == scripted.run_ids[0]
    await upstream.stop()
