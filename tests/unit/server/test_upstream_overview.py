"""The overview of another process, over a real unix socket."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from gateway.core.errors import Unavailable
from gateway.fronts.http.metrics_front import MetricsFront
from gateway.fronts.http.overview_stream import OverviewStream
from gateway.server.upstream_overview import PAGE, upstream_events
from tests.support.tasks import LIMIT

LARGE = b'"' + b"x" * (1 << 20) + b'"'


class Told:
    """What the other process tells, and whether somebody listens."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.closed = asyncio.Event()

    async def make(self) -> AsyncGenerator[bytes, None]:
        try:
            while (event := await self.events.get()) is not None:
                yield event
        finally:
            self.closed.set()


@asynccontextmanager
async def telling(told: Told, home: Path) -> AsyncIterator[tuple[MetricsFront, str]]:
    front = MetricsFront({PAGE: OverviewStream(told.make).page}, f"unix:{home}/metrics")
    await front.start()
    try:
        async with asyncio.timeout(LIMIT):
            yield front, f"{home}/metrics"
    finally:
        await front.stop()


async def test_events_are_passed_on_and_who_leaves_is_noticed(home: Path) -> None:
    told = Told()
    async with telling(told, home) as (_, path):
        async with aclosing(upstream_events(path)) as events:
            for event in (b"1", LARGE, b"2"):
                told.events.put_nowait(event)
                assert await anext(events) == event
        await told.closed.wait()


async def test_a_process_that_is_gone_is_unavailable(home: Path) -> None:
    with pytest.raises(Unavailable):
        await anext(upstream_events(f"{home}/nothing"))


async def test_a_process_that_ends_is_unavailable(home: Path) -> None:
    told = Told()
    async with telling(told, home) as (front, path), aclosing(upstream_events(path)) as events:
        told.events.put_nowait(b"1")
        assert await anext(events) == b"1"
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        await front.stop()
        with pytest.raises(Unavailable):
            await waiting


async def test_a_process_without_a_page_has_no_overview(home: Path) -> None:
    front = MetricsFront({}, f"unix:{home}/metrics")
    await front.start()
    try:
        with pytest.raises(Unavailable):
            await anext(upstream_events(f"{home}/metrics"))
    finally:
        await front.stop()
