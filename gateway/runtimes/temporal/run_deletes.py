"""Deletes runs that have ended: what is kept of them in the object storage, and then the runs in the engine.

If the gateway ends in between, or the storage is away, the run is still there, perhaps without results, and whoever has
asked for it, and got no answer, asks again. So nothing is left that nobody can find.
"""

import time
from typing import Final

from gateway.core.errors import RunNotEnded
from gateway.runtimes.temporal.engine import Engine
from gateway.runtimes.temporal.engine_deletes import EngineDeletes
from gateway.runtimes.temporal.run_cancels import RunCancels
from gateway.runtimes.temporal.run_names import folder, is_of_submit, is_of_token
from gateway.runtimes.temporal.run_reader import RunReader
from gateway.storage.objects import ObjectStore

REASON: Final = "it is deleted"
"""Why a run is cancelled that is deleted."""

CANCEL_SECONDS: Final = 60.0
"""How long it is waited for the end of such a run."""

_LIST: Final = 1_000


class RunDeletes:
    """See the module."""

    def __init__(
        self,
        engine: Engine,
        deletes: EngineDeletes,
        reader: RunReader,
        cancels: RunCancels,
        store: ObjectStore,
    ) -> None:
        self._engine = engine
        self._deletes = deletes
        self._reader = reader
        self._cancels = cancels
        self._store = store

    async def delete(self, run_id: str, *, cancel: bool) -> None:
        """Delete a run, as `Runtime.delete` does."""
        snapshot = await self._reader.get_anew(run_id)
        if not snapshot.terminal and not cancel:
            raise RunNotEnded(f"the run '{run_id}' has not ended: cancel it before, or with the same call")
        if not snapshot.terminal:
            snapshot = await self._cancels.cancel(run_id, REASON, time.monotonic() + CANCEL_SECONDS)
        if not snapshot.terminal:
            raise RunNotEnded(f"the run '{run_id}' is cancelled, but has not ended yet: delete it again later")
        created_at = snapshot.status.created_at
        executions = await self._deletes.executions(run_id, created_at)
        await self._delete_objects(run_id)
        await self._deletes.notices.put(await self._reader.record(run_id))
        await self._deletes.forget(run_id, executions)
        self._reader.deleted(run_id, created_at)

    async def settle(self, run_id: str) -> None:
        """Do the rest of a delete, which another gateway has not come to do."""
        await self._deletes.clear(run_id)

    async def _delete_objects(self, run_id: str) -> None:
        """Delete the objects of a run, but not those of a submit with its key that comes too early to find it gone."""
        after, token = "", None
        while found := await self._store.list_objects(folder(run_id), after, _LIST):
            after = found[-1].key
            keys = []
            for key in (each.key for each in found):
                if is_of_submit(key):
                    token = token or (await self._engine.started(run_id)).inputs.token
                    if not is_of_token(key, token):
                        continue
                keys.append(key)
            await self._store.delete(keys)
