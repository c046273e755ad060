"""Gateways and the Temporal server under them are killed while runs execute: every run ends once, as if nothing was."""

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.core.control import ListParams
from gateway.core.errors import Overloaded, Unavailable
from gateway.core.model import Blob, BlobType, RunState, SubmitParams
from gateway.core.run_filter import RunFilter
from tests.integration.conftest import command
from tests.support import sdk
from tests.support.clients import GrpcClient
from tests.support.resumed_runs import ResumedRun, submitted
from tests.support.session import started_with
from tests.support.temporal_gateways import TemporalGateway, temporal_gateways
from tests.support.temporal_server import TemporalServer

RUNS = int(started_with().get("FAULT_RUNS", "40"))
"""How many runs there are. By hand, 200 of them show more."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(max(300, 5 * RUNS))]

ITEMS, NESTING = 20, 20
"""How many items each has. In the first two of so many runs, each item has a run of its own."""

AT_ONCE = 20
"""How many of them are submitted and followed at the same time."""

GATEWAY_KILLS, SERVER_KILLS = max(2, RUNS // 33), max(1, RUNS // 100)

ECHO: dict[str, Any] = {
    "steps": [{"id": "s", "component": "/sdk/echo", "input": {"$input": "$"}}],
    "output": {"$step": "s"},
}
MAP: dict[str, Any] = {
    "steps": [
        {"id": "m", "component": "/builtin/map", "input": {"workflow": {"$literal": ECHO}, "items": [{"$input": "$"}]}}
    ],
    "output": {"$step": "m", "path": "$.results[0]"},
}


def submits(flow_id: str) -> dict[str, Any]:
    """A flow whose component submits a run of another flow."""
    step = {"id": "b", "component": "/sdk/batch_processor", "input": {"flow_id": flow_id, "items": [{"$input": "$"}]}}
    return {"steps": [step], "output": {"$step": "b"}}


async def test_every_run_ends_once_while_gateways_and_the_server_are_killed(
    sdk_python: Callable[[str], Path], tmp_path: Path
) -> None:
    numbers = random.Random(20261127)
    server = TemporalServer(tmp_path)
    await server.start()
    objects = tmp_path / "objects"
    objects.mkdir()
    component = f"/sdk={command(sdk.SERVER, python=sdk_python('0.11.2'))}"
    arguments = ("--runtime", server.runtime(), "--blobs", f"file://{objects}", "--component", component)
    try:
        async with temporal_gateways(tmp_path, 3, *arguments) as gateways:
            clients = [GrpcClient(gateway.grpc) for gateway in gateways]
            faults = Faults(gateways, server, numbers)
            echo = await clients[0].put_blob(Blob(json.dumps(ECHO), BlobType.FLOW))
            flows = [await clients[0].put_blob(Blob(json.dumps(flow), BlobType.FLOW)) for flow in (submits(echo), MAP)]
            wanted = iter([(number, params(number, echo, flows)) for number in range(RUNS)])
            ids: dict[int, str] = {}

            async def work(random_numbers: random.Random) -> None:
                for number, each in wanted:
                    ids[number] = await followed(clients, each, random_numbers)
                    faults.count()

            async with asyncio.TaskGroup() as group:
                for number in range(AT_ONCE):
                    group.create_task(work(random.Random(number)))
                await faults.happen()
            assert len(set(ids)) == RUNS
            assert await counted(clients[1], roots_only=True) == RUNS
            nesting = [run_id for number, run_id in ids.items() if number % NESTING < len(flows)]
            for run_id in nesting:
                assert await counted(clients[2], parent_run_id=run_id) == ITEMS, "each item has one run"
            assert await counted(clients[0]) == RUNS + ITEMS * len(nesting)
            assert await counted(clients[0], states=(RunState.SUCCESS,)) == RUNS + ITEMS * len(nesting)
            for client in clients:
                await client.close()
    finally:
        await server.kill()


def params(number: int, echo: str, flows: list[str]) -> SubmitParams:
    """What a run is submitted with."""
    nests = number % NESTING < len(flows)
    inputs = [json.dumps({"run": number, "item": item}) for item in range(ITEMS)]
    flow_id = flows[number % NESTING] if nests else echo
    return SubmitParams(flow_id=flow_id, inputs=inputs, idempotency_key=f"run {number}")


async def followed(clients: list[GrpcClient], params: SubmitParams, numbers: random.Random) -> str:
    """Submit a run three times, at any gateways, and follow it at all; its id."""
    ids = await asyncio.gather(*(submitted(numbers.choice(clients), params) for _ in range(3)))
    assert len(set(ids)) == 1, "a key makes one run"
    followers = [ResumedRun(ids[0]) for _ in clients]
    finals = await asyncio.gather(
        *(follower.follow([client]) for follower, client in zip(followers, clients, strict=True))
    )
    assert [result.error for result in followers[0].results] == [None] * ITEMS
    ends = [None if final is None else (final.status, final.items.success, final.completed_at) for final in finals]
    assert ends == [(RunState.SUCCESS, ITEMS, finals[0] and finals[0].completed_at)] * len(clients)
    sequences = [follower.sequence for follower in followers]
    assert sequences[0] == sequences[1] == sequences[2]
    assert sorted(index for index, _ in sequences[0]) == list(range(ITEMS))
    for follower in followers:
        assert follower.revisions == sorted(follower.revisions)
    return ids[0]


async def counted(client: GrpcClient, **wanted: Any) -> int:
    """How many runs match, when the engine's index has followed."""
    params = ListParams(filter=RunFilter(**wanted), page_size=1, include_total=True)
    while True:
        try:
            total = (await client.list_runs(params)).total_size
        except (Unavailable, Overloaded) as error:
            await asyncio.sleep(error.retry_after or 0.1)
        else:
            return total or 0


class Faults:
    """What is killed, and started again, whenever some more runs have ended."""

    def __init__(self, gateways: list[TemporalGateway], server: TemporalServer, numbers: random.Random) -> None:
        self._gateways = gateways
        self._server = server
        self._numbers = numbers
        self._ended = 0
        self._waiting: asyncio.Future[None] | None = None
        self._until = 0

    def count(self) -> None:
        """One more run has ended."""
        self._ended += 1
        if self._waiting is not None and self._ended >= self._until and not self._waiting.done():
            self._waiting.set_result(None)

    async def happen(self) -> None:
        """Kill, and start again, one after the other."""
        kinds = ["gateway"] * GATEWAY_KILLS + ["server"] * SERVER_KILLS
        self._numbers.shuffle(kinds)
        for number, kind in enumerate(kinds, 1):
            victim = self._server if kind == "server" else self._gateways[number % len(self._gateways)]
            await self._ended_runs(number * RUNS // (len(kinds) + 2))
            await victim.kill()
            await victim.start()

    async def _ended_runs(self, count: int) -> None:
        """Wait until so many runs have ended."""
        if self._ended < count:
            self._until = count
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
