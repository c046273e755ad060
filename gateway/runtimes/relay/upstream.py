"""The connection to another gateway: calls on it, what their failures mean, and when to try again.

A gateway that restarts is away for a moment. Whoever calls it meanwhile waits for it, up to a limit, and calls again
where that cannot do anything twice.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import grpc
from grpc import aio

from gateway.adapter.grpc_status import from_status
from gateway.core.backoff import Backoff
from gateway.core.errors import GatewayError, TooLarge, Unavailable
from gateway.peers.grpc.channel import DETAILS_TRAILER, channel_options
from runs.v1 import blobs_pb2_grpc, runs_pb2_grpc

FIRST_DELAY: Final = 0.05
LAST_DELAY: Final = 1.0
"""Seconds between the first two attempts, and between later ones. They are drawn at random from a half of it up, so
that many who lost the same upstream do not come back at once."""

_CHANNEL_OPTIONS: Final = channel_options(min_reconnect_ms=100, keepalive_ms=20_000)
_BROKEN: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
    }
)
"""Codes that, without a gateway's details, tell of the connection: it was lost, or the server cut the call off."""

_log = logging.getLogger(__name__)

T = TypeVar("T")


class RelayUpstream:
    """Another gateway at `grpc://HOST:PORT` or `unix:/PATH`.

    `patience` is how many seconds it may be away before calls end with Unavailable.
    """

    def __init__(self, address: str, patience: float) -> None:
        self.address = address
        self._patience = patience
        self._channel = aio.insecure_channel(address.removeprefix("grpc://"), options=_CHANNEL_OPTIONS)
        self._connecting: asyncio.Task[None] | None = None
        self._waits: set[asyncio.Timeout] = set()
        self._impatient = False
        self._away = False
        self.runs = runs_pb2_grpc.RunsServiceStub(self._channel)
        self.blobs = blobs_pb2_grpc.BlobsServiceStub(self._channel)

    async def call(self, attempt: Callable[[], Awaitable[T]], *, repeatable: bool = True) -> T:
        """Return what `attempt` returns. It is made again when the upstream was lost meanwhile, if it is `repeatable`.

        An attempt that the upstream refused, because it shuts down, is made again in any case.
        """
        outage = UpstreamOutage(self)
        while True:
            await outage.connected()
            try:
                answer = await attempt()
            except aio.AioRpcError as error:
                if not (repeatable or _is_refusal(error)):
                    raise self.failure(error) from None
                await outage.pause(error)
            else:
                self.seen()
                return answer

    def failure(self, error: aio.AioRpcError) -> GatewayError:
        """The error of this gateway that a call on the other one ended with."""
        code, details = error.code(), _details(error)
        if details is None:
            if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                return Unavailable("the upstream gateway did not answer in time", retry_after=1.0)
            if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
                return TooLarge("the message is larger than the upstream gateway takes")
            if code in _BROKEN:
                return Unavailable("the upstream gateway cannot be reached", retry_after=1.0)
        failure = from_status(code, error.details(), details)
        if isinstance(failure, Unavailable) and failure.retry_after is None:
            failure.retry_after = 1.0
        return failure

    def seen(self) -> None:
        """The upstream has answered."""
        if self._away:
            self._away = False
            _log.warning("the upstream gateway at %s is back", self.address)

    def missed(self) -> None:
        """The upstream could not be reached."""
        if not self._away:
            self._away = True
            _log.warning("the upstream gateway at %s cannot be reached", self.address)

    async def connected(self, seconds: float) -> bool:
        """Wait for a connection; False if there is none in time."""
        if self._channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY:
            return True
        if self._connecting is None or self._connecting.done():
            # One for all who wait: grpc keeps what waits for a connection until there is one.
            self._connecting = asyncio.create_task(self._channel.channel_ready())
        return await self.within(seconds, asyncio.shield(self._connecting))

    async def within(self, seconds: float, waiting: Awaitable[object]) -> bool:
        """Await something; False if it takes too long, or when nobody is to wait any more."""
        try:
            async with asyncio.timeout(0 if self._impatient else seconds) as timeout:
                self._waits.add(timeout)
                try:
                    await waiting
                finally:
                    self._waits.discard(timeout)
        except TimeoutError:
            return False
        return True

    @property
    def patience(self) -> float:
        """How many seconds the upstream may be away."""
        return 0.0 if self._impatient else self._patience

    def stop_waiting(self) -> None:
        """Wait no more for an upstream that is away."""
        self._impatient = True
        now = asyncio.get_running_loop().time()
        for timeout in self._waits:
            timeout.reschedule(now)

    async def close(self) -> None:
        """Close the connection; every call on it ends."""
        self.stop_waiting()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        await self._channel.close()


class UpstreamOutage:
    """How long the upstream has been away for one caller."""

    def __init__(self, upstream: RelayUpstream) -> None:
        self._upstream = upstream
        self._since: float | None = None
        self._backoff = Backoff(FIRST_DELAY, LAST_DELAY, jitter=0.5)

    def over(self) -> None:
        """The upstream is there."""
        self._since = None
        self._backoff.reset()
        self._upstream.seen()

    async def connected(self) -> None:
        """Wait for a connection. Unavailable if there is none in time."""
        if not await self._upstream.connected(self._left()):
            self._upstream.missed()
            raise Unavailable("the upstream gateway cannot be reached", retry_after=1.0)

    async def pause(self, error: aio.AioRpcError | None = None) -> None:
        """Wait before the next attempt. Raises what the last one ended with, if another would not help, or not in time.

        Without an error, the call ended before it was done.
        """
        failure: GatewayError = Unavailable("the upstream gateway has ended the call", retry_after=1.0)
        if error is not None:
            failure = self._upstream.failure(error)
            if not isinstance(failure, Unavailable) or error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise failure
        self._upstream.missed()
        if self._since is None:
            self._since = asyncio.get_running_loop().time()
        delay = self._backoff.next()
        if self._left() < delay:
            raise failure
        await self._upstream.within(delay, asyncio.Event().wait())

    def _left(self) -> float:
        away = 0.0 if self._since is None else asyncio.get_running_loop().time() - self._since
        return max(0.0, self._upstream.patience - away)


def _details(error: aio.AioRpcError) -> bytes | None:
    details = dict(error.trailing_metadata() or ()).get(DETAILS_TRAILER)
    return details if isinstance(details, bytes) else None


def _is_refusal(error: aio.AioRpcError) -> bool:
    """Whether a gateway said that it has not executed the call and is about to go."""
    return error.code() is grpc.StatusCode.UNAVAILABLE and _details(error) is not None
