"""Gateways over another gateway's JSON-RPC, which streams, and over a server of the specification, which is polled:
what follows runs there goes on whatever happens to the upstream, and nothing is submitted twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.adapter.params_proto import get_params_to_proto
from gateway.core.errors import (
    BlobNotFound,
    FlowNotFound,
    GatewayError,
    IdempotencyConflict,
    InvalidParams,
    RunNotFound,
)
from gateway.core.model import Blob, BlobType, GetParams, ResultOrder, RunState, RunStatus, SubmitParams
from gateway.server.app import running
from gateway.server.settings import ServeSettings
from runs.v1 import runs_pb2
from tests.integration.conftest import FRONTS, Gateway, Start
from tests.support.clients import Client, GrpcClient, JsonRpcClient, fold
from tests.support.document_server import DocumentServer, document_server
from tests.support.http_upstream import HttpUpstream
from tests.support.scripted_runtime import FLOW, MISSING_BLOB, MISSING_RUN, ScriptedRuntime

ECHO = '{"name":"echo","steps":[],"output":{"$input":"$"}}'
PICKY = '{"steps":[],"output":{"$input":"m"}}'
SUBSCRIBERS = 20


@pytest.fixture(params=["superset", "document"])
async def gateway(request: pytest.FixtureRequest, start: Start) -> AsyncIterator[Gateway]:
    """A gateway over each kind of upstream, with an engine behind it."""
    if request.param == "superset":
        upstream = await start()
        yield await start(runtime=f"jsonrpc+http://{upstream.addresses.http}/")
    else:
        async with document_server() as server:
            yield await start(runtime=f"jsonrpc+{server.url}")


@pytest.fixture(params=FRONTS)
def client(request: pytest.FixtureRequest, gateway: Gateway) -> Client:
    return gateway.client(request.param)


@pytest.fixture
def scripted() -> ScriptedRuntime:
    return ScriptedRuntime()


@pytest.fixture(params=["superset", "document"])
async def upstream(
    request: pytest.FixtureRequest, scripted: ScriptedRuntime
) -> AsyncIterator[HttpUpstream | DocumentServer]:
    """Each kind of upstream over runs that a test controls."""
    upstream = HttpUpstream(scripted) if request.param == "superset" else DocumentServer(scripted)
    await upstream.start()
    yield upstream
    await upstream.stop()


async def submit(client: Client, flow: str, inputs: list[str], wait: bool = False, key: str | None = None) -> RunStatus:
    flow_id = await client.put_blob(Blob(flow, BlobType.FLOW))
    return await client.submit(SubmitParams(flow_id=flow_id, inputs=inputs, wait=wait, idempotency_key=key))


@pytest.mark.parametrize("order", ResultOrder)
async def test_runs_end_with_their_results(client: Client, order: ResultOrder) -> None:
    status = await submit(client, PICKY, ['{"m":1}', "{}", '{"m":"x"}'], wait=True)
    assert (status.status, status.items.success, status.items.failed) == (RunState.FAILED, 2, 1)
    assert [result.value for result in status.results or []] == ["1", None, '"x"']
    params = GetParams(run_id=status.run_id, wait=True, include_results=True, result_order=order)
    got = await client.get(params)
    assert replace(got, results=None) == replace(status, results=None)
    by_index = sorted(got.results or [], key=lambda result: result.item_index)
    assert by_index == status.results
    error = by_index[1].error
    assert error is not None
    assert error.code == -32200


async def test_errors_are_those_of_the_runs_methods(client: Client) -> None:
    for call, kind in (
        (client.get(GetParams(run_id=MISSING_RUN)), RunNotFound),
        (client.get(GetParams(run_id=MISSING_RUN, wait=True)), RunNotFound),
        (client.submit(SubmitParams(flow_id=MISSING_BLOB, inputs=[])), FlowNotFound),
        (client.get_blob(MISSING_BLOB), BlobNotFound),
        (client.put_blob(Blob("[]", BlobType.FLOW)), InvalidParams),
        (submit(client, '{"steps":[{"id":"s","component":"/x/y"}],"output":{"$step":"s"}}', ["1"]), InvalidParams),
    ):
        with pytest.raises(kind) as raised:
            await call
        assert raised.value.reason in (kind.reason, "INVALID_FLOW")


async def test_integers_pass_another_gateway_exactly(start: Start) -> None:
    upstream = await start()
    gateway = await start(runtime=f"jsonrpc+http://{upstream.addresses.http}/")
    for front in FRONTS:
        status = await submit(gateway.client(front), ECHO, [str(2**53 + 1), "1e400", '{"z":1, "a":null}'], wait=True)
        assert [result.value for result in status.results or []] == [str(2**53 + 1), "1e400", '{"z":1, "a":null}']


async def test_a_key_holds_over_fronts_and_a_restart_of_the_gateway(
    scripted: ScriptedRuntime, upstream: HttpUpstream | DocumentServer, tmp_path: Path
) -> None:
    config = ServeSettings(
        runtime=f"jsonrpc+{upstream.url}",
        state=str(tmp_path / "keys.db"),
        grpc_address="127.0.0.1:0",
        http_address="127.0.0.1:0",
        metrics_address="off",
    )
    for _ in range(2):
        async with running(config) as addresses:
            clients: list[Client] = [GrpcClient(addresses.grpc), JsonRpcClient(addresses.http)]
            for client in clients:
                status = await submit(client, str(FLOW.content), ["1"], key="k")
                assert status.run_id == scripted.run_ids[0]
                with pytest.raises(IdempotencyConflict):
                    await submit(client, str(FLOW.content), ["2"], key="k")
                await client.close()
    assert len(scripted.run_ids) == 1


class Subscriber:
    """Follows a run to its end, with its results."""

    def __init__(self, client: GrpcClient, run_id: str, order: ResultOrder) -> None:
        self.order = order
        self._statuses: list[RunStatus] = []
        self._changed = asyncio.Condition()
        params = GetParams(run_id=run_id, wait=True, include_results=True, result_order=order)
        self.final = asyncio.create_task(self._follow(client, params))

    async def told(self, finished: int) -> None:
        """Wait until a state with so many finished items has come."""
        async with self._changed:
            await self._changed.wait_for(lambda: any(status.items.success >= finished for status in self._statuses))

    async def _follow(self, client: GrpcClient, params: GetParams) -> RunStatus:
        async with aclosing(client.follow(params)) as stream:
            async for status in stream:
                async with self._changed:
                    self._statuses.append(status)
                    self._changed.notify_all()
        return fold(self._statuses)


async def test_subscribers_go_on_when_the_upstream_was_cut_off(
    start: Start, scripted: ScriptedRuntime, upstream: HttpUpstream | DocumentServer
) -> None:
    gateway = await start(runtime=f"jsonrpc+{upstream.url}")
    run_id = (await submit(gateway.grpc, str(FLOW.content), ["0", "1", "2", "3"])).run_id
    orders = list(ResultOrder)
    subscribers = [Subscriber(gateway.grpc, run_id, orders[number % 2]) for number in range(SUBSCRIBERS)]
    for finished, index in enumerate((2, 0, 1), 1):
        await scripted.succeed(index, str(index))
        await asyncio.gather(*(subscriber.told(finished) for subscriber in subscribers))
        await upstream.stop()
        await upstream.start()
    await scripted.succeed(3, "3")
    expected = {ResultOrder.BY_INDEX: [0, 1, 2, 3], ResultOrder.BY_COMPLETION: [2, 0, 1, 3]}
    for subscriber in subscribers:
        final = await subscriber.final
        assert final.status is RunState.SUCCESS
        assert [result.item_index for result in final.results or []] == expected[subscriber.order]
    assert len(scripted.run_ids) == 1


async def test_a_run_is_followed_at_the_upstream_once(
    start: Start, scripted: ScriptedRuntime, upstream: HttpUpstream | DocumentServer
) -> None:
    gateway = await start(runtime=f"jsonrpc+{upstream.url}")
    run_id = (await submit(gateway.grpc, str(FLOW.content), ["0"])).run_id
    subscribers = [Subscriber(gateway.grpc, run_id, ResultOrder.BY_INDEX) for _ in range(SUBSCRIBERS)]
    waiting = asyncio.create_task(gateway.jsonrpc.get(GetParams(run_id=run_id, wait=True)))
    await asyncio.gather(*(subscriber.told(0) for subscriber in subscribers))
    await scripted.watched(1)
    await scripted.succeed(0)
    assert (await waiting).status is RunState.SUCCESS
    assert {(await subscriber.final).status for subscriber in subscribers} == {RunState.SUCCESS}
    await scripted.watched(0)


@pytest.mark.parametrize("order", ResultOrder)
async def test_a_token_is_good_at_every_gateway_over_the_same_upstream(
    start: Start, scripted: ScriptedRuntime, upstream: HttpUpstream | DocumentServer, order: ResultOrder
) -> None:
    gateways = [await start(runtime=f"jsonrpc+{upstream.url}") for _ in range(2)]
    run_id = (await submit(gateways[0].grpc, str(FLOW.content), ["0", "1", "2", "3"])).run_id
    for index in (1, 0, 3):
        await scripted.succeed(index, str(index))
    token, indexes, revisions = b"", [], []
    for number in range(4):
        # A message from each in turn; what finishes meanwhile comes from the other.
        if number == 2:
            await scripted.succeed(2, "2")
        params = GetParams(run_id=run_id, wait=True, include_results=True, result_order=order, resume_token=token)
        call = gateways[number % 2].grpc.runs.GetRun(get_params_to_proto(params))
        response = await call.read()
        call.cancel()
        assert isinstance(response, runs_pb2.GetRunResponse)
        assert not response.restarted
        indexes += [result.item_index for result in response.run.results]
        revisions.append(response.revision)
        token = response.resume_token
    expected = {ResultOrder.BY_INDEX: [0, 1, 2, 3], ResultOrder.BY_COMPLETION: [1, 0, 3, 2]}
    assert indexes == expected[order]
    assert revisions == sorted(revisions)


async def test_a_gateway_starts_before_its_upstream(
    start: Start, scripted: ScriptedRuntime, upstream: HttpUpstream | DocumentServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.server.backend.CONNECT_SECONDS", 0.0)
    await upstream.stop()
    gateway = await start(runtime=f"jsonrpc+{upstream.url}")
    submitting = asyncio.create_task(submit(gateway.jsonrpc, str(FLOW.content), ["0"]))
    await asyncio.sleep(0)
    await upstream.start()
    assert (await submitting).run_id == scripted.run_ids[0]


async def test_gateways_form_a_chain(start: Start) -> None:
    gateway = await start()
    for _ in range(2):
        gateway = await start(runtime=f"jsonrpc+http://{gateway.addresses.http}/")
    inputs = [str(number) for number in range(2_000)]
    for front in FRONTS:
        status = await submit(gateway.client(front), ECHO, inputs, wait=True)
        assert [result.value for result in status.results or []] == inputs


async def test_an_upstream_that_is_none_is_told_clearly(start: Start) -> None:
    upstream = await start()
    gateway = await start(runtime=f"jsonrpc+http://{upstream.addresses.http}/wrong")
    for front in FRONTS:
        with pytest.raises(GatewayError, match="the configured address may be wrong") as raised:
            await gateway.client(front).get(GetParams(run_id=MISSING_RUN))
        assert upstream.addresses.http not in raised.value.message
