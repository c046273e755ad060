"""Journalled submits with and without the index of runs, in one process, without fronts."""

import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Final

import uvloop

from benchmarks.scenarios import JOURNAL, Metrics
from gateway.components import Components
from gateway.core.model import Blob, BlobType, SubmitParams
from gateway.runs.service import RunsService
from gateway.runtimes.embedded.runtime import EmbeddedRuntime

AT_ONCE: Final = 64
_FLOW: Final = json.dumps({"name": "echo", "output": {"$input": "$"}})


def indexed_submits(seconds: float, *, indexed: bool) -> Metrics:
    """Measure submits of one small item with a flow label, AT_ONCE at a time."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, tempfile.TemporaryDirectory() as directory:
        return runner.run(_submits(str(Path(directory, JOURNAL)), seconds, indexed=indexed))


async def _submits(state: str, seconds: float, *, indexed: bool) -> Metrics:
    runtime = await EmbeddedRuntime.open(state, Components({}))
    service = RunsService(runtime)
    try:
        await runtime.start(service)
        if not indexed:
            runtime._journal._tail.added = lambda *_: None  # type: ignore[attr-defined]
        params = SubmitParams(
            flow_id=await runtime.put_blob(Blob(_FLOW, BlobType.FLOW)), inputs=['{"a":1}'], flow_label="nightly"
        )
        begun, cpu = time.monotonic(), time.process_time()
        calls = await asyncio.gather(*(_submit(service, params, begun + seconds) for _ in range(AT_ONCE)))
        taken, cpu = time.monotonic() - begun, time.process_time() - cpu
    finally:
        await runtime.drain()
        await service.close()
        await runtime.close()
    return {"calls_per_s": sum(calls) / taken, "cpu_us": cpu / sum(calls) * 1e6}


async def _submit(service: RunsService, params: SubmitParams, until: float) -> int:
    calls = 0
    while time.monotonic() < until:
        await service.submit(params)
        calls += 1
    return calls
