"""Work: everything that executes shares one budget of time, places and memory, however much of it there is.

The clock of the budget is a counter here: each look at it is a tenth of a millisecond, so a turn has room for five.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from gateway.components import Components
from gateway.components.limits import DEFAULT_LIMITS
from gateway.concurrency.canceller import BATCH
from gateway.concurrency.fair_turns import MAX_WOKEN, FairTurns
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.model import Blob, BlobType, RunState, RunStatus, SubmitParams
from gateway.flows import builtins, item_work
from gateway.flows.execution import execute_flow
from gateway.flows.item_work import DEFAULT_EXECUTING_ITEMS
from gateway.flows.step_retries import FIRST_PAUSE, LAST_PAUSE, MAX_RETRIES
from gateway.flows.task import LIMIT_REACHED, ItemFailure
from gateway.runs.service import RunsService
from gateway.runtimes.embedded.journal import Completion
from gateway.runtimes.embedded.runtime import EmbeddedRuntime
from tests.support.flow_host import TASK, FlowHost, compiled, failing
from tests.support.item_work import Alone

MOST_AT_ONCE = 16
"""How much may happen in one turn of the event loop: five pieces of work, and what these begin at once."""

ENDLESS = 2**32 - 1


def iterating(iterations: int) -> dict[str, Any]:
    """A flow whose step is busy for so many iterations."""
    given = {
        "flow": {"$literal": {"output": {"next": {"$input": "$"}}}},
        "initial_input": 1,
        "max_iterations": iterations,
    }
    return one_step("/builtin/iterate", given)


def one_step(component: str, given: Any = None, **members: Any) -> dict[str, Any]:
    step = {"id": "s", "component": component, "input": {"$input": "$"} if given is None else given, **members}
    return {"steps": [step], "output": {"$step": "s"}}


class Stage:
    """Components in this process. They begin at once and end when the stage is open, or never."""

    limits = DEFAULT_LIMITS

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.began = self.executing = self.most = self.cancelled = 0

    async def resolve(self, component: str, *, patient: bool) -> bool:
        return True

    def settling(self, component: str) -> None:
        return None

    async def execute(self, component: str, payload: str, **_: Any) -> str:
        self.began += 1
        self.executing += 1
        self.most = max(self.most, self.executing)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.executing -= 1
        return payload


class Gateway:
    """A runtime, and the service over it."""

    def __init__(self, runtime: EmbeddedRuntime, stage: Stage) -> None:
        self.runtime = runtime
        self.service = RunsService(runtime)
        self.stage = stage

    @property
    def held(self) -> int:
        """The bytes of the account that executing items hold."""
        return self.runtime._executor._shared.room.share.held

    async def submit(self, flow: Any, inputs: list[Any], *, wait: bool = False, concurrency: int = 20_000) -> RunStatus:
        flow_id = await self.service.put_blob(Blob(json.dumps(flow), BlobType.FLOW))
        texts = [json.dumps(value) for value in inputs]
        params = SubmitParams(flow_id=flow_id, inputs=texts, wait=wait, max_concurrency=concurrency)
        return await self.service.submit(params)


@asynccontextmanager
async def serving(max_items: int = DEFAULT_EXECUTING_ITEMS, memory: int = 1 << 30) -> AsyncIterator[Gateway]:
    stage, account = Stage(), MemoryAccount(memory)
    runtime = await EmbeddedRuntime.open(
        ":memory:", cast(Components, stage), account=account, max_executing_items=max_items
    )
    gateway = Gateway(runtime, stage)
    await runtime.start(gateway.service)
    try:
        yield gateway
    finally:
        await runtime.drain()
        await gateway.service.close()
        await runtime.close()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    """The clock of the budget. No piece of work counts as so long that others rest after it."""
    ticks = itertools.count(1)

    def clock() -> float:
        return next(ticks) * 0.0001

    monkeypatch.setattr(item_work, "FairTurns", lambda: FairTurns(clock=clock, worked=lambda: 0.0))
    return clock


async def turns_until(condition: Callable[[], bool]) -> int:
    """Let turns of the event loop pass until a condition holds, and return their number."""
    turns = 0
    while not condition():
        await asyncio.sleep(0)
        turns += 1
    return turns


async def steepest(count: Callable[[], float], until: Callable[[], bool]) -> float:
    """The most that a number grows in one turn of the event loop, until a condition holds."""
    most, before = 0.0, count()
    while not until():
        await asyncio.sleep(0)
        most, before = max(most, count() - before), count()
    return most


@pytest.mark.usefixtures("looks")
async def test_items_begin_a_few_in_each_turn() -> None:
    async with serving(max_items=2_000) as gateway:
        await gateway.submit(one_step("/a/b"), [1] * 2_000)
        stage = gateway.stage
        assert await steepest(lambda: stage.began, lambda: stage.began >= 1_750) <= MOST_AT_ONCE


@pytest.mark.usefixtures("looks")
async def test_steps_of_one_item_begin_a_few_in_each_turn() -> None:
    steps = [{"id": f"s{n}", "component": "/a/b", "input": n} for n in range(3_000)]
    async with serving() as gateway:
        await gateway.submit({"steps": steps, "output": [{"$step": f"s{n}"} for n in range(3_000)]}, [1])
        stage = gateway.stage
        assert await steepest(lambda: stage.began, lambda: stage.began == 3_000) <= MOST_AT_ONCE


async def test_busy_items_share_each_turn(looks: Callable[[], float]) -> None:
    """As many looks at the clock as work is done; a task that is woken too late looks as well."""
    async with serving() as gateway:
        await gateway.submit(iterating(ENDLESS), [1] * 5_000)
        turns = 0
        before, most = looks(), 0.0
        while turns < 2_000:
            await asyncio.sleep(0)
            turns += 1
            now = looks()
            most, before = max(most, now - before), now
        assert most <= 0.0001 * (2 * MAX_WOKEN + 10)


@pytest.mark.usefixtures("looks")
async def test_a_run_of_one_item_gets_as_many_turns_as_a_run_of_thousands() -> None:
    async with serving() as gateway:
        large = await gateway.submit(iterating(ENDLESS), [1] * 20_000)
        small = asyncio.create_task(gateway.submit(iterating(50), [1], wait=True))
        turns = 0
        while not small.done():
            await asyncio.sleep(0)
            turns += 1
        assert (await small).status is RunState.SUCCESS
        assert turns < 400
        assert (await gateway.runtime.get(large.run_id)).completions == 0


async def test_items_of_all_runs_have_a_ceiling_and_leave_places_for_runs_that_have_none() -> None:
    async with serving(max_items=16) as gateway:
        stage = gateway.stage
        for _ in range(2):
            await gateway.submit(one_step("/a/b"), [1] * 100)
        await turns_until(lambda: stage.executing >= 14)
        small = asyncio.create_task(gateway.submit(one_step("/a/b"), ["small"], wait=True))
        await turns_until(lambda: stage.executing >= 15)
        stage.open.set()
        assert (await small).status is RunState.SUCCESS
        await turns_until(lambda: stage.began >= 201)
        assert stage.most == 15


@pytest.mark.parametrize("flow", ["eval", "map"])
async def test_nested_runs_need_no_place_of_the_item_that_waits(flow: str) -> None:
    async with serving(max_items=1) as gateway:
        gateway.stage.open.set()
        inner = one_step("/a/b")
        given: dict[str, Any] = {"workflow": {"$literal": inner}, "items": [1, 2, 3]}
        if flow == "eval":
            flow_id = await gateway.service.put_blob(Blob(json.dumps(inner), BlobType.FLOW))
            given = {"flow_id": flow_id, "input": {"$input": "$"}}
        status = await gateway.submit(one_step(f"/builtin/{flow}", given), [1] * 5, wait=True)
        assert (status.status, gateway.stage.most) == (RunState.SUCCESS, 1)


async def test_a_component_that_asks_for_runs_gives_up_the_place_of_its_item() -> None:
    async with serving(max_items=1) as gateway:
        stage = gateway.stage
        outer = await gateway.submit(one_step("/a/b"), ["outer"])
        await turns_until(lambda: stage.executing > 0)
        await gateway.submit(one_step("/a/b"), ["inner"])
        assert stage.executing == 1
        gateway.runtime.waits_for_runs(f"{outer.run_id}/0/s")
        await turns_until(lambda: stage.executing >= 2)


async def test_retries_pause_ever_longer_and_have_a_ceiling_of_their_own() -> None:
    work = Alone()
    host = FlowHost({"/fail": failing(message="no")})
    flow = compiled(
        [{"id": "s", "component": "/fail", "onError": {"action": "retry", "maxRetries": ENDLESS}}], {"$step": "s"}
    )
    with pytest.raises(ItemFailure) as caught:
        await execute_flow(flow, "1", {}, host, TASK._replace(work=work))
    assert caught.value.error.code == LIMIT_REACHED
    assert "step s has failed 1001 times" in caught.value.error.message
    assert json.loads(caught.value.error.data or "") == {"path": ["s"]}
    assert len(work.pauses) == MAX_RETRIES
    for number, pause in enumerate(work.pauses):
        longest = min(FIRST_PAUSE * 2**number, LAST_PAUSE)
        assert longest / 2 <= pause <= longest


async def test_iterations_have_a_ceiling_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtins, "MAX_ITERATIONS", 10)
    with pytest.raises(ItemFailure) as caught:
        await execute_flow(compiled(**iterating(ENDLESS)), "1", {}, FlowHost(), TASK)
    error = caught.value.error
    assert (error.code, error.data) == (LIMIT_REACHED, '{"path":["s"]}')
    assert "step s has iterated 10 times" in error.message


async def test_values_on_their_way_to_the_journal_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 copies of an input of 30 KB: 1.8 MB for each item. An eighth of the account is 8 MiB."""
    async with serving(memory=64 << 20) as gateway:
        journal = gateway.runtime._journal
        complete = journal.complete
        most = 0

        async def slow(run_id: str, completions: Sequence[Completion], *arguments: Any) -> None:
            nonlocal most
            for _ in range(3):
                most = max(most, gateway.held)
                await asyncio.sleep(0)
            await complete(run_id, completions, *arguments)

        monkeypatch.setattr(journal, "complete", slow)
        value = "x" * 30_000
        status = await gateway.submit({"output": [{"$input": "$"}] * 60}, [value] * 64, wait=True)
        assert status.items.success == 64
        assert (2 << 20) < most < (11 << 20)
        assert gateway.held == 0


async def test_values_of_steps_are_bounded_and_items_that_hold_some_end() -> None:
    """Each of 64 items makes three values of 1.5 MB one after the other, and holds all of them."""
    steps = [
        {"id": "a", "component": "/a/b", "input": [{"$input": "$"}] * 50},
        {"id": "b", "component": "/a/b", "input": [{"$step": "a", "path": "$[0]"}] * 50},
        {"id": "c", "component": "/a/b", "input": [{"$step": "b", "path": "$[0]"}] * 50},
    ]
    async with serving(memory=64 << 20) as gateway:
        gateway.stage.open.set()
        running = asyncio.create_task(
            gateway.submit({"steps": steps, "output": {"$step": "c", "path": "$[0]"}}, ["x" * 30_000] * 64, wait=True)
        )
        most = 0
        while not running.done():
            await asyncio.sleep(0)
            most = max(most, gateway.held)
        assert (await running).items.success == 64
        assert most < (24 << 20)
        assert gateway.held == 0


async def test_a_stop_cancels_a_few_items_in_each_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.runtimes.embedded.executor.STOP_SECONDS", 60.0)
    async with serving(max_items=2_000) as gateway:
        stage = gateway.stage
        await gateway.submit(one_step("/a/b"), [1] * 2_000)
        await turns_until(lambda: stage.began >= 1_750)
        stopping = asyncio.create_task(gateway.runtime.drain())
        assert await steepest(lambda: stage.cancelled, stopping.done) <= BATCH
        assert stage.executing == 0


async def test_a_stop_has_an_end_whatever_executes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A component that does not let itself be cancelled."""
    monkeypatch.setattr("gateway.runtimes.embedded.executor.STOP_SECONDS", 0.0)
    async with serving() as gateway:
        stage = gateway.stage

        async def insist(component: str, payload: str, **_: Any) -> str:
            stage.began += 1
            while not stage.open.is_set():
                try:
                    await stage.open.wait()
                except asyncio.CancelledError:
                    stage.cancelled += 1
            return payload

        monkeypatch.setattr(stage, "execute", insist)
        await gateway.submit(one_step("/a/b"), [1])
        await turns_until(lambda: stage.began > 0)
        await gateway.runtime.drain()
        assert stage.open.is_set() is False
        stage.open.set()
        await turns_until(lambda: len(asyncio.all_tasks()) == 1)
