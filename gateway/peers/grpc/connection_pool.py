"""The connections to one peer: one for calls that are soon answered, and others for streams, as many as it takes.

A server or a proxy allows so many open calls on a connection (nginx 128, haproxy 100, caddy 250), and gRPC lets further
ones wait without a word, for as long as the streams last. It tells nobody what is allowed, so open streams are counted.
"""

import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

C = TypeVar("C")

STREAMS_PER_CONNECTION: Final = 100
"""How many open calls every usual server and proxy allows on a connection."""


class ConnectionPool(Generic[C]):
    """Hands out connections, and tells when to close one: when others have room for its streams, or it is dead.

    `connect` returns a new connection, which takes `streams` streams at most. Threads may share the pool.
    """

    def __init__(self, connect: Callable[[], C], streams: int = STREAMS_PER_CONNECTION) -> None:
        self._connect = connect
        self._most = streams
        self._calls: C | None = None
        self._streams: list[C] = []
        self._uses: dict[C, int] = {}
        """The open calls of each connection, also of those that are not handed out any more."""
        self._closed = False
        self._lock = threading.Lock()

    def acquire(self, *, stream: bool = False) -> C:
        """Return a connection for one call. A `stream` may be open for long. Raises ValueError after `close`."""
        with self._lock:
            if self._closed:
                raise ValueError("the client is closed")
            connection = self._with_room() if stream else self._calls
            if connection is None:
                connection = self._connect()
                self._uses[connection] = 0
                if stream:
                    self._streams.append(connection)
                else:
                    self._calls = connection
            self._uses[connection] += 1
            return connection

    def release(self, connection: C, *, dead: bool = False) -> list[C]:
        """Take back a connection after a call, and return those to close now.

        If it is `dead`, those that were made with it are not handed out any more either: all lead to the same peer.
        """
        with self._lock:
            if connection not in self._uses:
                return []
            self._uses[connection] -= 1
            if dead and (connection is self._calls or connection in self._streams):
                self._calls, self._streams = None, []
                return self._forgotten([unused for unused, uses in self._uses.items() if not uses])
            if self._uses[connection] or connection is self._calls:
                return []
            if connection in self._streams:
                if not any(self._uses[other] == 0 for other in self._streams if other is not connection):
                    return []  # It is kept for the next stream.
                self._streams.remove(connection)
            return self._forgotten([connection])

    def close(self) -> list[C]:
        """Hand out no more connections, and return the ones to close."""
        with self._lock:
            self._closed = True
            self._calls, self._streams = None, []
            return self._forgotten(list(self._uses))

    def _with_room(self) -> C | None:
        # The first one that has: so the last ones become idle, and are closed.
        return next((connection for connection in self._streams if self._uses[connection] < self._most), None)

    def _forgotten(self, connections: list[C]) -> list[C]:
        for connection in connections:
            del self._uses[connection]
        return connections
