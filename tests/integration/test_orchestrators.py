"""Several orchestrators with one state, each with a gateway that is also its bridge, on one machine."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from gateway.adapter.params_proto import get_params_to_proto
from gateway.core.model import Blob, BlobType, GetParams, RunState, RunStatus, SubmitParams
from runs.v1 import runs_pb2
from tests.integration.conftest import Gateway, Start, command
from tests.support import sdk
from tests.support.bridged_engine import QUEUE, config
from tests.support.engine import BUILTIN, Engine
from tests.support.etcd import etcd
from tests.support.hold import Held

pytestmark = pytest.mark.slow

RELEASE = "0.13.0"
COUNT = 20
ECHO = '{"steps":[],"output":{"$input":"$"}}'


def step(name: str, component: str, **values: Any) -> dict[str, Any]:
    return {"id": name, "component": f"/sdk/{component}", "input": values}


RECORD_AND_HOLD: dict[str, Any] = {
    "steps": [
        step("before", "record", file={"$input": "file"}, line="before"),
        step("hold", "hold", port={"$input": "port"}, after={"$step": "before"}),
        step("after", "record", file={"$input": "file"}, line="after", held={"$step": "hold"}),
    ],
    "output": {"$step": "after"},
}


class Site(NamedTuple):
    """An orchestrator and the gateway over it."""

    engine: Engine
    gateway: Gateway


def recovery(*, lease_seconds: int, check_seconds: int) -> dict[str, Any]:
    return {"leaseTtlSecs": lease_seconds, "checkIntervalSecs": check_seconds}


NO_TAKEOVER = recovery(lease_seconds=60, check_seconds=3600)
"""For orchestrators that accept runs. At each check, and when any run ends, an orchestrator 0.13.0 executes those of
its runs that do not execute. If its database or etcd is slow, such a run may be one that it is just accepting. It is
then executed twice at the same time and never ends; the engine reports "UNIQUE constraint failed: journal_entries" or
"duplicate task_id registered". So runs are submitted when there is no check and before any run ends."""

TAKEOVER = recovery(lease_seconds=10, check_seconds=1)
"""For an orchestrator that accepts no runs. The lease is long enough for a busy machine to renew it in time."""


@pytest.fixture
def recoveries(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """How each orchestrator looks for runs to take over."""
    chosen: list[dict[str, Any]] = getattr(request, "param", [NO_TAKEOVER, NO_TAKEOVER])
    return chosen


@pytest.fixture
async def engines(recoveries: list[dict[str, Any]], tmp_path: Path) -> AsyncIterator[list[Engine]]:
    """Two orchestrators."""
    async with AsyncExitStack() as stack:
        leases = await stack.enter_async_context(etcd(tmp_path))
        shared = {**config(RELEASE, tmp_path), "leaseManager": {"type": "etcd", "endpoints": [leases]}}
        engines = [Engine(RELEASE, tmp_path, {**shared, "recovery": recovery}) for recovery in recoveries]
        for engine in engines:
            stack.push_async_callback(engine.stop)
        await asyncio.gather(
            *(engine.start("--orchestrator-id", f"orchestrator-{number}") for number, engine in enumerate(engines))
        )
        yield engines


@pytest.fixture
async def sites(engines: list[Engine], start: Start, sdk_python: Callable[[str], Path]) -> list[Site]:
    """Gateways over them. They stop before the engines, which would wait for their streams to end."""
    components = {"/sdk": command(sdk.SERVER, python=sdk_python("0.11.2"))}
    return [Site(engine, await start(runtime=engine.runtime, queue=QUEUE, components=components)) for engine in engines]


@pytest.fixture
async def held() -> AsyncIterator[Held]:
    async with Held().listening() as held:
        yield held


async def submit(gateway: Gateway, flow: str, *inputs: Any) -> str:
    flow_id = await gateway.grpc.put_blob(Blob(flow, BlobType.FLOW))
    texts = [json.dumps(value) for value in inputs]
    return (await gateway.grpc.submit(SubmitParams(flow_id=flow_id, inputs=texts))).run_id


async def follow(gateway: Gateway, run_id: str) -> RunStatus:
    return await gateway.grpc.get(GetParams(run_id=run_id, wait=True, include_results=True))


async def test_a_run_is_followed_through_either_gateway(sites: list[Site], held: Held, tmp_path: Path) -> None:
    payload = {"file": str(tmp_path / "lines"), "port": held.port}
    runs = [await submit(gateway, json.dumps(RECORD_AND_HOLD), payload, payload) for _, gateway in sites]
    async with asyncio.TaskGroup() as group:
        following = [[group.create_task(follow(gateway, run_id)) for _, gateway in sites] for run_id in runs]
        for _ in range(2 * len(runs)):
            (await held.next())()
    for tasks in following:
        final, other = (task.result() for task in tasks)
        assert final.completed_at
        assert other.completed_at
        # The engine writes the time of completion twice, in whole seconds, and both may be read.
        assert final == replace(other, completed_at=final.completed_at)
        assert final.status is RunState.SUCCESS
        assert [result.value for result in final.results or ()] == ['{"recorded":"after"}'] * 2


async def test_a_token_of_one_gateway_is_good_at_the_other(sites: list[Site]) -> None:
    first, second = (site.gateway for site in sites)
    run_id = await submit(first, ECHO, *("x" * 200_000 for _ in range(COUNT)))
    params = GetParams(run_id=run_id, wait=True, include_results=True)
    received: list[int] = []
    token = b""
    async with aclosing(messages(first, params)) as stream:
        async for message in stream:
            received += [result.item_index for result in message.run.results]
            token = message.resume_token
            if received:
                break
    assert 0 < len(received) < COUNT
    resumed = replace(params, resume_token=token)
    async with aclosing(messages(second, resumed)) as stream:
        async for message in stream:
            assert not message.restarted
            received += [result.item_index for result in message.run.results]
    assert received == list(range(COUNT))


async def messages(gateway: Gateway, params: GetParams) -> AsyncGenerator[runs_pb2.GetRunResponse, None]:
    call = gateway.grpc.runs.GetRun(get_params_to_proto(params))
    try:
        async for message in call:
            yield message
    finally:
        call.cancel()


@pytest.mark.parametrize("recoveries", [[NO_TAKEOVER | {"leaseTtlSecs": 10}, TAKEOVER]], indirect=True)
async def test_the_runs_of_a_killed_orchestrator_go_on_at_the_other(
    sites: list[Site], held: Held, tmp_path: Path
) -> None:
    file = tmp_path / "lines"
    run_id = await submit(sites[0].gateway, json.dumps(RECORD_AND_HOLD), {"file": str(file), "port": held.port})
    async with asyncio.TaskGroup() as group:
        following = group.create_task(follow(sites[1].gateway, run_id))
        interrupted = await held.next()
        await sites[0].engine.kill()
        # What was executing is executed again, by the bridge of the other; what had completed is not.
        (await held.next())()
    interrupted()
    final = following.result()
    assert final.status is RunState.SUCCESS
    assert file.read_text().splitlines() == ["before", "after"]


async def test_the_released_engine_is_built_without_postgresql(tmp_path: Path) -> None:
    storage = {"type": "postgres", "databaseUrl": "postgres://stepflow@127.0.0.1/stepflow"}
    engine = Engine(RELEASE, tmp_path, {**BUILTIN, "storageConfig": storage})
    with pytest.raises(AssertionError, match="has ended"):
        await engine.start()
    logs = "".join(file.read_text() for file in engine.logs.iterdir())
    assert "PostgreSQL support was not compiled in" in logs
