"""Namespaces of the runs and blobs of an engine, which knows none: the gateway keeps them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.core.errors import BlobNotFound, FlowNotFound, RemoteError
from gateway.core.model import (
    Blob,
    BlobType,
    ItemStatistics,
    ObservabilityContext,
    RunState,
    RunStatus,
    SubmitParams,
)
from gateway.core.owner import DEFAULT_NAMESPACE, Owner
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.runtimes.stepflow.engine import AnswerLost, EngineRestClient
from gateway.runtimes.stepflow.listing import Listing
from gateway.runtimes.stepflow.release import Release
from gateway.runtimes.stepflow.runs import Runs
from gateway.runtimes.stepflow.runtime import StepflowRuntime
from gateway.runtimes.stepflow.told_runs import ToldRuns
from gateway.runtimes.stepflow.wire_format import WireFormat
from gateway.storage.idempotency import Keys
from gateway.storage.run_notes import MemoryNotes, SubmitNote
from tests.support.engine_proxy import CUT, EngineProxy

FLOW = "a" * 64
FLOW_ID = f"sha256:{FLOW}"
RUNS = [f"01a20377-4792-7b82-a1a4-{number:012x}" for number in range(1, 9)]
MINE, THEIRS = Owner("mine", "ann"), Owner("theirs", "bob")
STORED = (200, json.dumps({"blobId": FLOW}).encode())
DATA = Blob("1", BlobType.DATA)


def summary(run_id: str) -> dict[str, object]:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"runId": run_id, "flowId": FLOW, "status": 1, "createdAt": now, "items": {"total": 1, "running": 1}}


def accepted(run_id: str) -> tuple[int, bytes]:
    return 202, json.dumps({"summary": summary(run_id)}).encode()


def state(run_id: str) -> tuple[int, bytes]:
    return 200, json.dumps({"summary": summary(run_id)}).encode()


def listed(*run_ids: str) -> tuple[int, bytes]:
    return 200, json.dumps({"runs": [summary(run_id) for run_id in run_ids]}).encode()


def submit(owner: Owner | None, **params: Any) -> SubmitParams:
    return SubmitParams(flow_id=FLOW_ID, inputs=["1"], owner=owner, **params)


@pytest.fixture
async def server() -> AsyncIterator[EngineProxy]:
    async with EngineProxy().running() as server:
        yield server


@pytest.fixture
async def runtime(server: EngineProxy) -> AsyncIterator[StepflowRuntime]:
    keys = await Keys.open(":memory:")
    release = Release("0.12 or 0.13", WireFormat.PROTO_JSON)
    runtime = StepflowRuntime(EngineRestClient(server.url), release, keys)
    yield runtime
    await runtime.close()
    await keys.close()


async def put(server: EngineProxy, runtime: StepflowRuntime, namespace: str) -> None:
    server.replies.append(STORED)
    assert await runtime.put_blob(DATA, namespace) == FLOW_ID


@pytest.mark.parametrize("key", ["k", None])
async def test_runs_are_in_their_namespaces(server: EngineProxy, runtime: StepflowRuntime, key: str | None) -> None:
    for namespace in ("mine", "theirs"):
        await put(server, runtime, namespace)
    for run_id, owner in zip(RUNS[:2], (MINE, THEIRS), strict=True):
        server.replies.append(accepted(run_id))
        status = (await runtime.submit(submit(owner, idempotency_key=key), "")).status
        assert (status.run_id, status.namespace) == (run_id, owner.namespace)
        server.replies += [state(run_id), state(run_id)]
        assert (await runtime.get(run_id)).status.namespace == owner.namespace
        assert await runtime.owner_of_run(run_id) == owner


async def test_a_hidden_flow_or_blob_takes_the_reads_of_one_that_is_missing(
    server: EngineProxy, runtime: StepflowRuntime
) -> None:
    await put(server, runtime, "theirs")
    server.requests.clear()
    for owner in (MINE, Owner("mine", "carl")):
        with pytest.raises(FlowNotFound, match=f"^no flow has the id '{FLOW_ID}'$"):
            await runtime.submit(submit(owner), "")
    with pytest.raises(BlobNotFound, match=f"^no blob has the id '{FLOW_ID}'$"):
        await runtime.get_blob(FLOW_ID, "mine")
    assert server.requests == []
    # What is not marked may be there in the default namespace, so the engine is asked there.
    for _ in range(2):
        server.replies.append((404, b"{}"))
    with pytest.raises(FlowNotFound):
        await runtime.submit(submit(None), "")
    with pytest.raises(BlobNotFound):
        await runtime.get_blob(FLOW_ID, DEFAULT_NAMESPACE)
    assert server.requests == [f"GET /blobs/{'0' * 64}"] * 2


async def test_a_run_of_another_namespace_is_no_parent(server: EngineProxy, runtime: StepflowRuntime) -> None:
    for namespace in ("mine", "theirs"):
        await put(server, runtime, namespace)
    server.replies.append(accepted(RUNS[0]))
    await runtime.submit(submit(THEIRS), "")
    inside = ObservabilityContext(run_id=RUNS[0])
    for run_id, owner, parent in ((RUNS[1], MINE, None), (RUNS[2], THEIRS, RUNS[0])):
        server.replies += [state(RUNS[0]), accepted(run_id)]
        status = (await runtime.submit(submit(owner, observability=inside), "")).status
        assert (status.namespace, status.parent_run_id) == (owner.namespace, parent)


async def test_a_submit_in_doubt_names_no_runs_of_others(server: EngineProxy, runtime: StepflowRuntime) -> None:
    for namespace in ("mine", "theirs"):
        await put(server, runtime, namespace)
    server.replies.append(accepted(RUNS[0]))
    await runtime.submit(submit(THEIRS), "")
    for owner in (MINE, THEIRS):
        server.replies.append(CUT)
        with pytest.raises(AnswerLost):
            await runtime.submit(submit(owner, idempotency_key="k"), "")
    server.replies.append(listed(*RUNS[:4]))
    with pytest.raises(RemoteError, match="another idempotency key") as caught:
        await runtime.submit(submit(MINE, idempotency_key="k"), "")
    assert not any(run_id in caught.value.message for run_id in RUNS)


class EngineRuns(Runs):
    """The list of an engine: the latest first."""

    def __init__(self) -> None:
        self.told = ToldRuns(MemoryNotes())
        self.runs: list[RunStatus] = []

    async def listed(self, query: str) -> list[RunStatus]:
        given = dict(part.split("=") for part in query.split("&"))
        start = int(given.get("offset", 0))
        return sorted(self.runs, key=lambda run: -run.created_at)[start : start + int(given["limit"])]

    async def add(self, number: int, owner: Owner | None, **fields: Any) -> RunStatus:
        run = RunStatus(
            run_id=f"01a20377-4792-7b82-a1a4-{number:012x}",
            flow_id=FLOW_ID,
            created_at=number,
            items=ItemStatistics(total=1),
            status=RunState.RUNNING,
            **fields,
        )
        self.runs.append(run)
        if owner is not None:
            await self.told.notes.submitted(run.run_id, SubmitNote(owner=owner))
        return run


@pytest.mark.parametrize("order", RunOrder)
async def test_pages_of_a_namespace_are_those_of_an_engine_without_others(order: RunOrder) -> None:
    alone, shared = EngineRuns(), EngineRuns()
    for number in range(0, 12_000, 1_000):
        for runs in (alone, shared):
            await runs.add(number, MINE)
    for number in range(12_500):
        if number % 1_000:
            await shared.add(number, THEIRS if number % 2 else None)
    wanted = RunFilter(namespace="mine")
    pages = []
    for runs in (alone, shared):
        listing, cursor, told = Listing(runs), "", []
        while True:
            page = await listing.page(wanted, order, cursor, 5)
            cursor = page.cursor
            told.append(page)
            if not cursor:
                break
        pages.append(told)
        assert await listing.count(wanted) == 12
    assert pages[0] == pages[1]
    assert [len(page.runs) for page in pages[0]] == [5, 5, 2]


async def test_what_an_engine_begins_in_a_run_has_the_labels_of_its_owner() -> None:
    """A token for labels shows it, so what its components submit is inside it."""
    runs = EngineRuns()
    owner = Owner("mine", "ann", (), (("team", "x"),))
    run = await runs.add(1, None)
    await runs.told.notes.submitted(run.run_id, SubmitNote(labels={"team": "x", "kind": "y"}, owner=owner))
    inside = await runs.add(2, None, root_run_id=run.run_id, parent_run_id=run.run_id)
    assert [told.labels for told in await runs.told.all_told([run, inside])] == [
        {"team": "x", "kind": "y"},
        {"team": "x"},
    ]
    page = await Listing(runs).page(RunFilter(labels={"team": "x"}), RunOrder.OLDEST_FIRST, "", 5)
    assert [told.run_id for told in page.runs] == [run.run_id, inside.run_id]


async def test_nobody_is_told_of_a_run_before_it_is_known_whose_it_is() -> None:
    runs = EngineRuns()
    with runs.told.submitting(FLOW_ID, SubmitNote(owner=THEIRS)):
        run = await runs.add(1, None)
        inside = await runs.add(2, None, root_run_id=run.run_id, parent_run_id=run.run_id)
        other = replace(await runs.add(3, None), flow_id=f"sha256:{'b' * 64}")
        assert (await runs.told.told(other)).namespace == DEFAULT_NAMESPACE
        telling = asyncio.create_task(runs.told.all_told([run, inside]))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not telling.done()
        await runs.told.notes.submitted(run.run_id, SubmitNote(owner=THEIRS))
    assert [told.namespace for told in await telling] == ["theirs", "theirs"]
    assert [await runs.told.owner(each) for each in (run, inside, other)] == [THEIRS, THEIRS, None]
