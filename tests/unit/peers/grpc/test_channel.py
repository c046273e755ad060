"""The options of channels: when a connection counts as lost."""

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import grpc
import pytest

from gateway.peers.grpc.channel import PING_TIMEOUT_MS, channel_options

pytestmark = pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system has no such option")


def _connections_to(port: int) -> Iterator[socket.socket]:
    """Copies of the sockets of this process that are connected to a port."""
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError), socket.socket(fileno=os.dup(int(descriptor))) as copy:
            if copy.family in (socket.AF_INET, socket.AF_INET6) and copy.getpeername()[1] == port:
                yield copy


def test_a_machine_that_has_vanished_is_noticed_by_tcp() -> None:
    # The answer to a ping may take long: it stands behind what was sent before.
    options = channel_options(min_reconnect_ms=100, keepalive_ms=30_000)
    assert dict(options)["grpc.http2.ping_timeout_ms"] == PING_TIMEOUT_MS
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            grpc.channel_ready_future(channel).result()
            milliseconds = [
                each.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) for each in _connections_to(port)
            ]
        assert milliseconds == [10_000]
    finally:
        server.stop(0).wait()
