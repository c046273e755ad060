"""The embedded runtime as a whole."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator

import pytest

from gateway.components import Components
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import FlowNotFound, TooLarge, Unavailable
from gateway.core.model import Blob, BlobType, RunState, RunStatus, SubmitParams, blob_id_of
from gateway.runs.service import RunsService
from gateway.runtimes.embedded.runtime import EmbeddedRuntime
from gateway.storage.idempotency import IN_MEMORY

IDENTITY = Blob(json.dumps({"steps": [], "output": {"$input": "$"}}), BlobType.FLOW)
MAP = {"workflow": {"$literal": {"output": 1}}, "items": []}
NESTED = {
    "steps": [{"id": "map", "component": "/builtin/map", "input": MAP}],
    "output": {"$step": "map", "path": "successful"},
}


@pytest.fixture
async def runtime() -> AsyncIterator[EmbeddedRuntime]:
    """A runtime that has not been started."""
    components = Components({})
    runtime = await EmbeddedRuntime.open(IN_MEMORY, components)
    yield runtime
    await runtime.close()
    await components.close()


async def submitting(runtime: EmbeddedRuntime, flow: Blob, inputs: list[str]) -> "asyncio.Task[RunStatus]":
    """A submit that has gone as far as it goes now."""
    params = SubmitParams(flow_id=await runtime.put_blob(flow), inputs=inputs, wait=True)
    submit = asyncio.create_task(RunsService(runtime, grace=0).submit(params))
    for _ in range(10):
        await asyncio.sleep(0)
    return submit


async def test_what_is_submitted_before_the_start_waits_for_it(
    runtime: EmbeddedRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    submit = await submitting(runtime, IDENTITY, [str(number) for number in range(100)])
    assert not submit.done()
    await runtime.start(RunsService(runtime, grace=0))
    final = await submit
    assert (final.status, final.items.success) == (RunState.SUCCESS, 100)
    assert caplog.records == []


async def test_nested_runs_go_through_the_service_that_is_given_at_the_start(runtime: EmbeddedRuntime) -> None:
    class Counted(RunsService):
        submitted = 0

        async def submit(self, *args: object, **named: object) -> RunStatus:
            self.submitted += 1
            return await super().submit(*args, **named)  # type: ignore[arg-type]

    service = Counted(runtime, grace=0)
    await runtime.start(service)
    submit = await submitting(runtime, Blob(json.dumps(NESTED), BlobType.FLOW), ["null"])
    assert (await submit).results is not None
    assert service.submitted == 1


async def test_a_submit_that_waits_for_the_start_is_refused_when_the_runtime_drains(runtime: EmbeddedRuntime) -> None:
    submit = await submitting(runtime, IDENTITY, ["1"])
    await runtime.drain()
    with pytest.raises(Unavailable):
        await submit


async def test_no_run_has_a_flow_that_could_not_be_kept() -> None:
    components = Components({})
    runtime = await EmbeddedRuntime.open(IN_MEMORY, components, account=MemoryAccount(1_000))
    await runtime.start(RunsService(runtime, grace=0))
    content = json.dumps({"description": "x" * 1_000, "output": 1}, separators=(",", ":"))
    with pytest.raises(TooLarge):
        await runtime.put_blob(Blob(content, BlobType.FLOW))
    flow_id = blob_id_of(hashlib.sha256(content.encode()).hexdigest())
    with pytest.raises(FlowNotFound):
        await runtime.submit(SubmitParams(flow_id=flow_id, inputs=["1"]), "")
    await runtime.close()
    await components.close()
