"""Looks for an object storage that is away, so that operators are told when it is back though nobody calls it."""

import asyncio
import logging
from typing import Final

from gateway.concurrency.tasks import create_shared_task
from gateway.storage.objects import ObjectStore

LOOK_SECONDS: Final = 5.0
"""How often it is looked for."""

_log = logging.getLogger(__name__)


class StorageWatch:
    """Watches `store` until it is closed. That it is away is found out by the calls that need it."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._told = False
        self._task = create_shared_task(self._watch())

    async def close(self) -> None:
        """Look for it no more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            if self._store.is_away and not self._told:
                self._told = True
                _log.warning("the object storage is away: calls that need it are refused, and items wait")
            if await self._store.answers() and self._told:
                self._told = False
                _log.warning("the object storage is back")
            await asyncio.sleep(LOOK_SECONDS)
