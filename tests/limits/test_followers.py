"""Followers: a bounded number of them is woken, and has something sent, in each turn of the event loop."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.concurrency.batches import BATCH
from gateway.concurrency.fair_queue import FairQueue
from gateway.concurrency.fair_turns import FairTurns
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.caller import ANYBODY
from gateway.core.model import GetParams, SubmitParams
from gateway.fronts.http import event_stream
from gateway.runs.hub import Hub
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from tests.support.scripted_runtime import FLOW, ScriptedRuntime

FOLLOWERS = 300


async def submitted(runtime: ScriptedRuntime) -> str:
    flow_id = await runtime.put_blob(FLOW)
    return (await runtime.submit(SubmitParams(flow_id=flow_id, inputs=["1"]), "")).status.run_id


async def test_heartbeats_that_are_due_at_once_wake_a_few_followers_in_each_turn() -> None:
    runtime = ScriptedRuntime()
    hub = Hub(runtime, grace=0)
    woken = most = 0

    def on_change() -> None:
        nonlocal woken
        woken += 1

    runs = [await submitted(runtime) for _ in range(10)]
    watches = [hub.watch(runs[number % len(runs)], on_change) for number in range(FOLLOWERS)]
    for _ in range(1_000):
        await asyncio.sleep(0)
    assert woken == FOLLOWERS  # by the first state of each run
    due = time.monotonic()
    for watch in watches:
        watch.wake_at(due)
    while woken < 2 * FOLLOWERS:
        before = woken
        await asyncio.sleep(0)
        most = max(most, woken - before)
    assert most <= BATCH
    await hub.close()


async def test_events_of_all_streams_share_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is a counter here: each look at it is a tenth of a millisecond, so a turn has room for five events."""
    ticks = seen = most = 0

    def clock() -> float:
        nonlocal ticks
        ticks += 1
        return ticks / 10_000

    monkeypatch.setattr(event_stream, "FairTurns", lambda: FairTurns(clock=clock, worked=lambda: 0.0))
    runtime = ScriptedRuntime()
    service = RunsService(runtime)
    streams = event_stream.EventStreams(RunsServices(service), FairQueue(), MemoryAccount().share())
    params = GetParams(run_id=await submitted(runtime), wait=True, include_results=True)
    # A client that reads at once: the pace of a connection says so.
    pace = cast(Any, SimpleNamespace(paused=False, behind=False))

    async def follow() -> None:
        nonlocal seen
        events = streams.events(event_stream.Follow("1", "runs/get", params), pace, ANYBODY)
        await anext(events)
        seen += 1
        await events.aclose()

    following = [asyncio.create_task(follow()) for _ in range(FOLLOWERS)]
    while seen < FOLLOWERS:
        before = seen
        await asyncio.sleep(0)
        most = max(most, seen - before)
    assert most <= 16
    await asyncio.gather(*following)
    await service.close()
