"""Whether a JSON-RPC server is there, its dialect, and how long callers wait for one that is away.

A server that restarts is away for a moment. Callers wait for it meanwhile, up to a limit counted from when it went
away, and call again where that has no effect twice. After that, calls are refused at once, until one task, which goes
on trying for all of them, finds it there again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from gateway.concurrency.tasks import create_shared_task
from gateway.core.backoff import Backoff
from gateway.core.errors import GatewayError, RemoteError, Unavailable, shutting_down
from gateway.core.internal_errors import error_to_tell
from gateway.core.upstream_refusals import UpstreamRefusal
from gateway.runtimes.jsonrpc.answers import ConnectionLost
from gateway.runtimes.jsonrpc.dialect import Dialect

FIRST_DELAY: Final = 0.05
LAST_DELAY: Final = 1.0
"""Seconds between the first two attempts, and between later ones, before jitter of a half."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Reachability:
    """What is known of the server called `name`. `probe` asks it for its dialect, or raises GatewayError.

    `patience` is how many seconds it may be away before calls are refused with Unavailable.
    """

    def __init__(self, name: str, probe: Callable[[], Awaitable[Dialect]], patience: float) -> None:
        self._name = name
        self._probe = probe
        self._patience = patience
        self._dialect: Dialect | None = None
        self._failure: GatewayError | None = None
        self._away_since = 0.0
        self._reconnecting: asyncio.Task[None] | None = None
        self._attempted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._impatient = False
        self._closed = False
        self._logged_down = False

    async def connected(self, seconds: float) -> bool:
        """Wait for the server for so long. False if it is away, or speaks no JSON-RPC; the log tells which."""
        try:
            async with asyncio.timeout(seconds):
                while self._dialect is None and not isinstance(self._failure, RemoteError | UpstreamRefusal):
                    await self._next_attempt()
        except TimeoutError:
            self._mark_down(self._failure or ConnectionLost("cannot be reached"))
        return self._dialect is not None

    async def ready(self) -> Dialect:
        """Wait until the server is there, and return its dialect.

        Raises Unavailable if it has been away for longer than the patience, UpstreamRefusal if it does not accept this
        gateway, and RemoteError if it speaks no JSON-RPC.
        """
        while self._dialect is None:
            failure = self._failure
            if isinstance(failure, RemoteError):
                raise RemoteError(failure.remote_code, failure.message)
            if isinstance(failure, UpstreamRefusal):
                raise failure.copy()
            left = None if failure is None else self._patience_left()
            if failure is not None and not left:
                raise Unavailable(failure.message, retry_after=failure.retry_after or 1.0)
            await self._next_attempt(left)
        return self._dialect

    async def retried(self, attempt: Callable[[], Awaitable[T]], *, repeatable: bool = True) -> T:
        """Return the result of `attempt`, which is made again when it was cut off, if it is `repeatable`.

        An attempt whose request was not sent is always made again, one that timed out never. Raises the error of the
        last attempt, or that of `ready`.
        """
        retries = Retries(self)
        while True:
            await self.ready()
            try:
                return await attempt()
            except UpstreamRefusal:
                raise
            except Unavailable as failure:
                again = repeatable
                if isinstance(failure, ConnectionLost):
                    self.recheck()
                    again = not failure.request_sent or (repeatable and not failure.timed_out)
                if not again:
                    raise
                await retries.pause(failure)

    def recheck(self) -> None:
        """Probe the server before it is called again, because a connection broke: it may be another one now."""
        if self._dialect is not None:
            self._dialect = None
            self._failure = None

    def look_again(self) -> None:
        """Probe the server at once, and until it accepts what this gateway shows."""
        self.recheck()
        if self._dialect is None and not self._closed:
            self._begin()

    @property
    def patience(self) -> float:
        """How many seconds the server may be away."""
        return 0.0 if self._impatient else self._patience

    def stop_waiting(self) -> None:
        """Wait no more for a server that is away."""
        self._impatient = True
        self._wake()

    async def close(self) -> None:
        """Stop looking for the server. Callers that wait for it get Unavailable."""
        self._closed = True
        self._dialect = None
        self.stop_waiting()
        if self._reconnecting is not None:
            self._reconnecting.cancel()
            await asyncio.gather(self._reconnecting, return_exceptions=True)

    async def _next_attempt(self, seconds: float | None = None) -> None:
        """Wait for the end of the next attempt to reach the server, at most so long."""
        if self._closed:
            raise shutting_down()
        self._begin()
        await asyncio.wait({self._attempted}, timeout=seconds)

    def _begin(self) -> None:
        if self._reconnecting is None:
            self._away_since = asyncio.get_running_loop().time()
            self._reconnecting = create_shared_task(self._reconnect())

    async def _reconnect(self) -> None:
        """Try until the server has answered."""
        backoff = Backoff(FIRST_DELAY, LAST_DELAY, jitter=0.5)
        try:
            while True:
                try:
                    return self._mark_up(await self._probe())
                except Exception as failure:
                    self._mark_down(error_to_tell(failure))
                self._wake()
                await asyncio.sleep(backoff.next())
        finally:
            self._reconnecting = None
            self._wake()

    def is_away(self) -> bool:
        """Whether the upstream could not be reached, and is looked for."""
        return self._logged_down

    def _mark_up(self, dialect: Dialect) -> None:
        refused = isinstance(self._failure, UpstreamRefusal)
        self._dialect = dialect
        self._failure = None
        if self._logged_down:
            self._logged_down = False
            if not refused:  # The log of refusals tells that.
                _log.warning("the upstream at %s is back", self._name)

    def _mark_down(self, failure: GatewayError) -> None:
        self._failure = failure
        if not self._logged_down:
            self._logged_down = True
            if not isinstance(failure, UpstreamRefusal):
                _log.warning("the upstream at %s cannot be used: %s", self._name, failure.message)

    def _wake(self) -> None:
        """Let all callers that wait for the server look again."""
        attempted, self._attempted = self._attempted, asyncio.get_running_loop().create_future()
        if not attempted.done():
            attempted.set_result(None)

    def _patience_left(self) -> float:
        return max(0.0, self.patience - (asyncio.get_running_loop().time() - self._away_since))


class Retries:
    """The failed attempts of one caller."""

    def __init__(self, reachability: Reachability) -> None:
        self._reachability = reachability
        self._since = 0.0
        self._last: float | None = None
        self._backoff = Backoff(FIRST_DELAY, LAST_DELAY, jitter=0.5)

    async def pause(self, failure: Unavailable) -> None:
        """Wait before the next attempt. Raises `failure`, the error of the last one, if no other one helps in time.

        Failures count together if not more than the patience lies between them.
        """
        if isinstance(failure, UpstreamRefusal):
            raise failure
        now = asyncio.get_running_loop().time()
        patience = self._reachability.patience
        if self._last is None or now - self._last > patience:
            self._since = now
            self._backoff.reset()
        self._last = now
        delay = self._backoff.next()
        if now - self._since + delay > patience:
            if failure.retry_after is None:
                failure.retry_after = 1.0
            raise failure
        await asyncio.sleep(delay)
