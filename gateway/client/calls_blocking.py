# Made from calls_async.py by `make blocking-client`; changes belong there.
"""The calls of the blocking client: on which connection they are made, and when again."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import Self, TypeVar, Unpack

import grpc

from gateway.client.call_spans import CallSpans
from gateway.client.connection_blocking import Connection, Responses
from gateway.client.outage import Outage, deadline_after
from gateway.client.pauses_blocking import Pauses
from gateway.client.security import Security, SecurityOptions
from gateway.client.streams import ResumableStream
from gateway.core.errors import GatewayError
from gateway.peers.grpc.connection_pool import ConnectionPool

A = TypeVar("A")
M = TypeVar("M")
E = TypeVar("E")


class Calls:
    """Makes the calls of a blocking client, each on a connection that has room for it."""

    def __init__(
        self,
        target: str | grpc.Channel,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float | None = 60.0,
        retry_for: float | None = 60.0,
        **options: Unpack[SecurityOptions],
    ) -> None:
        self._timeout = timeout
        self._retry_for = retry_for
        security = Security(target, credentials, options)
        self._connections = ConnectionPool(lambda: Connection(target, security))
        self._pauses = Pauses()
        self._spans = CallSpans(security.address if isinstance(target, str) else "")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections. Open calls fail, at once also while they pause; later ones raise ValueError."""
        connections = self._connections.close()
        self._pauses.end()
        for connection in connections:
            connection.close()

    def _events(
        self, method: str, stream: ResumableStream[M, E], start: Callable[[Connection], Responses[M]]
    ) -> Generator[E, None, None]:
        """Yield the events of a stream, which is started again when it is cut. `method` is SERVICE/METHOD."""
        with self._spans.stream(method) as span:
            while True:
                try:
                    with self._connection(stream=stream.lasts) as connection:
                        with span.current():
                            responses = start(connection)
                        with closing(connection.messages(responses, stream.read_timeout)) as messages:
                            for message in messages:
                                span.received()
                                if (event := stream.received(message)) is not None:
                                    yield event
                    pause = stream.ended(None)
                except (GatewayError, TimeoutError) as error:
                    pause = stream.ended(error)
                if pause is None:
                    return
                span.again()
                self._pauses.pause(pause)

    def _call(self, method: str, call: Callable[[Connection, float | None], A], timeout: float | None) -> A:
        """Make a call with one answer, which may be retried."""
        return self._retried(method, call, self._outage(timeout))

    def _retried(self, method: str, call: Callable[[Connection, float | None], A], outage: Outage) -> A:
        """Make a call with one answer, again and again until it succeeds or the outage is too long."""
        with self._spans.call(method) as span:
            while True:
                try:
                    with self._connection() as connection:
                        return connection.answer(call, outage.remaining())
                except (GatewayError, TimeoutError) as error:
                    pause = outage.pause(error)
                span.again()
                self._pauses.pause(pause)

    def _outage(self, timeout: float | None) -> Outage:
        return Outage(self._retry_for, deadline_after(self._timeout if timeout is None else timeout))

    @contextmanager
    def _connection(self, *, stream: bool = False) -> Iterator[Connection]:
        connection = self._connections.acquire(stream=stream)
        try:
            yield connection
        finally:
            for unused in self._connections.release(connection, dead=connection.dead):
                unused.close()
