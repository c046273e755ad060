"""The channel that the calls of a client share, and a new one in its place when it is found dead."""

import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

C = TypeVar("C")

CHANNEL_OPTIONS: Final = (
    # What the gateway sends, it means to send.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # The gateway is a neighbour: a proxy to the outside world would not find it.
    ("grpc.enable_http_proxy", 0),
    # A gateway that starts again is found at once, not after gRPC's minutes. The pauses between calls are ours.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A new channel is a new connection.
    ("grpc.use_local_subchannel_pool", 1),
    # A peer that has vanished is noticed within 40 seconds while calls are open.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
)
"""For channels of one's own: what the clients set for theirs."""


class Channels(Generic[C]):
    """Hands out the present channel, and tells which ones to close: those that were replaced, when no call uses them.

    May be used by many threads.
    """

    def __init__(self, connect: Callable[[], C]) -> None:
        self._connect = connect
        self._present: C | None = None
        self._uses: dict[C, int] = {}
        self._closed = False
        self._lock = threading.Lock()

    def take(self) -> C:
        """The present channel; give it back. ValueError if the client is closed."""
        with self._lock:
            if self._closed:
                raise ValueError("the client is closed")
            if self._present is None:
                self._present = self._connect()
                self._uses[self._present] = 0
            self._uses[self._present] += 1
            return self._present

    def give_back(self, channel: C, *, dead: bool = False) -> bool:
        """Return what was taken; `dead`: nobody shall get it any more. Whether to close it now."""
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
        """Hand out nothing more, and return what to close."""
        with self._lock:
            self._closed = True
            channels = list(self._uses)
            self._uses.clear()
            self._present = None
            return channels
