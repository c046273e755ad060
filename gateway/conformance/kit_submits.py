"""Calls that submit runs, each of which goes on to its answer, whatever becomes of the promise that wants it."""

import asyncio
from typing import Final

from gateway.conformance.target import Target
from runs.v1 import runs_pb2

UNENDED: Final = frozenset({runs_pb2.RUN_STATE_PENDING, runs_pb2.RUN_STATE_RUNNING})


class KitSubmits:
    """The submits of the kit: no run of it begins unseen, and it knows those that may go on."""

    def __init__(self, target: Target) -> None:
        self.begun = False
        self.going_on: set[str] = set()
        """The runs that had not ended at the answer, and that nobody has cancelled."""
        self._target = target
        self._open: set[asyncio.Task[runs_pb2.SubmitRunResponse]] = set()

    async def submit(self, request: runs_pb2.SubmitRunRequest) -> runs_pb2.RunStatus:
        """Submit a run. Who is cancelled meanwhile leaves the call to itself."""
        self.begun = True
        call = asyncio.create_task(self._answer(request))
        self._open.add(call)
        call.add_done_callback(self._open.discard)
        return (await asyncio.shield(call)).run

    async def answered(self) -> None:
        """Wait until none is open."""
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _answer(self, request: runs_pb2.SubmitRunRequest) -> runs_pb2.SubmitRunResponse:
        answer = await self._target.runs.SubmitRun(request, timeout=self._target.patience)
        if answer.run.status in UNENDED:
            self.going_on.add(answer.run.run_id)
        return answer
