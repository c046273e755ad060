"""The embedded runtime as a whole."""

import json

import pytest

from gateway.components import Components
from gateway.core.model import Blob, BlobType, RunState, SubmitParams
from gateway.runtimes.embedded.runtime import IN_MEMORY, EmbeddedRuntime


async def test_what_is_submitted_before_the_start_executes_once(caplog: pytest.LogCaptureFixture) -> None:
    async def callback(body: bytes, scope: str) -> bytes | None:
        return None

    components = Components({}, callback=callback, blob_api_url=lambda: None)
    runtime = await EmbeddedRuntime.open(IN_MEMORY, components)
    flow_id = await runtime.put_blob(Blob(json.dumps({"steps": [], "output": {"$input": "$"}}), BlobType.FLOW))
    inputs = [str(number) for number in range(100)]
    accepted = await runtime.submit(SubmitParams(flow_id=flow_id, inputs=inputs), "")
    await runtime.start()
    final = [snapshot async for snapshot in runtime.watch(accepted.status.run_id)][-1]
    await runtime.close()
    await components.close()
    assert (final.status.status, final.status.items.success) == (RunState.SUCCESS, 100)
    assert caplog.records == []
