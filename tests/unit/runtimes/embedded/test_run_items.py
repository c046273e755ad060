"""The items of a run: what executes now, what each step came to, and that looking for a few looks at a few."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import RunNotFound
from gateway.core.items import MAX_STEPS, Item, StepState
from gateway.core.model import ItemError, ItemResult, RunState
from gateway.flows import step_retries
from gateway.flows.item_log import MAX_KEPT_BYTES, MAX_MESSAGE, ItemLog, read_log
from gateway.flows.run_record import Outcome, RunRecord
from gateway.runtimes.embedded import results_keeper
from gateway.runtimes.embedded.journal import Completion
from gateway.runtimes.embedded.sqlite_journal import SqliteJournal
from tests.support.component_server import Call, ComponentServer
from tests.support.embedded import Embedded, opened
from tests.support.held_component import HELD, HeldComponent

RUN_ID = "0192aaaa-0000-7000-8000-000000000001"


@pytest.fixture
async def held() -> AsyncIterator[HeldComponent]:
    held = HeldComponent()
    async with held.server.running():
        yield held


@pytest.fixture(params=["memory", "file"])
async def embedded(request: pytest.FixtureRequest, tmp_path: Path, held: HeldComponent) -> AsyncIterator[Embedded]:
    path = tmp_path / "state.db" if request.param == "file" else None
    async with opened(path, components={"/test": held.server.url}) as embedded:
        await embedded.start()
        yield embedded


async def listed(embedded: Embedded, run_id: str, *states: RunState, limit: int = 1_000, inputs: bool = False) -> Any:
    """All items in some states, page by page."""
    items: list[Item] = []
    start: int | None = 0
    while start is not None:
        page = await embedded.runtime.items(run_id, states, start, limit, with_inputs=inputs)
        items += page.items
        assert page.rest is None or page.rest > start
        start = page.rest
    return items


async def test_items_are_found_by_their_states_while_they_execute_and_afterwards(
    embedded: Embedded, held: HeldComponent
) -> None:
    held.release(1)
    status = await embedded.submit(HELD, 0, 1, 2, 3, 4, wait=False, max_concurrency=2)
    await held.executes(3)
    async for snapshot in embedded.runtime.watch(status.run_id):
        if snapshot.completions:
            break
    items = await listed(embedded, status.run_id, inputs=True)
    assert [(item.item_index, item.status, item.input) for item in items] == [
        (0, RunState.RUNNING, "0"),
        (1, RunState.SUCCESS, "1"),
        (2, RunState.RUNNING, "2"),
        (3, RunState.PENDING, "3"),
        (4, RunState.PENDING, "4"),
    ]
    assert items[1].result == ItemResult(
        item_index=1, status=RunState.SUCCESS, value="1", completed_at=items[1].completed_at
    )
    for limit in (1, 2, 1_000):
        for state in RunState:
            found = await listed(embedded, status.run_id, state, limit=limit)
            assert found == [
                item for item in await listed(embedded, status.run_id, limit=limit) if item.status is state
            ]
    executing = await listed(embedded, status.run_id, RunState.RUNNING)
    assert [item.item_index for item in executing] == [0, 2]
    (step,) = executing[0].steps
    assert (step.step_id, step.component, step.status, step.attempts) == ("s", "/test/held", StepState.RUNNING, 1)
    assert executing[0].attempts == 1
    assert status.created_at <= (executing[0].started_at or 0) <= (step.started_at or 0)
    assert step.completed_at is None
    await embedded.runtime.cancel(status.run_id, None)
    items = await listed(embedded, status.run_id)
    cancelled, success = RunState.CANCELLED, RunState.SUCCESS
    assert [item.status for item in items] == [cancelled, success, cancelled, cancelled, cancelled]
    assert [item.item_index for item in await listed(embedded, status.run_id, cancelled)] == [0, 2, 3, 4]
    assert await listed(embedded, status.run_id, success) == [items[1]]
    assert await listed(embedded, status.run_id, RunState.PENDING, RunState.RUNNING, RunState.FAILED) == []
    (step,) = items[1].steps
    assert (step.status, step.attempts) == (StepState.SUCCESS, 1)
    assert (items[1].started_at or 0) <= (step.started_at or 0) <= (step.completed_at or 0)
    with pytest.raises(RunNotFound):
        await listed(embedded, RUN_ID)


async def test_a_step_that_is_tried_again_shows_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_retries, "FIRST_PAUSE", 1_000.0)
    monkeypatch.setattr(step_retries, "LAST_PAUSE", 1_000.0)
    failed = asyncio.Event()

    async def answer(call: Call) -> None:
        await call.error(-32100, "x" * 2_000)
        failed.set()

    flow = {
        "steps": [
            {"id": "a", "component": "/test/x", "input": {"$input": "$"}, "onError": {"action": "retry"}},
            {"id": "b", "component": "/test/x", "input": {"$step": "a"}},
        ],
        "output": [{"$step": "a"}, {"$step": "b"}],
    }
    async with ComponentServer(answer).running() as url, opened(components={"/test": url}) as embedded:
        await embedded.start()
        status = await embedded.submit(flow, 1, wait=False)
        await failed.wait()
        while not (item := (await listed(embedded, status.run_id))[0]).steps[0].error:  # noqa: ASYNC110
            await asyncio.sleep(0)
        first, second = item.steps
        assert (first.status, first.attempts, second.status, second.attempts) == (
            StepState.RUNNING,
            1,
            StepState.PENDING,
            0,
        )
        assert first.error is not None
        assert (first.error.code, len(first.error.message)) == (-32100, MAX_MESSAGE)


STEPS = {
    "steps": [
        {"id": "ok", "component": "/builtin/put_blob", "input": {"data": 1}},
        {"id": "bad", "component": "/builtin/put_blob", "input": {}, "onError": {"action": "useDefault"}},
        {"id": "no", "component": "/builtin/put_blob", "input": {"data": {"$input": "$.missing"}}, "mustExecute": True},
        {"id": "unneeded", "component": "/builtin/put_blob", "input": {"data": 1}},
        {
            "id": "in",
            "component": "/builtin/iterate",
            "input": {
                "flow": {
                    "$literal": {
                        "steps": [{"id": "put", "component": "/builtin/put_blob", "input": {"data": 1}}],
                        "output": {"result": {"$step": "put"}},
                    }
                },
                "initial_input": 1,
            },
        },
    ],
    "output": [{"$step": "ok"}, {"$step": "bad"}, {"$step": "in"}],
}


async def test_what_each_step_came_to_is_kept_also_over_a_restart(tmp_path: Path, held: HeldComponent) -> None:
    path = tmp_path / "state.db"
    async with opened(path) as embedded:
        await embedded.start()
        status = await embedded.submit(STEPS, {}, {"missing": 1})
        assert status.status is RunState.SUCCESS
        before = await listed(embedded, status.run_id)
    async with opened(path) as embedded:
        assert await listed(embedded, status.run_id) == before
    success, failed = StepState.SUCCESS, StepState.FAILED
    for item, no in zip(before, (failed, success), strict=True):
        states = {step.step_id: (step.status, step.attempts) for step in item.steps}
        assert states == {
            "ok": (success, 1),
            "bad": (failed, 1),
            "no": (no, int(no is success)),
            "in": (success, 1),
            "in/0/put": (success, 1),
        }
        errors = {step.step_id: step.error for step in item.steps if step.error is not None}
        assert set(errors) == {"bad"} | ({"no"} if no is failed else set())
        assert all(step.completed_at is not None for step in item.steps)


STOPPED = {
    "steps": [
        {"id": "a", "component": "/builtin/put_blob", "input": {"data": {"$input": "$"}}},
        {
            "id": "b",
            "component": "/builtin/put_blob",
            "input": {"wrong": {"$step": "a"}},
            "onError": {"action": "useDefault", "defaultValue": 5},
        },
        {"id": "h", "component": "/test/held", "input": {"$step": "b"}},
        {"id": "after", "component": "/test/held", "input": {"$step": "h"}},
    ],
    "output": {"$step": "after"},
}


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_items_that_a_cancel_has_stopped_keep_what_they_did(
    kind: str, tmp_path: Path, held: HeldComponent
) -> None:
    path = tmp_path / "state.db" if kind == "file" else None
    async with opened(path, components={"/test": held.server.url}) as embedded:
        await embedded.start()
        status = await embedded.submit(STOPPED, 0, 1, 2, wait=False, max_concurrency=2)
        await held.executes(2)
        before = await listed(embedded, status.run_id)
        ended = (await embedded.runtime.cancel(status.run_id, "it hangs")).status
        items = await listed(embedded, status.run_id)
        assert await listed(embedded, status.run_id, RunState.CANCELLED, limit=1) == items
    if path is not None:
        async with opened(path) as embedded:
            assert await listed(embedded, status.run_id) == items
    success, failed, cancelled = StepState.SUCCESS, StepState.FAILED, StepState.CANCELLED
    for item, running in zip(items[:2], before[:2], strict=True):
        assert (item.status, item.result, item.attempts) == (RunState.CANCELLED, None, 1)
        assert (item.started_at, item.completed_at) == (running.started_at, ended.completed_at)
        states = {step.step_id: (step.status, step.attempts) for step in item.steps}
        assert states == {"a": (success, 1), "b": (failed, 1), "h": (cancelled, 1), "after": (cancelled, 0)}
        assert [step.started_at for step in item.steps] == [step.started_at for step in running.steps]
        (hanging,) = (step for step in item.steps if step.step_id == "h")
        assert (hanging.started_at or 0) <= (hanging.completed_at or 0) <= (item.completed_at or 0)
    assert items[2] == Item(2, RunState.CANCELLED, completed_at=ended.completed_at)


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_what_a_cancel_keeps_of_items_is_bounded_and_goes_with_the_run(
    kind: str, tmp_path: Path, held: HeldComponent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results_keeper, "STOPPED_BYTES", 1)
    path = tmp_path / "state.db" if kind == "file" else None
    async with opened(path, components={"/test": held.server.url}) as embedded:
        await embedded.start()
        status = await embedded.submit(HELD, *range(70), wait=False, max_concurrency=70)
        await held.executes(64)
        await embedded.runtime.cancel(status.run_id, None)
        items = await listed(embedded, status.run_id)
        assert [item.status for item in items] == [RunState.CANCELLED] * 70
        assert len([item for item in items if item.steps]) == 1
        begun = [item for item in items if item.started_at is not None]
        assert len(begun) >= 64
        assert {item.attempts for item in begun} == {1}
        assert len(await embedded.journal.stopped_items(status.run_id, 0, 70)) == len(begun)
        await embedded.runtime.delete(status.run_id, cancel=False)
        if isinstance(embedded.journal, SqliteJournal):
            await embedded.journal.finish_removals()
            count = "SELECT count(*) FROM stopped_items"
            assert await embedded.journal._file.read(lambda db: db.execute(count).fetchone()) == (0,)


async def test_items_that_go_on_after_a_restart_have_begun_at_an_unknown_number_of_times(
    tmp_path: Path, held: HeldComponent
) -> None:
    for _ in range(2):
        async with opened(tmp_path / "state.db", components={"/test": held.server.url}) as embedded:
            await embedded.start()
            if not held.given:
                status = await embedded.submit(HELD, 7, wait=False)
                await held.executes(1)
                (first,) = await listed(embedded, status.run_id)
            else:
                await held.executes(2)
                (second,) = await listed(embedded, status.run_id)
    assert (first.attempts, second.attempts) == (1, 0)
    assert (second.status, second.steps[0].attempts) == (RunState.RUNNING, 1)
    assert (second.started_at or 0) > (first.started_at or 0)


@asynccontextmanager
async def large(tmp_path: Path, total: int, failures: list[int]) -> AsyncIterator[Embedded]:
    """A run that has ended with these failures and one cancelled item, the last one."""
    async with opened(tmp_path / "state.db") as embedded:
        record = RunRecord(RUN_ID, await embedded.put(HELD), None, None, total, None, None, "{}", None, "", None, "", 7)
        await embedded.journal.create(record, ["1"] * total)
        done = []
        for index in range(total - 1):
            error = ItemError(code=1, message="m") if index in failures else None
            state = RunState.SUCCESS if error is None else RunState.FAILED
            value = "1" if error is None else None
            done.append(
                Completion(index, ItemResult(item_index=index, status=state, value=value, error=error, completed_at=8))
            )
        outcome = Outcome(RunState.CANCELLED, total - 1 - len(failures), len(failures), 9, cancelled=1)
        await embedded.journal.complete(RUN_ID, done, outcome)
        yield embedded


async def test_few_items_among_many_are_found_by_few_reads(tmp_path: Path) -> None:
    async with large(tmp_path, 50_000, [7, 40_000]) as embedded:
        reads = 0
        read = embedded.journal.items

        async def counted(*arguments: Any) -> Any:
            nonlocal reads
            reads += 1
            return await read(*arguments)

        embedded.journal.items = counted  # type: ignore[method-assign, assignment]
        found = await listed(embedded, RUN_ID, RunState.FAILED, inputs=True)
        assert [(item.item_index, item.input) for item in found] == [(7, "1"), (40_000, "1")]
        assert reads == 1
        (last,) = await listed(embedded, RUN_ID, RunState.CANCELLED)
        assert (last.item_index, last.completed_at) == (49_999, 9)
        assert reads == 1
        assert await listed(embedded, RUN_ID, RunState.PENDING, RunState.RUNNING) == []
        assert reads == 1
        found = await listed(embedded, RUN_ID, RunState.FAILED, RunState.CANCELLED)
        assert [item.item_index for item in found] == [7, 40_000, 49_999]


async def test_a_page_of_items_holds_about_a_mebibyte(embedded: Embedded) -> None:
    value = "x" * 300_000
    status = await embedded.submit({"output": {"$input": "$"}}, *[value] * 10)
    for inputs, most in ((False, 4), (True, 2)):
        page = await embedded.runtime.items(status.run_id, (), 0, 1_000, with_inputs=inputs)
        assert 1 <= len(page.items) <= most or page.items[0].input is None
        assert len(await listed(embedded, status.run_id, inputs=inputs)) == 10


def test_what_is_kept_of_steps_is_bounded() -> None:
    log = ItemLog(5, 1)
    for number in range(MAX_STEPS + 5):
        note = log.need(f"s{number}", "/c")
        assert (note is None) == (number >= MAX_STEPS)
    kept = log.kept()
    assert kept is not None
    assert len(kept) < MAX_KEPT_BYTES
    assert len(read_log(kept).steps) == MAX_STEPS
    assert {step.status for step in read_log(kept).statuses()} == {StepState.CANCELLED}
    log = ItemLog(5, 1)
    for number in range(MAX_STEPS):
        note = log.need(f"s{number}", "/c")
        assert note is not None
        note.begin()
        note.end(ItemError(code=1, message="m" * 10_000, data="[]"))
    kept = log.kept()
    assert kept is not None
    assert len(kept) < MAX_KEPT_BYTES + 5_000
    steps = read_log(kept).statuses()
    assert 0 < len(steps) < MAX_STEPS
    assert steps == log.statuses()[: len(steps)]


def test_nothing_is_kept_of_items_without_steps() -> None:
    assert ItemLog(5, 1).kept() is None
