"""An HTTP server that answers large requests before it has read them, and then breaks the connection off."""

import itertools
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from enum import Enum
from http import HTTPStatus

LARGE = 1 << 20
"""Requests with larger bodies are answered early."""

READ = (0, 100_000, 1_000_000)
"""How much of a body is read before the answer, in turn."""

RETRY_AFTER = 7
"""The header of early answers, in seconds."""

_LINGER = struct.pack("ii", 1, 0)
"""Closing resets the connection, and discards what was not sent."""
_REFUSAL = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"small"}}'
_CLOSE = b"Connection: close\r\n"


def _with_length(body: bytes) -> bytes:
    return f"Content-Length: {len(body)}\r\n\r\n".encode() + body


class Farewell(Enum):
    """What the server does to the connection after an early answer."""

    RESET = "reset it"
    CLOSE = "close it with unread data"
    HOLD = "neither read on nor close it"


class Explanation(Enum):
    """The body of an early answer."""

    WHOLE = "as long as it says"
    CUT = "shorter than it says"
    ENDLESS = "without an end"


_EXPLANATIONS = {
    Explanation.WHOLE: _with_length(b"refused early"),
    Explanation.CUT: b"Content-Length: 1000\r\n\r\nrefused",
    Explanation.ENDLESS: b"Transfer-Encoding: chunked\r\n\r\n",
}


class EarlyServer:
    """Answers large requests with `status`, and small ones with a JSON-RPC error, as a JSON-RPC server does.

    Early answers do not say that the connection will be closed. The server works in threads with blocking sockets: the
    client's event loop is at any point when the answer comes.
    """

    def __init__(
        self,
        status: HTTPStatus,
        farewells: tuple[Farewell, ...] = (Farewell.RESET, Farewell.CLOSE),
        explanation: Explanation = Explanation.WHOLE,
    ) -> None:
        self.url = ""
        self.heads: list[bytes] = []
        """The headers of large requests."""
        self._answer = _response(status, _EXPLANATIONS[explanation])
        self._endless = explanation is Explanation.ENDLESS
        self._variants = itertools.cycle(itertools.product(READ, farewells))
        self._stopped = threading.Event()

    @contextmanager
    def running(self) -> Iterator["EarlyServer"]:
        """Listen."""
        with socket.create_server(("127.0.0.1", 0), backlog=256) as listener, ThreadPoolExecutor(33) as threads:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            threads.submit(self._accept, listener, threads)
            try:
                yield self
            finally:
                self._stopped.set()
                listener.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket, threads: ThreadPoolExecutor) -> None:
        with suppress(OSError):
            while not self._stopped.is_set():
                connection, _ = listener.accept()
                threads.submit(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        """Serve one request."""
        with connection:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                if not (byte := connection.recv(1)):
                    return  # A client that stops while it probes sends no request.
                head += byte
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or b"0")
            if length <= LARGE:
                _read(connection, length)
                connection.sendall(_response(HTTPStatus.BAD_REQUEST, _CLOSE + _with_length(_REFUSAL)))
                return
            self.heads.append(head)
            size, farewell = next(self._variants)
            _read(connection, size)
            connection.sendall(self._answer)
            while self._endless and not self._stopped.wait(0.01):
                connection.sendall(b"1\r\nx\r\n")
            if farewell is Farewell.HOLD:
                self._stopped.wait()
            elif farewell is Farewell.RESET:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)


def _response(status: HTTPStatus, rest: bytes) -> bytes:
    return f"HTTP/1.1 {status.value} {status.phrase}\r\nRetry-After: {RETRY_AFTER}\r\n".encode() + rest


def _read(connection: socket.socket, size: int) -> None:
    while size > 0 and (part := connection.recv(size)):
        size -= len(part)
