"""What all processes of a gateway have counted."""

import asyncio

from gateway.concurrency.single_flight import SingleFlight
from gateway.server.own_metrics import own_families
from gateway.server.workers_metrics import WorkersMetrics
from gateway.telemetry.metrics import MetricFamily


class SummedMetrics:
    """What this process, called `process`, and its workers have counted. Close it."""

    def __init__(self, process: str, workers: WorkersMetrics | None = None) -> None:
        self._process = process
        self._workers = workers
        self._collected = SingleFlight(self._collect)

    async def collect(self) -> list[list[MetricFamily]]:
        """What each process has counted. Callers at the same time get the same."""
        return await self._collected.get(None)

    async def close(self) -> None:
        """Ask nobody any more."""
        await self._collected.close()

    async def _collect(self, _: None) -> list[list[MetricFamily]]:
        if self._workers is None:
            return [await own_families(self._process)]
        own, workers = await asyncio.gather(own_families(self._process), self._workers.collect())
        return [own, *workers]
