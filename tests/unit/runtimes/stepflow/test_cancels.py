"""Cancelling runs with those inside them, against a server that answers as an engine does."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from gateway.core.control import reason_inside
from gateway.core.errors import RemoteError, RunNotFound
from gateway.core.model import RunState, RunStatus
from gateway.runtimes.stepflow.cancels import Cancels
from gateway.runtimes.stepflow.engine import EngineRestClient
from gateway.runtimes.stepflow.release import Release
from gateway.runtimes.stepflow.runs import Runs
from gateway.runtimes.stepflow.wire_format import WireFormat
from gateway.storage.run_notes import SubmitNote

IDS = [f"01a20377-4792-7b82-a1a4-{number:012x}" for number in range(8)]
ROOT, CHILD, GRANDCHILD, NOTED, DONE = IDS[:5]


class Engine:
    """Runs by id: their state, and the run that has begun them as far as the engine knows."""

    def __init__(self) -> None:
        self.states = {ROOT: 1, CHILD: 1, GRANDCHILD: 1, NOTED: 1, DONE: 2}
        self.parents = {CHILD: ROOT, GRANDCHILD: CHILD, DONE: ROOT}
        self.cancelled: list[str] = []
        self.refused: set[str] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        if request.path.endswith("/runs"):
            wanted = [
                run_id
                for run_id, parent in self.parents.items()
                if parent == request.query["parentRunId"] and str(self.states[run_id]) == request.query["status"]
            ]
            return web.json_response({"runs": [self._summary(run_id) for run_id in wanted]})
        found = re.search(r"/runs/([^/]+)(/cancel)?$", request.path)
        assert found is not None
        run_id = found[1]
        if run_id not in self.states:
            return web.json_response({}, status=404)
        if found[2]:
            if run_id in self.refused:
                return web.json_response({"error": {"message": "on strike"}}, status=500)
            self.cancelled.append(run_id)
            self.states[run_id] = 4
        return web.json_response({"summary": self._summary(run_id)})

    def _summary(self, run_id: str) -> dict[str, object]:
        state = self.states[run_id]
        items = {"total": 1, "running": int(state != 2), "completed": int(state == 2)}
        times = {"createdAt": "2026-11-22T13:34:38Z", "completedAt": None if state == 1 else "2026-11-22T13:34:39Z"}
        return {"runId": run_id, "flowId": "a" * 64, "status": state, "items": items, **times}


@pytest.fixture
def there() -> Engine:
    return Engine()


@pytest.fixture
async def runs(there: Engine) -> AsyncIterator[Runs]:
    async with there.running() as url:
        engine = EngineRestClient(url)
        runs = Runs(engine, Release("0.12 or 0.13", WireFormat.PROTO_JSON))
        await runs.told.notes.submitted(NOTED, SubmitNote(parent_run_id=GRANDCHILD, root_run_id=ROOT, depth=3))
        yield runs
        await engine.close()


async def test_the_engine_is_asked_from_the_outside_in_and_clients_are_told_from_the_inside_out(
    there: Engine, runs: Runs
) -> None:
    told: list[RunStatus] = []
    end = await Cancels(runs, WireFormat.PROTO_JSON, told.append).cancel(ROOT, "no need")
    assert there.cancelled == [ROOT, CHILD, GRANDCHILD, NOTED]
    assert [run.run_id for run in told] == [NOTED, GRANDCHILD, CHILD, ROOT]
    assert [run.status for run in told] == [RunState.CANCELLED] * 4
    assert (end, end.cancel_reason) == (told[-1], "no need")
    assert {run.cancel_reason for run in told[:-1]} == {reason_inside(ROOT, "no need")}
    there.cancelled.clear()
    assert await Cancels(runs, WireFormat.PROTO_JSON, told.append).cancel(ROOT, "again") == end
    assert there.cancelled == []


async def test_what_is_left_of_a_cancel_that_was_cut_off_is_cancelled(there: Engine, runs: Runs) -> None:
    there.refused = {GRANDCHILD}
    cancels = Cancels(runs, WireFormat.PROTO_JSON, lambda status: None)
    with pytest.raises(RemoteError, match="on strike"):
        await cancels.cancel(ROOT, None)
    there.refused.clear()
    assert (await cancels.cancel(ROOT, None)).status is RunState.CANCELLED
    assert (await runs.read(CHILD)).status is RunState.CANCELLED
    assert (await runs.read(NOTED)).status is RunState.CANCELLED
    assert sorted(set(there.cancelled)) == sorted([ROOT, CHILD, GRANDCHILD, NOTED])


async def test_runs_that_have_ended_or_are_gone_are_left(there: Engine, runs: Runs) -> None:
    await runs.told.notes.submitted(IDS[7], SubmitNote(parent_run_id=NOTED, root_run_id=ROOT, depth=4))
    cancels = Cancels(runs, WireFormat.PROTO_JSON, lambda status: None)
    assert (await cancels.cancel(DONE, None)).status is RunState.SUCCESS
    assert (await cancels.cancel(NOTED, None)).status is RunState.CANCELLED
    assert there.cancelled == [NOTED]
    with pytest.raises(RunNotFound):
        await cancels.cancel(IDS[7], None)
