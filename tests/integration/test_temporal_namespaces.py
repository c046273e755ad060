"""Tokens for namespaces, on two gateways that share a Temporal server: nobody learns of runs of others."""

import asyncio
import uuid
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.client import AsyncRunsClient
from gateway.core.errors import GatewayError, IdempotencyConflict, PermissionDenied, RunNotFound
from gateway.server.listening import Addresses
from tests.integration.conftest import Start
from tests.support.identities import token_entry, token_of, write_tokens
from tests.support.temporal_server import TemporalServer

pytestmark = pytest.mark.slow

FLOW: Final = {"output": {"$input": "$"}}
SIGNING_KEY: Final = "a-signing-key-0123456789abcdef0123456789abcdef"


@pytest.fixture
async def gateways(temporal_server: TemporalServer, start: Start, tmp_path: Path) -> list[Addresses]:
    tokens = write_tokens(
        tmp_path / "tokens.toml",
        *(token_entry(name, namespaces=[name]) for name in ("a", "b")),
        token_entry("reader", ["runs:read"], ["a"]),
    )
    (blobs := tmp_path / "blobs").mkdir()
    runtime = temporal_server.runtime(f"test-{uuid.uuid4()}")
    (key := tmp_path / "signing.key").write_text(f"{SIGNING_KEY}\n")
    key.chmod(0o600)
    shared: dict[str, Any] = {"runtime": runtime, "blobs": f"file://{blobs}"}
    shared |= {"tokens": str(tokens), "signing_key": str(key)}
    return [(await start(**shared)).addresses for _ in range(2)]


def connect(addresses: Addresses, name: str) -> AsyncRunsClient:
    return AsyncRunsClient(addresses.grpc, token=token_of(name))


async def test_a_run_of_another_namespace_is_not_there(gateways: list[Addresses]) -> None:
    first, second = gateways
    async with connect(first, "a") as owner, connect(second, "a") as elsewhere, connect(second, "b") as other:
        run = await owner.submit_and_wait(await owner.put_flow(FLOW), [1])
        assert (await elsewhere.get(run.run_id)).namespace == "a"
        with pytest.raises(RunNotFound):
            await other.get(run.run_id)
        with pytest.raises(RunNotFound):
            await other.wait(run.run_id)
        with pytest.raises(RunNotFound):
            async with aclosing(other.results(run.run_id)) as results:
                await anext(results)
        async with aclosing(other.watch_many([run.run_id])) as events:
            _, event = await anext(events)
            assert isinstance(event, RunNotFound)


async def test_flows_and_keys_are_those_of_a_namespace(gateways: list[Addresses]) -> None:
    first, second = gateways
    async with connect(first, "a") as one, connect(second, "b") as two:
        flow_id = await one.put_flow(FLOW)
        with pytest.raises(GatewayError, match="flow"):
            await two.submit(flow_id, [1])
        assert await two.put_flow(FLOW) == flow_id
        runs = await asyncio.gather(
            one.submit_and_wait(flow_id, [1], idempotency_key="k"),
            two.submit_and_wait(flow_id, [2], idempotency_key="k"),
        )
        assert runs[0].run_id != runs[1].run_id
        assert [[result.value for result in run.results or ()] for run in runs] == [[1], [2]]
        with pytest.raises(IdempotencyConflict):
            await two.submit(flow_id, [3], idempotency_key="k")


async def test_permissions_hold_for_runs_of_other_gateways(gateways: list[Addresses]) -> None:
    first, second = gateways
    async with connect(first, "a") as owner, connect(second, "reader") as reader:
        flow_id = await owner.put_flow(FLOW)
        run = await owner.submit_and_wait(flow_id, [1])
        assert (await reader.get(run.run_id)).status == "success"
        with pytest.raises(PermissionDenied):
            await reader.submit(flow_id, [1])
        with pytest.raises(PermissionDenied):
            await reader.cancel(run.run_id)


async def test_a_scoped_token_is_good_at_every_gateway_for_its_runs(gateways: list[Addresses]) -> None:
    first, second = gateways
    async with connect(first, "a") as owner:
        flow_id = await owner.put_flow(FLOW)
        run, labelled = [await owner.submit_and_wait(flow_id, [1], labels=labels) for labels in ({}, {"team": "x"})]
        for_run = await owner.create_token(["runs:read"], run_id=run.run_id)
        for_team = await owner.create_token(["runs:read", "runs:submit"], labels={"team": "x"})
    async with AsyncRunsClient(second.grpc, token=for_run.token) as client:
        assert [result.value async for result in client.results(run.run_id)] == [1]
        with pytest.raises(RunNotFound):
            await client.get(labelled.run_id)
    async with AsyncRunsClient(second.grpc, token=for_team.token) as client:
        assert (await client.get(labelled.run_id)).status == "success"
        with pytest.raises(RunNotFound):
            await client.get(run.run_id)
        made = await client.submit_and_wait(flow_id, [2])
        assert made.labels == {"team": "x"}
