"""The connection to another gateway: calls on it, and when a failed call is repeated.

A gateway that restarts is away for a moment. Calls wait for it meanwhile, up to a limit. A call that was cut off is
repeated if it takes effect at most once.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any, Final, TypeVar, cast

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2_grpc

from gateway.adapter.health_services import LIST_METHOD, service_names
from gateway.concurrency.tasks import create_shared_task
from gateway.core.backoff import Backoff
from gateway.core.errors import ComponentUnavailable, GatewayError, StateUnavailable, Unauthenticated, Unavailable
from gateway.core.upstream_calls import UpstreamCalls
from gateway.core.upstream_credentials import NO_CREDENTIALS, UpstreamCredentials
from gateway.core.upstream_refusals import UpstreamRefusals
from gateway.peers.grpc.channel import channel_options
from gateway.peers.grpc.client_tls import open_channel
from gateway.peers.grpc.connection_pool import STREAMS_PER_CONNECTION, ConnectionPool
from gateway.peers.grpc.renewed_channel import RenewedChannel
from gateway.peers.grpc.traced_channel import TracedChannel
from gateway.runtimes.relay.call_errors import call_error, is_refusal
from gateway.telemetry.semconv import server_attributes
from runs.v1 import blobs_pb2_grpc, runs_pb2, runs_pb2_grpc

FIRST_DELAY: Final = 0.05
LAST_DELAY: Final = 1.0
"""Seconds between the first two attempts, and the most between later ones. Half of a delay is drawn at random, so that
the many calls that lost the same upstream do not come back at once."""

QUIET_SECONDS: Final = 1.0
"""How long a connection may take before the log says that the upstream cannot be reached. Proxies end calls and
connections for reasons of their own, and the next ones are taken at once."""

WATCHES_PER_SOCKET: Final = 8_192
"""How many runs are watched over one connection to a unix socket. The gateway there bounds the open calls of each; to a
host and port, a proxy may, and allows fewer."""

ASK_SECONDS: Final = 10.0
"""How long the upstream may take to tell whether it accepts the credentials of this gateway."""

_TOLD: Final = (ComponentUnavailable, StateUnavailable)
"""Of the errors that mean that the upstream is away: those of one that is there, and says why it refuses the call."""

_CHANNEL_OPTIONS: Final = channel_options(min_reconnect_ms=100, keepalive_ms=20_000)

_log = logging.getLogger(__name__)

T = TypeVar("T")


def _is_away(error: BaseException) -> bool:
    told = call_error(error) if isinstance(error, aio.AioRpcError) else error
    return isinstance(told, Unavailable)


_CALLS: Final = UpstreamCalls("relay", _is_away)


class RelayUpstream:
    """Another gateway at `grpc://HOST:PORT`, `grpcs://HOST:PORT` over TLS, or `unix:/PATH`.

    `patience` is how many seconds it may be away before calls end with Unavailable. One that `is_own`, a process of
    the same gateway, is asked for nothing that this one has not found to be permitted: what it refuses, it refuses to
    the client.
    """

    def __init__(
        self,
        address: str,
        patience: float,
        credentials: UpstreamCredentials = NO_CREDENTIALS,
        *,
        is_own: bool = False,
    ) -> None:
        self.address = address
        self._is_own = is_own
        self._credentials = credentials
        self._patience = patience
        over_tls = address.startswith("grpcs://")
        self._renewed = RenewedChannel(self._opened, credentials.tls.paths) if over_tls else None
        self._channel = self._opened() if self._renewed is None else cast("aio.Channel", self._renewed)
        self._watching = ConnectionPool(
            lambda: WatchConnection(self._opened()), WATCHES_PER_SOCKET if self.is_local else STREAMS_PER_CONNECTION
        )
        self._connecting: asyncio.Task[None] | None = None
        self._timeouts: set[asyncio.Timeout] = set()
        self._waiting_allowed = True
        self._down = False
        self._refusals = None if is_own else UpstreamRefusals("the upstream gateway", address)
        self._asking: asyncio.Task[None] | None = None
        self._is_own = is_own
        self.runs = runs_pb2_grpc.RunsServiceStub(self._channel)
        self.blobs = blobs_pb2_grpc.BlobsServiceStub(self._channel)
        self.health: Any = health_pb2_grpc.HealthStub(self._channel)
        self.health_services: Any = self._channel.unary_unary(LIST_METHOD, response_deserializer=service_names)

    async def call(self, attempt: Callable[[], Awaitable[T]], *, repeatable: bool = True) -> T:
        """Return what `attempt` returns. If the upstream was lost meanwhile, a `repeatable` attempt is made again.

        An attempt that the upstream refused because it shuts down is made again in any case. Raises the GatewayError of
        the last attempt if it failed, and Unavailable if the upstream stays away.
        """
        outage = UpstreamOutage(self)
        while True:
            try:
                with nullcontext() if self._is_own else _CALLS.call():
                    await outage.connected()
                    answer = await attempt()
            except aio.AioRpcError as error:
                if not (repeatable or is_refusal(error)):
                    raise self.told(call_error(error)) from None
                await outage.pause(error)
            else:
                self.mark_up()
                return answer

    @asynccontextmanager
    async def watching(self) -> "AsyncIterator[WatchConnection]":
        """A connection for one watch, on which there are only watches, and no more than are allowed."""
        connection = self._watching.acquire(stream=True)
        try:
            yield connection
        finally:
            for unused in self._watching.release(connection, dead=connection.dead):
                await unused.channel.close()

    def mark_up(self) -> None:
        """Note that the upstream has answered."""
        if self._refusals is not None and self._refusals.unaccepted:
            self._refusals.accepted()
        if self._down:
            self._down = False
            _log.warning("the upstream gateway at %s is back", self.address)

    def mark_down(self) -> None:
        """Note that the upstream could not be reached."""
        if not self._down:
            self._down = True
            _log.warning("the upstream gateway at %s cannot be reached", self.address)

    def is_away(self) -> bool:
        """Whether the upstream could not be reached, or does not accept this gateway. It is tried again by this."""
        if self._refusals is not None and self._refusals.unaccepted:
            self.ask_whether_accepted()
            return True
        return self._down and self._channel.get_state(try_to_connect=True) is not grpc.ChannelConnectivity.READY

    def told(self, failure: GatewayError) -> GatewayError:
        """The error for clients, for one that the upstream has answered with."""
        return failure if self._refusals is None else self._refusals.told(failure)

    def ask_whether_accepted(self) -> None:
        """Ask the upstream in the background, once, whether it accepts the credentials of this gateway."""
        if self._refusals is not None and (self._asking is None or self._asking.done()):
            self._asking = create_shared_task(self._ask_whether_accepted())

    async def _ask_whether_accepted(self) -> None:
        try:
            await self.runs.ListRuns(runs_pb2.ListRunsRequest(page_size=1), timeout=ASK_SECONDS)
        except aio.AioRpcError as error:
            self.told(call_error(error))
        else:
            self.mark_up()

    async def connected(self, seconds: float) -> bool:
        """Wait for a connection. Return False if there is none in time."""
        if self._channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY:
            return True
        if self._connecting is None or self._connecting.done():
            # All callers share one task: grpc keeps each one that waits for a connection until there is one.
            self._connecting = create_shared_task(self._until_ready())
        return await self.within(seconds, asyncio.shield(self._connecting))

    async def _until_ready(self) -> None:
        """Wait for a connection, which is made with the files of TLS as they are then."""
        while (state := self._channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
            if self._renewed is None or not self._renewed.renew():
                await self._channel.wait_for_state_change(state)

    async def within(self, seconds: float, waiting: Awaitable[object]) -> bool:
        """Wait for something. Return False if it takes longer, or if `stop_waiting` was called."""
        try:
            async with asyncio.timeout(seconds if self._waiting_allowed else 0) as timeout:
                self._timeouts.add(timeout)
                try:
                    await waiting
                finally:
                    self._timeouts.discard(timeout)
        except TimeoutError:
            return False
        return True

    @property
    def patience(self) -> float:
        """How many seconds the upstream may be away."""
        return self._patience if self._waiting_allowed else 0.0

    def stop_waiting(self) -> None:
        """Do not wait any more for an upstream that is away."""
        self._waiting_allowed = False
        now = asyncio.get_running_loop().time()
        for timeout in self._timeouts:
            timeout.reschedule(now)

    @property
    def is_local(self) -> bool:
        """Whether the upstream is reached through a unix socket."""
        return self.address.startswith("unix:")

    async def close(self) -> None:
        """Close the connection, which ends every call on it."""
        self.stop_waiting()
        present = [task for task in (self._connecting, self._asking) if task is not None]
        for task in present:
            task.cancel()
        await asyncio.gather(*present, return_exceptions=True)
        for channel in (self._channel, *(connection.channel for connection in self._watching.close())):
            await channel.close()

    def _opened(self) -> aio.Channel:
        tls = self._credentials.tls if self.address.startswith("grpcs://") else None
        place = self.address.removeprefix("grpc://").removeprefix("grpcs://")
        channel = open_channel(place, _CHANNEL_OPTIONS, tls=tls, token=self._credentials.token)
        return cast("aio.Channel", TracedChannel(channel, server_attributes(self.address), passes_on=self._is_own))


class WatchConnection:
    """A connection for watches. It is `dead` if one of them has been silent for too long."""

    def __init__(self, channel: aio.Channel) -> None:
        self.channel = channel
        self.runs: runs_pb2_grpc.RunsServiceAsyncStub = runs_pb2_grpc.RunsServiceStub(channel)
        self.dead = False


class UpstreamOutage:
    """How long the upstream has been away, as seen by one caller."""

    def __init__(self, upstream: RelayUpstream) -> None:
        self._upstream = upstream
        self._since: float | None = None
        self._backoff = Backoff(FIRST_DELAY, LAST_DELAY, jitter=0.5)

    def end(self) -> None:
        """Note that the upstream has answered."""
        self._since = None
        self._backoff.reset()
        self._upstream.mark_up()

    async def connected(self) -> None:
        """Wait for a connection. Raises Unavailable if there is none in time."""
        left = self._left()
        quiet = min(left, QUIET_SECONDS)
        if not await self._upstream.connected(quiet):
            self._upstream.mark_down()
            if not await self._upstream.connected(left - quiet):
                raise Unavailable("the upstream gateway cannot be reached", retry_after=1.0)

    async def pause(self, error: aio.AioRpcError | None = None, *, limited: bool = True) -> None:
        """Wait before the next attempt. `error` ended the last one; None if the call just ended too early.

        Raises the GatewayError of the last attempt if another attempt would not help, or would come too late. A call
        that is not `limited` in time has ended too early if its time is up.
        """
        failure: GatewayError = Unavailable("the upstream gateway has ended the call", retry_after=1.0)
        if error is not None:
            failure = call_error(error)
            if not limited and isinstance(failure, Unauthenticated) and self._since is None:
                pass  # A stream ends when its token expires. The next one is sent what the file of the token has then.
            elif self._is_last(failure, error, limited=limited):
                raise self._upstream.told(failure)
        if self._since is None:
            self._since = asyncio.get_running_loop().time()
        else:
            self._upstream.mark_down()
        delay = self._backoff.next()
        if self._left() < delay:
            raise self._upstream.told(failure)
        await self._upstream.within(delay, asyncio.Event().wait())

    @staticmethod
    def _is_last(failure: GatewayError, error: aio.AioRpcError, *, limited: bool) -> bool:
        """Whether another attempt would not help."""
        overdue = limited and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        return overdue or not isinstance(failure, Unavailable) or isinstance(failure, _TOLD)

    def _left(self) -> float:
        away = 0.0 if self._since is None else asyncio.get_running_loop().time() - self._since
        return max(0.0, self._upstream.patience - away)
