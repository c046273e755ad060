"""Runs that are deleted are gone at once, with all that belongs to them, and stay gone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.core.errors import RunNotEnded, RunNotFound
from gateway.core.model import GetParams, ResultOrder, RunState
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.run_sets import SetEvent
from gateway.core.runtime import Page
from gateway.runtimes.embedded import removals
from tests.support.component_server import Call, ComponentServer
from tests.support.embedded import Embedded, opened

STEPS: Final = {"steps": [{"id": "s", "component": "/test/echo", "input": 1}], "output": {"$step": "s"}}
PLAIN: Final = {"name": "plain", "output": {"$input": "$"}}


class Waiting:
    """A component that never answers."""

    def __init__(self) -> None:
        self.called = asyncio.Event()
        self.released = asyncio.Event()
        self.server = ComponentServer(self._answer)

    async def _answer(self, call: Call) -> None:
        self.called.set()
        await self.released.wait()


@pytest.fixture
async def waiting() -> AsyncIterator[Waiting]:
    component = Waiting()
    async with component.server.running():
        yield component
        component.released.set()


@pytest.fixture(params=["memory", "sqlite"])
async def embedded(request: pytest.FixtureRequest, tmp_path: Path, waiting: Waiting) -> AsyncIterator[Embedded]:
    path = None if request.param == "memory" else tmp_path / "state.db"
    async with opened(path, components={"/test": waiting.server.url}) as embedded:
        await embedded.start()
        yield embedded


async def listed(embedded: Embedded, **wanted: Any) -> list[str]:
    page = await embedded.runtime.list_runs(RunFilter(**wanted), RunOrder.NEWEST_FIRST, "", 100)
    return [run.run_id for run in page.runs]


async def refuse_to_know(embedded: Embedded, run_id: str) -> None:
    with pytest.raises(RunNotFound):
        await embedded.runtime.get(run_id)
    with pytest.raises(RunNotFound):
        await embedded.service.get(GetParams(run_id=run_id, wait=True, include_results=True))
    with pytest.raises(RunNotFound):
        await embedded.runtime.results(run_id, Page(ResultOrder.BY_INDEX, 0, 1, 0, 1))
    with pytest.raises(RunNotFound):
        await embedded.runtime.delete(run_id, cancel=True)
    assert run_id not in await listed(embedded)
    assert await embedded.runtime.count_runs(RunFilter()) == len(await listed(embedded))


@pytest.mark.parametrize("params", [{}, {"idempotency_key": "key"}, {"flow_label": "label", "labels": {"a": "b"}}])
async def test_a_run_that_has_ended_is_gone_with_its_key(embedded: Embedded, params: dict[str, Any]) -> None:
    other = await embedded.submit(PLAIN, 1)
    run = await embedded.submit(PLAIN, 1, 2, **params)
    await embedded.runtime.delete(run.run_id, cancel=False)
    await refuse_to_know(embedded, run.run_id)
    again = await embedded.submit(PLAIN, 1, 2, **params)
    assert again.run_id != run.run_id
    assert await listed(embedded) == [again.run_id, other.run_id]


async def test_a_run_that_has_not_ended_is_refused_or_cancelled(embedded: Embedded, waiting: Waiting) -> None:
    run = await embedded.submit(STEPS, 1, wait=False)
    await waiting.called.wait()
    with pytest.raises(RunNotEnded):
        await embedded.runtime.delete(run.run_id, cancel=False)
    async with aclosing(embedded.runtime.watch(run.run_id)) as states:
        assert (await anext(states)).status.status is RunState.RUNNING
        following = asyncio.create_task(anext(states))
        await embedded.runtime.delete(run.run_id, cancel=True)
        with pytest.raises(RunNotFound):
            await following
    await refuse_to_know(embedded, run.run_id)
    assert embedded.runtime._table.active == {}


async def test_who_looks_later_does_not_see_that_a_deleted_run_was_cancelled(
    embedded: Embedded, waiting: Waiting
) -> None:
    run = await embedded.submit(STEPS, 1, wait=False)
    await waiting.called.wait()
    async with aclosing(embedded.runtime.watch(run.run_id)) as states:
        assert (await anext(states)).status.status is RunState.RUNNING
        ends = await asyncio.gather(
            *(embedded.runtime.delete(run.run_id, cancel=True) for _ in range(3)), return_exceptions=True
        )
        assert ends == [None, None, None]
        with pytest.raises(RunNotFound):
            await anext(states)


async def test_those_who_follow_sets_learn_of_it(embedded: Embedded) -> None:
    run = await embedded.submit(PLAIN, 1, flow_label="label")
    async with aclosing(embedded.runtime.watch_set(RunFilter(flow_label="label"), b"", only_new=False)) as parts:
        changes = []
        async for part in parts:
            changes += [(change.event, change.run_id) for change in part.changes]
            if part.caught_up:
                await embedded.runtime.delete(run.run_id, cancel=False)
            if changes and changes[-1][0] is SetEvent.LEFT:
                break
    assert changes == [(SetEvent.ADDED, run.run_id), (SetEvent.LEFT, run.run_id)]


async def test_two_deletes_at_a_time_delete_once(embedded: Embedded) -> None:
    run = await embedded.submit(PLAIN, 1)
    ends = await asyncio.gather(
        *(embedded.runtime.delete(run.run_id, cancel=False) for _ in range(3)), return_exceptions=True
    )
    assert [type(end) for end in ends].count(RunNotFound) == 2
    assert None in ends


async def test_nothing_is_left_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of long runs go in many transactions, also after a restart."""
    monkeypatch.setattr(removals, "REMOVAL_SECONDS", 0.0)
    path = tmp_path / "state.db"
    async with opened(path) as embedded:
        await embedded.start()
        for number, key in ((1, None), (20, None), (500, "key"), (5_000, None)):
            run = await embedded.submit(PLAIN, *range(number), idempotency_key=key, labels={"n": str(number)})
            await embedded.runtime.delete(run.run_id, cancel=False)
            await refuse_to_know(embedded, run.run_id)
    monkeypatch.setattr(removals, "REMOVAL_SECONDS", 1.0)
    async with opened(path) as embedded:
        journal = embedded.journal
        removing = journal._removals._removing  # type: ignore[attr-defined]
        if removing is not None:
            await removing
        tables = ("runs", "ended_runs", "inputs", "results", "arriving", "postings", "early_runs")
        for table in tables:
            query = f"SELECT count(*) FROM {table}"
            number = await journal._file.read(lambda db, query=query: db.execute(query).fetchone()[0])  # type: ignore[attr-defined]
            assert (table, number) == (table, 0)
        kinds = await journal._file.read(  # type: ignore[attr-defined]
            lambda db: db.execute("SELECT DISTINCT kind FROM terms").fetchall()
        )
        assert kinds == [(1,)]


async def test_a_run_that_is_loaded_while_it_is_deleted_is_not_known_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with opened(path) as embedded:
        await embedded.start()
        runs = [await embedded.submit(PLAIN, number) for number in range(20)]
    async with opened(path) as embedded:
        for run in runs:
            loading = asyncio.create_task(embedded.runtime.get(run.run_id))
            await embedded.runtime.delete(run.run_id, cancel=False)
            await asyncio.gather(loading, return_exceptions=True)
            await refuse_to_know(embedded, run.run_id)
