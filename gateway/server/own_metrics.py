"""Reading what this process has counted."""

import asyncio
import time
from typing import Final

from gateway.telemetry.metrics import MetricFamily, each_family
from gateway.telemetry.process_metrics import measured, tell

_SLICE_SECONDS: Final = 0.0003
"""How long metrics are read before others have their turn."""


async def own_families(process: str) -> list[MetricFamily]:
    """What this process has counted of all metrics; `process` is its name."""
    tell(process, await asyncio.to_thread(measured))
    families: list[MetricFamily] = []
    began = time.perf_counter()
    for family in each_family():
        families.append(family)
        if time.perf_counter() - began > _SLICE_SECONDS:
            await asyncio.sleep(0)
            began = time.perf_counter()
    return families
