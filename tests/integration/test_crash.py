"""The gateway is killed at random moments, again and again: what it accepted finishes, each item exactly once."""

import asyncio
import json
import random
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from gateway.core.errors import ComponentUnavailable, Unavailable
from gateway.core.model import Blob, BlobType, GetParams, RunState, SubmitParams
from tests.integration.conftest import DATA, command
from tests.support.clients import GrpcClient
from tests.support.command_line import CommandLine

RUNS = 100
KILLS = 4
FLOW = {
    "steps": [{"id": "s", "component": "/plain/echo", "input": {"$input": "$"}}],
    "output": {"$step": "s"},
}


@pytest.fixture(params=[20261122, 20261123])
def random_numbers(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(request.param)


async def test_what_was_accepted_finishes_exactly_once(tmp_path: Path, random_numbers: random.Random) -> None:
    state = tmp_path / "state.db"
    serve = ("--state", str(state), "--component", f"/plain={command(DATA / 'components' / 'plain_server.py')}")
    commands = CommandLine(tmp_path)
    pending = {f"run-{number}": random_numbers.randrange(1, 8) for number in range(RUNS)}
    accepted: dict[str, str] = {}
    for kill in range(KILLS):
        async with commands.serving(*serve) as serving:
            # Killed when so many more have been accepted: in the middle of everything else that goes on.
            until = RUNS * (kill + 1) // KILLS - random_numbers.randrange(RUNS // KILLS)
            await submit(serving.grpc, pending, accepted, until)
            serving.process.kill()
            await serving.process.wait()
    async with commands.serving(*serve) as serving:
        await submit(serving.grpc, pending, accepted, RUNS)
        client = GrpcClient(serving.grpc)
        for key, run_id in accepted.items():
            final = await client.get(GetParams(run_id=run_id, wait=True, include_results=True))
            assert [result.error for result in final.results or [] if result.error] == []
            assert (final.status, final.items.success) == (RunState.SUCCESS, pending[key])
            values = [json.loads(result.value or "null") for result in final.results or []]
            assert values == [{"run": key, "item": item} for item in range(pending[key])]
        await client.close()
    assert_each_once(state, pending)


async def submit(address: str, runs: dict[str, int], accepted: dict[str, str], until: int) -> None:
    """Submit the runs that were not acknowledged, many at once, until so many have been."""
    client = GrpcClient(address)
    flow_id = await client.put_blob(Blob(json.dumps(FLOW), BlobType.FLOW))
    missing = iter([key for key in runs if key not in accepted])

    async def work() -> None:
        for key in missing:
            if len(accepted) >= until:
                return
            inputs = [json.dumps({"run": key, "item": item}) for item in range(runs[key])]
            params = SubmitParams(flow_id=flow_id, inputs=inputs, idempotency_key=key)
            while key not in accepted:
                try:
                    accepted[key] = (await client.submit(params)).run_id
                except ComponentUnavailable as unavailable:  # Its component server has just been started.
                    await asyncio.sleep(unavailable.retry_after or 0)

    await asyncio.gather(*(work() for _ in range(8)))
    await client.close()


def assert_each_once(state: Path, runs: dict[str, int]) -> None:
    """The journal holds each run once, each finished, and one result for each item."""
    journal = sqlite3.connect(state)
    kept = journal.execute("SELECT key, total, status, run FROM runs").fetchall()
    assert Counter(key for key, *_ in kept) == Counter(dict.fromkeys(runs, 1))
    for key, total, status, run in kept:
        items = journal.execute(
            "SELECT item & 0xffffff FROM results WHERE item >> 24 = ? ORDER BY item", (run,)
        ).fetchall()
        assert (total, status) == (runs[key], "success")
        assert [item for (item,) in items] == list(range(runs[key]))
    journal.close()


async def test_a_client_is_told_that_the_gateway_has_gone(tmp_path: Path) -> None:
    async with CommandLine(tmp_path).serving("--state", ":memory:") as serving:
        client = GrpcClient(serving.grpc)
        await client.put_blob(Blob("1", BlobType.DATA))
        serving.process.kill()
        await serving.process.wait()
        with pytest.raises(Unavailable):
            await client.put_blob(Blob("1", BlobType.DATA))
        await client.close()
