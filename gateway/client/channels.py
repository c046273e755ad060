"""The channel that the calls of a client share, and its replacement when it is dead."""

import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from gateway.peers.grpc.channel import channel_options

C = TypeVar("C")

CHANNEL_OPTIONS: Final = channel_options(min_reconnect_ms=1_000, keepalive_ms=30_000)
"""The options of the clients' channels, for users who create a channel themselves."""


class Channels(Generic[C]):
    """Hands out the present channel, and tells when to close one that was replaced: after its last call.

    Threads may share it.
    """

    def __init__(self, connect: Callable[[], C]) -> None:
        self._connect = connect
        self._present: C | None = None
        self._uses: dict[C, int] = {}
        self._closed = False
        self._lock = threading.Lock()

    def acquire(self) -> C:
        """Return the present channel, for one call. Raises ValueError if the client is closed."""
        with self._lock:
            if self._closed:
                raise ValueError("the client is closed")
            if self._present is None:
                self._present = self._connect()
                self._uses[self._present] = 0
            self._uses[self._present] += 1
            return self._present

    def release(self, channel: C, *, dead: bool = False) -> bool:
        """Take back a channel after a call; a `dead` one is not handed out again. Returns whether to close it now."""
        with self._lock:
            if dead and channel is self._present:
                self._present = None
            if channel not in self._uses:
                return False
            self._uses[channel] -= 1
            if self._uses[channel] or channel is self._present:
                return False
            del self._uses[channel]
            return True

    def close(self) -> list[C]:
        """Hand out no more channels, and return the ones to close."""
        with self._lock:
            self._closed = True
            channels = list(self._uses)
            self._uses.clear()
            self._present = None
            return channels
