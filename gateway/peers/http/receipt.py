"""Whether a request can have reached its server, when its connection has ended without an answer.

A server may close a connection that it finds idle in the same moment in which a request is sent on it. Such a request
may be sent again, whatever it does, if it is certain that the server has not seen it. HTTP does not tell that, but TCP
does: a server that has closed in order has acknowledged everything that it had received by then. If not one byte of the
request is among it, the request came later, and was dropped.
"""

import errno
import os
import socket
import struct
import sys
from asyncio import WriteTransport
from contextlib import suppress
from typing import Final

_ACKNOWLEDGED: Final = struct.Struct("@Q")
_ACKNOWLEDGED_AT: Final = 120
_INFO_BYTES: Final = 128
"""Where the bytes that the other side has acknowledged are in `struct tcp_info` of Linux."""

_CONNECTED: Final = 1
"""What a connection has acknowledged that was not used before: its beginning counts as a byte."""


class Receipt:
    """What is known of the receipt of one request. It is closed by the request that it is given to.

    Only on Linux is anything ever known, and only of a connection that was used before.
    """

    __slots__ = ("_acknowledged", "_connection")

    def __init__(self) -> None:
        self._connection: socket.socket | None = None
        self._acknowledged = 0

    def begin(self, transport: WriteTransport | None) -> None:
        """Nothing of the request has been written yet, and it will be written to this transport."""
        if sys.platform != "linux" or transport is None:
            return
        self.close()
        with suppress(OSError):
            # By a descriptor of its own: the one of the transport is closed before anybody learns of the failure.
            self._connection = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
            self._acknowledged = _acknowledged(self._connection)
        if self._acknowledged <= _CONNECTED:
            self.close()

    def never_received(self, failure: BaseException) -> bool:
        """Whether the server has certainly not seen the request, whose connection ended by this failure."""
        if self._connection is None or _is_reset(failure):
            return False
        try:
            return _acknowledged(self._connection) == self._acknowledged
        except OSError:
            return False

    def close(self) -> None:
        """Nothing more is asked."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _acknowledged(connection: socket.socket) -> int:
    """How many bytes the other side has acknowledged. Raises OSError if that is not known."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    if len(info) < _INFO_BYTES:
        raise OSError("an old kernel")
    acknowledged: int = _ACKNOWLEDGED.unpack_from(info, _ACKNOWLEDGED_AT)[0]
    return acknowledged


def _is_reset(failure: BaseException) -> bool:
    """Whether a connection was reset: such an end acknowledges nothing."""
    return isinstance(failure, OSError) and failure.errno == errno.ECONNRESET
