"""How a gateway is, told once a second while somebody looks: the events of `/ui/overview`."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from importlib.metadata import version
from typing import Any, Final

import msgspec

from gateway.components import ComponentServerView
from gateway.core.readiness import Readiness
from gateway.fronts.http.metrics_page import CollectFamilies
from gateway.server.overview_numbers import OverviewNumbers, sample
from gateway.telemetry.metrics import MetricFamily

SAMPLE_SECONDS: Final = 1.0

MOST_LINES: Final = 400
"""How many lines of all component servers an event has: it is sent each second, to everybody who looks."""

_VERSION: Final = version("runs-gateway")


class Overview:
    """Tells how a gateway is: what `collect` returns, its runtime, of this `kind`, and its component servers."""

    def __init__(
        self,
        collect: CollectFamilies,
        readiness: Readiness,
        component_servers: Callable[[], Sequence[ComponentServerView]],
        *,
        kind: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._collect = collect
        self._readiness = readiness
        self._component_servers = component_servers
        self._kind = kind
        self._sleep = sleep
        self._started = time.monotonic()

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Yield a JSON object each second, without end. The first one has no rates. Close it explicitly."""
        numbers = OverviewNumbers()
        while True:
            began = time.monotonic()
            yield await self._event(numbers)
            await self._sleep(max(0.0, began + SAMPLE_SECONDS - time.monotonic()))

    async def _event(self, numbers: OverviewNumbers) -> bytes:
        of_processes = await self._collect()
        facts = self._facts()
        servers = [(server.prefix, server.up, [*server.lines]) for server in self._component_servers()]
        now = time.monotonic()
        # Thousands of numbers, and of lines: not in a turn of the event loop.
        return await asyncio.to_thread(_written, numbers, now, of_processes, facts, servers)

    def _facts(self) -> dict[str, Any]:
        readiness = self._readiness
        return {
            "uptime_seconds": time.monotonic() - self._started,
            "version": _VERSION,
            "runtime": {"kind": self._kind, "up": readiness.obstacle is None and not readiness.upstream_is_away()},
        }


def _written(
    numbers: OverviewNumbers,
    now: float,
    of_processes: Iterable[Iterable[MetricFamily]],
    facts: dict[str, Any],
    servers: list[tuple[str, bool, list[Any]]],
) -> bytes:
    told = {"time": _rfc3339(time.time()), **numbers.of(sample(now, of_processes)), **facts}
    most = max(1, MOST_LINES // max(1, len(servers)))
    told["components"] = [
        {
            "prefix": prefix,
            "up": up,
            **numbers.of_components(prefix),
            "lines": [
                {"time": _rfc3339(line.time), "stream": line.stream, "text": line.text} for line in lines[-most:]
            ],
        }
        for prefix, up, lines in servers
    ]
    return msgspec.json.encode(told)


def _rfc3339(seconds: float) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(seconds * 1000) % 1000:03d}Z"
