"""Serves the items of a run whose blobs are in object storage."""

import time
from typing import Final

from gateway.core.backoff import Backoff
from gateway.core.internal_errors import release_frames
from gateway.core.model import JsonText
from gateway.flows.host import RunHost
from gateway.flows.task import ItemFailure, Task
from gateway.storage.objects import ObjectStore

FIRST_PAUSE: Final = 1.0
LAST_PAUSE: Final = 10.0
"""Seconds before the storage is looked for, and before any later look at most. Half of each is drawn at random."""


class ItemHost(RunHost):
    """Serves the items of one run. `store`, where blobs are, is set by who makes it.

    Components store and read blobs over HTTP as well, and nothing tells for which execution. A component whose request
    is refused fails, and would take its item with it. So what has failed while the storage did is executed again, when
    the storage is back.
    """

    store: ObjectStore

    async def execute(self, component: str, payload: JsonText, attempt: int, task: Task) -> JsonText:
        """Execute a step on its component server."""
        pauses: Backoff | None = None
        while True:
            began = time.monotonic()
            try:
                return await super().execute(component, payload, attempt, task)
            except ItemFailure as failure:
                if failure.transport or self.store.failed_at < began:
                    raise
                release_frames(failure)
            pauses = pauses or Backoff(FIRST_PAUSE, LAST_PAUSE, jitter=0.5)
            await task.work.pause(pauses.next())
            while not await self.store.answers():
                await task.work.pause(pauses.next())
