"""Runs and blobs go when the rules say so, and nothing else does."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.core.errors import BlobNotFound, FlowNotFound, RunNotFound
from gateway.core.model import Blob, BlobType, RunState, SubmitParams
from gateway.core.owner import Owner
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.runtimes.embedded.retention import KeepRule, Retention
from tests.support.embedded import Embedded, opened

AT_ONCE: Final = 1e-9
DAY: Final = 86_400.0
GOOD: Final = {"name": "good", "output": {"$input": "$"}}
BAD: Final = {"name": "bad", "output": {"$input": "$.missing"}}
EXECUTED: Final = {
    "name": "executed",
    "steps": [{"id": "s", "component": "/builtin/create_messages", "input": {"user_prompt": "x"}}],
    "output": {"$step": "s"},
}


@pytest.fixture(params=["memory", "sqlite"])
async def embedded(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Embedded]:
    async with opened(None if request.param == "memory" else tmp_path / "state.db") as embedded:
        await embedded.start()
        yield embedded


async def prune(embedded: Embedded, retention: Retention) -> list[str]:
    """Prune by rules; the ids of the runs that are left, oldest first."""
    embedded.journal.retention = retention
    await embedded.runtime._pruning.prune_all()
    page = await embedded.runtime.list_runs(RunFilter(), RunOrder.OLDEST_FIRST, "", 1_000)
    return [run.run_id for run in page.runs]


def rule(keep: float | None, **wanted: Any) -> KeepRule:
    return KeepRule(RunFilter(**wanted), keep)


async def test_the_first_rule_that_matches_counts(embedded: Embedded) -> None:
    kept = await embedded.submit(GOOD, 1, flow_label="nightly-1", labels={"keep": "yes"})
    failed = await embedded.submit(BAD, {}, flow_label="nightly-2")
    gone = await embedded.submit(GOOD, 1, flow_label="nightly-3", labels={"keep": "no"})
    gone_with_key = await embedded.submit(GOOD, 1, flow_label="nightly-3", idempotency_key="key")
    executed = await embedded.submit(EXECUTED, 1, flow_label="nightly-4")
    other = await embedded.submit(GOOD, 1, flow_label="other")
    rules = (
        rule(None, labels={"keep": "yes"}),
        rule(DAY, states=(RunState.FAILED,)),
        rule(AT_ONCE, flow_label="nightly*"),
    )
    retention = Retention(rules, keep=None, keep_blobs=None)
    assert await prune(embedded, retention) == [kept.run_id, failed.run_id, other.run_id]
    for run in (gone, gone_with_key, executed):
        with pytest.raises(RunNotFound):
            await embedded.runtime.get(run.run_id)
    again = await embedded.submit(GOOD, 1, flow_label="other", idempotency_key="key")
    assert again.run_id != gone_with_key.run_id, "keys expire with their runs"


async def test_a_status_tells_when_its_run_expires(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    retention = Retention((rule(None, flow_label="kept"),), keep=DAY)
    async with opened(path) as embedded:
        embedded.journal.retention = retention
        await embedded.start()
        runs = [await embedded.submit(flow, 1, flow_label=label) for flow in (GOOD, EXECUTED) for label in ("kept", "")]
    async with opened(path) as embedded:
        embedded.journal.retention = retention
        page = await embedded.runtime.list_runs(RunFilter(), RunOrder.OLDEST_FIRST, "", 10)
        for run, listed in zip(runs, page.runs, strict=True):
            loaded = (await embedded.runtime.get(run.run_id)).status
            expected = None if run.flow_label == "kept" else (run.completed_at or 0) + round(DAY * 1e9)
            assert run.expires_at == loaded.expires_at == listed.expires_at == expected


@pytest.mark.parametrize("keep_runs", [0, 1, 7, 20, 21])
async def test_the_runs_that_ended_last_are_kept(embedded: Embedded, keep_runs: int) -> None:
    ruled, runs = [], []
    for number in range(20):
        ruled.append(await embedded.submit(GOOD, 1, flow_label="ruled"))
        runs.append(await embedded.submit(EXECUTED if number % 3 else GOOD, number))
    retention = Retention((rule(None, flow_label="ruled"),), keep_runs=keep_runs, keep_blobs=None)
    last = {run.run_id for run in runs[20 - min(20, keep_runs) :]}
    assert set(await prune(embedded, retention)) == last | {run.run_id for run in ruled}
    if keep_runs:
        await embedded.runtime.delete(runs[-1].run_id, cancel=False)
        new = [await embedded.submit(GOOD, number) for number in range(3)]
        expected = [*(run for run in runs[:-1] if run.run_id in last), *new][-keep_runs:]
        assert set(await prune(embedded, retention)) == {run.run_id for run in [*expected, *ruled]}


async def test_a_run_that_has_not_ended_stays(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with opened(path) as embedded:
        flow_id = await embedded.put(GOOD)
        await embedded.start()
        from tests.unit.runtimes.embedded.test_run_lists import PLAIN, Model

        model = Model(embedded)
        await model.submit({**PLAIN, "flow": flow_id})
        everything = Retention(keep=AT_ONCE, keep_runs=0, keep_blobs=AT_ONCE)
        assert await prune(embedded, everything) == [model.runs[0].run_id]
        await embedded.runtime.get_blob(flow_id)


async def test_blobs_go_that_nothing_refers_to(embedded: Embedded) -> None:
    run = await embedded.submit(GOOD, 1)
    unused = await embedded.put(BAD)
    data = await embedded.runtime.put_blob(Blob(json.dumps("x" * 100_000), BlobType.DATA))
    read = await embedded.runtime.put_blob(Blob('"read"', BlobType.DATA))
    retention = Retention(keep_blobs=AT_ONCE)
    await embedded.runtime._blobs.uses.keep()
    await embedded.runtime._blobs.uses.keep()
    await embedded.runtime._blobs.uses.keep()
    await embedded.runtime.get_blob(read)
    assert await prune(embedded, Retention(keep_blobs=DAY)) == [run.run_id]
    for blob_id in (unused, data, read, run.flow_id):
        await embedded.runtime.peek_blob(blob_id)
    for _ in range(3):
        await prune(embedded, retention)
    for blob_id in (unused, data, read):
        with pytest.raises(BlobNotFound):
            await embedded.runtime.get_blob(blob_id)
    await embedded.runtime.get_blob(run.flow_id)
    await embedded.runtime.delete(run.run_id, cancel=False)
    for _ in range(3):
        await prune(embedded, retention)
    with pytest.raises(BlobNotFound):
        await embedded.runtime.get_blob(run.flow_id)
    assert (await embedded.submit(GOOD, 1)).status is RunState.SUCCESS, "it is put again"


async def test_room_is_given_back_to_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with opened(path) as embedded:
        await embedded.start()
        for number in range(120):
            await embedded.submit(GOOD, "x" * 100_000 + str(number))
    full = path.stat().st_size
    async with opened(path) as embedded:
        await embedded.start()
        assert await prune(embedded, Retention(keep_runs=2, keep_blobs=None)) != []
    assert path.stat().st_size < full / 2


async def test_runs_are_counted_in_their_namespaces(embedded: Embedded) -> None:
    """So that nobody loses runs since others submit."""
    kept: list[str] = []
    for namespace, number in (("default", 3), ("team-a", 9), ("team-b", 2)):
        await embedded.put(GOOD, namespace)
        runs = [await embedded.submit_in(namespace, GOOD, index) for index in range(number)]
        kept += [run.run_id for run in runs[-3:]]
    retention = Retention(keep_runs=3, keep_blobs=None)
    assert set(await prune(embedded, retention)) == set(kept)
    again = [await embedded.submit_in("team-b", GOOD, index) for index in range(2)]
    kept = [run_id for run_id in kept if run_id != kept[6]] + [run.run_id for run in again]
    assert set(await prune(embedded, retention)) == set(kept)


async def test_a_rule_may_name_a_namespace(embedded: Embedded) -> None:
    rules = (rule(AT_ONCE, namespace="team-a"), rule(None, namespace="default"))
    runs = {name: await embedded.submit_in(name, GOOD, 1) for name in ("default", "team-a", "team-b")}
    retention = Retention(rules, keep=DAY, keep_blobs=None)
    assert await prune(embedded, retention) == [runs["default"].run_id, runs["team-b"].run_id]
    expiring = [(await embedded.runtime.get(run.run_id)).status.expires_at for run in (runs["default"], runs["team-b"])]
    assert [moment is None for moment in expiring] == [True, True], "they had ended before there were rules"


async def test_blobs_go_in_the_namespaces_where_nothing_refers_to_them(embedded: Embedded) -> None:
    run = await embedded.submit_in("team-a", GOOD, 1)
    await embedded.put(GOOD, "team-b")
    await embedded.put(GOOD)
    for _ in range(3):
        await prune(embedded, Retention(keep_blobs=AT_ONCE))
    await embedded.runtime.get_blob(run.flow_id, "team-a")
    assert (await embedded.runtime.get_blob(run.flow_id)).type is BlobType.FLOW
    for namespace in ("default", "team-b"):
        with pytest.raises(BlobNotFound):
            await embedded.runtime.peek_blob(run.flow_id, namespace)
        with pytest.raises(FlowNotFound):
            await embedded.service.submit(SubmitParams(flow_id=run.flow_id, inputs=["1"], owner=Owner(namespace)))
    await embedded.runtime.delete(run.run_id, cancel=False)
    for _ in range(3):
        await prune(embedded, Retention(keep_blobs=AT_ONCE))
    with pytest.raises(BlobNotFound):
        await embedded.runtime.get_blob(run.flow_id)
