"""Submits to an engine, which does not know idempotency keys: the gateway keeps them."""

import asyncio
import time
from typing import Any, Final

from gateway.concurrency.memory_account import MemoryShare
from gateway.concurrency.tasks import retrieve_exception
from gateway.core.errors import ParentCancelled, RunNotFound, StateUnavailable
from gateway.core.model import Nanoseconds, RunState, RunStatus, SubmitParams, canonical_run_id
from gateway.runtimes.stepflow.engine import AnswerLost
from gateway.runtimes.stepflow.in_doubt import MAX_SEARCHED, InDoubtSubmit, InDoubtSubmits, ScopedKey
from gateway.runtimes.stepflow.runs import Runs
from gateway.storage.fingerprint import fingerprint
from gateway.storage.idempotency import Keys
from gateway.storage.run_notes import SubmitNote

PARENT_REASON: Final = "the run that has submitted it is cancelled"
"""Why a run is cancelled that was accepted while its parent was being cancelled."""


class Submits:
    """Submits runs, each at most once. `keys` is closed by the caller.

    What is held of parameters while they are compared draws from `share`.
    """

    def __init__(self, runs: Runs, keys: Keys, share: MemoryShare) -> None:
        self._runs = runs
        self._keys = keys
        self._share = share
        self._in_doubt = InDoubtSubmits()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def submit(self, params: SubmitParams, scope: str) -> RunStatus:
        """Submit a run, also if the caller leaves. Return the run of an earlier submit with the same key in `scope`.

        Raises IdempotencyConflict if that submit had other parameters, AnswerLost if it is unknown whether the engine
        has accepted the run, and RemoteError if a submit in doubt cannot be told from others.
        """
        # The engine must not be left in the middle of a submit when the client leaves.
        task = asyncio.create_task(self._submit(params, scope))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(retrieve_exception)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel the submits that are under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _submit(self, params: SubmitParams, scope: str) -> RunStatus:
        if params.idempotency_key is None:
            note = await self._note(params)
            status = await self._runs.submit(params, note)
            self._in_doubt.settle(None, status.run_id)
            await self._refuse_cancelled(note, status)
            return status
        key = ScopedKey(scope, params.idempotency_key)
        digest = await fingerprint(params, share=self._share)
        accepted: list[RunStatus] = []

        async def once() -> str:
            earlier = self._in_doubt.get(key, digest)
            run_id = None
            if earlier is not None:
                run_id = self._in_doubt.find_run(earlier, await self._runs.latest(MAX_SEARCHED))
            note = await self._note(params)
            if run_id is None:
                began = time.time_ns() if earlier is None else earlier.began
                accepted.append(await self._attempt(params, note, key, digest, began))
                run_id = accepted[0].run_id
                await self._refuse_cancelled(note, accepted[0])
            elif note is not None:
                await self._runs.told.notes.submitted(run_id, note)
            self._in_doubt.settle(key, run_id)
            return run_id

        run_id, _ = await self._keys.once(scope, key.key, digest, once)
        return accepted[0] if accepted else await self._runs.read(run_id)

    async def _attempt(
        self, params: SubmitParams, note: SubmitNote | None, key: ScopedKey, digest: str, began: Nanoseconds
    ) -> RunStatus:
        """Submit a run. If the answer is lost, remember the submit as one in doubt since `began`."""
        try:
            return await self._runs.submit(params, note)
        except AnswerLost:
            submit = InDoubtSubmit(digest, params.flow_id, len(params.inputs), began, time.time_ns())
            self._in_doubt.add(key, submit)
            raise

    async def _note(self, params: SubmitParams) -> SubmitNote | None:
        """What the gateway is to keep of a run, since the engine does not; None if there is nothing.

        Raises ParentCancelled if the run that the caller executes in is cancelled, and StateUnavailable if nothing can
        be kept now.
        """
        trace = params.observability
        claimed = canonical_run_id(trace.run_id) if trace is not None and trace.run_id else None
        parent = None if claimed is None else await self._parent(claimed)
        if parent is None and not params.labels and not params.flow_label:
            return None
        if self._keys.readiness.obstacle is not None:
            raise StateUnavailable("the state cannot be written", retry_after=1.0)
        if parent is None:
            return SubmitNote(params.flow_label, params.labels)
        root_id = parent.root_run_id or parent.run_id
        return SubmitNote(params.flow_label, params.labels, parent.run_id, root_id, parent.depth + 1)

    async def _parent(self, run_id: str) -> RunStatus | None:
        """The run that a caller says it executes in, if there is one."""
        try:
            parent = await self._runs.read(run_id)
        except RunNotFound:
            return None
        if parent.status is RunState.CANCELLED:
            raise _parent_cancelled(run_id)
        return parent

    async def _refuse_cancelled(self, note: SubmitNote | None, status: RunStatus) -> None:
        """Raises ParentCancelled, and cancels the run, if its parent has been cancelled while it was submitted."""
        if note is None or note.parent_run_id is None or not await self._runs.told.is_cancelled(note.parent_run_id):
            return
        await self._runs.cancel(status.run_id, PARENT_REASON)
        raise _parent_cancelled(note.parent_run_id)


def _parent_cancelled(run_id: str) -> ParentCancelled:
    return ParentCancelled(f"the run {run_id}, which the call comes from, is cancelled")
