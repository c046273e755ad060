import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from gateway.components import ComponentServerView
from gateway.components.output import OutputLine
from gateway.core.readiness import Readiness
from gateway.server.overview import MOST_LINES, Overview
from gateway.telemetry.metrics import MetricFamily

LINE = OutputLine(1_800_000_000.125, "stderr", "said")


class Sleeps:
    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


def overview(
    *servers: ComponentServerView, readiness: Readiness | None = None, sleep: Sleeps | None = None
) -> Overview:
    counted = [0.0]

    async def collect() -> list[list[MetricFamily]]:
        counted[0] += 100
        return [[MetricFamily("runs_gateway_runs_submitted_total", "counter", "", (), [((), [counted[0]])])]]

    return Overview(collect, readiness or Readiness(), lambda: servers, kind="embedded", sleep=sleep or Sleeps())


async def first_of(events: AsyncGenerator[bytes, None], number: int = 1) -> list[dict[str, Any]]:
    async with aclosing(events):
        return [json.loads(await anext(events)) for _ in range(number)]


async def test_an_event_tells_everything() -> None:
    (event,) = await first_of(overview(ComponentServerView("/t", True, [LINE])).events())
    assert event.keys() == {
        *("time", "calls_per_second", "latency_seconds", "errors_per_second", "open_streams", "followers"),
        *("followed_runs", "followed_sets", "updates_per_second", "memory", "items", "runs_per_second"),
        *("event_loop_turn_seconds", "state_file_bytes", "workers", "uptime_seconds", "version", "runtime"),
        "components",
    }
    assert event["runtime"] == {"kind": "embedded", "up": True}
    line = {"time": "2027-01-15T08:00:00.125Z", "stream": "stderr", "text": "said"}
    assert event["components"] == [{"prefix": "/t", "up": True, "executions": None, "errors": None, "lines": [line]}]


async def test_rates_come_with_the_second_event() -> None:
    sleep = Sleeps()
    first, second = await first_of(overview(sleep=sleep).events(), 2)
    assert first["runs_per_second"]["submitted"] is None
    assert second["runs_per_second"]["submitted"] > 0
    assert len(sleep.seconds) == 1
    assert 0 <= sleep.seconds[0] <= 1


async def test_a_runtime_that_takes_no_runs_is_told() -> None:
    readiness = Readiness()
    readiness.report("the disk is full")
    (event,) = await first_of(overview(readiness=readiness).events())
    assert event["runtime"]["up"] is False
    readiness.report(None)
    readiness.upstream_is_away = lambda: True
    (event,) = await first_of(overview(readiness=readiness).events())
    assert event["runtime"]["up"] is False


async def test_the_lines_of_many_servers_are_bounded_together() -> None:
    servers = [ComponentServerView(f"/{number}", True, [LINE] * 50) for number in range(100)]
    (event,) = await first_of(overview(*servers).events())
    assert sum(len(server["lines"]) for server in event["components"]) <= MOST_LINES
    assert all(server["lines"] for server in event["components"])
