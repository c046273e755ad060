"""Submits that are under way when the gateway stops."""

import asyncio

import pytest

from gateway.core.errors import Unavailable
from gateway.runtimes.temporal import open_submits
from gateway.runtimes.temporal.open_submits import OpenSubmits


async def submitted(submits: OpenSubmits, may_end: asyncio.Event) -> str:
    with submits.submit():
        await may_end.wait()
    return "accepted"


async def begun(submits: OpenSubmits, may_end: asyncio.Event) -> "asyncio.Task[str]":
    task = asyncio.create_task(submitted(submits, may_end))
    await asyncio.sleep(0)
    return task


async def test_one_that_ends_in_time_is_accepted() -> None:
    submits, may_end = OpenSubmits(), asyncio.Event()
    await submits.end()
    task = await begun(submits, may_end)
    ending = asyncio.create_task(submits.end())
    await asyncio.sleep(0)
    may_end.set()
    assert await task == "accepted"
    await ending


async def test_one_that_takes_longer_is_told_that_the_gateway_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_submits, "LAST_SECONDS", 0.0)
    submits = OpenSubmits()
    tasks = [await begun(submits, asyncio.Event()) for _ in range(2)]
    await submits.end()
    for task in tasks:
        with pytest.raises(Unavailable, match="shutting down"):
            await task
        assert not task.cancelling()


async def test_one_whose_client_has_left_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_submits, "LAST_SECONDS", 0.0)
    submits = OpenSubmits()
    task = await begun(submits, asyncio.Event())
    task.cancel()
    await submits.end()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_one_that_fails_otherwise_raises_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_submits, "LAST_SECONDS", 0.0)
    submits = OpenSubmits()

    async def fails() -> None:
        with submits.submit():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise KeyError from None

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await submits.end()
    with pytest.raises(KeyError):
        await task
