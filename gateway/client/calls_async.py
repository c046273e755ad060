# ruff: noqa: ASYNC109 - a timeout is a parameter of a run here: when it has passed, nothing is cancelled.
"""The calls of the client for asyncio: on which connection they are made, and when again."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Self, TypeVar, Unpack

import grpc
from grpc import aio

from gateway.client.call_spans import CallSpans
from gateway.client.connection_async import AsyncConnection, AsyncResponses
from gateway.client.outage import Outage, deadline_after
from gateway.client.pauses_async import AsyncPauses
from gateway.client.security import Security, SecurityOptions
from gateway.client.streams import ResumableStream
from gateway.core.errors import GatewayError
from gateway.peers.grpc.connection_pool import ConnectionPool

A = TypeVar("A")
M = TypeVar("M")
E = TypeVar("E")


class AsyncCalls:
    """Makes the calls of a client for asyncio, each on a connection that has room for it."""

    def __init__(
        self,
        target: str | aio.Channel,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float | None = 60.0,
        retry_for: float | None = 60.0,
        **options: Unpack[SecurityOptions],
    ) -> None:
        self._timeout = timeout
        self._retry_for = retry_for
        security = Security(target, credentials, options)
        self._connections = ConnectionPool(lambda: AsyncConnection(target, security))
        self._pauses = AsyncPauses()
        self._spans = CallSpans(security.address if isinstance(target, str) else "")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections. Open calls fail, at once also while they pause; later ones raise ValueError."""
        connections = self._connections.close()
        self._pauses.end()
        for connection in connections:
            await connection.close()

    async def _events(
        self, method: str, stream: ResumableStream[M, E], start: Callable[[AsyncConnection], AsyncResponses[M]]
    ) -> AsyncGenerator[E, None]:
        """Yield the events of a stream, which is started again when it is cut. `method` is SERVICE/METHOD."""
        with self._spans.stream(method) as span:
            while True:
                try:
                    async with self._connection(stream=stream.lasts) as connection:
                        with span.current():
                            responses = start(connection)
                        async with aclosing(connection.messages(responses, stream.read_timeout)) as messages:
                            async for message in messages:
                                span.received()
                                if (event := stream.received(message)) is not None:
                                    yield event
                    pause = stream.ended(None)
                except (GatewayError, TimeoutError) as error:
                    pause = stream.ended(error)
                if pause is None:
                    return
                span.again()
                await self._pauses.pause(pause)

    async def _call(
        self, method: str, call: Callable[[AsyncConnection, float | None], Awaitable[A]], timeout: float | None
    ) -> A:
        """Make a call with one answer, which may be retried."""
        return await self._retried(method, call, self._outage(timeout))

    async def _retried(
        self, method: str, call: Callable[[AsyncConnection, float | None], Awaitable[A]], outage: Outage
    ) -> A:
        """Make a call with one answer, again and again until it succeeds or the outage is too long."""
        with self._spans.call(method) as span:
            while True:
                try:
                    async with self._connection() as connection:
                        return await connection.answer(call, outage.remaining())
                except (GatewayError, TimeoutError) as error:
                    pause = outage.pause(error)
                span.again()
                await self._pauses.pause(pause)

    def _outage(self, timeout: float | None) -> Outage:
        return Outage(self._retry_for, deadline_after(self._timeout if timeout is None else timeout))

    @asynccontextmanager
    async def _connection(self, *, stream: bool = False) -> AsyncIterator[AsyncConnection]:
        connection = self._connections.acquire(stream=stream)
        try:
            yield connection
        finally:
            for unused in self._connections.release(connection, dead=connection.dead):
                await unused.close()
