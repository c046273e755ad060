"""Many callers with views of their own: tokens for one run, or for labels, each of which is another view."""

import gc
import tracemalloc

from gateway.core.caller import CallerView
from gateway.core.control import ListParams
from gateway.core.model import GetParams, SubmitParams
from gateway.core.owner import Owner
from gateway.runs.service import RunsService
from gateway.runs.services import KEPT_VIEWS, RunsServices
from tests.support.scripted_runtime import FLOW, ScriptedRuntime

VIEWS = 4 * KEPT_VIEWS


async def used(services: RunsServices, flow_id: str, number: int) -> None:
    """Somebody with a token of its own submits a run, reads it and lists."""
    service = services.of(CallerView("team", labels=(("call", str(number)),)))
    run = await service.submit(SubmitParams(flow_id=flow_id, inputs=[], owner=Owner("team")))
    await service.get(GetParams(run_id=run.run_id))
    assert len((await service.lists.runs(ListParams())).runs) == 1
    await service.control._runtime.delete(run.run_id, cancel=False)


async def test_views_that_are_not_used_take_no_memory() -> None:
    runtime = ScriptedRuntime()
    services = RunsServices(RunsService(runtime, grace=0))
    flow_id = await runtime.put_blob(FLOW, "team")
    for number in range(KEPT_VIEWS):
        await used(services, flow_id, number)
    # Without the collector: what is let go has to be free at once, however many tokens there are.
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for number in range(KEPT_VIEWS, KEPT_VIEWS + VIEWS):
            await used(services, flow_id, number)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert len(services) == KEPT_VIEWS
    # Each of those that are kept has been made anew meanwhile: about 8 KiB for each, and no more.
    assert grown < KEPT_VIEWS * (16 << 10)
    await services.close()
