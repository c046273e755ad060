"""How long a watch waits for an engine that is away."""

import asyncio
import time
from typing import Final

from gateway.core.backoff import Backoff
from gateway.core.upstream_refusals import UpstreamRefusal

FIRST_DELAY: Final = 0.05
LAST_DELAY: Final = 1.0
"""Seconds between two attempts while the engine is away: at first, and at most. Half of a delay is drawn at random."""


class EngineOutage:
    """How long an engine has been away, as seen by one watch, which waits `patience` seconds for it."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since: float | None = None
        self._backoff = Backoff(FIRST_DELAY, LAST_DELAY, jitter=0.5)

    def end(self) -> None:
        """Note that the engine has answered."""
        self._since = None
        self._backoff.reset()

    async def pause(self, failure: Exception) -> None:
        """Wait before the next attempt. Raises `failure`, which ended the last one, if no other one helps in time."""
        if isinstance(failure, UpstreamRefusal):
            raise failure
        now = time.monotonic()
        if self._since is None:
            self._since = now
        delay = self._backoff.next()
        if now + delay - self._since > self._patience:
            raise failure
        await asyncio.sleep(delay)
