"""What attackers say to a gateway: JSON-RPC over plain sockets, and raw HTTP/2 for what no gRPC library would do."""

import http.client
import json
import socket
import struct
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

CALL_PATIENCE: Final = 40.0
"""Seconds to wait for an answer."""

JSON_HEADERS: Final = {"Content-Type": "application/json"}

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 4, 6, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW: Final = 4


class Caller:
    """One client of the HTTP front, with one connection that it keeps."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=CALL_PATIENCE)

    def post(self, body: str | bytes) -> tuple[int, bytes]:
        """Send a body and return the status and the body of the answer; (0, b"") if there is none."""
        content = body.encode() if isinstance(body, str) else body
        try:
            self._connection.request("POST", "/", content, JSON_HEADERS)
            response = self._connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return 0, b""

    def call(self, method: str, params: str) -> dict[str, Any]:
        """Call a method; `params` is JSON text. Return the response, or an error with the code 0 if none has come."""
        status, body = self.post(f'{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}')
        try:
            return dict(json.loads(body))
        except ValueError:
            return {"error": {"code": 0, "message": f"HTTP status {status}"}}

    def put(self, kind: str, data: str) -> str:
        """Store a blob and return its id."""
        return str(self.call("blobs/put", f'{{"data":{data},"blobType":"{kind}"}}')["result"]["blobId"])

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def outcome_of(responses: Iterable[dict[str, Any]]) -> str:
    """How many calls ended how, in words."""
    codes: dict[str, int] = {}
    for response in responses:
        code = str(response["error"]["code"]) if "error" in response else "accepted"
        codes[code] = codes.get(code, 0) + 1
    return ", ".join(f"{number} x {code}" for code, number in codes.items()) or "nothing"


def call_at_once(address: str, method: str, all_params: list[str]) -> str:
    """Make all calls at the same time, each on a connection of its own, and tell how they ended."""

    def call(params: str) -> dict[str, Any]:
        caller = Caller(address)
        try:
            return caller.call(method, params)
        finally:
            caller.close()

    with ThreadPoolExecutor(len(all_params)) as pool:
        return outcome_of(pool.map(call, all_params))


def raw_request(address: str, request: bytes) -> socket.socket:
    """A connection on which a request has been sent, and nothing is read. The buffer for answers is small."""
    host, _, port = address.rpartition(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(CALL_PATIENCE)
    connection.connect((host, int(port)))
    connection.sendall(request)
    return connection


def post_head(length: int, *headers: str) -> bytes:
    """The head of a POST with a JSON body of a length."""
    lines = ("POST / HTTP/1.1", "Host: localhost", "Content-Type: application/json", f"Content-Length: {length}")
    return "\r\n".join((*lines, *headers, "", "")).encode()


class Http2:
    """A connection whose flow control stays closed: the peer may send no data on any stream."""

    def __init__(self, address: str, window: int = 0) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), CALL_PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW, window)))
        self._next_stream = 1

    def open(self, path: str, message: bytes | None, *, end: bool = True) -> None:
        """Open a stream, with a message unless it is None; `end`: the client's side is closed behind it."""
        self._socket.sendall(self._opening(path, message, end=end))

    def flood(self, path: str, number: int) -> None:
        """Open many streams without a message, in one go."""
        self._socket.sendall(b"".join(self._opening(path, None, end=False) for _ in range(number)))

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _opening(self, path: str, message: bytes | None, *, end: bool) -> bytes:
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        headers = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "gateway")]
        headers += [("content-type", "application/grpc"), ("te", "trailers")]
        opening = _frame(_HEADERS, _END_HEADERS, stream, b"".join(map(_header, headers)))
        if message is None:
            return opening
        body = b"\0" + struct.pack(">I", len(message)) + message
        return opening + _frame(_DATA, _END_STREAM if end else 0, stream, body)


def _header(header: tuple[str, str]) -> bytes:
    """A header of HPACK as a literal without indexing, neither part compressed."""
    name, value = (text.encode() for text in header)
    assert max(len(name), len(value)) < 127
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload
