"""Submits to an engine, which does not know idempotency keys: the gateway keeps them."""

import asyncio
import time
from typing import Any

from gateway.concurrency.memory_account import MemoryShare
from gateway.concurrency.tasks import retrieve_exception
from gateway.core.model import Nanoseconds, RunStatus, SubmitParams
from gateway.runtimes.stepflow.engine import AnswerLost
from gateway.runtimes.stepflow.in_doubt import MAX_SEARCHED, InDoubtSubmit, InDoubtSubmits, ScopedKey
from gateway.runtimes.stepflow.runs import Runs
from gateway.storage.fingerprint import fingerprint
from gateway.storage.idempotency import Keys


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
            status = await self._runs.submit(params)
            self._in_doubt.settle(None, status.run_id)
            return status
        key = ScopedKey(scope, params.idempotency_key)
        digest = await fingerprint(params, share=self._share)
        accepted: list[RunStatus] = []

        async def once() -> str:
            earlier = self._in_doubt.get(key, digest)
            run_id = None
            if earlier is not None:
                run_id = self._in_doubt.find_run(earlier, await self._runs.latest(MAX_SEARCHED))
            if run_id is None:
                began = time.time_ns() if earlier is None else earlier.began
                accepted.append(await self._attempt(params, key, digest, began))
                run_id = accepted[0].run_id
            self._in_doubt.settle(key, run_id)
            return run_id

        run_id, _ = await self._keys.once(scope, key.key, digest, once)
        return accepted[0] if accepted else await self._runs.read(run_id)

    async def _attempt(self, params: SubmitParams, key: ScopedKey, digest: str, began: Nanoseconds) -> RunStatus:
        """Submit a run. If the answer is lost, remember the submit as one in doubt since `began`."""
        try:
            return await self._runs.submit(params)
        except AnswerLost:
            submit = InDoubtSubmit(digest, params.flow_id, len(params.inputs), began, time.time_ns())
            self._in_doubt.add(key, submit)
            raise
