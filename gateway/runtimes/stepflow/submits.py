"""Submits to an engine, which does not know idempotency keys: the gateway keeps them."""

import asyncio
import time
from typing import Any, Final

from gateway.concurrency.memory_account import MemoryShare
from gateway.concurrency.tasks import retrieve_exception
from gateway.core.errors import ParentCancelled, RunNotFound, StateUnavailable
from gateway.core.model import Nanoseconds, RunState, RunStatus, SubmitParams, canonical_run_id
from gateway.core.owner import DEFAULT_NAMESPACE
from gateway.runtimes.stepflow.blobs import Blobs
from gateway.runtimes.stepflow.engine import AnswerLost
from gateway.runtimes.stepflow.engine_errors import flow_not_found
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

    def __init__(self, runs: Runs, blobs: Blobs, keys: Keys, share: MemoryShare) -> None:
        self._runs = runs
        self._blobs = blobs
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
            await self._refuse_hidden_flow(params)
            note = await self._note(params)
            status = await self._runs.submit(params, note)
            self._in_doubt.settle(None, status.run_id)
            await self._refuse_cancelled(note, status)
            return status
        key = ScopedKey(scope, params.idempotency_key, params.namespace)
        digest = await fingerprint(params, share=self._share)
        accepted: list[RunStatus] = []

        async def once() -> str:
            await self._refuse_hidden_flow(params)
            earlier = self._in_doubt.get(key, digest)
            run_id = None
            if earlier is not None:
                latest = await self._runs.told.unowned(await self._runs.latest(MAX_SEARCHED))
                run_id = self._in_doubt.find_run(earlier, latest)
            note = await self._note(params)
            if run_id is None:
                began = time.time_ns() if earlier is None else earlier.began
                accepted.append(await self._attempt(params, note, key, digest, began))
                run_id = accepted[0].run_id
                await self._refuse_cancelled(note, accepted[0])
            elif note is not None:
                await self._runs.told.submitted(run_id, note)
            self._in_doubt.settle(key, run_id)
            return run_id

        run_id, _ = await self._keys.once(scope, key.key, digest, once, namespace=params.namespace)
        return accepted[0] if accepted else await self._runs.read(run_id)

    async def _attempt(
        self, params: SubmitParams, note: SubmitNote | None, key: ScopedKey, digest: str, began: Nanoseconds
    ) -> RunStatus:
        """Submit a run. If the answer is lost, remember the submit as one in doubt since `began`."""
        try:
            return await self._runs.submit(params, note)
        except AnswerLost:
            made = (params.flow_id, len(params.inputs), began, time.time_ns())
            submit = InDoubtSubmit(digest, *made, namespace=params.namespace)
            self._in_doubt.add(key, submit)
            raise

    async def _note(self, params: SubmitParams) -> SubmitNote | None:
        """What the gateway is to keep of a run, since the engine does not; None if there is nothing.

        Raises ParentCancelled if the run that the caller executes in is cancelled, and StateUnavailable if nothing can
        be kept now.
        """
        trace = params.observability
        claimed = canonical_run_id(trace.run_id) if trace is not None and trace.run_id else None
        parent = None if claimed is None else await self._parent(claimed, params.namespace)
        if parent is None and not params.labels and not params.flow_label and params.owner is None:
            return None
        if self._keys.readiness.obstacle is not None:
            raise StateUnavailable("the state cannot be written", retry_after=1.0)
        if parent is None:
            return SubmitNote(params.flow_label, params.labels, owner=params.owner)
        root_id = parent.root_run_id or parent.run_id
        return SubmitNote(params.flow_label, params.labels, parent.run_id, root_id, parent.depth + 1, params.owner)

    async def _refuse_hidden_flow(self, params: SubmitParams) -> None:
        """Raises FlowNotFound if the flow is not in the namespace that the run would be in."""
        flow_id, namespace, marks = params.flow_id, params.namespace, self._keys.marks
        if not await marks.has(flow_id, namespace):
            await self._blobs.missing(flow_id, as_others=namespace == DEFAULT_NAMESPACE)
            raise flow_not_found(flow_id)
        if params.owner is not None:
            # A flow that was there before there were marks stays, whatever others put.
            await marks.put(flow_id, namespace)

    async def _parent(self, run_id: str, namespace: str) -> RunStatus | None:
        """The run that a caller says it executes in, if there is one in the namespace."""
        try:
            parent = await self._runs.read(run_id)
        except RunNotFound:
            return None
        if parent.namespace != namespace:
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
