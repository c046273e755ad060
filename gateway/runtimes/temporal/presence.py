"""Whether a Temporal server is there, and how long callers wait for one that is away.

The SDK repeats calls by itself for as long as a caller may wait. When one has failed in spite of that, calls are
refused at once, until a task, which goes on looking for all of them, has found the server again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from gateway.concurrency.tasks import create_shared_task
from gateway.core.backoff import Backoff
from gateway.core.errors import GatewayError, Unavailable, shutting_down
from gateway.core.internal_errors import error_to_tell
from gateway.core.upstream_refusals import UpstreamRefusal
from gateway.runtimes.temporal.engine_errors import RETRY_SECONDS, EngineFailure

PATIENCE_SECONDS: Final = 10.0
"""How long callers wait for a server that is away."""

FIRST_DELAY: Final = 0.05
LAST_DELAY: Final = 1.0
"""Seconds between the first two looks, and between later ones, before jitter of a half."""

NOT_YET: Final = "it has not answered yet, or is still being prepared"

_log = logging.getLogger(__name__)


class EnginePresence:
    """What is known of the server at the address `name`. `look` finds it, or raises GatewayError.

    `patience` is how many seconds it may be away, from the first look, before calls are refused with Unavailable.
    """

    def __init__(self, name: str, look: Callable[[], Awaitable[None]], patience: float = PATIENCE_SECONDS) -> None:
        self.is_here = False
        """Whether calls may be made."""
        self._name = name
        self._look = look
        self._patience = patience
        self._failure: GatewayError | None = None
        self._away_since = 0.0
        self._looking: asyncio.Task[None] | None = None
        self._looked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._told_away = False
        self._closed = False

    def is_away(self) -> bool:
        """Whether the server could not be reached, and is looked for."""
        return self._told_away

    def look_for(self) -> None:
        """Begin to look for the server, if nobody does."""
        if self._looking is None and not self._closed and not self.is_here:
            self._away_since = self._away_since or asyncio.get_running_loop().time()
            self._looking = create_shared_task(self._find())

    async def found(self, seconds: float) -> bool:
        """Wait for the server for so long. False if it is away; the log tells that."""
        try:
            async with asyncio.timeout(seconds):
                while not self.is_here:
                    await self._next_look()
        except TimeoutError:
            self._tell_away(self._failure or Unavailable(NOT_YET))
        return self.is_here

    async def here(self) -> None:
        """Wait until the server is there.

        Raises Unavailable if it has been away for longer than the patience, and UpstreamRefusal if it does not accept
        this gateway.
        """
        while not self.is_here:
            failure = self._failure
            if isinstance(failure, UpstreamRefusal):
                raise failure.copy()
            left = None if failure is None else self._patience_left()
            if failure is not None and not left:
                raise _again(failure)
            await self._next_look(left)

    def lost(self) -> None:
        """Note that a call has failed although it was repeated: callers wait for one look, and no more."""
        if self.is_here:
            self.is_here = False
            self._failure = None
            self._away_since = asyncio.get_running_loop().time() - self._patience
            self.look_for()

    async def close(self) -> None:
        """Stop looking for the server. Callers that wait for it get Unavailable."""
        self._closed = True
        self.is_here = False
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        self._wake()

    async def _next_look(self, seconds: float | None = None) -> None:
        """Wait for the end of the next look, at most so long."""
        if self._closed:
            raise shutting_down()
        self.look_for()
        await asyncio.wait({self._looked}, timeout=seconds)

    async def _find(self) -> None:
        """Look until the server is there."""
        backoff = Backoff(FIRST_DELAY, LAST_DELAY, jitter=0.5)
        try:
            while True:
                try:
                    await self._look()
                except Exception as failure:
                    self._failure = error_to_tell(failure)
                    self._tell_away(self._failure)
                else:
                    return self._mark_here()
                self._wake()
                await asyncio.sleep(backoff.next())
        finally:
            self._looking = None
            self._wake()

    def _mark_here(self) -> None:
        self.is_here = True
        self._away_since = 0.0
        refused = isinstance(self._failure, UpstreamRefusal)
        self._failure = None
        if self._told_away:
            self._told_away = False
            if not refused:  # The log of refusals tells that.
                _log.warning("the engine at %s is back", self._name)

    def _tell_away(self, failure: GatewayError) -> None:
        if not self._told_away:
            self._told_away = True
            if not isinstance(failure, UpstreamRefusal):
                what = failure.what if isinstance(failure, EngineFailure) else failure.message
                _log.warning("the engine at %s cannot be used: %s", self._name, what)

    def _wake(self) -> None:
        """Let all callers that wait for the server look again."""
        looked, self._looked = self._looked, asyncio.get_running_loop().create_future()
        if not looked.done():
            looked.set_result(None)

    def _patience_left(self) -> float:
        return max(0.0, self._patience - (asyncio.get_running_loop().time() - self._away_since))


def _again(failure: GatewayError) -> Unavailable:
    """The error for one more caller, since an error that is raised has the frames of one."""
    return Unavailable(failure.message, retry_after=failure.retry_after or RETRY_SECONDS)
