"""How much the state has of each namespace is known at any moment, over restarts, and falls with what goes."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from gateway.core.model import Blob, BlobType, SubmitParams
from gateway.core.owner import Owner
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.flows.new_record import new_record
from gateway.runtimes.embedded.retention import Retention
from tests.support.embedded import Embedded, opened

TEXT: Final = "x" * 10_000
AT_ONCE: Final = {"name": "at once", "output": {"$input": "$"}}
STEPS: Final = {
    "name": "steps",
    "steps": [{"id": "s", "component": "/builtin/create_messages", "input": {"user_prompt": {"$input": "$"}}}],
    "output": {"$step": "s"},
}
NAMESPACES: Final = ("default", "team-a", "team-b")


@pytest.fixture(params=["memory", "file"])
async def embedded(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Embedded]:
    async with opened(None if request.param == "memory" else tmp_path / "state.db") as embedded:
        await embedded.start()
        yield embedded


def stored(embedded: Embedded) -> tuple[int, ...]:
    return tuple(map(embedded.runtime.stored_bytes, NAMESPACES))


async def fill(embedded: Embedded, namespace: str) -> None:
    """Runs and blobs of every kind: some fifteen texts."""
    owner = None if namespace == "default" else Owner(namespace)
    for flow in (AT_ONCE, STEPS):
        flow_id = await embedded.put(flow, namespace)
        for key in (None, f"key of {flow['name']}"):
            inputs = [f'"{TEXT}"', '"2"']
            params = SubmitParams(flow_id=flow_id, inputs=inputs, wait=True, owner=owner, idempotency_key=key)
            run = await embedded.service.submit(params)
            assert run.status == "success"
    many = ["1"] * 5_000
    run = await embedded.service.submit(SubmitParams(flow_id=flow_id, inputs=many, wait=True, owner=owner))
    await embedded.runtime.put_blob(Blob(f'"{TEXT}"', BlobType.DATA), namespace)
    await embedded.runtime.put_blob(Blob(f'"{TEXT}"', BlobType.DATA), namespace)
    await embedded.runtime.put_blob(Blob(b"\xff" * 2_000_000, BlobType.DATA), namespace)
    await embedded.runtime.put_blob(Blob(f'"{"é" * 700_000}"', BlobType.DATA), namespace)


@pytest.mark.no_cover  # it fills three times what the others do, which cover the same
async def test_each_namespace_has_its_own_number(embedded: Embedded) -> None:
    assert stored(embedded) == (0, 0, 0)
    await fill(embedded, "team-a")
    before = stored(embedded)
    assert before[0] == before[2] == 0
    assert 2_700_000 + 6 * len(TEXT) < before[1] < 8_000_000
    await fill(embedded, "default")
    assert stored(embedded)[1:] == before[1:]
    assert abs(stored(embedded)[0] - before[1]) < 0.2 * before[1]


@pytest.mark.no_cover  # it fills three times what the others do, which cover the same
async def test_it_is_nothing_when_everything_has_gone(embedded: Embedded) -> None:
    await fill(embedded, "team-a")
    await fill(embedded, "team-b")
    full = stored(embedded)
    everything = Retention(keep=1e-9, keep_runs=0, keep_blobs=1e-9)
    page = await embedded.runtime.list_runs(RunFilter(namespace="team-a"), RunOrder.OLDEST_FIRST, "", 100)
    for run in page.runs:
        await embedded.runtime.delete(run.run_id, cancel=False)
    assert stored(embedded)[0] == 0
    assert 2_700_000 < stored(embedded)[1] < full[1] - 6 * len(TEXT)
    assert stored(embedded)[2] == full[2]
    embedded.journal.retention = everything
    for _ in range(3):
        await embedded.runtime._pruning.prune_all()
    assert stored(embedded) == (0, 0, 0)


async def test_it_is_the_same_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with opened(path) as embedded:
        await embedded.start()
        await fill(embedded, "team-a")
        await fill(embedded, "default")
        flow_id = await embedded.put(STEPS, "team-b")
        given = SubmitParams(flow_id=flow_id, inputs=[f'"{TEXT}"'], owner=Owner("team-b"))
        await embedded.journal.create(new_record(given, "", "steps", None, "", run_timeout=None), given.inputs)
        before = stored(embedded)
        assert before[2] > len(TEXT)
    async with opened(path) as embedded:
        await embedded.runtime.count_runs(RunFilter())
        assert stored(embedded) == before
        await embedded.start()
        page = await embedded.runtime.list_runs(RunFilter(namespace="team-b"), RunOrder.OLDEST_FIRST, "", 1)
        await embedded.wait(page.runs[0].run_id)
        assert stored(embedded)[2] > before[2] + len(TEXT)
        await embedded.runtime.delete(page.runs[0].run_id, cancel=False)
        assert len(STEPS["steps"]) < stored(embedded)[2] < 1_000, "only the flow is left"


async def test_what_is_deleted_before_it_is_indexed_was_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with opened(path) as embedded:
        await embedded.start()
        flow = len('{"name":"at once","output":{"$input":"$"}}')
        runs = [await embedded.submit_in("team-a", AT_ONCE, TEXT) for _ in range(5)]
        assert stored(embedded)[1] > 5 * len(TEXT) + flow
        for run in runs:
            await embedded.runtime.delete(run.run_id, cancel=False)
        await embedded.runtime.count_runs(RunFilter())
        assert stored(embedded)[1] == flow
    async with opened(path) as embedded:
        assert stored(embedded)[1] == flow
