"""A load that does not wait: calls begin at a rate, whatever becomes of those before, and their times are told.

Calls are one request again and again, by gRPC or by JSON-RPC over HTTP/1.1. It is written in bare frames: to ask and to
read an answer takes a hundredth of what a server takes. The time of a call counts from when it was due.
"""

import argparse
import json
import select
import socket
import struct
import time
from abc import ABC, abstractmethod
from collections import deque
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

from benchmarks.control import tell

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM = _ACK = 1
_END_HEADERS: Final = 4
_POST_HTTP: Final = bytes([0x80 | 3, 0x80 | 6])
_WINDOW: Final = 65_535
_LARGEST_WINDOW: Final = (1 << 31) - 1

_GRACE: Final = 3.0
"""Seconds that are left to the last calls."""


class Times:
    """The times of calls, in seconds."""

    def __init__(self) -> None:
        self.served: list[float] = []
        self.refused: list[float] = []
        self.lost = 0

    def figures(self, sent: int) -> dict[str, Any]:
        """What is told: numbers of calls, and their times in milliseconds."""
        answered = len(self.served) + len(self.refused)
        return {
            "sent": sent,
            "served": len(self.served),
            "refused": len(self.refused),
            "unanswered": sent - answered,
            "served_ms": _spread(self.served),
            "refused_ms": _spread(self.refused),
        }


class Connection(ABC):
    """One connection. Calls that find no room wait in it."""

    def __init__(self, address: str, times: Times) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.times = times
        self.waiting: deque[float] = deque()
        self._out = bytearray()
        self._in = bytearray()

    def call(self, due: float) -> None:
        """Begin a call that was due at a time, when there is room for it."""
        self.waiting.append(due)

    @abstractmethod
    def begin(self, out: bytearray) -> None:
        """Write the requests of calls that wait, as many as may be open."""

    @abstractmethod
    def read(self, data: bytearray, now: float) -> int:
        """Read answers, and return how many bytes of `data` are done with."""

    def work(self, now: float) -> bool:
        """Send and receive what can be, and return whether the connection is open."""
        self.begin(self._out)
        try:
            if self._out:
                del self._out[: self.socket.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            return False
        try:
            while data := self.socket.recv(1 << 18):
                self._in += data
                del self._in[: self.read(self._in, now)]
            return False
        except BlockingIOError:
            return True
        except OSError:
            return False


class GrpcCalls(Connection):
    """Calls of gRPC: those that end without a message are refused."""

    def __init__(self, address: str, times: Times, path: str, token: str, message: bytes) -> None:
        super().__init__(address, times)
        fields = [
            (":path", path),
            (":authority", "localhost"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        ]
        if token:
            fields.append(("authorization", f"Bearer {token}"))
        self._headers = _POST_HTTP + b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)
        self._body = b"\0" + struct.pack(">I", len(message)) + message
        self._stream = 1
        self._window = _WINDOW
        self._most = 100
        self._open: dict[int, float] = {}
        self._served: set[int] = set()
        self._out += _PREFACE + _frame(_SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 20))
        self._out += _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", _LARGEST_WINDOW - _WINDOW))

    def begin(self, out: bytearray) -> None:
        headers, body = self._headers, self._body
        while self.waiting and len(self._open) < self._most and self._window >= len(body):
            stream, self._stream = self._stream, self._stream + 2
            self._open[stream] = self.waiting.popleft()
            self._window -= len(body)
            out += _frame(_HEADERS, _END_HEADERS, stream, headers)
            out += _frame(_DATA, _END_STREAM, stream, body)

    def read(self, data: bytearray, now: float) -> int:
        at, end = 0, len(data)
        while end - at >= 9:
            size = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            if end - at < 9 + size:
                break
            stream = int.from_bytes(data[at + 5 : at + 9])
            self._take(data[at + 3], data[at + 4], stream, data[at + 9 : at + 9 + size])
            if data[at + 3] == _RST_STREAM or (data[at + 3] in (_DATA, _HEADERS) and data[at + 4] & _END_STREAM):
                self._end(stream, now)
            at += 9 + size
        return at

    def _take(self, kind: int, flags: int, stream: int, data: bytearray) -> None:
        if kind == _DATA:
            self._served.add(stream)
        elif kind == _SETTINGS and not flags & _ACK:
            for name, value in struct.iter_unpack(">HI", data):
                if name == 3:
                    self._most = min(value, 10_000)
            self._out += _frame(_SETTINGS, _ACK, 0, b"")
        elif kind == _PING and not flags & _ACK:
            self._out += _frame(_PING, _ACK, 0, bytes(data))
        elif kind == _WINDOW_UPDATE and not stream:
            self._window += int.from_bytes(data)

    def _end(self, stream: int, now: float) -> None:
        begun = self._open.pop(stream, None)
        if begun is not None:
            served = stream in self._served
            self._served.discard(stream)
            (self.times.served if served else self.times.refused).append(now - begun)


class HttpCalls(Connection):
    """Calls of JSON-RPC, one after the other without waiting: answers come in order."""

    def __init__(self, address: str, times: Times, path: str, token: str, message: bytes) -> None:
        super().__init__(address, times)
        lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
        if token:
            lines.append(f"Authorization: Bearer {token}")
        self._request = "\r\n".join([*lines, f"Content-Length: {len(message)}", "", ""]).encode() + message
        self._open: deque[float] = deque()

    def begin(self, out: bytearray) -> None:
        while self.waiting:
            self._open.append(self.waiting.popleft())
            out += self._request

    def read(self, data: bytearray, now: float) -> int:
        at = 0
        while (head := data.find(b"\r\n\r\n", at)) >= 0:
            start = data.find(b"ength: ", at, head)
            length = int(data[start + 7 : data.find(b"\r\n", start)]) if start >= 0 else 0
            end = head + 4 + length
            if end > len(data):
                break
            served = data[at + 9 : at + 12] == b"200" and data.find(b'"error"', head, end) < 0
            (self.times.served if served else self.times.refused).append(now - self._open.popleft())
            at = end
        return at


def run(connections: list[Connection], rate: float, seconds: float) -> int:
    """Make calls, and return how many were made."""
    begun = time.monotonic()
    total = int(rate * seconds)
    sent, poll = 0, select.poll()
    for connection in connections:
        poll.register(connection.socket, select.POLLIN)
    while True:
        now = time.monotonic()
        due = min(total, int((now - begun) * rate))
        for number in range(sent, due):
            connections[number % len(connections)].call(begun + number / rate)
        sent = due
        connections = [connection for connection in connections if connection.work(time.monotonic())]
        times = connections[0].times if connections else None
        done = times is None or len(times.served) + len(times.refused) >= total
        if done or now > begun + seconds + _GRACE:
            return sent
        poll.poll(1)


def _spread(seconds: list[float]) -> dict[str, float]:
    if len(seconds) < 2:
        return dict.fromkeys(("p50", "p99", "max"), seconds[0] * 1e3 if seconds else 0.0)
    hundredths = quantiles(seconds, n=100)
    return {"p50": hundredths[49] * 1e3, "p99": hundredths[98] * 1e3, "max": max(seconds) * 1e3}


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) < 127:
        return bytes([len(data)]) + data
    rest = len(data) - 127
    return bytes([127, rest]) + data if rest < 128 else bytes([127, rest & 127 | 128, rest >> 7]) + data


def main() -> None:
    """The program. Its line of output has the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--protocol", choices=("grpc", "http"), default="grpc")
    parser.add_argument("--path", default="/runs.v1.RunsService/SubmitRun")
    parser.add_argument("--request", type=Path, required=True, help="a file with the message, or the body")
    parser.add_argument("--token-file", type=Path)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()
    times = Times()
    token = "" if arguments.token_file is None else arguments.token_file.read_text().strip()
    kind = GrpcCalls if arguments.protocol == "grpc" else HttpCalls
    path = arguments.path if arguments.protocol == "grpc" else "/"
    made = [
        kind(arguments.address, times, path, token, arguments.request.read_bytes())
        for _ in range(arguments.connections)
    ]
    sent = run(list(made), arguments.rate, arguments.seconds)
    tell(**json.loads(json.dumps(times.figures(sent))))


if __name__ == "__main__":
    main()
