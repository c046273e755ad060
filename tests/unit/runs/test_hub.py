import asyncio
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial

import pytest

from gateway.concurrency.batches import BATCH
from gateway.core.errors import Internal, RunNotFound, Unavailable
from gateway.core.model import ResultOrder, RunState, SubmitParams
from gateway.core.position import Position
from gateway.core.runtime import Snapshot
from gateway.runs.hub import Hub, Watch
from tests.support.scripted_runtime import FLOW, MISSING_RUN, ScriptedRuntime
from tests.support.tasks import LIMIT, all_ended

HOUR = 3600.0
BEGINNING = Position(ResultOrder.BY_INDEX)


@pytest.fixture
def runtime() -> ScriptedRuntime:
    return ScriptedRuntime()


@pytest.fixture
async def hub(runtime: ScriptedRuntime) -> AsyncIterator[Hub]:
    hub = Hub(runtime, grace=0)
    yield hub
    assert len(hub) == 0
    await all_ended()
    assert runtime.watching == 0


async def submit(runtime: ScriptedRuntime, items: int = 4) -> str:
    flow_id = await runtime.put_blob(FLOW)
    return (await runtime.submit(SubmitParams(flow_id=flow_id, inputs=["null"] * items), "")).status.run_id


async def followers(hub: Hub, run_id: str, count: int) -> tuple[list[Watch], list["asyncio.Task[Snapshot | None]"]]:
    """Followers that have seen the first state, and wait for the next."""
    watches = [hub.watch(run_id) for _ in range(count)]
    assert len({id(await watch.changed()) for watch in watches}) == 1
    waiting = [asyncio.create_task(watch.changed()) for watch in watches]
    await asyncio.sleep(0)
    return watches, waiting


async def test_a_run_is_watched_once_however_many_follow_it(hub: Hub, runtime: ScriptedRuntime) -> None:
    run_id = await submit(runtime)
    watches, waiting = await followers(hub, run_id, 1000)
    await runtime.succeed(0)
    states = await asyncio.gather(*waiting)
    assert len({id(state) for state in states}) == 1
    assert states[0] is not None
    assert states[0].completions == 1
    assert (runtime.opened, len(hub)) == (1, 1)
    for watch in watches:
        assert len(hub) == 1
        watch.close()


async def test_runs_are_watched_apart(hub: Hub, runtime: ScriptedRuntime) -> None:
    first, second = await submit(runtime), await submit(runtime)
    with hub.watch(first) as one, hub.watch(second) as other:
        assert len(hub) == 2
        for watch, run_id in ((one, first), (other, second)):
            state = await watch.changed()
            assert state is not None
            assert state.status.run_id == run_id


async def test_who_comes_later_gets_the_state_at_once(hub: Hub, runtime: ScriptedRuntime) -> None:
    run_id = await submit(runtime)
    with hub.watch(run_id) as first:
        state = await first.changed()
        with hub.watch(run_id) as second:
            assert second.latest() is state
            assert second.latest() is None
    assert runtime.opened == 1


async def test_a_slow_reader_skips_to_the_latest_state(hub: Hub, runtime: ScriptedRuntime) -> None:
    run_id = await submit(runtime)
    with hub.watch(run_id) as slow, hub.watch(run_id) as fast:
        await slow.changed()
        await fast.changed()
        for index in range(4):
            await runtime.succeed(index)
            await fast.changed()
        state = await slow.changed()
        assert state is not None
        assert state.status.status is RunState.SUCCESS


async def test_a_run_that_has_ended_is_told_at_once_while_it_is_followed(hub: Hub, runtime: ScriptedRuntime) -> None:
    run_id = await submit(runtime, items=1)
    await runtime.succeed(0)
    with hub.watch(run_id) as first:
        state = await first.changed()
        await runtime.watched(0)
        with hub.watch(run_id) as second:
            assert second.latest() is state
    assert runtime.opened == 1
    assert len(hub) == 0


async def test_a_run_is_watched_on_for_a_time_of_grace(runtime: ScriptedRuntime) -> None:
    hub = Hub(runtime, grace=HOUR)
    run_id = await submit(runtime)
    for _ in range(10):
        with hub.watch(run_id) as watch:
            await watch.changed()
    await runtime.succeed(0)
    with hub.watch(run_id) as watch:
        assert watch.latest() is not None
    assert (len(hub), runtime.watching, runtime.opened) == (1, 1, 1)
    await hub.close()
    assert (len(hub), runtime.watching) == (0, 0)


async def test_a_run_that_ends_in_the_time_of_grace_is_let_go(runtime: ScriptedRuntime) -> None:
    hub = Hub(runtime, grace=HOUR)
    run_id = await submit(runtime, items=1)
    with hub.watch(run_id) as watch:
        await watch.changed()
    assert len(hub) == 1
    await runtime.succeed(0)
    await runtime.watched(0)
    await all_ended()
    # Whoever comes next finds what there is then: the run may have been deleted.
    assert len(hub) == 0
    with hub.watch(run_id) as watch:
        assert watch.latest() is None
        await watch.changed()
    assert runtime.opened == 2
    await hub.close()


async def test_a_run_is_let_go_when_the_time_of_grace_is_over(runtime: ScriptedRuntime) -> None:
    hub = Hub(runtime, grace=0.001)
    run_id = await submit(runtime)
    for _ in range(2):
        with hub.watch(run_id) as watch:
            await watch.changed()
        await runtime.watched(0)
        assert len(hub) == 0
    await hub.close()


async def test_who_comes_back_is_not_dropped_by_the_timer_of_an_earlier_leave(runtime: ScriptedRuntime) -> None:
    hub = Hub(runtime, grace=0.001)
    run_id = await submit(runtime)
    with hub.watch(run_id) as watch:
        await watch.changed()
        watch.close()
    with hub.watch(run_id) as watch:
        await watch.changed()
        assert await watch.changed(time.monotonic() + 0.02) is None
        assert len(hub) == 1
        await runtime.succeed(0)
        assert await watch.changed() is not None
    assert runtime.opened == 1
    await hub.close()


async def test_closing_twice_counts_once(hub: Hub, runtime: ScriptedRuntime) -> None:
    run_id = await submit(runtime)
    with hub.watch(run_id):
        watch = hub.watch(run_id)
        watch.close()
        watch.close()
        assert len(hub) == 1


async def test_what_breaks_the_watch_reaches_all_and_the_next_begins_anew(
    hub: Hub, runtime: ScriptedRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = await submit(runtime)
    watches, waiting = await followers(hub, run_id, 3 * BATCH)
    await runtime.break_down(ConnectionError("gone"))
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, Internal)
    assert caplog.text.count("ConnectionError: gone") == 1
    assert len(hub) == 0
    runtime.defect = None
    with hub.watch(run_id) as watch:
        assert await watch.changed() is not None
        for old in watches:
            old.close()
        assert len(hub) == 1


async def test_a_failure_that_is_raised_for_many_does_not_grow(hub: Hub, runtime: ScriptedRuntime) -> None:
    watch = hub.watch(MISSING_RUN)
    depths = []
    for _ in range(5):
        with pytest.raises(RunNotFound) as caught:
            await watch.changed()
        depths.append(len(traceback.extract_tb(caught.value.__traceback__)))
    watch.close()
    assert len(set(depths)) == 1


async def test_followers_are_woken_a_few_in_each_turn_of_the_loop(hub: Hub, runtime: ScriptedRuntime) -> None:
    run_id = await submit(runtime)
    woken = 0

    def wake() -> None:
        nonlocal woken
        woken += 1

    watches = [hub.watch(run_id, wake) for _ in range(5 * BATCH)]
    for finished in range(2):
        woken, at_once = 0, []
        if finished:
            await runtime.succeed(0)
        while woken < len(watches):
            before = woken
            await asyncio.sleep(0)
            at_once.append(woken - before)
        assert max(at_once) == BATCH
    for watch in watches:
        watch.close()


async def test_a_round_of_waking_goes_to_its_end_before_the_next(hub: Hub, runtime: ScriptedRuntime) -> None:
    run_id = await submit(runtime)
    calls: Counter[int] = Counter()
    watches = [hub.watch(run_id, partial(calls.update, [number])) for number in range(3 * BATCH)]
    for index in range(4):
        await runtime.succeed(index)
        await asyncio.sleep(0)
    async with asyncio.timeout(LIMIT):
        while (fewest := min(calls[number] for number in range(len(watches)))) < 2:
            assert max(calls.values(), default=0) <= fewest + 1
            await asyncio.sleep(0)
    for watch in watches:
        watch.close()


async def test_on_change_is_called_for_changes_until_the_watch_is_closed(hub: Hub, runtime: ScriptedRuntime) -> None:
    run_id = await submit(runtime)
    called = asyncio.Event()
    with hub.watch(run_id) as other:
        watch = hub.watch(run_id, called.set)
        await called.wait()
        assert watch.latest() is not None
        called.clear()
        late = hub.watch(run_id, called.set)
        assert not called.is_set()
        await called.wait()
        late.close()
        await other.changed()
        called.clear()
        await runtime.succeed(0)
        await called.wait()
        assert watch.latest() is not None
        watch.close()
        called.clear()
        await runtime.succeed(1)
        while (state := await other.changed()) is None or state.completions < 2:
            pass
        await asyncio.sleep(0)
        assert not called.is_set()


async def test_on_change_is_not_called_when_another_has_closed_the_watch(hub: Hub, runtime: ScriptedRuntime) -> None:
    run_id = await submit(runtime)
    called: list[str] = []

    def close_the_second() -> None:
        called.append("first")
        second.close()

    first = hub.watch(run_id, close_the_second)
    second = hub.watch(run_id, partial(called.append, "second"))
    with hub.watch(run_id) as third:
        await third.changed()
    first.close()
    assert called == ["first"]


async def test_on_change_is_called_for_failures(hub: Hub, runtime: ScriptedRuntime) -> None:
    called = asyncio.Event()
    with hub.watch(MISSING_RUN, called.set) as watch:
        await called.wait()
        with pytest.raises(RunNotFound):
            watch.latest()


async def test_waiting_ends_when_time_is_up(hub: Hub, runtime: ScriptedRuntime) -> None:
    run_id = await submit(runtime)
    with hub.watch(run_id) as watch:
        assert await watch.changed(time.monotonic()) is None
        await watch.changed(time.monotonic() + HOUR)
        for delay in (0.0, 0.005, 0.002):
            until = time.monotonic() + delay
            assert await watch.changed(until) is None
            assert time.monotonic() >= until
        waiting = asyncio.create_task(watch.changed(time.monotonic() + HOUR))
        await asyncio.sleep(0)
        await runtime.succeed(0)
        assert await waiting is not None


async def test_the_last_time_told_is_when_a_follower_is_woken(hub: Hub, runtime: ScriptedRuntime) -> None:
    run_id = await submit(runtime)
    called = asyncio.Event()
    with hub.watch(run_id, called.set) as watch:
        await called.wait()
        called.clear()
        now = time.monotonic()
        for delay in (HOUR, 0.003, 0.02):
            watch.wake_at(now + delay)
        await called.wait()
        assert time.monotonic() >= now + 0.019


@pytest.mark.parametrize("turns", range(4))
async def test_a_follower_that_is_cancelled_leaves_nothing(hub: Hub, runtime: ScriptedRuntime, turns: int) -> None:
    run_id = await submit(runtime)

    async def follow() -> None:
        with hub.watch(run_id) as watch:
            while True:
                await watch.changed(time.monotonic() + HOUR)

    following = asyncio.create_task(follow())
    for _ in range(turns):
        await asyncio.sleep(0)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    assert len(hub) == 0


async def test_updates_without_results_are_shared(hub: Hub, runtime: ScriptedRuntime) -> None:
    run_id = await submit(runtime)
    with hub.watch(run_id) as one, hub.watch(run_id) as other:
        state = await one.changed()
        assert state is await other.changed()
        assert state is not None
        plain = one.plain(state, ResultOrder.BY_INDEX)
        assert other.plain(state, ResultOrder.BY_INDEX) is plain
        assert (plain.heartbeat, plain.status, plain.revision) == (False, state.status, state.revision)
        heartbeat = one.plain(state, ResultOrder.BY_INDEX, heartbeat=True)
        assert other.plain(state, ResultOrder.BY_INDEX, heartbeat=True) is heartbeat
        assert heartbeat.heartbeat
        assert one.plain(state, ResultOrder.BY_COMPLETION).position == Position(ResultOrder.BY_COMPLETION)
        await runtime.succeed(0)
        await one.changed()
        assert one.plain(state, ResultOrder.BY_INDEX).revision == state.revision


async def test_a_closed_hub_sends_everybody_away(runtime: ScriptedRuntime) -> None:
    hub = Hub(runtime, grace=HOUR)
    run_id = await submit(runtime, items=2)
    await runtime.succeed(0)
    watches, waiting = await followers(hub, run_id, 3)
    await hub.close()
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, Unavailable)
    for watch in watches:
        watch.close()
    with pytest.raises(Unavailable):
        hub.watch(run_id)
    await all_ended()
    assert (len(hub), runtime.watching) == (0, 0)
    await hub.close()
