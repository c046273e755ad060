"""Submits with idempotency keys, to an engine that answers as told and does not know keys."""

import asyncio
import json
import time
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import IdempotencyConflict, RemoteError
from gateway.core.model import RunStatus, SubmitParams
from gateway.runtimes.stepflow.blobs import Blobs
from gateway.runtimes.stepflow.engine import AnswerLost, EngineRestClient
from gateway.runtimes.stepflow.release import Release
from gateway.runtimes.stepflow.runs import Runs
from gateway.runtimes.stepflow.submits import Submits
from gateway.runtimes.stepflow.wire_format import WireFormat
from gateway.storage.idempotency import IN_MEMORY, Keys
from gateway.storage.run_notes import SubmitNote
from tests.support.engine_proxy import CUT, EngineProxy

FLOW = "a" * 64
FIRST = "01a20377-4792-7b82-a1a4-f86edb2cd471"
SECOND = "01a20377-4792-7b82-a1a4-f86edb2cd472"
RELEASE = Release("0.12 or 0.13", WireFormat.PROTO_JSON)
PARAMS = SubmitParams(flow_id=f"sha256:{FLOW}", inputs=["1"], idempotency_key="k")


def summary(run_id: str) -> dict[str, object]:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"runId": run_id, "flowId": FLOW, "status": 1, "createdAt": now, "items": {"total": 1, "running": 1}}


def accepted(run_id: str) -> tuple[int, bytes]:
    return 202, json.dumps({"summary": summary(run_id)}).encode()


def state(run_id: str) -> tuple[int, bytes]:
    return 200, json.dumps({"summary": summary(run_id)}).encode()


def stored(*run_ids: str) -> tuple[int, bytes]:
    return 200, json.dumps({"runs": [summary(run_id) for run_id in run_ids]}).encode()


def blobs_of(engine: EngineRestClient) -> Blobs:
    return Blobs(engine, RELEASE, lossy_numbers=False)


@pytest.fixture
async def server() -> AsyncIterator[EngineProxy]:
    async with EngineProxy().running() as server:
        yield server


@pytest.fixture
async def submits(server: EngineProxy) -> AsyncIterator[Submits]:
    engine, keys = EngineRestClient(server.url), await Keys.open(IN_MEMORY)
    submits = Submits(Runs(engine, RELEASE), blobs_of(engine), keys, MemoryAccount().share())
    yield submits
    await submits.close()
    await engine.close()
    await keys.close()


async def test_a_key_stands_for_one_run_within_its_scope(server: EngineProxy, submits: Submits) -> None:
    server.replies += [accepted(FIRST), state(FIRST), accepted(SECOND)]
    runs = [(await submits.submit(PARAMS, scope)).run_id for scope in ("", "", "task")]
    assert runs == [FIRST, FIRST, SECOND]
    assert server.requests == ["POST /runs", f"GET /runs/{FIRST}", "POST /runs"]
    with pytest.raises(IdempotencyConflict):
        await submits.submit(replace(PARAMS, inputs=["2"]), "")


async def test_without_a_key_each_submit_makes_a_run(server: EngineProxy, submits: Submits) -> None:
    server.replies += [accepted(FIRST), accepted(SECOND)]
    params = replace(PARAMS, idempotency_key=None)
    assert [(await submits.submit(params, "")).run_id for _ in range(2)] == [FIRST, SECOND]


async def test_a_submit_in_doubt_is_found_among_the_engines_runs(server: EngineProxy, submits: Submits) -> None:
    server.replies += [CUT, stored(FIRST), state(FIRST)]
    with pytest.raises(AnswerLost):
        await submits.submit(PARAMS, "")
    assert (await submits.submit(PARAMS, "")).run_id == FIRST
    assert server.requests == ["POST /runs", "GET /runs", f"GET /runs/{FIRST}"]


async def test_a_submit_in_doubt_that_made_no_run_is_sent_again(server: EngineProxy, submits: Submits) -> None:
    server.replies += [accepted(FIRST), CUT, stored(FIRST), accepted(SECOND)]
    await submits.submit(PARAMS, "other")
    with pytest.raises(AnswerLost):
        await submits.submit(PARAMS, "")
    assert (await submits.submit(PARAMS, "")).run_id == SECOND


async def test_a_submit_in_doubt_stays_so_until_it_is_settled(server: EngineProxy, submits: Submits) -> None:
    server.replies += [CUT, stored(), CUT, stored(FIRST, SECOND)]
    for _ in range(2):
        with pytest.raises(AnswerLost):
            await submits.submit(PARAMS, "")
    with pytest.raises(RemoteError, match="another idempotency key"):
        await submits.submit(PARAMS, "")


class HeldRuns(Runs):
    """Its submits wait until `held` is set."""

    def __init__(self, engine: EngineRestClient) -> None:
        super().__init__(engine, RELEASE)
        self.asked = asyncio.Event()
        self.held = asyncio.Event()

    async def submit(self, params: SubmitParams, note: SubmitNote | None = None) -> RunStatus:
        self.asked.set()
        await self.held.wait()
        return await super().submit(params, note)


async def test_a_submit_goes_on_when_its_caller_leaves(server: EngineProxy) -> None:
    engine, keys = EngineRestClient(server.url), await Keys.open(IN_MEMORY)
    runs = HeldRuns(engine)
    submits = Submits(runs, blobs_of(engine), keys, MemoryAccount().share())
    leaving = asyncio.create_task(submits.submit(PARAMS, ""))
    await runs.asked.wait()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    server.replies += [accepted(FIRST), state(FIRST)]
    runs.held.set()
    assert (await submits.submit(PARAMS, "")).run_id == FIRST
    assert server.requests.count("POST /runs") == 1
    await submits.close()
    await engine.close()
    await keys.close()
