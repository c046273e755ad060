"""The processor time of a submit in the runtime alone: no transport, no link and no worker before it."""

import asyncio
import time
from typing import Final

import uvloop

from benchmarks.control import tell
from benchmarks.sample import FLOW, INPUT
from gateway.components import Components
from gateway.core.model import Blob, BlobType, JsonText, SubmitParams
from gateway.runs.service import RunsService
from gateway.runtimes.embedded.runtime import EmbeddedRuntime
from gateway.server.app import tune_interpreter

SUBMITS: Final = 2_000
BATCHES: Final = 5


async def microseconds() -> float:
    """Return the processor time of a submit, the mean in the fastest of several batches."""
    runtime = await EmbeddedRuntime.open(":memory:", Components({}))
    service = RunsService(runtime)
    try:
        await runtime.start(service)
        flow_id = await runtime.put_blob(Blob(JsonText(FLOW), BlobType.FLOW))
        params = SubmitParams(flow_id=flow_id, inputs=[JsonText(INPUT)], wait=True)
        tune_interpreter()
        times = []
        for _ in range(BATCHES):
            begun = time.process_time()
            for _ in range(SUBMITS):
                await runtime.submit(params, "")
            times.append((time.process_time() - begun) / SUBMITS * 1e6)
        return min(times)
    finally:
        await runtime.drain()
        await service.close()
        await runtime.close()


def main() -> None:
    """The program."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        tell(us=runner.run(microseconds()))


if __name__ == "__main__":
    main()
